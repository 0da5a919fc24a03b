// The oracle against the second route, on random and adversarial cases, ties and near-ties, and the published
// examples.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "cases.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"
#include "second_route.h"

namespace normproof::reference {
namespace {

using second_route::exact;
using second_route::Rational;
using testing_cases::inference;
using testing_cases::Numbers;
using testing_cases::plain;
using testing_cases::with_affine;
using testing_cases::with_running;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Agreement {
  std::int64_t compared = 0;
  std::int64_t differing = 0;
  std::int64_t ties = 0;

  void see(const Format& format, const Values& values, std::size_t i, second_route::Nearest want,
           const Rational& value) {
    ++compared;
    if (want.tie)
      ++ties;
    const double rn = values.rn.at(i);
    const double off = values.off.at(i);
    const bool same =
        rn == want.rn && is_tie(format, rn, off) == want.tie &&
        (std::abs(off) > 1 || std::abs(off - second_route::off(format, value, rn)) <= off_precision);
    if (!same)
      ++differing;
  }
};

/// v and eps as they stand under the root.
Rational root_of(const Semantics& semantics, const Rational& v, const Rational& eps) {
  switch (semantics.eps) {
  case EpsPlacement::doubled:
    return v + 2 * eps;
  case EpsPlacement::omitted:
    return v;
  case EpsPlacement::clamped:
    return std::max(v, eps);
  default:
    return v + eps;
  }
}

/// Compares all outputs of all channels with the second route, which reads `c`; truth may be that of a
/// mutated case.
void compare(const Case& c, const Truth& truth, Agreement& agreement) {
  const Problem& p = c.problem;
  const std::int64_t n = p.shape.per_channel();
  const bool training = p.pass == Pass::forward_training;
  for (std::size_t k = 0; k < static_cast<std::size_t>(p.shape.channels); ++k) {
    const double* x = c.channel(static_cast<std::int64_t>(k));
    const auto batch = second_route::statistics(x, n);
    const Rational mean = training ? batch.mean : exact(c.running_mean[k]);
    const Rational v = !training                                         ? exact(c.running_var[k])
                       : p.semantics.normalising == VarianceKind::biased ? batch.biased
                                                                         : batch.unbiased;
    const auto see = [&](Output output, std::size_t i, const Rational& value) {
      const Format& format = format_of(p, output);
      agreement.see(format, truth[output], i, second_route::nearest(format, value), value);
    };
    if (training) {
      see(Output::mean, k, mean);
      see(Output::var, k, v);
    }
    if (is_defined(p, Output::running_mean)) {
      Rational weight = p.momentum ? exact(*p.momentum) : Rational(1, c.num_batches_tracked + 1);
      if (p.momentum && p.semantics.momentum == MomentumSense::weight_of_old)
        weight = 1 - weight;
      const auto update = [&](double before, const Rational& now) {
        return Rational((1 - weight) * exact(before) + weight * now);
      };
      see(Output::running_mean, k, update(c.running_mean[k], batch.mean));
      see(Output::running_var, k,
          update(c.running_var[k],
                 p.semantics.running == VarianceKind::biased ? batch.biased : batch.unbiased));
    }
    const Rational s = root_of(p.semantics, v, exact(p.eps));
    if (s == 0)
      continue;  // 1/0: special values have their own tests
    Rational value;
    if (training) {
      const auto r = second_route::nearest_scaled_root(p.stats, 1, s, 0, &value);
      agreement.see(p.stats, truth[Output::invstd], k, r, value);
    }
    const Rational gamma = p.affine ? exact(c.gamma[k]) : 1;
    const Rational beta = p.affine ? exact(c.beta[k]) : 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const Rational scale = gamma * (exact(x[i]) - mean);
      const auto y = second_route::nearest_scaled_root(p.data, scale, s, beta, &value);
      agreement.see(p.data, truth[Output::y], k * static_cast<std::size_t>(n) + static_cast<std::size_t>(i),
                    y, value);
    }
  }
}

/// Values of one channel of one of the families that tell oracles apart.
std::vector<double> channel(Numbers& numbers, const Format& format, std::int64_t n) {
  const std::int64_t family = numbers.integer(0, 10);
  const double offset = std::abs(numbers.number(format, 0, 0));
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    switch (family) {
    case 0:
      x.push_back(offset);
      break;  // constant
    case 1:
      x.push_back(static_cast<double>(numbers.integer(-8, 9)));
      break;  // exactly summable
    case 2:
      x.push_back(round_to(format, 1e7 + numbers.number(format, -2, 0)));
      break;  // kappa 1e7
    case 3:
      x.push_back(numbers.number(format, format.emin - format.p + 1, format.emin));
      break;  // subnormals
    case 4:
      x.push_back(numbers.number(format, format.emax - 3, format.emax - 1));
      break;  // huge
    case 5:
      x.push_back(numbers.number(format, format.emin, format.emax - 1));
      break;  // every binade
    case 6:
      x.push_back(i == 0 ? round_to(format, 1e4) : numbers.number(format, -3, 1));
      break;  // one outlier
    case 7:
      x.push_back(offset + static_cast<double>(numbers.integer(0, 3)) * spacing(format, 1));
      break;  // neighbours
    default:
      x.push_back(numbers.number(format, -3, 1));
      break;
    }
  }
  for (double& v : x)
    v = std::clamp(round_to(format, v), -largest(format), largest(format));
  return x;
}

Case random_case(Numbers& numbers) {
  const Format& data = formats()[static_cast<std::size_t>(numbers.integer(0, 4))];
  const std::int64_t channels = numbers.integer(1, 4);
  const std::int64_t n = numbers.integer(0, 4) == 0 ? numbers.integer(2, 4) : numbers.integer(2, 24);
  std::vector<double> x, gamma, beta, mean, var;
  const double epsilons[]{0, 1, 1e-5, 0x1.4f8b58p-17, 0x1p-149, 1e-12, 0.25};
  const double eps = epsilons[numbers.integer(0, 7)];
  const Format stats = data.p < 24 && numbers.integer(0, 2) == 0 ? f32 : data;
  for (std::int64_t k = 0; k < channels; ++k) {
    const auto values = channel(numbers, data, n);
    x.insert(x.end(), values.begin(), values.end());
    const bool plain_affine = numbers.integer(0, 3) == 0;
    gamma.push_back(plain_affine ? 1 : numbers.number(stats, -3, 2));
    beta.push_back(plain_affine ? 0 : numbers.number(stats, -3, 2));
    mean.push_back(numbers.integer(0, 3) == 0 ? values[0] : numbers.number(stats, -4, 4));
    if (!is_representable(stats, mean.back()))
      mean.back() = round_to(stats, mean.back());
    var.push_back(std::abs(numbers.number(stats, -8, 8)));
  }
  Case c = with_affine(plain(data, channels, std::move(x), eps), std::move(gamma), std::move(beta));
  c.problem.stats = stats;
  if (numbers.integer(0, 3) == 0)
    return inference(std::move(c), std::move(mean), std::move(var));
  const std::optional<double> momenta[]{0.0, 0x1.99999ap-4, 0.5, 1.0, std::nullopt};
  c = with_running(std::move(c), std::move(mean), std::move(var), momenta[numbers.integer(0, 5)]);
  c.num_batches_tracked = numbers.integer(0, 10);
  const auto dialect =
      static_cast<std::size_t>(numbers.integer(0, static_cast<std::int64_t>(dialects().size())));
  c.problem.semantics = dialects()[dialect].semantics;
  c.problem.dialect = dialects()[dialect].name;
  return must_reject(c).empty() ? c : random_case(numbers);
}

TEST(Oracle, BothRoutesAgreeOnRandomAndAdversarialElements) {
  Numbers numbers(1);
  Agreement agreement;
  Effort effort;
  while (agreement.compared < 500000) {
    const Case c = random_case(numbers);
    const Truth truth = truth_of(c, 1);
    effort.escalated += truth.effort.escalated;
    effort.arbitrated += truth.effort.arbitrated;
    const std::int64_t before = agreement.differing;
    compare(c, truth, agreement);
    ASSERT_EQ(agreement.differing, before)
        << c.problem.data.name << " " << to_string(c.problem.shape) << " eps " << c.problem.eps;
  }
  std::printf(
      "%lld elements by both routes, %lld ties, %lld beyond the first precision, %lld by the arbiter\n",
      static_cast<long long>(agreement.compared), static_cast<long long>(agreement.ties),
      static_cast<long long>(effort.escalated), static_cast<long long>(effort.arbitrated));
  EXPECT_GT(agreement.ties, 1000);
  EXPECT_GE(effort.arbitrated, agreement.ties);
}

TEST(Oracle, EveryWrongKnobIsCaughtByTheSecondRoute) {
  Numbers numbers(2);
  std::vector<double> x, gamma, beta, mean, var;
  for (int i = 0; i < 4 * 6; ++i)
    x.push_back(numbers.number(f32, -3, 1));
  for (int k = 0; k < 4; ++k) {
    gamma.push_back(numbers.number(f32, 0, 1));
    beta.push_back(numbers.number(f32, 0, 1));
    mean.push_back(numbers.number(f32, 0, 1));
    var.push_back(std::abs(numbers.number(f32, 0, 1)));
  }
  const Case c = with_running(with_affine(plain(f32, 4, x, 0.25), gamma, beta), mean, var, 0.125);
  Agreement right;
  compare(c, truth_of(c), right);
  EXPECT_EQ(right.differing, 0);
  const auto caught = [&](auto&& mutate) {
    Case mutant = c;
    mutate(mutant);
    Agreement agreement;
    compare(c, truth_of(mutant), agreement);
    return agreement.differing > 0;
  };
  for (const EpsPlacement eps : {EpsPlacement::outside_root, EpsPlacement::added_to_deviation,
                                 EpsPlacement::omitted, EpsPlacement::doubled, EpsPlacement::clamped})
    EXPECT_TRUE(caught([&](Case& m) { m.problem.semantics.eps = eps; }));
  EXPECT_TRUE(caught([](Case& m) { m.problem.semantics.normalising = VarianceKind::unbiased; }));
  EXPECT_TRUE(caught([](Case& m) { m.problem.semantics.running = VarianceKind::unbiased; }));
  EXPECT_TRUE(caught([](Case& m) { m.problem.semantics.momentum = MomentumSense::weight_of_old; }));
  EXPECT_TRUE(caught([](Case& m) { m.problem.momentum.reset(); }));
  EXPECT_TRUE(caught([](Case& m) { m.x[5] = std::nextafter(static_cast<float>(m.x[5]), 0.0F); }));
  EXPECT_TRUE(caught([](Case& m) { std::swap(m.gamma, m.beta); }));
}

TEST(Oracle, KnobsOfNeighbouringSemanticsAgreeToo) {
  Numbers numbers(3);
  Agreement agreement;
  for (int i = 0; i < 60; ++i) {
    Case c = random_case(numbers);
    for (const EpsPlacement eps : {EpsPlacement::omitted, EpsPlacement::doubled, EpsPlacement::clamped}) {
      c.problem.semantics.eps = eps;
      c.problem.semantics.normalising = i % 2 == 0 ? VarianceKind::biased : VarianceKind::unbiased;
      c.problem.semantics.momentum = i % 3 == 0 ? MomentumSense::weight_of_old : MomentumSense::weight_of_new;
      compare(c, truth_of(c), agreement);
    }
  }
  EXPECT_EQ(agreement.differing, 0);
  EXPECT_GT(agreement.compared, 3000);
}

TEST(Oracle, RootsWithoutARationalSquareComeFromPrecisionAlone) {
  // v = 4, eps = 1/4: 1/2 + 1/4 and 1/(2 + 1/4); with eps = 2^-25 the first is a tie that no precision leaves
  // open.
  const std::vector<double> x{-2, 2, -2, 2};
  const auto invstd = [&](EpsPlacement placement, double eps) {
    Case c = plain(f32, 1, x, eps);
    c.problem.semantics.eps = placement;
    const Truth truth = truth_of(c);
    return std::pair(truth[Output::invstd].rn[0], truth[Output::invstd].off[0]);
  };
  EXPECT_EQ(invstd(EpsPlacement::outside_root, 0.25).first, 0.75);
  EXPECT_EQ(invstd(EpsPlacement::added_to_deviation, 0.25).first, static_cast<double>(1 / 2.25F));
  EXPECT_EQ(invstd(EpsPlacement::outside_root, 0x1p-25), std::pair(0.5, 0.5));
  EXPECT_EQ(invstd(EpsPlacement::outside_root, 0x1.000001p-25).first, 0.5 + 0x1p-24);
}

TEST(Oracle, PairsWithoutEpsAreTiesByTheThousandAndDecidedAsTies) {
  // n = 2, eps = 0: y = beta +- gamma exactly, whatever the pair.
  Numbers numbers(4);
  constexpr std::int64_t channels = 100000;
  for (const Format& format : {f32, bf16}) {
    std::vector<double> x, gamma, beta;
    for (std::int64_t k = 0; k < channels; ++k) {
      const double a = numbers.number(format, -2, 2);
      x.insert(x.end(), {a, -a});
      gamma.push_back(numbers.number(format, 0, 0));
      beta.push_back(numbers.number(format, -2, 2));
    }
    const Case c = with_affine(plain(format, channels, x, 0), gamma, beta);
    const Truth truth = truth_of(c, 2);
    const Values& y = truth[Output::y];
    std::int64_t ties = 0;
    for (std::size_t i = 0; i < y.rn.size(); ++i) {
      const double sum = beta[i / 2] + (x[i] > 0 ? gamma[i / 2] : -gamma[i / 2]);  // exact: at most 27 bits
      ASSERT_EQ(y.rn[i], round_to(format, sum));
      ASSERT_EQ(y.rn[i] + y.off[i] * spacing(format, y.rn[i]), sum);
      ties += is_tie(format, y.rn[i], y.off[i]);
    }
    std::printf("%s: %lld of %zu pair outputs are ties\n", std::string(format.name).c_str(),
                static_cast<long long>(ties), y.rn.size());
    EXPECT_GT(ties, channels / 5);
  }
}

TEST(Oracle, MillionsOfGradedNearTiesFallOnTheirOwnSide) {
  // x = +-1, n = 8: y = beta +- gamma / sqrt(1 + eps), nearer to 0 than the midpoint beta +- gamma by about
  // eps/2.
  Numbers numbers(5);
  constexpr std::int64_t channels = 3000;
  std::vector<double> x, gamma, beta;
  for (std::int64_t k = 0; k < channels; ++k) {
    for (int i = 0; i < 8; ++i)
      x.push_back((i + k) % 2 == 0 ? 1 : -1);
    gamma.push_back(std::ldexp(static_cast<double>(numbers.integer(9 << 20, 15 << 20)), -23));  // in (1, 2)
    beta.push_back(std::ldexp(static_cast<double>(2 * numbers.integer(-1000, 1000) + 1), -24));
  }
  Case c = with_affine(plain(f32, channels, x, 0), gamma, beta);
  std::int64_t elements = 0;
  Effort effort;
  std::vector<int> grades{300, 500, 1074};
  for (int k = 27; k <= 110; ++k)
    grades.push_back(k);
  for (const int k : grades) {
    c.problem.eps = std::ldexp(1.0, -k);
    const Truth truth = truth_of(c, 2);
    effort.arbitrated += truth.effort.arbitrated;
    const Values& y = truth[Output::y];
    for (std::size_t i = 0; i < y.rn.size(); ++i, ++elements) {
      const double sign = x[i];
      const double midpoint = beta[i / 8] + sign * gamma[i / 8];
      ASSERT_EQ(y.rn[i], midpoint - sign * 0x1p-24) << k << " " << i;
      ASSERT_FALSE(is_tie(f32, y.rn[i], y.off[i])) << k << " " << i;
    }
  }
  std::printf("%lld near-ties, %lld by the arbiter\n", static_cast<long long>(elements),
              static_cast<long long>(effort.arbitrated));
  EXPECT_GT(elements, 2000000);
  EXPECT_GT(effort.arbitrated, 70000);
}

TEST(Oracle, StatisticsThatTie) {
  // One-hot of n = 257 in bf16, eps = 0: invstd = 257/16. And the mean of two neighbours.
  std::vector<double> one_hot(257);
  one_hot[100] = 1;
  const Truth truth = truth_of(plain(bf16, 1, one_hot, 0));
  EXPECT_EQ(truth[Output::invstd].rn[0], 16);
  EXPECT_TRUE(is_tie(bf16, 16, truth[Output::invstd].off[0]));
  const Truth pair = truth_of(plain(f32, 1, {1, 1 + 0x1p-23}, 1));
  EXPECT_EQ(pair[Output::mean].rn[0], 1);
  EXPECT_EQ(pair[Output::mean].off[0], 0.5);
}

// --- the published examples (spec/vectors holds them as data; here they test the oracle's own reading) ---

Truth example(const std::vector<double>& x, double eps, double gamma = 1, double beta = 0) {
  return truth_of(with_affine(plain(f64, 1, x, eps), {gamma}, {beta}));
}

TEST(Examples, C16TheSecondElementIsNegative) {
  const Truth truth = example({2, 4, 8, 10}, 1e-5, 2, 1);
  EXPECT_EQ(truth[Output::mean].rn[0], 6);
  EXPECT_EQ(truth[Output::var].rn[0], 10);
  const double want[]{-1.52982, -0.264910, 2.26491, 3.52982};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(truth[Output::y].rn[i], want[i], 5e-6);
}

TEST(Examples, C17IsExactWithoutEps) {
  const Truth truth = example({2, 4, 4, 4, 5, 5, 7, 9}, 0);
  const double want[]{-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2};
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(truth[Output::y].rn[i], want[i]);
    EXPECT_EQ(truth[Output::y].off[i], 0);
  }
  EXPECT_EQ(truth[Output::invstd].rn[0], 0.5);
}

TEST(Examples, C18) {
  const Truth truth = example({1, 3, 5, 7}, 1e-5);
  const double want[]{-1.341639, -0.447213, 0.447213, 1.341639};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(truth[Output::y].rn[i], want[i], 5e-7);
}

TEST(Examples, C19TheStandardDeviationIsNot4995) {
  const Truth truth = example({0.01, 0.02, 100.5, 0.03, 99.8}, 0);
  EXPECT_NEAR(truth[Output::mean].rn[0], 40.072, 1e-12);
  EXPECT_NEAR(truth.channels[0].deviation, 49.054, 5e-4);
  const double want[]{-0.816692, -0.816488, 1.231867, -0.816284, 1.217597};
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(truth[Output::y].rn[i], want[i], 5e-7);
}

// --- regimes and special values ---

TEST(Oracle, AConstantChannelGivesBetaAndNoNoise) {
  for (const double k : {0.1F, 12345.678F, 30000002.0F, 1e30F}) {
    const Truth truth = truth_of(with_affine(plain(f32, 1, std::vector<double>(7, k), 0x1p-20), {3}, {-1.5}));
    EXPECT_EQ(truth[Output::mean].rn[0], k);
    EXPECT_EQ(truth[Output::var].rn[0], 0);
    EXPECT_EQ(truth[Output::invstd].rn[0], 0x1p10);
    for (std::size_t i = 0; i < 7; ++i)
      EXPECT_EQ(truth[Output::y].rn[i], -1.5);
    EXPECT_EQ(truth[Output::y].off[3], 0);
  }
}

TEST(Oracle, AConstantChannelHasADeviationOfZeroToAddEpsTo) {
  Case c = plain(f32, 1, {5, 5, 5}, 0.25);
  c.problem.semantics.eps = EpsPlacement::added_to_deviation;
  EXPECT_EQ(truth_of(c)[Output::invstd].rn[0], 4);
}

TEST(Oracle, VarianceMayOverflowWhereYDoesNot) {
  const Truth truth = truth_of(plain(f32, 1, {-1e30F, 1e30F}, 1e-5));
  EXPECT_EQ(truth[Output::var].rn[0], inf);
  EXPECT_GT(truth[Output::var].off[0], 1e6);
  EXPECT_EQ(truth[Output::y].rn[1], 1);
  const Truth tiny = truth_of(plain(f32, 1, {-0x1p-149, 0x1p-149}, 0));
  EXPECT_EQ(tiny[Output::var].rn[0], 0);
  EXPECT_EQ(tiny[Output::invstd].rn[0], inf);  // 2^149
  EXPECT_EQ(tiny[Output::y].rn[1], 1);
}

TEST(Oracle, OneNonFiniteValueTakesItsChannelAlone) {
  Case c = with_running(plain(f32, 3, {1, 2, inf, 3, 4, nan}, 1), {0, 0, 0}, {1, 1, 1}, 0.5);
  const Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::mean].rn[0], 1.5);
  EXPECT_EQ(truth[Output::mean].rn[1], inf);
  EXPECT_EQ(truth[Output::running_mean].rn[1], inf);
  EXPECT_TRUE(std::isnan(truth[Output::mean].rn[2]));
  for (std::size_t k : {1U, 2U}) {
    EXPECT_TRUE(std::isnan(truth[Output::var].rn[k]));
    EXPECT_TRUE(std::isnan(truth[Output::invstd].rn[k]));
    EXPECT_TRUE(std::isnan(truth[Output::running_var].rn[k]));
    for (std::size_t i : {2 * k, 2 * k + 1})
      EXPECT_TRUE(std::isnan(truth[Output::y].rn[i]));
    EXPECT_FALSE(truth.channels[k].finite);
  }
  EXPECT_TRUE(std::isfinite(truth[Output::y].rn[1]));
}

TEST(Oracle, ZeroVarianceWithoutEpsFollowsTheFormulaOrTheDialect) {
  Case c = plain(f32, 1, {3, 3, 3}, 0);
  EXPECT_EQ(truth_of(c)[Output::invstd].rn[0], inf);
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::y].rn[0]));
  c.problem.semantics.zero_eps = ZeroEps::zero_invstd;
  EXPECT_EQ(truth_of(c)[Output::invstd].rn[0], 0);
  EXPECT_EQ(truth_of(c)[Output::y].rn[0], 0);
  c.x = {3, 3, 4};
  EXPECT_GT(truth_of(c)[Output::invstd].rn[0], 1);
}

TEST(Oracle, InferenceWithStatisticsOutOfTheOrdinary) {
  const auto y = [](double x, double mean, double var, double eps) {
    return truth_of(with_affine(inference(plain(f32, 1, {x}, eps), {mean}, {var}), {2}, {5}))[Output::y]
        .rn[0];
  };
  EXPECT_TRUE(std::isnan(y(1, 0, -0x1p-10, 0x1p-20)));  // v + eps < 0
  EXPECT_EQ(y(1, 0, -0x1p-10, 0x1.4p-8), 2 * 16 + 5);   // -1/1024 + 5/1024
  EXPECT_EQ(y(1, 0, 0, 0), inf);
  EXPECT_EQ(y(-1, 0, 0, 0), -inf);
  EXPECT_TRUE(std::isnan(y(0, 0, 0, 0)));
  EXPECT_EQ(y(1, 0, inf, 1), 5);
  EXPECT_EQ(y(1, -inf, 1, 1), inf);
  EXPECT_TRUE(std::isnan(y(nan, 0, 1, 0)));
  EXPECT_EQ(y(7, 7, 1, 0), 5);
  EXPECT_EQ(y(inf, 0, 1, 0), inf);
  const Truth gammas =
      truth_of(with_affine(inference(plain(f32, 2, {inf, 3}, 0), {0, 3}, {1, 1}), {0, inf}, {5, 5}));
  EXPECT_TRUE(std::isnan(gammas[Output::y].rn[0]));  // 0 * inf
  EXPECT_TRUE(std::isnan(gammas[Output::y].rn[1]));  // inf * 0
}

TEST(Oracle, SingleValuePerChannel) {
  Case c =
      with_running(with_affine(plain(f32, 2, {4, -7}, 0x1p-4), {2, 3}, {0.5, -0.25}), {0, 0}, {1, 1}, 0.5);
  Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::y].rn[0], 0.5);
  EXPECT_EQ(truth[Output::y].rn[1], -0.25);
  EXPECT_EQ(truth[Output::invstd].rn[0], 4);
  EXPECT_EQ(truth[Output::running_var].rn[0], 0.5);
  c.problem.semantics = dialect_named("pytorch/native_batch_norm")->semantics;
  truth = truth_of(c);
  EXPECT_EQ(truth[Output::y].rn[0], 0.5);
  EXPECT_TRUE(std::isnan(truth[Output::running_var].rn[0]));
  EXPECT_EQ(truth[Output::running_mean].rn[1], -3.5);
  EXPECT_EQ(must_reject(c), "");
  c.problem.dialect = "pytorch/F.batch_norm";
  c.problem.semantics = dialect_named(c.problem.dialect)->semantics;
  EXPECT_NE(must_reject(c).find("one value per channel"), std::string::npos);
  EXPECT_THROW(truth_of(c), std::invalid_argument);
  c.problem.pass = Pass::forward_inference;
  EXPECT_EQ(must_reject(c), "");
}

TEST(Oracle, AnEmptyBatchLeavesTheRunningStatisticsAlone) {
  Case c = with_running(plain(f32, 2, {}, 1), {3, -1}, {4, 5}, 0.5);
  const Truth truth = truth_of(c);
  EXPECT_TRUE(truth[Output::y].empty());
  EXPECT_EQ(truth[Output::running_mean].rn, (std::vector<double>{3, -1}));
  EXPECT_EQ(truth[Output::running_var].rn, (std::vector<double>{4, 5}));
  EXPECT_TRUE(truth.channels[1].finite);
  EXPECT_EQ(truth_of(inference(plain(f32, 2, {}, 1), {3, -1}, {4, 5}))[Output::y].rn.size(), 0U);
}

TEST(Oracle, WhereNegativeEpsIsAcceptedTheFormulaHolds) {
  Case c = plain(f32, 1, {-2, 2}, -3);
  c.problem.dialect = "pytorch/native_batch_norm";
  c.problem.semantics = dialect_named(c.problem.dialect)->semantics;
  EXPECT_EQ(truth_of(c)[Output::invstd].rn[0], 1);
  c.problem.eps = -4;
  EXPECT_EQ(truth_of(c)[Output::invstd].rn[0], inf);
  c.problem.eps = -5;
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::y].rn[0]));
}

// --- who must compute what ---

Case in_dialect(Case c, std::string_view name) {
  c.problem.dialect = name;
  c.problem.semantics = dialect_named(name).value().semantics;
  return c;
}

/// The rulings of the dialects, in the order of the table.
std::string rulings(const Case& c) {
  std::string text;
  for (const Dialect& dialect : dialects()) {
    const Admission admission = admission_of(in_dialect(c, dialect.name));
    text += admission.ruling == Ruling::accept ? 'a' : admission.ruling == Ruling::reject ? 'r' : 'e';
    EXPECT_EQ(admission.reason.empty(), admission.ruling == Ruling::accept);
    EXPECT_EQ(must_reject(in_dialect(c, dialect.name)).empty(), admission.ruling != Ruling::reject);
  }
  return text;
}

TEST(Admission, EveryDialectRulesOnEveryEdgeByItsKnobs) {
  // documented, F.batch_norm, native_batch_norm, keras, keras-fused, onnx, cudnn, onednn, stablehlo
  const Case ordinary = plain(f32, 1, {1, 2, 3}, 1);
  EXPECT_EQ(rulings(ordinary), "aaaaaaaaa");
  EXPECT_EQ(rulings(plain(f32, 1, {1}, 1)), "araaaaeaa");
  EXPECT_EQ(rulings(plain(f32, 1, {}, 1)), "eareeeeee");
  EXPECT_EQ(rulings(plain(f32, 1, {1, 2}, 0)), "araaaaaaa");
  EXPECT_EQ(rulings(plain(f32, 1, {1, 2}, -1)), "rreeeeeee");
  EXPECT_EQ(rulings(plain(f32, 1, {1, 2}, nan)), "rreeeeeee");
  EXPECT_EQ(rulings(with_running(ordinary, {0}, {1}, std::nullopt)), "aaaeeeeee");
  const auto given = [](std::vector<double> x, double var, double eps) {
    return inference(plain(f32, 1, std::move(x), eps), {0}, {var});
  };
  EXPECT_EQ(rulings(given({1}, 1, 1)), "aaaaaaaaa");  // one value is nothing special
  EXPECT_EQ(rulings(given({}, 1, 1)), "aaaeeeeee");
  EXPECT_EQ(rulings(given({1}, 1, 0)), "aaaaaaaaa");
  EXPECT_EQ(rulings(given({1}, -2, 1)), "eaaaaaeaa");
  EXPECT_EQ(rulings(given({1}, -1, 1)), "aaaaaaaaa");  // 1/0: the formula
  EXPECT_EQ(rulings(given({1}, 1, -1)), "reeeeeeee");
  Case backward = given({1, 2}, 1, 1);
  backward.problem.pass = Pass::backward_inference;
  backward.dy = {1, 2};
  EXPECT_EQ(rulings(backward), "aaaaaeeae");
  Case pair = plain(f32, 1, {1}, 0);
  pair.problem.pass = Pass::gradient;
  pair.dy = {1};
  EXPECT_EQ(rulings(pair), "araaaaeaa");
  pair.problem.pass = Pass::backward_training;  // nothing is computed from x
  EXPECT_EQ(rulings(pair), "aaaaaaaaa");
}

TEST(Oracle, CumulativeAverageWeighsTheNewBatchByItsNumber) {
  Case c = with_running(plain(f64, 1, {1, 3}, 0), {6}, {10}, std::nullopt);
  c.num_batches_tracked = 2;
  const Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::running_mean].rn[0], 14.0 / 3);  // (2 * 6 + 2) / 3
  EXPECT_EQ(truth[Output::running_var].rn[0], 7);          // (2 * 10 + 1) / 3
  c.num_batches_tracked = 0;
  EXPECT_EQ(truth_of(c)[Output::running_mean].rn[0], 2);  // the old value has no weight
}

TEST(Oracle, ThreadsDoNotChangeABit) {
  Numbers numbers(6);
  std::vector<double> x;
  for (int i = 0; i < 50 * 20; ++i)
    x.push_back(numbers.number(f64, -3, 3));
  const Case c = plain(f64, 50, x, 1e-5);
  const Truth one = truth_of(c, 1);
  const Truth four = truth_of(c, 4);
  for (const Output output : all_outputs) {
    EXPECT_EQ(one[output].rn, four[output].rn);
    EXPECT_EQ(one[output].off, four[output].off);
  }
  EXPECT_EQ(one.effort.elements, four.effort.elements);
  EXPECT_EQ(one.effort.elements, 1000 + 3 * 50);
}

TEST(Oracle, WhatIsNoCaseIsRefusedByName) {
  const auto message = [](const Case& c) -> std::string {
    try {
      truth_of(c);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  Case c = plain(f32, 1, {1, 2}, 1);
  EXPECT_EQ(message(c), "accepted");
  c.x[1] = 0.1;
  EXPECT_NE(message(c).find("x[1]"), std::string::npos);
  c.x.pop_back();
  EXPECT_NE(message(c).find("x has 1 values, the shape needs 2"), std::string::npos);
  c = plain(f32, 1, {1, 2}, -1);
  EXPECT_NE(message(c).find("eps"), std::string::npos);
  c = plain(f32, 1, {1, 2}, 1);
  c.gamma = {1};
  EXPECT_NE(message(c).find("gamma"), std::string::npos);
  c = plain(f32, 1, {1, 2}, 1);
  c.problem.pass = Pass::forward_inference;
  EXPECT_NE(message(c).find("running_mean"), std::string::npos);
  c = plain(f32, 1, {}, 1);
  c.problem.semantics.empty_batch = EmptyBatch::rejected;
  EXPECT_NE(message(c).find("without values"), std::string::npos);
  c = plain(f32, 1, {1, 2}, inf);
  EXPECT_NE(message(c).find("eps"), std::string::npos);
  c = plain(f32, 1, {1, 2}, 0);
  c.problem.semantics.zero_eps = ZeroEps::rejected;
  EXPECT_NE(message(c).find("eps = 0"), std::string::npos);
}

// --- facts ---

ChannelFacts facts_of(const std::vector<double>& x, const Format& format = f32) {
  return truth_of(plain(format, 1, x, 1e-5)).channels.at(0);
}

TEST(Facts, AreThoseOfTheExactStatistics) {
  Numbers numbers(7);
  for (const Format& format : formats()) {
    for (int round = 0; round < 50; ++round) {
      std::vector<double> x;
      for (int i = 0; i < 11; ++i)
        x.push_back(round_to(format, 3 + numbers.number(format, -3, 1)));
      const ChannelFacts facts = facts_of(x, format);
      const auto statistics = second_route::statistics(x.data(), 11);
      Rational sum_abs, squares;
      for (const double v : x) {
        sum_abs += exact(std::abs(v));
        squares += exact(v) * exact(v);
      }
      const auto near = [](double got, const Rational& want) {  // relative
        return abs(Rational(exact(got) / want - 1)) <= exact(0x1p-45);
      };
      EXPECT_TRUE(near(facts.variance, statistics.biased));
      EXPECT_TRUE(near(facts.deviation * facts.deviation, statistics.biased));
      EXPECT_TRUE(near(facts.invstd * facts.invstd, 1 / Rational(statistics.biased + exact(1e-5))));
      EXPECT_TRUE(near(facts.mean_abs, sum_abs / 11));
      EXPECT_TRUE(near(facts.rms * facts.rms, squares / 11));
      EXPECT_LE(abs(Rational((exact(facts.mean_hi) + exact(facts.mean_lo)) / statistics.mean - 1)),
                exact(0x1p-90));
      EXPECT_EQ(facts.max_abs, *std::max_element(x.begin(), x.end()));
      EXPECT_EQ(facts.n, 11);
    }
  }
}

TEST(Facts, InferenceUsesTheGivenStatistics) {
  const Truth truth = truth_of(inference(plain(f32, 1, {8, 0}, 1), {3}, {15}));
  EXPECT_EQ(truth.channels[0].mean_hi, 3);
  EXPECT_EQ(truth.channels[0].variance, 15);
  EXPECT_EQ(truth.channels[0].invstd, 0.25);
  EXPECT_EQ(truth.channels[0].mean_abs, 4);
  EXPECT_FALSE(truth.channels[0].exact.mean);
}

TEST(Exactness, TheDataSetOfTheClauseIsExact) {
  // K + {+1, -1, 0, 0}, at every size; n (K + 1) up to 2^24.
  for (const int log_n : {2, 5, 12, 20}) {
    const std::int64_t n = std::int64_t{1} << log_n;
    const auto k = static_cast<double>((std::int64_t{1} << (24 - log_n)) - 1);
    std::vector<double> x;
    for (std::int64_t i = 0; i < n; ++i)
      x.push_back(k + (i % 4 == 0 ? 1 : i % 4 == 1 ? -1 : 0));
    EXPECT_TRUE(facts_of(x).exact.variance) << n;
    x[0] += 1;  // the mean is no longer an integer; its place below 2^0 pushes the squares beyond 24 bits
    EXPECT_EQ(facts_of(x).exact.variance, log_n < 12) << n;
    x.assign(static_cast<std::size_t>(n), k + 2);
    EXPECT_FALSE(facts_of(x).exact.mean && k > 100) << n;  // sums of 25 bits
  }
}

TEST(Exactness, AFlagMeansThatNoOrderOfAnyFloatSumRounds) {
  // Every flag that is up is tried: sums in float, in two orders and pairwise, must be exact.
  Numbers numbers(8);
  int flagged = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::int64_t n = std::int64_t{1} << numbers.integer(1, 7);
    const std::int64_t width = std::int64_t{1} << numbers.integer(1, 23);
    std::vector<double> x;
    for (std::int64_t i = 0; i < n; ++i)
      x.push_back(std::ldexp(static_cast<double>(numbers.integer(-width, width + 1)), -5));
    const ChannelFacts facts = facts_of(x);
    if (!facts.exact.mean)
      continue;
    ++flagged;
    const auto sum = [&](auto&& term) {
      float forward = 0;
      float backward = 0;
      float lanes[2]{};
      for (std::size_t i = 0; i < x.size(); ++i) {
        forward += term(static_cast<float>(x[i]));
        backward += term(static_cast<float>(x[x.size() - 1 - i]));
        lanes[i % 2] += term(static_cast<float>(x[i]));
      }
      EXPECT_EQ(forward, backward);
      EXPECT_EQ(forward, lanes[0] + lanes[1]);
      return forward / static_cast<float>(n);
    };
    const float mean = sum([](float v) { return v; });
    ASSERT_EQ(static_cast<double>(mean), facts.mean_hi);
    if (!facts.exact.variance)
      continue;
    const float variance = sum([mean](float v) { return (v - mean) * (v - mean); });
    ASSERT_EQ(static_cast<double>(variance), facts.variance);
  }
  EXPECT_GT(flagged, 500);
}

TEST(Exactness, NeedsAPowerOfTwoOfValues) {
  EXPECT_TRUE(facts_of({1, 2, 3, 6}).exact.mean);
  EXPECT_FALSE(facts_of({1, 2, 3}).exact.mean);
  EXPECT_FALSE(facts_of({1, 0x1p-30}).exact.mean);  // no single holds the sum
  EXPECT_TRUE(facts_of({1, 0x1p-30}, f64).exact.mean);
  EXPECT_FALSE(facts_of({1, 1 + 0x1p-23}).exact.mean);  // the mean is a midpoint
}

TEST(Exactness, PairsAndConstants) {
  EXPECT_TRUE(facts_of({10001, 10003}).exact.pair);
  EXPECT_TRUE(facts_of({10003, 10001}).exact.pair);
  EXPECT_FALSE(facts_of({1, 1 + 0x1p-23}).exact.pair);   // the mean is no single
  EXPECT_FALSE(facts_of({0x1p23, 1}).exact.pair);        // the square of the difference is none
  EXPECT_FALSE(facts_of({0x1p65, -0x1p65}).exact.pair);  // overflow of the squares
  EXPECT_FALSE(facts_of({10001, 10002, 10003}).exact.pair);
  EXPECT_TRUE(facts_of({0.1F, 0.1F, 0.1F}).exact.constant);
  EXPECT_FALSE(facts_of({0.1F, 0.1F, 0.2F}).exact.constant);
  EXPECT_FALSE(facts_of({inf, inf}).exact.constant);
}

}  // namespace
}  // namespace normproof::reference
