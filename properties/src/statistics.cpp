// See statistics.h.
#include "statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "fixed.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

/// 2^e <= |value| < 2^(e+1), for a finite value other than 0; held where factors 2^e and 2^-e both exist.
int binade(double value) {
  const int field = static_cast<int>((std::bit_cast<std::uint64_t>(value) >> 52) & 0x7FF);
  return std::clamp(field - 1023, -1000, 1000);
}

/// value * 2^exponent rounded once. Rounding hi to odd first makes the second rounding, into a narrower
/// format, the only one that counts.
double round_scaled(const Format& format, DoubleDouble value, int exponent) {
  double hi = value.hi;
  const auto bits = std::bit_cast<std::uint64_t>(hi);
  if (format.p < f64.p && value.lo != 0 && hi != 0 && (bits & 1) == 0)
    hi = std::bit_cast<double>((value.lo > 0) == (hi > 0) ? bits + 1 : bits - 1);
  // Two factors: one alone could leave the exponents of a double where the product does not.
  const int half = std::clamp(exponent / 2, -1000, 1000);
  return round_to(format, hi * power_of_two(half) * power_of_two(std::clamp(exponent - half, -1000, 1000)));
}

}  // namespace

Statistics statistics(std::span<const double> x) {
  double largest = 0;
  for (const double value : x)
    if (value - value == 0)
      largest = std::max(largest, value < 0 ? -value : value);
  Statistics s;
  if (largest == 0)
    return s;
  s.exponent = binade(largest);
  const double unit = power_of_two(-s.exponent);
  std::int64_t n = 0;
  DoubleDouble sum;
  for (const double value : x)
    if (value - value == 0) {
      sum = sum + DoubleDouble(value * unit);
      ++n;
    }
  s.mean = sum / DoubleDouble(static_cast<double>(n));
  DoubleDouble squares;
  for (const double value : x)
    if (value - value == 0) {
      const DoubleDouble d = DoubleDouble(value * unit) - s.mean;
      squares = squares + d * d;
    }
  s.variance = squares / DoubleDouble(static_cast<double>(n));
  return s;
}

double mean_of(const Statistics& s, const Format& format) {
  return round_scaled(format, s.mean, s.exponent);
}

double variance_of(const Statistics& s, const Format& format) {
  return round_scaled(format, s.variance, 2 * s.exponent);
}

double invstd_of(const Statistics& s, double eps, const Format& format) {
  if (s.variance.hi == 0 && eps == 0)
    return std::numeric_limits<double>::infinity();
  // variance + eps in units of 4^unit, the larger of the two near 1.
  int highest = std::numeric_limits<int>::min();
  if (s.variance.hi != 0)
    highest = binade(s.variance.hi) + 2 * s.exponent;
  if (eps != 0)
    highest = std::max(highest, binade(eps));
  const int unit = (highest - (highest < 0 ? 1 : 0)) / 2;
  const auto scaled = [&](double value, int exponent) {
    return exponent < -1000 ? 0.0 : value * power_of_two(exponent);
  };
  const DoubleDouble variance{scaled(s.variance.hi, 2 * (s.exponent - unit)),
                              scaled(s.variance.lo, 2 * (s.exponent - unit))};
  const DoubleDouble sum = variance + DoubleDouble(scaled(eps, -2 * unit));
  return round_scaled(format, DoubleDouble(1.0) / reference::sqrt(sum), -unit);
}

}  // namespace normproof::properties
