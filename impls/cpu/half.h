// The 16-bit formats as kernels use them: storage only. Arithmetic is done in float or double, and a result
// is rounded to nearest, ties to even, once, in integers, from the very number that the arithmetic gave: from
// a double directly, never by way of a float.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace normproof::impls::cpu {

/// Precision p with the hidden bit; `bias` and the width of the exponent field as in IEEE 754.
template <int p, int bias>
struct Half {
  std::uint16_t bits = 0;

  Half() = default;
  explicit constexpr Half(double value) : bits(narrow(value)) {}
  explicit constexpr Half(float value) : bits(narrow(static_cast<double>(value))) {}
  explicit constexpr operator double() const { return widen(bits); }
  explicit constexpr operator float() const { return static_cast<float>(widen(bits)); }

private:
  static constexpr int fraction = p - 1;  ///< bits stored of the significand
  static constexpr std::uint64_t infinity = std::uint64_t{2 * bias + 1} << fraction;

  static constexpr std::uint16_t narrow(double value) {
    const auto from = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint16_t>(from >> 63 << 15);
    const std::uint64_t magnitude = from & ~(std::uint64_t{1} << 63);
    if (magnitude > std::uint64_t{0x7FF} << 52)
      return static_cast<std::uint16_t>(sign | infinity | std::uint64_t{1} << (fraction - 1));
    const int exponent = static_cast<int>(magnitude >> 52) - 1023 + bias;
    // Below the normal numbers more bits go; from 53 on all of them, whatever the number.
    const int dropped = std::min(52 - fraction + std::max(1 - exponent, 0), 54);
    std::uint64_t significand = (magnitude & ((std::uint64_t{1} << 52) - 1)) | std::uint64_t{1} << 52;
    const std::uint64_t half = std::uint64_t{1} << (dropped - 1);
    const std::uint64_t rest = significand & (2 * half - 1);
    significand >>= dropped;
    significand += rest > half || (rest == half && (significand & 1) != 0) ? 1 : 0;
    // A carry out of the significand goes up into the exponent, which is right, up to the infinity.
    const std::uint64_t rounded =
        exponent < 1 ? significand : (static_cast<std::uint64_t>(exponent - 1) << fraction) + significand;
    return static_cast<std::uint16_t>(sign | std::min(rounded, infinity));
  }

  static constexpr double widen(std::uint16_t stored) {
    const auto sign = static_cast<std::uint64_t>(stored >> 15) << 63;
    const std::uint64_t magnitude = stored & 0x7FFF;
    const std::uint64_t exponent = magnitude >> fraction;
    if (exponent == 0) {  // a multiple of the smallest subnormal
      const double least = std::bit_cast<double>(std::uint64_t{1023 + 1 - bias - fraction} << 52);
      return std::bit_cast<double>(sign |
                                   std::bit_cast<std::uint64_t>(static_cast<double>(magnitude) * least));
    }
    const std::uint64_t bits = magnitude << (52 - fraction);
    return std::bit_cast<double>(
        sign | (magnitude >= infinity ? std::uint64_t{0x7FF} << 52 | (bits & ((std::uint64_t{1} << 52) - 1))
                                      : bits + (std::uint64_t{1023 - bias} << 52)));
  }
};

using F16 = Half<11, 15>;
using BF16 = Half<8, 127>;

/// What a kernel adds up in where it has no other width of its own: double for double, float for the rest.
template <class Data>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

}  // namespace normproof::impls::cpu
