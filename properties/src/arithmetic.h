// Small pieces that all bounds are made of (spec/bounds/model.md).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace normproof::properties {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// The bounds are formed by a few dozen double operations on facts good to 2^-45; this covers them.
inline constexpr double widened = 1 + 0x1p-40;

/// Widens a bound; what became inf * 0 or inf - inf on the way is infinite.
inline double widen(double b) {
  return std::isnan(b) ? infinity : widened * b;
}

inline double ceil_log2(double n) {
  int e = 0;
  const double f = std::frexp(n, &e);
  return std::max(1.0, static_cast<double>(f == 0.5 ? e - 1 : e));
}

/// omega of the wide grade: what is left of a sum of n terms in twice the bits, relative to the sum of
/// magnitudes.
inline double omega(double n, double u) {
  const double tree = 2 * ceil_log2(n) + 64;
  return 1.01 * std::max(n, tree * tree) * u * u;
}

/// (1 + a)(1 + b) - 1.
inline double compound(double a, double b) {
  return a + b + a * b;
}

}  // namespace normproof::properties
