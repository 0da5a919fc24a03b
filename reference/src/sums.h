// Exact sums of one channel: of x, |x| and x^2.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "exact.h"

namespace normproof::reference {

/// A sum of integers m * 2^e, m >= 0, held as digits of 32 bits in words of 64: adding is a few integer
/// additions, and a carry need not be propagated before 2^31 additions. (Neal, arXiv 1505.05571, has the idea
/// for doubles.)
class ExactSum {
public:
  /// Terms are multiples of 2^lowest below 2^highest.
  ExactSum(int lowest, int highest);
  void add(std::uint64_t m, int e);
  Dyadic value() const;

private:
  void propagate();

  int lowest_;
  std::int64_t pending_ = 0;
  std::vector<std::uint64_t> digits_;
};

struct ChannelSums {
  std::int64_t n = 0;
  Dyadic sum;      ///< of x
  Dyadic sum_abs;  ///< of |x|
  Dyadic squares;  ///< of x^2
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  int granularity = 0;  ///< largest g with every x a multiple of 2^g (0 if all are 0)
  bool finite = true;   ///< no NaN, no infinity; if false, sums, min and max mean nothing
  /// The IEEE sum of the values that are not finite: an infinity when all of them are that infinity, else
  /// NaN.
  double special = 0;
};

ChannelSums sums_of(const double* x, std::int64_t n);

}  // namespace normproof::reference
