// The smallest steps: one rounding from an integer, hex floats, edit distance.
#include "fixed.h"

#include <array>
#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "normproof/properties/case_file.h"
#include "normproof/properties/nearest.h"
#include "random.h"

namespace normproof::properties {
namespace {

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

/// By way of a double, which is right while the double is exact.
double rounded_from_double(const Format& f, std::int64_t value, int exponent) {
  const double magnitude = std::ldexp(std::fabs(static_cast<double>(value)), exponent);
  return round_to(f, value < 0 ? -magnitude : magnitude);
}

RC_GTEST_PROP(RoundOnce, AgreesWithRoundToWhereTheDoubleIsExact, ()) {
  const auto width = *rc::gen::inRange(1, 54);
  const auto value = static_cast<std::int64_t>(*rc::gen::arbitrary<std::uint64_t>() >> (64 - width));
  const bool negative = *rc::gen::arbitrary<bool>();
  const int exponent = *rc::gen::inRange(-1074, 971);
  for (const Format& f : formats()) {
    const std::int64_t signed_value = negative ? -value : value;
    if (value != 0)
      RC_ASSERT(bits(round_once(f, signed_value, exponent)) ==
                bits(rounded_from_double(f, signed_value, exponent)));
  }
}

TEST(RoundOnce, RoundingByWayOfADoubleWouldBeWrong) {
  // 2^60 + 2^36 + 1: just above the tie between two f32 numbers. The double nearest to it is the tie itself,
  // which would go to even, down.
  const int128 value = (int128{1} << 60) + (int128{1} << 36) + 1;
  EXPECT_EQ(round_once(f32, value, -60), 0x1.000002p+0);
  EXPECT_EQ(round_to(f32, static_cast<double>(static_cast<std::int64_t>(value)) * 0x1p-60), 1.0);
  EXPECT_EQ(round_once(f32, value - 1, -60), 1.0);  // the tie
  EXPECT_EQ(round_once(f32, -value, -60), -0x1.000002p+0);
}

TEST(RoundOnce, TheEdgesOfAFormat) {
  EXPECT_EQ(round_once(f32, 1, -149), 0x1p-149);
  EXPECT_EQ(round_once(f32, 1, -150), 0.0);  // a tie, to even
  EXPECT_EQ(round_once(f32, 3, -151), 0x1p-149);
  EXPECT_TRUE(std::signbit(round_once(f32, -1, -400)));
  EXPECT_EQ(round_once(f32, (int128{1} << 25) - 1, 103), HUGE_VAL);  // rounds up to 2^128
  EXPECT_EQ(round_once(f32, (int128{1} << 24) - 1, 104), largest(f32));
  EXPECT_EQ(round_once(f64, 1, 1023), 0x1p+1023);
  EXPECT_EQ(round_once(f64, 1, -1074), 0x1p-1074);
  EXPECT_EQ(round_once(f64, 1, 1024), HUGE_VAL);
  EXPECT_EQ(round_once(f64, (int128{1} << 53) - 1, 971), largest(f64));
}

RC_GTEST_PROP(HexFloat, EveryDoubleComesBackWithItsBits, ()) {
  const auto pattern = *rc::gen::arbitrary<std::uint64_t>();
  const auto value = std::bit_cast<double>(pattern);
  const auto read = parse_hex_float(hex_float(value));
  RC_ASSERT(read.has_value());
  RC_ASSERT((std::isnan(value) ? std::isnan(*read) : bits(*read) == pattern));
}

TEST(HexFloat, OneSpelling) {
  EXPECT_EQ(hex_float(3.0), "0x1.8p+1");
  EXPECT_EQ(hex_float(-0.0), "-0x0p+0");
  EXPECT_EQ(hex_float(1e-5), "0x1.4f8b588e368f1p-17");
  EXPECT_EQ(hex_float(0x1p-1074), "0x1p-1074");
  EXPECT_EQ(hex_float(0x1.8p-1073), "0x1.8p-1073");
  EXPECT_EQ(hex_float(-HUGE_VAL), "-inf");
  EXPECT_EQ(hex_float(NAN), "nan");
}

TEST(HexFloat, WhatADoubleDoesNotHoldIsRefusedNotRounded) {
  for (const std::string_view text : {"0x1.00000000000008p+0",
                                      "0x1p+1024",
                                      "0x1p-1075",
                                      "0x1.8p-1074",
                                      "1.5",
                                      "0x",
                                      "0x1",
                                      "0x1p",
                                      "0x1p+",
                                      "0x.p+0",
                                      "0x1..8p+0",
                                      " 0x1p+0",
                                      "0x1p+0 ",
                                      "+0x1p+0",
                                      "0x1p+1e",
                                      "-nan",
                                      "NaN",
                                      "infinity",
                                      "",
                                      "0x1p+99999999"})
    EXPECT_FALSE(parse_hex_float(text).has_value()) << text;
}

TEST(Nearest, OneTypoFindsTheName) {
  const std::array<std::string_view, 4> names{"normal", "offset", "outlier", "uniform"};
  EXPECT_EQ(nearest("ofset", names), "offset");
  EXPECT_EQ(nearest("unifrom", names), "uniform");
  EXPECT_EQ(nearest("OUTLIER", names), "outlier");
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(Draw, AWordDependsOnEverythingThatNamesIt) {
  const std::uint64_t word = Draw(1, Stream::x, 0).word(0);
  EXPECT_NE(word, Draw(2, Stream::x, 0).word(0));
  EXPECT_NE(word, Draw(1, Stream::gamma, 0).word(0));
  EXPECT_NE(word, Draw(1, Stream::x, 1).word(0));
  EXPECT_NE(word, Draw(1, Stream::x, 0).word(1));
}

/// Moments of N(0, 1) by the law of large numbers, within 5 standard errors; an Irwin-Hall sum of twelve has
/// kurtosis 2.9, a plain uniform 1.8, a sum of three 2.6.
TEST(Draw, NormalHasTheMomentsOfANormal) {
  constexpr std::uint64_t n = 1 << 20;
  const Draw draw(7, Stream::x, 0);
  double s1 = 0, s2 = 0, s3 = 0, s4 = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const double v = static_cast<double>(normal(draw, i)) * 0x1p-60;
    ASSERT_LT(std::fabs(v), 6.01);
    s1 += v, s2 += v * v, s3 += v * v * v, s4 += v * v * v * v;
  }
  const double error = 5 / std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(s1 / n, 0, error);
  EXPECT_NEAR(s2 / n, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(s3 / n, 0, error * std::sqrt(15.0));
  EXPECT_NEAR(s4 / n, 2.9, error * std::sqrt(96.0));
}

}  // namespace
}  // namespace normproof::properties
