// Many stored values against their truths at once: what the judge asks of every element of a tensor.
//
// The numbers are those of ulp.h, bit for bit, computed in vectors where the values are ordinary and by ulp.h
// itself where they are not (NaN, infinities, ends of the range of f64).
#pragma once

#include <cstdint>

#include "normproof/spec/format.h"

namespace normproof::reference {

/// A block of readings, by element.
struct Readings {
  static constexpr std::int64_t block = 256;

  double ulps[block];      ///< ulps_off(), in ulps of the truth
  double distance[block];  ///< distance(), absolute
  double beyond[block];    ///< distance_to_rounding_interval(), absolute
  /// Every real nearer to `got` than that rounds to it; absolute.
  double least_reach[block];
  /// distance() in ulps of the format at the scale; 0 where that rounds to 0 or overflows.
  double condition_ulps[block];
  std::int64_t faithful[block];  ///< is_faithful()
};

/// Reads n <= Readings::block values of the format against truths (rn, off); `scale` >= 0 is what
/// condition_ulps counts in. Thread-safe.
void read(const Format& format, const double* got, const double* rn, const double* off, const double* scale,
          std::int64_t n, Readings& to);

}  // namespace normproof::reference
