// A ball: a multiprecision number and a proven bound 2^error on its distance from the real that it stands
// for.
//
// Formulas written over balls carry their own error analysis, whatever the cancellation. Every bound below is
// a power of two, rounded up, so an operation gives away a bit or two of a few hundred.
//
// Lemmas. P bits of precision; a^ stands for a with |a - a^| <= 2^Ea, and X(a) is the exponent of a^: |a^| <
// 2^X(a). The result r^ of an operation on a^, b^ is off by its rounding: at most 2^(X(r)-P) (half of it for
// MPFR).
//   a +- b:   2^Ea + 2^Eb + rounding; three terms: their largest exponent + 2.
//   a * b:    |a^| 2^Eb + |b^| 2^Ea + 2^(Ea+Eb) + rounding; four terms: largest exponent + 2.
//   a / b:    if Eb <= X(b) - 2, then |b| >= |b^| - 2^Eb >= 2^(X(b)-2), and
//             |a/b - a^/b^| = |(a - a^) - (a^/b^)(b - b^)| / |b| <= (2^Ea + 2^(X(r)+Eb)) 2^(2-X(b)): |a^/b^|
//             is at most 2^X(r) even where r^ was rounded up. Three terms.
//   sqrt(a):  if Ea <= X(a) - 2, then a >= a^/2 > 0 and |sqrt a - sqrt a^| = |a - a^| / (sqrt a + sqrt a^)
//             <= 2^Ea / (1.7 sqrt a^) <= 2^(Ea+1-X(r)), since sqrt a^ >= 2^(X(r)-1) (1 - 2^-P). Two terms:
//             + 1.
// Each is attained within a factor 4 (tests/settle.test.cpp).
#pragma once

#include <algorithm>

#include "exact.h"
#include "real.h"

namespace normproof::reference {

inline constexpr long no_bound = 1L << 40;

template <class Real>
struct Ball {
  Real value = 0;
  long error = minus_infinity;  ///< exact unless said otherwise

  Ball() = default;
  Ball(double exact) : value(exact) {}  // NOLINT(google-explicit-constructor): doubles embed exactly
  Ball(Real approximate, long bound) : value(std::move(approximate)), error(bound) {}
};

template <class Real>
long rounding(const Real& result) {
  return exponent_of(result) - precision<Real>;
}

template <class Real>
Ball<Real> operator+(const Ball<Real>& a, const Ball<Real>& b) {
  Real r = a.value + b.value;
  const long error = std::max({a.error, b.error, rounding(r)}) + 2;
  return {std::move(r), error};
}
template <class Real>
Ball<Real> operator-(const Ball<Real>& a, const Ball<Real>& b) {
  Real r = a.value - b.value;
  const long error = std::max({a.error, b.error, rounding(r)}) + 2;
  return {std::move(r), error};
}
template <class Real>
Ball<Real> operator*(const Ball<Real>& a, const Ball<Real>& b) {
  Real r = a.value * b.value;
  const long error = std::max({exponent_of(a.value) + b.error, exponent_of(b.value) + a.error,
                               a.error + b.error, rounding(r)}) +
                     2;
  return {std::move(r), error};
}
template <class Real>
Ball<Real> operator/(const Ball<Real>& a, const Ball<Real>& b) {
  const long size = exponent_of(b.value);
  if (b.error > size - 2)
    return {Real(0), no_bound};
  Real r = a.value / b.value;
  const long error = std::max({a.error + 2 - size, exponent_of(r) + b.error + 2 - size, rounding(r)}) + 2;
  return {std::move(r), error};
}
template <class Real>
Ball<Real> sqrt(const Ball<Real>& a) {
  if (a.value <= 0 || a.error > exponent_of(a.value) - 2) {
    if (a.value == 0 && a.error == minus_infinity)
      return a;
    return {Real(0), no_bound};
  }
  Real r = sqrt(a.value);
  const long error = std::max(a.error + 1 - exponent_of(r), rounding(r)) + 1;
  return {std::move(r), error};
}
template <class Real>
Ball<Real> max(const Ball<Real>& a, const Ball<Real>& b) {
  return {a.value < b.value ? b.value : a.value, std::max(a.error, b.error)};
}

/// The leading P bits of an exact number: what is cut off is below 2^(X-P).
template <class Real>
Ball<Real> ball(const Dyadic& v) {
  if (v.sign() == 0)
    return {};
  Integer magnitude = abs(v.significand);
  const auto bits = static_cast<long>(msb(magnitude)) + 1;
  const long dropped = std::max(0L, bits - precision<Real>);
  magnitude >>= static_cast<unsigned long>(dropped);
  Real value = 0;
  for (long low = (bits - dropped - 1) / 32 * 32; low >= 0; low -= 32) {
    const auto digit = static_cast<unsigned>((magnitude >> static_cast<unsigned long>(low)) & 0xffffffffU);
    value = ldexp(value, 32) + digit;  // exact: never more than P bits
  }
  value = ldexp(value, static_cast<int>(v.exponent + dropped));
  return {v.sign() < 0 ? Real(-value) : value, dropped == 0 ? minus_infinity : rounding(value)};
}
template <class Real>
Ball<Real> ball(const Quotient& q) {
  if (q.numerator.sign() == 0)
    return {};  // exactly: its root exists
  return ball<Real>(q.numerator) / ball<Real>(Dyadic(q.denominator, 0));
}

}  // namespace normproof::reference
