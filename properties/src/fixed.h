// Integers times a power of two, rounded once into a format: how every number of a recipe is made. By way of
// a double a value would be rounded twice.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "normproof/spec/format.h"

namespace normproof::properties {

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

/// 2^exponent for -1074 <= exponent <= 1023, from its bits.
constexpr double power_of_two(int exponent) {
  const std::uint64_t bits = exponent >= -1022 ? static_cast<std::uint64_t>(exponent + 1023) << 52
                                               : std::uint64_t{1} << (exponent + 1074);
  return std::bit_cast<double>(bits);
}

constexpr int bit_width(uint128 value) {
  const auto high = static_cast<std::uint64_t>(value >> 64);
  return high != 0 ? 128 - std::countl_zero(high) : 64 - std::countl_zero(static_cast<std::uint64_t>(value));
}

/// value * 2^exponent rounded to nearest, ties to even, into the format; an infinity where that overflows.
constexpr double round_once(const Format& format, int128 value, int exponent) {
  if (value == 0)
    return 0.0;
  const bool negative = value < 0;
  const uint128 magnitude = negative ? -static_cast<uint128>(value) : static_cast<uint128>(value);
  const int top = bit_width(magnitude) + exponent;  // magnitude * 2^exponent lies in [2^(top-1), 2^top)
  const int lowest = format.emin - format.p + 1;
  int unit = top - format.p > lowest ? top - format.p : lowest;  // exponent of the result's last place
  std::uint64_t kept = 0;
  if (unit <= exponent) {
    unit = exponent;  // nothing to drop: at most p bits
    kept = static_cast<std::uint64_t>(magnitude);
  } else if (unit - exponent < 128) {
    const int drop = unit - exponent;
    const uint128 half = uint128{1} << (drop - 1);
    const uint128 rest = magnitude & (half + (half - 1));
    kept = static_cast<std::uint64_t>(magnitude >> drop);
    if (rest > half || (rest == half && (kept & 1) != 0))
      ++kept;
  }
  if (kept == 0)
    return negative ? -0.0 : 0.0;
  if (bit_width(kept) + unit > format.emax + 1)
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  // kept < 2^53 + 1 is exact as a double. Where unit leaves the exponents of a double (a value of few bits
  // far up or down), the bits of kept make up for it.
  if (unit > 970) {
    kept <<= unit - 970;
    unit = 970;
  }
  const double result = static_cast<double>(kept) * power_of_two(unit);
  return negative ? -result : result;
}

/// The largest integer whose square is at most `value`.
constexpr uint128 integer_root(uint128 value) {
  uint128 root = 0;
  for (uint128 bit = uint128{1} << 63; bit != 0; bit >>= 1)
    if ((root + bit) * (root + bit) <= value)
      root += bit;
  return root;
}

/// 10^exponent, 0 <= exponent <= 18.
constexpr std::int64_t power_of_ten(std::int64_t exponent) {
  std::int64_t power = 1;
  while (exponent-- > 0)
    power *= 10;
  return power;
}

}  // namespace normproof::properties
