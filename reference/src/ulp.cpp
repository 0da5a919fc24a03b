// Distances in a format. Everything is computed from (rn, off) after one scaling by a power of two, so that
// nothing overflows next to the largest number and nothing underflows next to the smallest, in f64 as in the
// others.
#include "normproof/reference/ulp.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace normproof::reference {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// Exponent of spacing(v).
int spacing_exponent(const Format& format, double v) {
  if (std::isinf(v))
    return format.emax - format.p + 1;
  const int exponent = v == 0 ? format.emin : std::ilogb(v);
  return std::clamp(exponent, format.emin, format.emax) - format.p + 1;
}

/// Whether |v| = 2^k with a finer spacing below than above.
bool starts_binade(const Format& format, double v) {
  if (v == 0 || std::isinf(v))
    return false;
  constexpr std::uint64_t significand = (std::uint64_t{1} << 52) - 1;
  const int exponent = std::ilogb(v);
  return exponent > format.emin && (std::bit_cast<std::uint64_t>(v) & significand) == 0;
}

/// got and the truth in units of 2^exponent, infinities at +-2^(emax+1).
struct Scaled {
  double got;
  double rn;
  double spacing;   ///< of rn
  double half_gap;  ///< from got half way to its neighbour on the truth's side
  int exponent;

  double to_truth(double off) const { return (rn - got) + off * spacing; }
};

Scaled scaled(const Format& format, double got, double rn, double off) {
  const auto exponent_of = [&](double v) {
    return std::isinf(v) ? format.emax + 1 : v == 0 ? format.emin - format.p : std::ilogb(v);
  };
  // The larger of the two near 1: the smaller may underflow only where it does not matter.
  const int exponent = std::max(exponent_of(got), exponent_of(rn));
  const auto scale = [&](double v) {
    if (std::isinf(v))
      return std::copysign(std::ldexp(1.0, format.emax + 1 - exponent), v);
    return std::ldexp(v, -exponent);
  };
  const auto gap = [&](double v) {
    return std::ldexp(1.0, spacing_exponent(format, v) - exponent);
  };
  Scaled s{scale(got), scale(rn), gap(rn), gap(got) / 2, exponent};
  const bool toward_zero = s.to_truth(off) * (got < 0 ? -1 : 1) < 0;
  if (toward_zero && starts_binade(format, got))
    s.half_gap /= 2;
  if (!toward_zero && std::isinf(got))
    s.half_gap = inf;
  return s;
}

/// NaN is at no distance from NaN and infinitely far from a number.
bool nan_involved(double got, double rn) {
  return std::isnan(got) || std::isnan(rn);
}
double nan_distance(double got, double rn) {
  return std::isnan(got) && std::isnan(rn) ? 0 : inf;
}

/// The format holds nothing nearer to a truth beyond its range than this infinity.
bool overflows_rightly(double got, double rn) {
  return std::isinf(rn) && got == rn;
}

}  // namespace

double spacing(const Format& format, double v) {
  return std::ldexp(1.0, spacing_exponent(format, v));
}

double ulp(const Format& format, double rn, double off) {
  const double gap = spacing(format, rn);
  // Harrison: at |y| = 2^k itself the finer side counts.
  const bool above = rn < 0 ? off < 0 : off > 0;
  return starts_binade(format, rn) && !above ? gap / 2 : gap;
}

std::int64_t ordinal(const Format& format, double v) {
  const auto magnitude = static_cast<std::int64_t>(encode(format, std::abs(v)));
  return v < 0 ? -magnitude : magnitude;
}

double distance(const Format& format, double got, double rn, double off) {
  if (nan_involved(got, rn))
    return nan_distance(got, rn);
  if (overflows_rightly(got, rn))
    return 0;
  const Scaled s = scaled(format, got, rn, off);
  return std::ldexp(std::abs(s.to_truth(off)), s.exponent);
}

double ulps_off(const Format& format, double got, double rn, double off) {
  if (nan_involved(got, rn))
    return nan_distance(got, rn);
  if (overflows_rightly(got, rn))
    return 0;
  const Scaled s = scaled(format, got, rn, off);
  const double unit = s.spacing * (ulp(format, rn, off) < spacing(format, rn) ? 0.5 : 1.0);
  // Far from a tiny truth the scaled unit underflows; the quotient of the unscaled ones is then as good.
  if (unit < std::numeric_limits<double>::min())
    return distance(format, got, rn, off) / ulp(format, rn, off);
  return std::abs(s.to_truth(off)) / unit;
}

double distance_to_rounding_interval(const Format& format, double got, double rn, double off) {
  if (nan_involved(got, rn))
    return nan_distance(got, rn);
  const Scaled s = scaled(format, got, rn, off);
  return std::ldexp(std::max(0.0, std::abs(s.to_truth(off)) - s.half_gap), s.exponent);
}

bool is_tie(const Format& format, double rn, double off) {
  const bool toward_zero = rn < 0 ? off > 0 : off < 0;
  return std::abs(off) == (toward_zero && starts_binade(format, rn) ? 0.25 : 0.5);
}

bool is_faithful(const Format& format, double got, double rn, double off) {
  if (std::isnan(rn))
    return std::isnan(got);
  if (got == rn)
    return true;
  if (std::isnan(got) || off == 0)
    return false;
  if (std::isinf(rn))
    return got == std::copysign(largest(format), rn);
  // The neighbour of rn on the truth's side, one step along the ordered line.
  const std::int64_t step = off > 0 ? 1 : -1;
  return ordinal(format, got) == ordinal(format, rn) + step;
}

}  // namespace normproof::reference
