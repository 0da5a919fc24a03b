// Exact numbers: dyadic m * 2^e and quotients of a dyadic by a positive integer.
//
// Inputs are dyadic, and mean, variance, v + eps and the running values are such quotients. Nothing here
// rounds, so the one-pass formula n sum x^2 - (sum x)^2, notorious in floating point, is simply right.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include <boost/multiprecision/cpp_int.hpp>

namespace normproof::reference {

using Integer =
    boost::multiprecision::number<boost::multiprecision::cpp_int_backend<>, boost::multiprecision::et_off>;

struct Dyadic {
  Integer significand;
  std::int64_t exponent = 0;

  Dyadic() = default;
  Dyadic(Integer m, std::int64_t e) : significand(std::move(m)), exponent(e) {}
  /// Exact for every finite double.
  explicit Dyadic(double v) {
    if (v == 0)
      return;
    int binary_exponent = 0;
    const auto scaled = static_cast<std::int64_t>(std::ldexp(std::frexp(v, &binary_exponent), 53));
    const int zeros = std::countr_zero(static_cast<std::uint64_t>(scaled));
    significand = scaled / (std::int64_t{1} << zeros);  // short significands keep products short
    exponent = binary_exponent - 53 + zeros;
  }

  int sign() const { return significand.sign(); }
};

/// The significand of v at a lower exponent.
inline Integer aligned(const Dyadic& v, std::int64_t exponent) {
  return v.significand << static_cast<std::size_t>(v.exponent - exponent);
}
inline Dyadic operator-(const Dyadic& a) {
  return {-a.significand, a.exponent};
}
inline Dyadic operator+(const Dyadic& a, const Dyadic& b) {
  if (a.sign() == 0)
    return b;
  if (b.sign() == 0)
    return a;
  const std::int64_t exponent = std::min(a.exponent, b.exponent);
  return {aligned(a, exponent) + aligned(b, exponent), exponent};
}
inline Dyadic operator-(const Dyadic& a, const Dyadic& b) {
  return a + -b;
}
inline Dyadic operator*(const Dyadic& a, const Dyadic& b) {
  return {a.significand * b.significand, a.exponent + b.exponent};
}
inline Dyadic operator*(const Dyadic& a, const Integer& b) {
  return {a.significand * b, a.exponent};
}

/// Sign of a - b.
inline int compare(const Dyadic& a, const Dyadic& b) {
  if (a.sign() != b.sign())
    return a.sign() < b.sign() ? -1 : 1;
  return (a - b).sign();
}

struct Quotient {
  Dyadic numerator;
  Integer denominator = 1;  ///< positive
};

inline Quotient operator+(const Quotient& a, const Quotient& b) {
  return {a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator};
}
inline Quotient operator*(const Quotient& a, const Quotient& b) {
  return {a.numerator * b.numerator, a.denominator * b.denominator};
}
inline int compare(const Quotient& a, const Dyadic& b) {
  return compare(a.numerator, b * a.denominator);
}
inline int compare(const Quotient& a, const Quotient& b) {
  return compare(a.numerator * b.denominator, b.numerator * a.denominator);
}

}  // namespace normproof::reference
