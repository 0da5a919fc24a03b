// Formats as values: rounding, encoding and decoding in integers, so that no conversion by way of another
// format can round a second time.
#include "normproof/spec/format.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace normproof {
namespace {

constexpr std::array all_formats{f64, f32, f16, bf16};

// What the library's ldexp and frexp do, without the call where numbers are normal: a judge rounds and
// encodes every value.

/// v 2^e. (One multiplication rounds as ldexp does, wherever 2^e is a number.)
double times_power(double v, int e) {
  if (e < -1022 || e > 1023)
    return std::ldexp(v, e);
  return v * std::bit_cast<double>(static_cast<std::uint64_t>(e + 1023) << 52);
}

/// |v| = significand * 2^exponent of a finite double other than zero, with 2^52 <= significand < 2^53.
struct Parts {
  std::uint64_t significand;
  int exponent;
};
Parts parts_of(double v) {
  constexpr std::uint64_t hidden = std::uint64_t{1} << 52;
  const auto bits = std::bit_cast<std::uint64_t>(v);
  const auto field = static_cast<int>((bits >> 52) & 0x7ff);
  if (field != 0)
    return {(bits & (hidden - 1)) | hidden, field - 1075};
  int exponent = 0;
  const double fraction = std::frexp(std::abs(v), &exponent);
  return {static_cast<std::uint64_t>(std::ldexp(fraction, 53)), exponent - 53};
}

/// Exponent of the quantum (the last place) of the numbers in v's binade.
int quantum_exponent(const Format& format, const Parts& v) {
  return std::max(v.exponent + 52, format.emin) - format.p + 1;
}

std::uint64_t exponent_field_mask(const Format& format) {
  return (std::uint64_t{1} << (8 * format.bytes - format.p)) - 1;
}

}  // namespace

std::span<const Format> formats() {
  return all_formats;
}

std::optional<Format> format_named(std::string_view name) {
  for (const Format& format : all_formats)
    if (format.name == name)
      return format;
  return std::nullopt;
}

double unit_roundoff(const Format& format) {
  return std::ldexp(1.0, -format.p);
}

double underflow_unit(const Format& format) {
  const double eta = std::ldexp(1.0, format.emin - format.p);
  return eta > 0 ? eta : std::numeric_limits<double>::denorm_min();
}

double largest(const Format& format) {
  return times_power(2 - times_power(1, 1 - format.p), format.emax);
}
double smallest_normal(const Format& format) {
  return times_power(1, format.emin);
}
double smallest(const Format& format) {
  return std::ldexp(1.0, format.emin - format.p + 1);
}

double round_to(const Format& format, double value) {
  if (value == 0 || !std::isfinite(value))
    return value;
  const Parts v = parts_of(value);
  const int quantum = quantum_exponent(format, v);
  const int dropped = quantum - v.exponent;  // bits below the last place
  if (dropped > 54)
    return std::copysign(0.0, value);

  std::uint64_t kept = v.significand;
  if (dropped > 0) {
    const std::uint64_t rest = v.significand & ((std::uint64_t{1} << dropped) - 1);
    const std::uint64_t half = std::uint64_t{1} << (dropped - 1);
    kept = v.significand >> dropped;
    if (rest > half || (rest == half && (kept & 1) != 0))
      ++kept;
  }
  const double magnitude = times_power(static_cast<double>(kept), dropped > 0 ? quantum : v.exponent);
  return std::copysign(magnitude > largest(format) ? HUGE_VAL : magnitude, value);
}

bool is_representable(const Format& format, double value) {
  return std::isnan(value) || round_to(format, value) == value;
}

std::uint64_t encode(const Format& format, double value) {
  const int fraction_bits = format.p - 1;
  const std::uint64_t all_ones = exponent_field_mask(format) << fraction_bits;
  if (std::isnan(value))
    return all_ones | (std::uint64_t{1} << (fraction_bits - 1));

  const std::uint64_t sign = std::uint64_t{std::signbit(value)} << (8 * format.bytes - 1);
  if (value == 0)
    return sign;
  if (std::isinf(value))
    return sign | all_ones;

  // A normal number has its hidden bit at fraction_bits; adding the significand to the exponent field less
  // one puts it there. A subnormal has none and the field is 0: the same sum.
  const Parts v = parts_of(value);
  const int quantum = quantum_exponent(format, v);
  const std::uint64_t significand = v.significand >> (quantum - v.exponent);
  const auto field = static_cast<std::uint64_t>(quantum + fraction_bits - format.emin);
  return sign | ((field << fraction_bits) + significand);
}

double decode(const Format& format, std::uint64_t bits) {
  const int fraction_bits = format.p - 1;
  const std::uint64_t field = (bits >> fraction_bits) & exponent_field_mask(format);
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << fraction_bits) - 1);
  const bool negative = ((bits >> (8 * format.bytes - 1)) & 1) != 0;

  double magnitude = 0;
  if (field == exponent_field_mask(format)) {
    if (fraction != 0)
      return std::numeric_limits<double>::quiet_NaN();
    magnitude = HUGE_VAL;
  } else if (field == 0) {
    magnitude = std::ldexp(static_cast<double>(fraction), format.emin - fraction_bits);
  } else {
    const std::uint64_t significand = fraction | (std::uint64_t{1} << fraction_bits);
    magnitude = std::ldexp(static_cast<double>(significand),
                           format.emin - fraction_bits + static_cast<int>(field) - 1);
  }
  return negative ? -magnitude : magnitude;
}

}  // namespace normproof
