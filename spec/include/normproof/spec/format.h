// Floating-point formats as values.
//
// Binary64 holds every f64, f32, f16 and bf16 number exactly, so outside impls/ a tensor value is a double
// and its format is data: nothing that judges carries a dtype template. Rounding into a format happens here,
// once, in integers: a conversion by way of a second format would round twice.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace normproof {

/// An IEEE 754 style binary format with subnormals: precision p in bits (hidden bit included), exponent range
/// of the normal numbers 2^emin .. 2^emax * (2 - 2^(1-p)). Width in bytes of its stored encoding.
struct Format {
  std::string_view name;
  int p;
  int emin;
  int emax;
  int bytes;

  friend constexpr bool operator==(const Format& a, const Format& b) { return a.name == b.name; }
};

inline constexpr Format f64{"f64", 53, -1022, 1023, 8};
inline constexpr Format f32{"f32", 24, -126, 127, 4};
inline constexpr Format f16{"f16", 11, -14, 15, 2};
inline constexpr Format bf16{"bf16", 8, -126, 127, 2};

/// Every format, widest first.
std::span<const Format> formats();
/// The format of that name, or nothing.
std::optional<Format> format_named(std::string_view name);

/// Unit roundoff u = 2^-p: the largest relative error of one rounding to nearest.
double unit_roundoff(const Format& format);
/// eta = 2^(emin-p): half the smallest subnormal, the largest absolute error of one rounding that underflows.
/// That of f64 is no double; the smallest positive double, 2 eta, stands for it (a bound may be too large,
/// never too small).
double underflow_unit(const Format& format);
/// Largest finite number, smallest normal number, smallest positive number.
double largest(const Format& format);
double smallest_normal(const Format& format);
double smallest(const Format& format);

/// The double rounded to nearest, ties to even, into the format; overflow gives an infinity, NaN stays NaN.
/// Exact for f64. One rounding: right only where `value` itself is the exact value meant.
double round_to(const Format& format, double value);
bool is_representable(const Format& format, double value);

/// Stored bits of a representable value (see is_representable), and the value of stored bits. NaN encodes as
/// the quiet NaN of payload 0; decode keeps no payload.
std::uint64_t encode(const Format& format, double value);
double decode(const Format& format, std::uint64_t bits);

}  // namespace normproof
