// Linear forms a x + b dy + c v + d of one element's numbers, with exact coefficients: what a gradient is
// once the sums of its channel are known.
#pragma once

#include "exact.h"

namespace normproof::reference {

inline Quotient operator-(const Quotient& a) {
  return {-a.numerator, a.denominator};
}
inline Quotient operator-(const Quotient& a, const Quotient& b) {
  return a + -b;
}

struct Linear {
  Dyadic x, dy, v, constant;
  Integer denominator = 1;  ///< positive, of all four

  Linear() = default;
  Linear(const Quotient& q)  // NOLINT(google-explicit-constructor): constants are forms
      : constant(q.numerator),
        denominator(q.denominator) {}

  /// Its value at an element.
  Quotient at(double of_x, double of_dy, double of_v) const {
    Dyadic sum = constant;
    if (x.sign() != 0 && of_x != 0)
      sum = sum + x * Dyadic(of_x);
    if (dy.sign() != 0 && of_dy != 0)
      sum = sum + dy * Dyadic(of_dy);
    if (v.sign() != 0 && of_v != 0)
      sum = sum + v * Dyadic(of_v);
    return {std::move(sum), denominator};
  }
};

inline Linear operator*(const Quotient& a, const Linear& b) {
  Linear r;
  r.x = a.numerator * b.x;
  r.dy = a.numerator * b.dy;
  r.v = a.numerator * b.v;
  r.constant = a.numerator * b.constant;
  r.denominator = a.denominator * b.denominator;
  return r;
}
inline Linear operator+(const Linear& a, const Linear& b) {
  Linear r;
  r.x = a.x * b.denominator + b.x * a.denominator;
  r.dy = a.dy * b.denominator + b.dy * a.denominator;
  r.v = a.v * b.denominator + b.v * a.denominator;
  r.constant = a.constant * b.denominator + b.constant * a.denominator;
  r.denominator = a.denominator * b.denominator;
  return r;
}
inline Linear operator-(const Linear& a, const Linear& b) {
  return a + Quotient{Dyadic(-1.0), 1} * b;
}

/// The same form with what its coefficients and its denominator have in common cancelled, so that evaluating
/// it at many elements is cheap.
inline Linear reduced(Linear form) {
  Integer common = form.denominator;
  for (const Dyadic* coefficient : {&form.x, &form.dy, &form.v, &form.constant})
    common = gcd(common, coefficient->significand);
  form.denominator /= common;
  const auto zeros = lsb(form.denominator);
  form.denominator >>= zeros;
  for (Dyadic* coefficient : {&form.x, &form.dy, &form.v, &form.constant}) {
    if (coefficient->sign() == 0)
      continue;
    coefficient->significand /= common;
    const auto trailing = lsb(Integer(abs(coefficient->significand)));
    coefficient->significand >>= trailing;
    coefficient->exponent += static_cast<std::int64_t>(trailing) - static_cast<std::int64_t>(zeros);
  }
  return form;
}

}  // namespace normproof::reference
