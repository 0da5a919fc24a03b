// Formats: every encoding of the 16-bit formats, and rounding against routes that share no code with it:
// hardware conversion for f32, exact comparison with the enumerated neighbours for f16 and bf16.
#include "normproof/spec/format.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace normproof {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

std::uint64_t bits_of(double v) {
  return std::bit_cast<std::uint64_t>(v);
}

/// All finite values of a 16-bit format that are not negative, ascending: index = encoding.
std::vector<double> enumerate(const Format& format) {
  std::vector<double> values;
  for (std::uint64_t bits = 0; std::isfinite(decode(format, bits)); ++bits)
    values.push_back(decode(format, bits));
  return values;
}

/// Nearest by comparison with the midpoint of the enclosing pair, which a double holds exactly.
double nearest(const std::vector<double>& values, double v) {
  const double magnitude = std::abs(v);
  const double last_gap = values.back() - values[values.size() - 2];
  const auto above = std::upper_bound(values.begin(), values.end(), magnitude);
  const auto index = static_cast<std::size_t>(above - values.begin()) - 1;
  const double low = values[index];
  const double high = above == values.end() ? low + last_gap : *above;
  const double midpoint = (low + high) / 2;
  const bool up = magnitude > midpoint || (magnitude == midpoint && index % 2 == 1);
  const double rounded = !up ? low : above == values.end() ? inf : high;
  return std::copysign(rounded, v);
}

/// Doubles that expose a wrong rounding: every midpoint of the list and its two neighbours, and the values
/// themselves.
std::vector<double> hard_inputs(const std::vector<double>& values) {
  std::vector<double> inputs;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double next = i + 1 < values.size() ? values[i + 1] : 2 * values[i] - values[i - 1];
    const double midpoint = (values[i] + next) / 2;
    for (const double v : {values[i], midpoint, std::nextafter(midpoint, 0), std::nextafter(midpoint, inf)}) {
      inputs.push_back(v);
      inputs.push_back(-v);
    }
  }
  return inputs;
}

TEST(Format, EncodeInvertsDecodeOnEverySixteenBitPattern) {
  for (const Format& format : {f16, bf16}) {
    for (std::uint64_t bits = 0; bits < 0x10000; ++bits) {
      const double v = decode(format, bits);
      EXPECT_TRUE(is_representable(format, v));
      if (std::isnan(v))
        continue;
      ASSERT_EQ(encode(format, v), bits) << format.name;
    }
  }
}

TEST(Format, DecodedSixteenBitNumbersAscendWithTheirEncodings) {
  EXPECT_EQ(enumerate(f16).size(), 0x7c00u);
  EXPECT_EQ(enumerate(bf16).size(), 0x7f80u);
  for (const Format& format : {f16, bf16}) {
    const std::vector<double> values = enumerate(format);
    EXPECT_TRUE(std::is_sorted(values.begin(), values.end()));
    EXPECT_EQ(std::adjacent_find(values.begin(), values.end()), values.end());
    EXPECT_EQ(values[1], smallest(format));
    EXPECT_EQ(values.back(), largest(format));
  }
  EXPECT_EQ(decode(f16, 0x3c00), 1);
  EXPECT_EQ(decode(f16, 0xc001), -2.001953125);
  EXPECT_EQ(decode(f16, 0x0001), 0x1p-24);
  EXPECT_EQ(decode(f16, 0x7bff), 65504);
  EXPECT_EQ(decode(bf16, 0x3f80), 1);
  EXPECT_EQ(decode(bf16, 0x0001), 0x1p-133);
}

TEST(Format, BinaryEncodingsAreThoseOfTheMachine) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t bits = random();
    const double d = std::bit_cast<double>(bits);
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!std::isnan(d)) {
      ASSERT_EQ(encode(f64, d), bits);
      ASSERT_EQ(bits_of(decode(f64, bits)), bits);
    }
    if (!std::isnan(f)) {
      ASSERT_EQ(encode(f32, static_cast<double>(f)), bits & 0xffffffff);
      ASSERT_EQ(bits_of(decode(f32, bits & 0xffffffff)), bits_of(static_cast<double>(f)));
    }
  }
}

TEST(Format, NoDoubleRoundingAtSixteenBitMidpoints) {
  for (const Format& format : {f16, bf16}) {
    const std::vector<double> values = enumerate(format);
    for (const double v : hard_inputs(values))
      ASSERT_EQ(bits_of(round_to(format, v)), bits_of(nearest(values, v))) << format.name << " " << v;
  }
  // By way of f32 these give 3744 and 1.
  EXPECT_EQ(round_to(f16, 3745.0000558048487), 3746);
  EXPECT_EQ(round_to(bf16, 1 + 0x1p-8 + 0x1p-40), 1.0078125);
}

TEST(Format, RoundingToSinglesIsThatOfTheMachine) {
  std::mt19937_64 random(2);
  const auto check = [](double v) {
    ASSERT_EQ(bits_of(round_to(f32, v)), bits_of(static_cast<double>(static_cast<float>(v))))
        << std::hexfloat << v;
  };
  for (int i = 0; i < 300000; ++i) {
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isfinite(f))
      continue;
    const auto low = static_cast<double>(f);
    const double midpoint = low + (static_cast<double>(std::nextafter(f, 0.0F)) - low) / 2;
    for (const double v : {low, midpoint, std::nextafter(midpoint, 0), std::nextafter(midpoint, 2 * low)})
      check(v);
    const double any = std::bit_cast<double>(random());
    if (!std::isnan(any))
      check(any);
  }
  const double threshold = 0x1.ffffffp127;  // halfway between the largest single and 2^128
  for (const double v :
       {threshold, std::nextafter(threshold, 0), -threshold, 0x1p-150, std::nextafter(0x1p-150, 1)})
    check(v);
}

TEST(Format, SpecialValuesKeepTheirSign) {
  for (const Format& format : formats()) {
    EXPECT_TRUE(std::isnan(round_to(format, std::nan(""))));
    EXPECT_TRUE(std::isnan(decode(format, encode(format, std::nan("")))));
    EXPECT_EQ(round_to(format, -inf), -inf);
    EXPECT_TRUE(std::signbit(round_to(format, -0.0)));
    EXPECT_TRUE(std::signbit(decode(format, encode(format, -0.0))));
    EXPECT_EQ(decode(format, encode(format, -inf)), -inf);
    EXPECT_EQ(format_named(format.name), format);
  }
  EXPECT_TRUE(std::signbit(round_to(f32, -0x1p-1000)));
  EXPECT_FALSE(format_named("f8").has_value());
}

TEST(Format, UnitsAreThoseOfTheFormat) {
  EXPECT_EQ(unit_roundoff(f32), 0x1p-24);
  EXPECT_EQ(underflow_unit(f32), 0x1p-150);
  EXPECT_EQ(underflow_unit(f16), 0x1p-25);
  EXPECT_EQ(underflow_unit(f64), 0x1p-1074);  // an upper bound: 2^-1075 is no double
  EXPECT_EQ(largest(f64), std::numeric_limits<double>::max());
  EXPECT_EQ(smallest_normal(f64), std::numeric_limits<double>::min());
  EXPECT_EQ(smallest(f64), std::numeric_limits<double>::denorm_min());
}

}  // namespace
}  // namespace normproof
