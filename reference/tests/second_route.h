// The second route to the truth: exact rationals by the two-pass definition, square roots bracketed by
// integers. Shares no code with the oracle: no balls, no precision tiers, no n sum x^2 - (sum x)^2, no
// superaccumulator.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include <boost/multiprecision/cpp_int.hpp>

#include "normproof/spec/case.h"

namespace normproof::second_route {

using Integer = boost::multiprecision::cpp_int;
using Rational = boost::multiprecision::cpp_rational;

inline Rational power_of_two(int exponent) {
  const Integer power = Integer(1) << static_cast<unsigned>(std::abs(exponent));
  return exponent < 0 ? Rational(Integer(1), power) : Rational(power);
}

inline Rational exact(double v) {
  int exponent = 0;
  const double fraction = std::frexp(v, &exponent);
  return Rational(static_cast<std::int64_t>(std::ldexp(fraction, 53))) * power_of_two(exponent - 53);
}

inline Integer floor_of(const Rational& v) {
  const Integer q = numerator(v) / denominator(v);  // truncates
  return v < 0 && q * denominator(v) != numerator(v) ? Integer(q - 1) : q;
}

struct Nearest {
  double rn = 0;
  bool tie = false;
};

/// Nearest number of the format, ties to even.
inline Nearest nearest(const Format& format, const Rational& v) {
  if (v == 0)
    return {};
  const Rational magnitude = abs(v);
  int exponent = static_cast<int>(msb(numerator(magnitude))) - static_cast<int>(msb(denominator(magnitude)));
  if (magnitude < power_of_two(exponent))
    --exponent;
  const int quantum = std::max(exponent, format.emin) - format.p + 1;
  const Rational scaled = magnitude / power_of_two(quantum);
  const Integer whole = floor_of(scaled);
  const Rational rest = scaled - Rational(whole);
  const bool tie = rest == Rational(1, 2) && exponent <= format.emax;  // beyond the range nothing ties
  const bool up = rest > Rational(1, 2) || (tie && bit_test(whole, 0));
  const Integer rounded = whole + (up ? 1 : 0);
  const double sign = v < 0 ? -1 : 1;
  if (Rational(rounded) * power_of_two(quantum) > exact(largest(format)))
    return {sign * HUGE_VAL, tie};
  return {sign * std::ldexp(static_cast<double>(rounded), quantum), tie};
}

/// (v - rn) / spacing(rn).
inline double off(const Format& format, const Rational& v, double rn) {
  int exponent = format.emin;
  if (std::isinf(rn))
    exponent = format.emax;
  else if (rn != 0)
    exponent = std::max(std::ilogb(rn), format.emin);
  const Rational number =
      std::isinf(rn) ? Rational(rn > 0 ? 1 : -1) * power_of_two(format.emax + 1) : exact(rn);
  return static_cast<double>(Rational((v - number) / power_of_two(exponent - format.p + 1)));
}

struct Statistics {
  Rational mean, biased, unbiased;  ///< unbiased is 0 where n = 1
};

inline Statistics statistics(const double* x, std::int64_t n) {
  Statistics s;
  for (std::int64_t i = 0; i < n; ++i)
    s.mean += exact(x[i]);
  s.mean /= n;
  Rational squares;
  for (std::int64_t i = 0; i < n; ++i) {
    const Rational d = exact(x[i]) - s.mean;
    squares += d * d;
  }
  s.biased = squares / n;
  if (n > 1)
    s.unbiased = squares / (n - 1);
  return s;
}

/// Integers low <= 1/sqrt(s) 2^bits < low + 1.
inline Integer root_below(const Rational& s, unsigned bits) {
  return sqrt(Integer((denominator(s) << (2 * bits)) / numerator(s)));
}

/// Nearest to scale / sqrt(s) + shift, by brackets until both ends round alike; a tie is found by squaring.
inline Nearest nearest_scaled_root(const Format& format, const Rational& scale, const Rational& s,
                                   const Rational& shift, Rational* value) {
  // The root has about `size` bits before the point: brackets of 400, then more, significant bits.
  const int size = (static_cast<int>(msb(numerator(s))) - static_cast<int>(msb(denominator(s)))) / 2;
  for (int significant = 400; significant <= 6400; significant *= 4) {
    const auto bits = static_cast<unsigned>(std::max(significant + size, 1));
    const Integer low = root_below(s, bits);
    const Rational unit = power_of_two(-static_cast<int>(bits));
    const Rational a = scale * Rational(low) * unit + shift;
    const Rational b = scale * Rational(Integer(low + 1)) * unit + shift;
    *value = a;
    const Nearest from_a = nearest(format, a);
    const Nearest from_b = nearest(format, b);
    if (from_a.rn == from_b.rn && !from_a.tie && !from_b.tie)
      return from_a;
    // The only number of at most 54 + few bits in so narrow a bracket: is the truth exactly that?
    const Rational grid = power_of_two(format.emin - format.p - 1);
    for (const Rational& end : {a, b}) {
      const Rational candidate = Rational(floor_of(end / grid + Rational(1, 2))) * grid;
      if (!((a <= candidate && candidate <= b) || (b <= candidate && candidate <= a)))
        continue;
      const Rational rest = candidate - shift;
      if ((rest < 0) == (scale < 0) && rest * rest * s == scale * scale) {
        *value = candidate;
        return nearest(format, candidate);
      }
    }
  }
  throw std::runtime_error("no bracket decides this value");
}

}  // namespace normproof::second_route
