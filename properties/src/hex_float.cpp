// The one spelling of a number in every file and report: hex floats, which say the bits and nothing else.
#include <bit>
#include <cstdint>
#include <limits>
#include <string>

#include "fixed.h"
#include "normproof/properties/case_file.h"

namespace normproof::properties {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string hex_float(double value) {
  if (value != value)
    return "nan";
  const auto bits = std::bit_cast<std::uint64_t>(value);
  std::string text = (bits >> 63) != 0 ? "-" : "";
  std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  int exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1023;
  if (exponent == 1024)
    return text + "inf";
  if (exponent == -1023 && fraction == 0)
    return text + "0x0p+0";
  if (exponent == -1023) {  // subnormal: written normalised, so that a value has one spelling in every format
    const int shift = 53 - bit_width(fraction);
    fraction = (fraction << shift) & ((std::uint64_t{1} << 52) - 1);
    exponent = -1022 - shift;
  }
  text += "0x1";
  if (fraction != 0) {
    text += '.';
    for (; fraction != 0; fraction = (fraction << 4) & ((std::uint64_t{1} << 52) - 1))
      text += "0123456789abcdef"[fraction >> 48];
  }
  text += exponent < 0 ? "p-" : "p+";
  return text + std::to_string(exponent < 0 ? -exponent : exponent);
}

std::optional<double> parse_hex_float(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative)
    text.remove_prefix(1);
  if (text == "nan")
    return negative ? std::nullopt : std::optional(std::numeric_limits<double>::quiet_NaN());
  if (text == "inf")
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  if (!text.starts_with("0x"))
    return std::nullopt;
  text.remove_prefix(2);

  std::uint64_t significand = 0;
  int exponent = 0, digits = 0;
  bool point = false;
  std::size_t at = 0;
  for (; at < text.size() && text[at] != 'p'; ++at) {
    if (text[at] == '.' && !point) {
      point = true;
      continue;
    }
    const int digit = hex_digit(text[at]);
    if (digit < 0 || significand >> 60 != 0)
      return std::nullopt;
    significand = significand * 16 + static_cast<std::uint64_t>(digit);
    ++digits;
    if (point)
      exponent -= 4;
  }
  if (digits == 0 || at == text.size())
    return std::nullopt;
  text.remove_prefix(at + 1);
  const bool down = text.starts_with('-');
  if (down || text.starts_with('+'))
    text.remove_prefix(1);
  if (text.empty() || text.size() > 5)
    return std::nullopt;
  int written = 0;
  for (const char c : text) {
    if (c < '0' || c > '9')
      return std::nullopt;
    written = written * 10 + (c - '0');
  }
  exponent += down ? -written : written;
  if (significand == 0)
    return negative ? -0.0 : 0.0;
  const int zeros = std::countr_zero(significand);
  significand >>= zeros;
  exponent += zeros;
  const int top = bit_width(significand) + exponent;
  // A number that a double does not hold would be rounded in silence: refused.
  if (bit_width(significand) > 53 || exponent < -1074 || top > 1024)
    return std::nullopt;
  const double value = round_once(f64, static_cast<int128>(significand), exponent);
  return negative ? -value : value;
}

}  // namespace normproof::properties
