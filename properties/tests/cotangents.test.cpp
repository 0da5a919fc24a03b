// What the backward passes are given has the property that it is there for.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fixed.h"
#include "normproof/properties/recipe.h"
#include "statistics.h"

namespace normproof::properties {
namespace {

Case expanded(const std::string& line) {
  const auto parsed = parse_recipe("np1 " + line);
  if (const auto* error = std::get_if<std::string>(&parsed))
    throw std::invalid_argument(*error);
  return expand(std::get<Recipe>(parsed));
}

/// Of channel c: G, G1, H, H1 at the mean and invstd given, in long double.
struct Sums {
  long double g = 0, g1 = 0, h = 0, h1 = 0;
};
Sums sums(const Case& c, std::int64_t channel, double mean, double invstd) {
  Sums s;
  for (std::int64_t i = 0; i < c.problem.shape.per_channel(); ++i) {
    const long double dy = c.channel(c.dy, channel)[i];
    const long double term = dy * (static_cast<long double>(c.channel(channel)[i]) - mean) * invstd;
    s.g += dy;
    s.g1 += std::fabs(dy);
    s.h += term;
    s.h1 += std::fabs(term);
  }
  return s;
}

// ---- saved statistics
// ------------------------------------------------------------------------------------------------

/// In integers: a mean by way of a sum in f32, or rounded twice, is not the nearest of its format.
TEST(SavedStatistics, TheMeanOfAChannelIsRoundedOnceFromItsExactSum) {
  const Format stats = f32;
  for (const char* regime : {"normal", "offset:1000", "uniform", "paired:1000", "sparse:8"}) {
    const Case c = expanded("pass=gradient shape=101x64 regime=" + std::string(regime));
    for (std::int64_t channel = 0; channel < 64; ++channel) {
      const double mean = mean_of(statistics(std::span(c.channel(channel), 101)), stats);
      int128 sum = 0;
      for (int i = 0; i < 101; ++i)
        sum += static_cast<int128>(std::ldexp(c.channel(channel)[i], 60));
      const int128 error = static_cast<int128>(std::ldexp(mean, 60)) * 101 - sum;
      const int128 half_ulp = static_cast<int128>(std::ldexp(1.0, std::ilogb(mean) - 24 + 60)) * 101;
      EXPECT_LE(error < 0 ? -error : error, half_ulp) << regime << " " << channel;
    }
  }
}

/// eps dropped, a Bessel correction, a variance about 0: all far beyond half an ulp of f32.
TEST(SavedStatistics, InvstdIsThatOfTheBiasedVarianceAndEps) {
  for (const char* regime :
       {"normal", "offset:10000", "variance:-8", "variance:-40", "near_constant:4", "constant"})
    for (const double eps : {0x1.4f8b58p-17, 1.0, 0x1.197998p-40}) {
      const Case c = expanded("pass=gradient shape=50x16 regime=" + std::string(regime));
      for (std::int64_t channel = 0; channel < 16; ++channel) {
        const double* x = c.channel(channel);
        long double s = 0, q = 0;
        for (int i = 0; i < 50; ++i)
          s += static_cast<long double>(x[i]) - x[0];
        for (int i = 0; i < 50; ++i) {
          const long double d = static_cast<long double>(x[i]) - x[0] - s / 50;
          q += d * d;
        }
        const auto want = static_cast<double>(1 / std::sqrt(q / 50 + eps));
        const double invstd = invstd_of(statistics(std::span(x, 50)), eps, f32);
        EXPECT_NEAR(invstd / want, 1, 0x1.001p-24) << regime << " " << channel;
      }
    }
}

TEST(SavedStatistics, NeitherHugeNorSubnormalChannelsOverflowOnTheWay) {
  for (const char* dtype : {"f32", "f64"})
    for (const char* regime : {"huge:40", "subnormal"}) {
      const Case c =
          expanded(std::string("pass=backward-training shape=64x8 dtype=") + dtype + " regime=" + regime);
      for (std::int64_t channel = 0; channel < 8; ++channel) {
        const Statistics s = statistics(std::span(c.channel(channel), 64));
        EXPECT_GT(s.variance.hi, 0);
        EXPECT_LT(s.variance.hi, 4);
        EXPECT_TRUE(std::isfinite(c.saved_mean[static_cast<std::size_t>(channel)]));
        EXPECT_GT(c.saved_invstd[static_cast<std::size_t>(channel)], 0);
      }
    }
}

/// A backward that takes its statistics from x instead of from what it is given must show.
TEST(SavedStatistics, OneChannelInFourIsOffByUpToAnEighth) {
  const Case c = expanded("pass=backward-training shape=64x400 regime=offset:10");
  int off = 0, above = 0;
  double furthest = 0;
  for (std::int64_t channel = 0; channel < 400; ++channel) {
    const Statistics s = statistics(std::span(c.channel(channel), 64));
    const auto at = static_cast<std::size_t>(channel);
    const double ratio = c.saved_invstd[at] / invstd_of(s, c.problem.eps, f64) - 1;
    const double shift = (c.saved_mean[at] - mean_of(s, f64)) * invstd_of(s, c.problem.eps, f64);
    EXPECT_LE(std::fabs(ratio), 0.1251);
    EXPECT_LE(std::fabs(shift), 0.1251);
    off += std::fabs(ratio) > 0x1p-20;
    above += ratio > 0x1p-20;
    furthest = std::max(furthest, std::fabs(ratio));
  }
  EXPECT_NEAR(off, 100, 5 * std::sqrt(75));
  EXPECT_NEAR(above, off / 2, 5 * std::sqrt(off) / 2);
  EXPECT_GT(furthest, 0.1);
}

TEST(SavedStatistics, AreOrdinaryNumbersOfTheirFormat) {
  for (const char* format : {"f16", "bf16"})
    for (const char* regime :
         {"normal", "constant", "variance:0", "paired:0", "cancelling_dy", "sparse:1000"})
      for (const char* eps : {"0x1.197998p-40", "0x0p+0"}) {
        const Case c = expanded(std::string("pass=backward-training shape=64x32 dtype=") + format +
                                " stats=" + format + " regime=" + regime + " eps=" + eps);
        for (std::size_t channel = 0; channel < 32; ++channel) {
          const double mean = std::fabs(c.saved_mean[channel]);
          EXPECT_TRUE(mean == 0 || mean >= smallest_normal(c.problem.stats)) << format << regime;
          EXPECT_GE(c.saved_invstd[channel], smallest_normal(c.problem.stats));
          EXPECT_LE(c.saved_invstd[channel], largest(c.problem.stats));
        }
      }
}

// ---- dy
// ------------------------------------------------------------------------------------------------

TEST(OrdinaryDy, EveryKindIsMetAndHalfIsPlain) {
  const Case c = expanded("pass=backward-inference shape=256x256");
  int constant = 0, sparse = 0, offset = 0, scaled = 0, plain = 0;
  for (std::int64_t channel = 0; channel < 256; ++channel) {
    const double* dy = c.channel(c.dy, channel);
    const std::set<double> values(dy, dy + 256);
    const auto zeros = std::count(dy, dy + 256, 0.0);
    double mean = 0, square = 0;
    for (int i = 0; i < 256; ++i)
      mean += dy[i] / 256, square += dy[i] * dy[i] / 256;
    if (values.size() == 1)
      ++constant;
    else if (zeros > 20)
      ++sparse;
    else if (square < 0.4 || square > 2)
      ++scaled;
    else if (mean > 0.3)
      ++offset;
    else
      ++plain;
  }
  for (const int kind : {constant, sparse, scaled, offset})
    EXPECT_GE(kind, 12);
  EXPECT_NEAR(plain, 140, 45);  // the scaled ones by a factor near 1 among them
}

/// BN-NUM-26, J1 to J3, in double, which holds all these numbers: a value of dy, or an invstd, of one bit
/// more would lose the clause in silence.
TEST(ExactDy, EveryListedNumberOfTheClauseIsRepresentable) {
  std::set<double> invstds;
  for (const char* dtype : {"f32", "f16", "f64", "bf16"})
    for (const int n : {4, 64, 4096, 1 << 16}) {
      const Case c = expanded("pass=backward-training regime=exact:3 eps=0x1p-1 dtype=" + std::string(dtype) +
                              " shape=" + std::to_string(n) + "x8 seed=" + std::to_string(n));
      const Format f = c.problem.accumulator();
      for (std::int64_t channel = 0; channel < 8; ++channel) {
        const auto at = static_cast<std::size_t>(channel);
        const double *x = c.channel(channel), *dy = c.channel(c.dy, channel);
        const double r = c.saved_invstd[at], m = c.saved_mean[at], gamma = c.gamma[at];
        invstds.insert(r);
        int exponent = 0;
        EXPECT_EQ(std::frexp(r, &exponent), 0.5);
        EXPECT_EQ(std::fabs(std::frexp(gamma, &exponent)), 0.5);
        double g = 0, g1 = 0, dot = 0, dot1 = 0, quantum = 64;
        for (int i = 0; i < n; ++i) {
          g += dy[i];
          g1 += std::fabs(dy[i]);
          dot += dy[i] * (x[i] - m);
          dot1 += std::fabs(dy[i] * (x[i] - m));
          while (std::fmod(dy[i], quantum) != 0)
            quantum /= 2;
        }
        EXPECT_LE(g1, std::ldexp(quantum, f.p));
        EXPECT_LE(dot1, std::ldexp(quantum, f.p));
        EXPECT_NE(dy[n - 1], 0);
        const auto holds = [&](double value) {
          return is_representable(f, value) && is_representable(f, value * gamma * r);
        };
        bool all = holds(g) && holds(dot) && holds(dot * r);
        for (int i = 0; i < n; ++i) {
          const double d = x[i] - m, t = d * dot;
          for (const double listed : {d, dy[i] * d * r, t, dy[i] - g / n, t * r * r / n - dy[i],
                                      t * r * r / n + g / n, dy[i] - g / n - t * r * r / n})
            all = all && holds(listed);
        }
        EXPECT_TRUE(all) << dtype << " n " << n;
      }
    }
  EXPECT_GE(invstds.size(), 5U);
}

TEST(WitnessDbeta, SequentialOrderLosesEveryTermButTheFirst) {
  const Case c = expanded("pass=backward-training regime=witness_mean shape=256x4");
  for (std::int64_t channel = 0; channel < 4; ++channel) {
    const double* dy = c.channel(c.dy, channel);
    float sum = 0;
    for (int i = 0; i < 256; ++i)
      sum += static_cast<float>(dy[i]);
    EXPECT_EQ(static_cast<double>(sum), dy[0]);
    EXPECT_NEAR(static_cast<double>(sums(c, channel, 0, 1).g) / dy[0] - 1, 255 * 0x1p-24, 0x1p-40);
  }
}

TEST(WitnessDgamma, SequentialOrderStaysAtItsFirstTwoTerms) {
  const Case c = expanded("pass=backward-training regime=witness_var shape=256x4");
  for (std::int64_t channel = 0; channel < 4; ++channel) {
    const double *x = c.channel(channel), *dy = c.channel(c.dy, channel);
    EXPECT_EQ(c.saved_mean[static_cast<std::size_t>(channel)], 0);
    float sum = 0;
    for (int i = 0; i < 256; ++i)
      sum += static_cast<float>(dy[i]) * static_cast<float>(x[i]);
    EXPECT_EQ(static_cast<double>(sum), 2 * x[0] * dy[0]);
    EXPECT_NEAR(static_cast<double>(sums(c, channel, 0, 1).h) / static_cast<double>(sum) - 1, 254 * 0x1p-24,
                0x1p-30);
  }
}

/// A sum of dy that starts from rounded products, or drops its last bits, is wrong by its whole size.
TEST(CancellingDy, WhatIsLeftOfTheSumsIsSomeUlps) {
  for (const char* dtype : {"f32", "f16", "f64"}) {
    int left = 0, both = 0;
    for (const int n : {64, 63}) {
      const Case c = expanded("pass=backward-training regime=cancelling_dy dtype=" + std::string(dtype) +
                              " shape=" + std::to_string(n) + "x32");
      const double ulps = 4 * unit_roundoff(c.problem.data) + (n % 2 != 0 ? 0.002 : 0);
      for (std::int64_t channel = 0; channel < 32; ++channel) {
        const auto at = static_cast<std::size_t>(channel);
        const Sums s = sums(c, channel, c.saved_mean[at], c.saved_invstd[at]);
        EXPECT_LE(std::fabs(s.g), s.g1 * ulps) << dtype;
        left += s.g != 0;
        both += std::fabs(s.h) <= s.h1 * (ulps + 16 * unit_roundoff(c.problem.data)) && n % 2 == 0;
      }
    }
    EXPECT_GE(left, 50) << dtype;
    EXPECT_GE(both, 6) << dtype;
    EXPECT_LE(both, 26) << dtype;
  }
}

TEST(LargeDy, IsTheOrdinaryOneTimesAPowerOfTwo) {
  const Case plain = expanded("pass=gradient shape=64x32 regime=large_dy:0");
  for (const int k : {-24, 16, 24}) {
    const Case c = expanded("pass=gradient shape=64x32 regime=large_dy:" + std::to_string(k));
    EXPECT_EQ(c.x, plain.x);
    for (std::size_t i = 0; i < c.dy.size(); ++i)
      ASSERT_EQ(c.dy[i], std::ldexp(plain.dy[i], k));
  }
}

TEST(NonFiniteDy, StaysInTheChannelOfXAndIsNotAlwaysThere) {
  int with = 0;
  for (int seed = 1; seed <= 40; ++seed) {
    const Case c =
        expanded("pass=backward-training shape=8x5x3 regime=non_finite seed=" + std::to_string(seed));
    int afflicted = 0;
    for (std::int64_t channel = 0; channel < 5; ++channel) {
      const auto special = [](const double* values) {
        return std::any_of(values, values + 24, [](double v) { return !std::isfinite(v); });
      };
      const bool x = special(c.channel(channel)), dy = special(c.channel(c.dy, channel));
      EXPECT_TRUE(x || !dy);
      afflicted += x;
      with += dy;
    }
    EXPECT_EQ(afflicted, 1);
  }
  EXPECT_GE(with, 10);
  EXPECT_LE(with, 30);
}

// ---- the second order
// ------------------------------------------------------------------------------------------------

/// An absent cotangent is zero: a kernel that reads it anyway, or wants all of them, meets every choice.
TEST(Cotangents, EveryChoiceIsMetAndNeverNone) {
  std::set<int> met;
  for (int seed = 0; seed < 200; ++seed) {
    const Case c = expanded("pass=double-backward shape=4x2 seed=" + std::to_string(seed));
    met.insert((c.v_x.empty() ? 0 : 1) + (c.v_gamma.empty() ? 0 : 2) + (c.v_beta.empty() ? 0 : 4));
    const Case bare = expanded("pass=double-backward affine=0 shape=4x2 seed=" + std::to_string(seed));
    EXPECT_TRUE(!bare.v_x.empty() && bare.v_gamma.empty() && bare.v_beta.empty());
  }
  EXPECT_EQ(met, (std::set<int>{1, 2, 3, 4, 5, 6, 7}));
}

TEST(Cotangents, AreNormalAndEachOfItsOwn) {
  const Case c = expanded("pass=double-backward shape=256x256 seed=3");
  ASSERT_FALSE(c.v_x.empty() || c.v_gamma.empty() || c.v_beta.empty());
  EXPECT_NE(c.v_x, c.dy);
  EXPECT_NE(c.v_x, c.x);
  EXPECT_NE(c.v_gamma, c.v_beta);
  for (const auto* values : {&c.v_x, &c.v_gamma, &c.v_beta}) {
    double mean = 0, square = 0;
    for (const double v : *values)
      mean += v, square += v * v;
    const auto n = static_cast<double>(values->size());
    EXPECT_NEAR(mean / n, 0, 5 / std::sqrt(n));
    EXPECT_NEAR(square / n, 1, 5 * std::sqrt(2 / n));
  }
}

/// Inference differentiates at the statistics of the past, which the values around x could be of.
TEST(BackwardInference, IsGivenTheRunningStatisticsOfForwardInference) {
  const Case forward = expanded("pass=forward-inference regime=offset:100 seed=9");
  const Case backward = expanded("pass=backward-inference regime=offset:100 seed=9");
  EXPECT_EQ(forward.x, backward.x);
  EXPECT_EQ(forward.running_mean, backward.running_mean);
  EXPECT_EQ(forward.running_var, backward.running_var);
  EXPECT_TRUE(backward.saved_mean.empty());
}

}  // namespace
}  // namespace normproof::properties
