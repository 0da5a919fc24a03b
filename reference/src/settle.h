// From a ball to the truth: the number of the format nearest to the real inside, and the rest in units of its
// spacing.
//
// A ball either certainly rounds to one number, or straddles a midpoint; then an exact comparison with that
// midpoint decides, and finds ties to be ties. More digits would not: ties exist (the mean of {1, 1 + 2^-23}
// in f32 is one).
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "ball.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"
#include "normproof/spec/format.h"

namespace normproof::reference {

struct Rounded {
  double rn = 0;
  double off = 0;
};

/// What an exact comparison of the truth with a dyadic said. `unknown`: there is no exact route to this
/// value.
enum class Side { below = -1, equal = 0, above = 1, unknown = 2 };

/// The real is known to 2^-53 of a spacing or better before anything is decided; truth.h promises 2^-50 of
/// `off`, and storing `off` as a double adds 2^-53.
inline constexpr long off_bits = 53;

/// A ball on the grid of its binade: real = (whole + off) * 2^quantum.
struct Trial {
  bool precise = false;  ///< the ball is small enough to say anything
  bool certain = false;  ///< every real of the ball rounds to `whole`
  int quantum = 0;
  double whole = 0;
  double off = 0;
  Dyadic question;  ///< precise, but not certain: the number to compare the truth with (a midpoint, or 0 for
                    ///< its sign)
};

/// The number whole * 2^quantum, and off in units of that number's own spacing.
inline Rounded assemble(const Format& format, double whole, int quantum, double off, bool tie) {
  if (std::isinf(whole))
    return {whole, off};
  // Only an exact tie may look like one.
  if (!tie && std::abs(off) >= 0.5)
    off = std::copysign(std::nextafter(0.5, 0.0), off);
  const double magnitude = std::ldexp(std::abs(whole), quantum);
  if (magnitude > largest(format))
    return {std::copysign(HUGE_VAL, whole), off};
  if (std::abs(whole) == std::ldexp(1.0, format.p))
    off /= 2;  // rounded up into the next binade
  return {std::copysign(magnitude, whole), off};
}

/// `slack` is 0; tests shrink the ball by 2^slack to see that its size matters.
template <class Real>
Trial attempt(const Format& format, const Ball<Real>& y, long slack = 0) {
  Trial trial;
  const long error = y.error - slack;
  const long exponent = exponent_of(y.value) - 1;
  trial.quantum = static_cast<int>(std::clamp<long>(exponent, format.emin, format.emax)) - format.p + 1;
  // Far beyond the range `off` is a huge number of spacings: a relative promise, as a double can keep it.
  const bool far_beyond = exponent > format.emax + 1 && error - exponent <= -off_bits;
  trial.precise = error - trial.quantum <= -off_bits || far_beyond;
  if (!trial.precise)
    return trial;

  const Real scaled = ldexp(y.value, -trial.quantum);
  if (exponent > format.emax) {  // beyond 2^(emax+1): infinity, whatever the last bits
    const double most = std::numeric_limits<double>::max();
    const double edge = std::ldexp(1.0, format.p);
    trial.whole = y.value < 0 ? -HUGE_VAL : HUGE_VAL;
    trial.off = std::clamp(static_cast<double>(Real(scaled - (y.value < 0 ? -edge : edge))), -most, most);
    trial.certain = true;
    return trial;
  }
  trial.whole = std::nearbyint(static_cast<double>(scaled));
  const Real rest = scaled - trial.whole;  // exact: P bits hold both
  trial.off = static_cast<double>(rest);
  if (trial.whole == 0) {
    trial.whole = std::copysign(0.0, trial.off);
    trial.certain = exponent_of(y.value) - 1 > error;
    if (!trial.certain)
      return trial;  // the question is the sign: is the truth 0?
  }
  if (std::abs(trial.off) < 0.5 - 0x1p-40) {
    trial.certain = true;
    return trial;
  }
  // Next to a midpoint. m is the signed distance from it, away from `whole` where positive.
  const Real m = abs(rest) - 0.5;
  const double side = trial.off > 0 ? 1 : -1;
  trial.certain = exponent_of(m) - 1 > error - trial.quantum;
  if (trial.certain) {
    if (m > 0) {
      trial.whole += side;
      trial.off -= side;
    }
  } else {
    trial.question = Dyadic(trial.whole) + Dyadic(side / 2);
    trial.question.exponent += trial.quantum;
  }
  return trial;
}

/// Decides what the ball left open, given the exact comparison of the truth with trial.question.
inline Rounded resolve(const Format& format, const Trial& trial, Side side) {
  if (trial.whole == 0 && trial.question.sign() == 0) {
    if (side == Side::equal)
      return {};
    return {side == Side::below ? -0.0 : 0.0, trial.off};
  }
  const double direction = trial.off > 0 ? 1 : -1;  // from whole to the midpoint
  const bool tie = side == Side::equal;
  const bool beyond = tie ? std::fmod(trial.whole, 2) != 0 : (side == Side::above) == (direction > 0);
  if (tie)
    return assemble(format, beyond ? trial.whole + direction : trial.whole, trial.quantum,
                    beyond ? -0.5 * direction : 0.5 * direction, true);
  return assemble(format, beyond ? trial.whole + direction : trial.whole, trial.quantum,
                  beyond ? trial.off - direction : trial.off, false);
}

/// The truth of one value: `at(tier)` gives its ball at a tier of precision, `side(dyadic)` compares it
/// exactly.
///
/// The last tier always has a small enough ball, so the recursion ends at an answer. A formula of forward.h
/// is off by at most 2^(24-P) times its largest intermediate result (ball.h: two bits per operation), and is
/// asked for 2^-53 of a spacing, never below 2^-1074. The largest result is gamma r (|x| + |mean|), with
/// |gamma| < 2^1024:
/// - training: r <= 1/sigma; if the values of a channel differ, by W at most, then |x| <= 2^54 W (all but
/// equal numbers
///   share their exponent and differ by a last place at least) and W <= sqrt(2n) sigma: below 2^(1024 + 77),
///   n < 2^41. Values that do not differ need no ball: x - mean = 0.
/// - inference: r <= 1/eps <= 2^1074 in the worst placement: below 2^(1024 + 1074 + 1025) = 2^3123.
/// Running values stay below 2^(1024 + 2048). So 24 + 3123 + 53 + 1074 = 4274 < 4352 bits are enough.
/// - gradients: r P + shift with P exact (backward_channel.cpp), so without a shift every tier is precise.
/// With one,
///   below 2^1024, either |r P| <= 2^3123 as before, or the sum is far beyond every range, where a relative
///   error does.
template <std::size_t Tier = 0, class At, class Compare>
Rounded settle(const Format& format, const At& at, const Compare& side, Effort& effort) {
  if constexpr (Tier == 0)
    ++effort.elements;
  const Trial trial = attempt(format, at(std::integral_constant<std::size_t, Tier>{}));
  if (trial.certain) {
    if constexpr (Tier > 0)
      ++effort.escalated;
    return assemble(format, trial.whole, trial.quantum, trial.off, false);
  }
  if (trial.precise) {
    if (const Side answer = side(trial.question); answer != Side::unknown) {
      ++effort.escalated;
      ++effort.arbitrated;
      return resolve(format, trial, answer);
    }
  }
  if constexpr (Tier + 1 < std::tuple_size_v<Tiers>) {
    return settle<Tier + 1>(format, at, side, effort);
  } else {
    if (!trial.precise)
      throw std::logic_error("the last tier of precision cannot decide a value");
    ++effort.escalated;
    return resolve(format, trial,
                   Side::equal);  // agrees with a midpoint to thousands of bits, no exact route: a tie
  }
}

}  // namespace normproof::reference
