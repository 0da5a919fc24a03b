// Double-double arithmetic: an unevaluated sum hi + lo of two doubles, about 106 bits.
//
// Used where truth must be far more precise than a double but a multiprecision number would be too slow: the
// truths of links, which are closed forms of a few operations at statistics that the kernel itself reported.
// Needs round to nearest and no flush to zero. Relative errors: Joldes, Muller, Popescu (ACM TOMS 44, 2017):
// sum 3u^2 + 13u^3, product 5u^2, quotient 15u^2 with u = 2^-53, barring underflow.
#pragma once

#include <cmath>

namespace normproof::reference {

struct DoubleDouble {
  double hi = 0;
  double lo = 0;

  constexpr DoubleDouble() = default;
  constexpr DoubleDouble(double value)
      : hi(value) {}  // NOLINT(google-explicit-constructor): doubles embed exactly
  constexpr DoubleDouble(double high, double low) : hi(high), lo(low) {}
  explicit constexpr operator double() const { return hi; }
};

/// s + e = a + b exactly (Knuth).
inline DoubleDouble two_sum(double a, double b) {
  const double s = a + b;
  const double t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
/// The same for |a| >= |b| (Dekker).
inline DoubleDouble fast_two_sum(double a, double b) {
  const double s = a + b;
  return {s, b - (s - a)};
}
/// p + e = a * b exactly, barring underflow.
inline DoubleDouble two_product(double a, double b) {
  const double p = a * b;
  return {p, std::fma(a, b, -p)};
}

inline DoubleDouble operator-(DoubleDouble a) {
  return {-a.hi, -a.lo};
}
inline DoubleDouble operator+(DoubleDouble a, DoubleDouble b) {
  DoubleDouble s = two_sum(a.hi, b.hi);
  const DoubleDouble t = two_sum(a.lo, b.lo);
  s = fast_two_sum(s.hi, s.lo + t.hi);
  return fast_two_sum(s.hi, s.lo + t.lo);
}
inline DoubleDouble operator-(DoubleDouble a, DoubleDouble b) {
  return a + (-b);
}
inline DoubleDouble operator*(DoubleDouble a, DoubleDouble b) {
  const DoubleDouble p = two_product(a.hi, b.hi);
  return fast_two_sum(p.hi, p.lo + (std::fma(a.hi, b.lo, a.lo * b.hi)));
}
inline DoubleDouble operator/(DoubleDouble a, DoubleDouble b) {
  const double q = a.hi / b.hi;
  const DoubleDouble rest = a - b * DoubleDouble(q);
  const double q2 = rest.hi / b.hi;
  const DoubleDouble rest2 = rest - b * DoubleDouble(q2);
  return fast_two_sum(q, q2) + DoubleDouble(rest2.hi / b.hi);
}
/// One Newton step on the double root: relative error below 2^-100.
inline DoubleDouble sqrt(DoubleDouble a) {
  if (a.hi <= 0)
    return {std::sqrt(a.hi), 0};
  const double root = std::sqrt(a.hi);
  const DoubleDouble rest = a - two_product(root, root);
  return fast_two_sum(root, rest.hi / (2 * root));
}
inline DoubleDouble abs(DoubleDouble a) {
  return a.hi < 0 || (a.hi == 0 && a.lo < 0) ? -a : a;
}

}  // namespace normproof::reference
