// Each regime has the property that it is there for.
//
// Statistics of samples are tested against their sampling error (5 standard errors over a fixed seed), exact
// properties are tested exactly.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "fixed.h"
#include "normproof/properties/arbitrary_recipe.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {
namespace {

Recipe recipe(const Format& dtype, const Shape& shape, Regime regime, Pass pass = Pass::forward_training) {
  Recipe r;
  r.dtype = dtype;
  r.shape = shape;
  r.regime = std::move(regime);
  r.pass = pass;
  if (r.regime.name == "exact")
    r.eps = 0.5;
  return r;
}

/// Sample statistics in long double about the first value: good to far more than the sampling error.
struct Sample {
  double mean = 0, deviation = 0;
};
Sample sample(const double* x, std::int64_t n) {
  long double s = 0, q = 0;
  for (std::int64_t i = 0; i < n; ++i)
    s += static_cast<long double>(x[i]) - x[0];
  const long double m = s / static_cast<long double>(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const long double d = static_cast<long double>(x[i]) - x[0] - m;
    q += d * d;
  }
  return {static_cast<double>(x[0] + m), static_cast<double>(std::sqrt(q / static_cast<long double>(n)))};
}

constexpr std::int64_t many = 1 << 16;
const double error =
    5 / std::sqrt(static_cast<double>(many));  // five standard errors of a mean, in deviations

TEST(Regimes, EveryRegimeSaysWhatItIs) {
  std::set<std::string_view> names;
  for (const RegimeInfo& info : regimes()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.summary.empty());
    EXPECT_LE(info.lowest, info.standard);
    EXPECT_LE(info.standard, info.highest);
    EXPECT_EQ(info.parameter.empty(), info.lowest == info.highest) << info.name;
  }
  EXPECT_EQ(regimes().front().name, "normal");  // what shrinking goes towards
}

TEST(Normal, MeanZeroDeviationOneFullSignificands) {
  for (const Format& dtype : {f32, f64}) {
    const Case c = expand(recipe(dtype, {many, 2, {}}, {"normal", 0}));
    for (std::int64_t channel : {0, 1}) {
      const Sample s = sample(c.channel(channel), many);
      EXPECT_NEAR(s.mean, 0, error);
      EXPECT_NEAR(s.deviation, 1, error);
    }
    // Data on a coarse grid would hide every rounding of a sum: the last bit of the format is in use.
    const auto odd = std::ranges::count_if(c.x, [&](double v) { return (encode(dtype, v) & 1) != 0; });
    EXPECT_NEAR(static_cast<double>(odd) / static_cast<double>(c.x.size()), 0.5, error);
  }
}

TEST(Uniform, UnitInterval) {
  const Case c = expand(recipe(f64, {many, 1, {}}, {"uniform", 0}));
  const Sample s = sample(c.channel(0), many);
  EXPECT_NEAR(s.mean, 0.5, error * 0.289);
  EXPECT_NEAR(s.deviation, std::sqrt(1 / 12.0), error);
  EXPECT_GE(*std::ranges::min_element(c.x), 0.0);
  EXPECT_LE(*std::ranges::max_element(c.x), 1.0);
}

TEST(Offset, ReachesItsDecadeOfTheConditionNumberWithBothSigns) {
  for (const std::int64_t k : {1, 10, 1000, 100'000, 10'000'000}) {
    const Case c = expand(recipe(f64, {many / 4, 16, {}}, {"offset", k}));
    std::set<bool> signs;
    for (std::int64_t channel = 0; channel < 16; ++channel) {
      const Sample s = sample(c.channel(channel), many / 4);
      EXPECT_NEAR(std::fabs(s.mean) / static_cast<double>(k), 1, 2 * error / static_cast<double>(k));
      EXPECT_NEAR(s.deviation, 1, 2 * error);
      signs.insert(s.mean > 0);
    }
    EXPECT_EQ(signs.size(), 2U) << k;
  }
}

TEST(Variance, DeviationIsThePowerOfTwoAndTheMeanItsSize) {
  for (const std::int64_t k : {-40, -8, 0, 20, 40}) {
    const Case c = expand(recipe(f32, {many, 1, {}}, {"variance", k}));
    const Sample s = sample(c.channel(0), many);
    const double unit = std::ldexp(1.0, static_cast<int>(k));
    EXPECT_NEAR(s.deviation / unit, 1, error) << k;
    EXPECT_NEAR(std::fabs(s.mean) / unit, 1, error) << k;
  }
}

TEST(NearConstant, StaysWithinItsUlpsAndUsesThem) {
  for (const Format& dtype : {f32, f64}) {
    const Case c = expand(recipe(dtype, {512, 16, {}}, {"near_constant", 4}));
    for (std::int64_t channel = 0; channel < 16; ++channel) {
      std::set<std::uint64_t> steps;
      for (std::int64_t i = 0; i < 512; ++i)
        steps.insert(encode(dtype, c.channel(channel)[i]));
      EXPECT_EQ(steps.size(), 9U);
      EXPECT_EQ(*steps.rbegin() - *steps.begin(), 8U);
    }
  }
}

TEST(Constant, OneValueAChannelZeroAndOddDecimalsAmongThem) {
  const Case c = expand(recipe(f32, {3, 64, {5}}, {"constant", 0}));
  std::set<double> met;
  for (std::int64_t channel = 0; channel < 64; ++channel) {
    EXPECT_EQ(std::count(c.channel(channel), c.channel(channel) + 15, c.channel(channel)[0]), 15);
    met.insert(c.channel(channel)[0]);
  }
  for (const double value : {0.0, 0x1.99999ap-4, 0x1.81cd6cp+13, 30000002.0})
    EXPECT_TRUE(met.contains(value)) << value;
  EXPECT_LT(*met.begin(), 0);
  EXPECT_GT(met.size(), 20U);
}

TEST(Outlier, OneValueTowersAnywhere) {
  const Case c = expand(recipe(f32, {64, 32, {}}, {"outlier", 4}));
  std::set<std::int64_t> places;
  for (std::int64_t channel = 0; channel < 32; ++channel) {
    const double* x = c.channel(channel);
    EXPECT_EQ(std::count_if(x, x + 64, [](double v) { return std::fabs(v) >= 1e4; }), 1);
    EXPECT_EQ(std::count_if(x, x + 64, [](double v) { return std::fabs(v) < 10; }), 63);
    places.insert(std::find_if(x, x + 64, [](double v) { return std::fabs(v) >= 1e4; }) - x);
  }
  EXPECT_GT(places.size(), 15U);
}

TEST(Pixels, EveryByte) {
  const Case c = expand(recipe(f32, {4, 1, {64, 64}}, {"pixels", 0}));
  const std::set<double> met(c.x.begin(), c.x.end());
  EXPECT_EQ(met.size(), 256U);
  EXPECT_EQ(*met.begin(), 0);
  EXPECT_EQ(*met.rbegin(), 255);
}

TEST(Sparse, OneInKAndNeverNone) {
  const Case c = expand(recipe(f32, {many, 1, {}}, {"sparse", 8}));
  const auto filled = std::ranges::count_if(c.x, [](double v) { return v > 0; });
  EXPECT_NEAR(static_cast<double>(filled) / many, 1.0 / 8, error);
  EXPECT_EQ(std::ranges::count_if(c.x, [](double v) { return v < 0; }), 0);
  const Case few = expand(recipe(f32, {3, 64, {}}, {"sparse", 1000}));
  for (std::int64_t channel = 0; channel < 64; ++channel)
    EXPECT_GE(std::count_if(few.channel(channel), few.channel(channel) + 3, [](double v) { return v > 0; }),
              1);
}

TEST(Graded, SpansItsBinadesWithBothSigns) {
  const Case c = expand(recipe(f32, {4096, 1, {}}, {"graded", 12}));
  std::set<int> binades;
  std::set<bool> signs;
  for (const double v : c.x) {
    binades.insert(std::ilogb(v));
    signs.insert(v < 0);
  }
  EXPECT_LE(*binades.begin(), -12);
  EXPECT_GE(*binades.rbegin(), 12);
  EXPECT_GE(binades.size(), 25U);
  EXPECT_EQ(signs.size(), 2U);
}

// ---- exact ones
// -----------------------------------------------------------------------------------------------------

/// The exact sum, in units of 2^-52.
int128 exact_sum(const double* x, std::int64_t n) {
  int128 sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double scaled = std::ldexp(x[i], 52);
    EXPECT_EQ(scaled, std::nearbyint(scaled));
    sum += static_cast<int128>(scaled);
  }
  return sum;
}

TEST(Paired, TheMeanIsExactlyK) {
  for (const Format& dtype : {f32, f64})
    for (const std::int64_t n : {1, 2, 3, 64, 101})
      for (const std::int64_t k : {0, 1000, 1'000'000}) {
        if (dtype == f64 && k == 0)
          continue;  // finer than the test's integers; the same code
        const Case c = expand(recipe(dtype, {n, 3, {}}, {"paired", k}));
        for (std::int64_t channel = 0; channel < 3; ++channel) {
          const int128 sum = exact_sum(c.channel(channel), n), want = (int128{k * n} << 52);
          EXPECT_TRUE(sum == want || sum == -want) << dtype.name << " n " << n << " K " << k;
          if (n > 3) {
            EXPECT_NE(c.channel(channel)[0], c.channel(channel)[1]);
          }
        }
      }
}

TEST(Pair, MeanAndVarianceAreExactIntegers) {
  std::set<double> deviations;
  for (const Format& dtype : {f32, f64})
    for (const std::int64_t k : {0, 10002, 10'000'000}) {
      const Case c = expand(recipe(dtype, {2, 32, {}}, {"pair", k}));
      for (std::int64_t channel = 0; channel < 32; ++channel) {
        const double a = c.channel(channel)[0], b = c.channel(channel)[1], d = (b - a) / 2;
        EXPECT_EQ(std::fabs(a + b), 2 * static_cast<double>(k));
        EXPECT_NE(d, 0);
        for (const double value : {a, b, 2 * d, d * d})
          EXPECT_TRUE(is_representable(dtype, value)) << value;
        deviations.insert(d);
      }
    }
  EXPECT_LT(*deviations.begin(), 0);
  EXPECT_GT(*deviations.rbegin(), 0);
}

TEST(Exact, QuarterUpQuarterDownInRandomPlacesAndALastValueThatMatters) {
  std::set<std::vector<double>> patterns;
  for (const std::int64_t n : {4, 8, 1024, 1 << 20})
    for (const std::int64_t k : {0, 1, 3}) {
      const Case c = expand(recipe(f32, {n, 3, {}}, {"exact", k}));
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        const double* x = c.channel(channel);
        std::map<double, std::int64_t> count;
        for (std::int64_t i = 0; i < n; ++i)
          ++count[x[i]];
        ASSERT_EQ(count.size(), 3U);
        const double centre = std::next(count.begin())->first;
        EXPECT_EQ(std::fabs(centre), static_cast<double>(k));
        EXPECT_EQ(count[centre], n / 2);
        EXPECT_EQ(count[centre - 1], n / 4);
        EXPECT_EQ(count[centre + 1], n / 4);
        EXPECT_NE(x[n - 1], centre);
        EXPECT_NE(x[n - 1], 0);
        if (n == 1024)
          patterns.insert(std::vector<double>(x, x + n));
        // Not in an order that a blocked sum would never feel: both halves hold all three values.
        if (n >= 1024) {
          std::set<double> half(x, x + n / 2);
          EXPECT_EQ(half.size(), 3U);
        }
      }
    }
  EXPECT_EQ(patterns.size(), 9U);
}

TEST(Exact, AffineAndInferenceStatisticsKeepYExact) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference}) {
    const Case c = expand(recipe(f32, {64, 32, {}}, {"exact", 3}, pass));
    for (std::size_t channel = 0; channel < 32; ++channel) {
      int exponent = 0;
      EXPECT_EQ(std::fabs(std::frexp(c.gamma[channel], &exponent)), 0.5);
      EXPECT_EQ(c.beta[channel], std::nearbyint(c.beta[channel]));
      if (pass == Pass::forward_inference) {
        EXPECT_EQ(std::fabs(c.running_mean[channel]), 3);
        EXPECT_EQ(c.running_var[channel] + c.problem.eps, 1);
      }
    }
  }
}

TEST(WitnessMean, SequentialOrderLosesEveryTermButTheFirst) {
  const Case c = expand(recipe(f32, {64, 4, {}}, {"witness_mean", 0}));
  for (std::int64_t channel = 0; channel < 4; ++channel) {
    const double* x = c.channel(channel);
    float sum = static_cast<float>(x[0]);
    double exact = x[0];
    for (int i = 1; i < 64; ++i) {
      sum += static_cast<float>(x[i]);
      exact += x[i];
    }
    EXPECT_EQ(sum, static_cast<float>(x[0]));
    EXPECT_NEAR((exact - static_cast<double>(sum)) / exact, 63 * 0x1p-24, 0x1p-36);
  }
}

TEST(WitnessVar, SequentialOrderLosesEverySquareButTwo) {
  for (const std::int64_t n : {4, 16, 256}) {
    const Case c = expand(recipe(f32, {n, 4, {}}, {"witness_var", 0}));
    for (std::int64_t channel = 0; channel < 4; ++channel) {
      const double* x = c.channel(channel);
      float mean = 0, squares = 0;
      double exact = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        const auto v = static_cast<float>(x[i]);
        mean += v;
        squares += v * v;
        exact += x[i] * x[i];
      }
      const double first = 2 * x[0] * x[0];
      EXPECT_EQ(mean, 0.0F);
      EXPECT_EQ(static_cast<double>(squares), first);
      // Each lost square is just under 2u of the sum's 2: within a few ulps of c.
      EXPECT_NEAR((exact - first) / (first / 2), static_cast<double>(n - 2) * 0x1p-23,
                  static_cast<double>(n) * 0x1p-44);
      EXPECT_LT((exact - first) / (first / 2), static_cast<double>(n - 2) * 0x1p-23);
    }
  }
  const Case c = expand(recipe(f64, {16, 1, {}}, {"witness_var", 0}));
  const double ratio = c.x[2] / c.x[0];
  EXPECT_LT(ratio * ratio, 0x1p-52);
  EXPECT_GT(ratio * ratio, 0x1p-52 * (1 - 0x1p-50));
}

TEST(Mixture, NeighboursAreOfDifferentKinds) {
  const Case c = expand(recipe(f32, {16, 64, {4}}, {"mixture", 0}));
  int constant = 0, offset = 0, tiny = 0, pixels = 0, plain = 0;
  for (std::int64_t channel = 0; channel < 64; ++channel) {
    const Sample s = sample(c.channel(channel), 64);
    const double* x = c.channel(channel);
    if (s.deviation == 0)
      ++constant;
    else if (std::fabs(s.mean) / s.deviation > 50)
      ++offset;
    else if (s.deviation < 0.01)
      ++tiny;
    else if (std::all_of(x, x + 64, [](double v) { return v == std::nearbyint(v); }))
      ++pixels;
    else
      ++plain;
  }
  for (const int met : {constant, offset, tiny, pixels, plain})
    EXPECT_GT(met, 0);
}

// ---- the extended domain
// --------------------------------------------------------------------------------------------

TEST(Subnormal, AllOfIt) {
  for (const Format& dtype : formats()) {
    const Case c = expand(recipe(dtype, {64, 4, {}}, {"subnormal", 0}));
    EXPECT_TRUE(std::ranges::all_of(c.x, [&](double v) { return std::fabs(v) < smallest_normal(dtype); }))
        << dtype.name;
    EXPECT_GT(std::ranges::count_if(c.x, [](double v) { return v != 0; }), 200) << dtype.name;
  }
}

TEST(Huge, FiniteButItsSquaresOverflow) {
  for (const Format& dtype : {f32, f64})
    for (const std::int64_t k : {1, 40, 60}) {
      const Case c = expand(recipe(dtype, {64, 4, {}}, {"huge", k}));
      double most = 0;
      for (const double v : c.x) {
        EXPECT_TRUE(std::isfinite(v));
        most = std::max(most, std::fabs(v));
      }
      EXPECT_GT(2 * std::ilogb(most), dtype.emax);
    }
}

TEST(NonFinite, OneValueOfOneChannel) {
  std::set<std::string> kinds;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Recipe r = recipe(f32, {8, 5, {3}}, {"non_finite", 0});
    r.seed = seed;
    const Case c = expand(r);
    EXPECT_EQ(std::ranges::count_if(c.x, [](double v) { return !std::isfinite(v); }), 1);
    kinds.insert(hex_float(*std::ranges::find_if(c.x, [](double v) { return !std::isfinite(v); })));
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"nan", "inf", "-inf"}));
}

/// A case file has no regime: its domain is read off the values. Those of an extended regime show it too,
/// wherever the accumulator is of the format's own range.
RC_GTEST_PROP(Domains, TheValuesShowTheRegimesDomain, (const Recipe& r)) {
  const auto info = std::ranges::find(regimes(), r.regime.name, &RegimeInfo::name);
  const Case c = expand(r);
  const Domain read = parse_case(write_case(c), "case").domain;
  if (info->domain == Domain::extended) {
    RC_ASSERT(c.domain == Domain::extended);
    if (r.shape.elements() >= 64 && r.dtype != f16)  // a huge:1 of few values may happen to have small ones
      RC_ASSERT(read == Domain::extended);
  } else {
    RC_ASSERT(c.domain == read);
    // Only half precision is so narrow that a plain y may leave it: 0.1 beside a running variance of 0 does.
    if (!takes_dy(r.pass) && stats_of(r).p >= f32.p && r.dtype != f16)
      RC_ASSERT(c.domain == Domain::core);
  }
}

Domain domain(const std::string& line) {
  return expand(std::get<Recipe>(parse_recipe("np1 shape=64x4 " + line))).domain;
}

TEST(Domains, AStatisticThatItsFormatDoesNotHoldIsExtended) {
  EXPECT_EQ(domain("dtype=f16 regime=pixels stats=f16"), Domain::core);
  EXPECT_EQ(domain("dtype=f16 regime=outlier:3"), Domain::core);                    // variance 10^5 in f32
  EXPECT_EQ(domain("dtype=f16 regime=outlier:3 stats=f16"), Domain::extended);      // in f16
  EXPECT_EQ(domain("dtype=f16 regime=constant eps=0x1.197998p-40"), Domain::core);  // invstd 10^6
  EXPECT_EQ(domain("dtype=f16 regime=constant eps=0x1.197998p-40 stats=f16"), Domain::extended);
  EXPECT_EQ(domain("dtype=bf16 regime=constant eps=0x1.197998p-40 stats=bf16"), Domain::core);
}

TEST(Domains, AGradientThatItsFormatDoesNotHoldIsExtended) {
  EXPECT_EQ(domain("pass=backward-training dtype=f16 regime=large_dy:8"), Domain::core);
  EXPECT_EQ(domain("pass=backward-training dtype=f16 regime=large_dy:11 stats=f16"),
            Domain::extended);  // dgamma
  EXPECT_EQ(domain("pass=backward-training dtype=bf16 regime=large_dy:24 stats=bf16"), Domain::core);
  EXPECT_EQ(domain("pass=gradient dtype=f16 regime=constant eps=0x1.197998p-40"),
            Domain::extended);  // dx 10^6
  EXPECT_EQ(domain("pass=gradient dtype=f32 regime=constant eps=0x1.197998p-40"), Domain::core);
  // invstd^3 of 2^120 times sums leaves f32 on the way, though the result need not.
  EXPECT_EQ(domain("pass=double-backward regime=variance:-40 eps=0x0p+0"), Domain::extended);
  EXPECT_EQ(domain("pass=double-backward regime=variance:-40 eps=0x0p+0 dtype=f64"), Domain::core);
  EXPECT_EQ(domain("pass=double-backward regime=variance:-20 eps=0x0p+0"), Domain::core);
}

// ---- the other tensors
// ----------------------------------------------------------------------------------------------

TEST(Parameters, GammaBetaAndRunningStatisticsFollowTheirDistributions) {
  const Case c = expand(recipe(f32, {1, 4096, {}}, {"normal", 0}));
  std::int64_t negative = 0;
  for (const double g : c.gamma) {
    EXPECT_GE(std::fabs(g), 0.5);
    EXPECT_LE(std::fabs(g), 2);
    negative += g < 0;
  }
  EXPECT_NEAR(static_cast<double>(negative) / 4096, 0.5, 5 * 0.5 / 64);
  EXPECT_NEAR(sample(c.beta.data(), 4096).deviation, 1, 5.0 / 64);
  EXPECT_NEAR(sample(c.running_mean.data(), 4096).deviation, 1, 5.0 / 64);
  EXPECT_GE(*std::ranges::min_element(c.running_var), 0.125);
  EXPECT_LE(*std::ranges::max_element(c.running_var), 2);
  EXPECT_NEAR(sample(c.running_var.data(), 4096).mean, 1.0625, 5 * 0.55 / 64);
}

TEST(Parameters, TheBatchCounterVaries) {
  std::set<std::int64_t> met;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Recipe r;
    r.seed = seed;
    met.insert(expand(r).num_batches_tracked);
  }
  EXPECT_EQ(met.size(), 10U);
}

/// Statistics far from the data would only test one large number: every regime's inference stays near its x.
TEST(Inference, StatisticsAreThoseOfTheData) {
  for (const Format& dtype : {f32, f64})
    for (const RegimeInfo& info : regimes()) {
      if (info.name == "mixture" || info.name == "outlier" || info.name == "pair" ||
          info.name.ends_with("_dy") || info.name == "constant" || info.domain == Domain::extended)
        continue;  // no one scale, or two values
      const Recipe r =
          recipe(dtype, {256, 8, {}}, {std::string(info.name), info.standard}, Pass::forward_inference);
      const Case c = expand(r);
      for (std::size_t channel = 0; channel < 8; ++channel) {
        const Sample s = sample(c.channel(static_cast<std::int64_t>(channel)), 256);
        const double used = std::sqrt(c.running_var[channel]);
        const double distance = std::fabs(s.mean - c.running_mean[channel]);
        if (!info.name.starts_with("witness")) {  // these are no sample of anything
          EXPECT_LT(distance, 8 * used) << info.name;
        }
        EXPECT_LT(used, 32 * std::max(s.deviation, std::fabs(s.mean))) << info.name;
      }
    }
}

TEST(Inference, AConstantChannelMeetsItsOwnMeanAndNoVariance) {
  Recipe r = recipe(f32, {4, 64, {}}, {"constant", 0}, Pass::forward_inference);
  Case c = expand(r);
  int at_mean = 0, none = 0;
  for (std::size_t channel = 0; channel < 64; ++channel) {
    at_mean += c.channel(static_cast<std::int64_t>(channel))[0] == c.running_mean[channel];
    none += c.running_var[channel] == 0;
  }
  EXPECT_GT(at_mean, 10);
  EXPECT_LT(at_mean, 54);
  EXPECT_GT(none, 10);
  EXPECT_LT(none, 54);
  r.eps = 0;  // then a variance of 0 would have no invstd
  c = expand(r);
  EXPECT_EQ(std::ranges::count(c.running_var, 0.0), 0);
}

}  // namespace
}  // namespace normproof::properties
