// Asked of the arithmetic itself, so that it holds for any machine and whoever changed the control word.
#include "environment.h"

#include <cfenv>
#include <limits>
#include <stdexcept>

namespace normproof::reference {

void require_ieee_arithmetic() {
  volatile double normal = std::numeric_limits<double>::min();
  volatile double subnormal = std::numeric_limits<double>::denorm_min();
  volatile double zero = 0;
  // A product of subnormals with a large number is normal: only reading them as 0 can make it 0.
  volatile double read = subnormal * 0x1p1000;
  volatile double written = normal * 0.5;
  if (read == zero)
    throw std::runtime_error(
        "subnormal operands are read as 0 in this thread (DAZ): the oracle's bounds do not hold");
  if (written == zero)
    throw std::runtime_error(
        "subnormal results are flushed to 0 in this thread (FTZ): the oracle's bounds do not hold");
  if (std::fegetround() != FE_TONEAREST)
    throw std::runtime_error("this thread does not round to nearest: the oracle's bounds do not hold");
}

}  // namespace normproof::reference
