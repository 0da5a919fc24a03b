// Which instruction set runs.
#include "lanes.h"

#include <cmath>

#include "raw_lanes.h"

namespace normproof::reference {

namespace baseline {
extern const Lanes table;
}
#ifdef NORMPROOF_WITH_X86_LANES
namespace avx2 {
extern const Lanes table;
}
namespace avx512 {
extern const Lanes table;
}
#endif

Grid::Grid(const Format& format)
    : least(smallest_normal(format)),
      unit(std::ldexp(1.0, 1 - format.p)),
      inverse(std::ldexp(1.0, format.p - 1)),
      largest(normproof::largest(format)),
      wide(format.p == f64.p) {}

const Lanes* const* all_lanes() {
  struct Found {
    const Lanes* tables[4] = {};
    Found() {
      const Lanes** next = tables;
#ifdef NORMPROOF_WITH_X86_LANES
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        *next++ = &avx512::table;
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        *next++ = &avx2::table;
#endif
      *next = &baseline::table;
    }
  };
  static const Found found;
  return found.tables;
}

const Lanes& lanes() {
  static const Lanes& best = *all_lanes()[0];
  return best;
}

const RawLanes& raw_lanes(const Format& format) {
  std::size_t place = 0;
  for (const Format& known : {f64, f32, f16, bf16}) {
    if (known == format)
      break;
    ++place;
  }
  return lanes().raw[place];
}

}  // namespace normproof::reference
