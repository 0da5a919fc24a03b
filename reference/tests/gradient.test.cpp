// The gradients against routes of their own: Jacobians over exact rationals, automatic differentiation of the
// forward pass at 100 digits, finite differences, and data whose gradients are known.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "cases.h"
#include "gradient_route.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"

namespace normproof::reference {
namespace {

using second_route::exact;
using second_route::Rational;
using second_route::Slip;
using testing_cases::backward;
using testing_cases::backward_inference;
using testing_cases::gradient;
using testing_cases::Numbers;
using testing_cases::plain;
using testing_cases::with_affine;

using Doubles = std::vector<double>;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Agreement {
  std::int64_t compared = 0;
  std::int64_t differing = 0;
  std::int64_t ties = 0;
  std::int64_t zeros = 0;

  void see(const Format& format, const Values& values, std::size_t i, second_route::Nearest want,
           const Rational& value) {
    ++compared;
    ties += want.tie;
    zeros += value == 0;
    const double rn = values.rn.at(i);
    const double off = values.off.at(i);
    const bool same =
        rn == want.rn && is_tie(format, rn, off) == want.tie &&
        (std::abs(off) > 1 || std::abs(off - second_route::off(format, value, rn)) <= off_precision);
    differing += !same;
  }
};

/// All outputs of all channels by the second route.
void compare(const Case& c, const Truth& truth, Agreement& agreement, Slip slip = Slip::none) {
  const Problem& p = c.problem;
  const std::int64_t n = p.shape.per_channel();
  const auto size = static_cast<std::size_t>(n);
  for (std::size_t k = 0; k < static_cast<std::size_t>(p.shape.channels); ++k) {
    const double* x = c.channel(static_cast<std::int64_t>(k));
    const auto batch = second_route::statistics(x, n);
    const bool given = !c.saved_mean.empty();
    const bool inference = is_inference(p.pass);
    const Rational mean = given ? exact(c.saved_mean[k]) : inference ? exact(c.running_mean[k]) : batch.mean;
    const Rational s = (inference ? exact(c.running_var[k]) : batch.biased) + exact(p.eps);
    if (!given && s == 0)
      continue;  // 1/0 has its own tests
    const Rational r = given ? exact(c.saved_invstd[k]) : Rational(0);
    const auto g =
        second_route::gradients(c, k, mean, given ? Rational(r * r) : Rational(1 / s), inference, slip);
    const auto see = [&](Output output, std::size_t i, const Rational& over_r, const Rational& shift) {
      const Format& format = format_of(p, output);
      Rational value = over_r * r + shift;
      const auto want = given ? second_route::nearest(format, value)
                              : second_route::nearest_scaled_root(format, over_r, s, shift, &value);
      agreement.see(format, truth[output], i, want, value);
    };
    if (is_second_order(p.pass)) {
      see(Output::grad_gamma, k, g.grad_gamma, 0);
      for (std::size_t i = 0; i < size; ++i) {
        see(Output::grad_dy, k * size + i, g.grad_dy[i], g.shift);
        see(Output::grad_x, k * size + i, g.grad_x[i], 0);
      }
      continue;
    }
    agreement.see(p.stats, truth[Output::dbeta], k, second_route::nearest(p.stats, g.dbeta), g.dbeta);
    if (slip == Slip::dgamma_plain)
      agreement.see(p.stats, truth[Output::dgamma], k, second_route::nearest(p.stats, g.dgamma), g.dgamma);
    else
      see(Output::dgamma, k, g.dgamma, 0);
    for (std::size_t i = 0; i < size; ++i)
      see(Output::dx, k * size + i, g.dx[i], 0);
  }
}

/// Values of one channel of one of the families that tell oracles apart.
std::vector<double> values(Numbers& numbers, const Format& format, std::int64_t n) {
  const std::int64_t family = numbers.integer(0, 9);
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
      x.push_back(std::ldexp(1.0, std::min(format.emax - 1, 20)) + numbers.number(format, -2, 0));
      break;  // far from 0
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

Case random_case(Numbers& numbers, Pass pass, const Format& data, const Format& stats) {
  const std::int64_t channels = numbers.integer(1, 4);
  const std::int64_t n = numbers.integer(0, 4) == 0 ? numbers.integer(1, 4) : numbers.integer(2, 16);
  const double epsilons[]{0, 1, 1e-5, 0x1.4f8b58p-17, 0x1p-149, 0.25};
  std::vector<double> x, dy, v, gamma, beta, mean, second, a, b;
  for (std::int64_t k = 0; k < channels; ++k) {
    const auto append = [&](std::vector<double>& to) {
      const std::vector<double> more = values(numbers, data, n);
      to.insert(to.end(), more.begin(), more.end());
    };
    append(x);
    append(dy);
    append(v);
    const auto number = [&](int low, int high) {
      return numbers.integer(0, 3) == 0 ? static_cast<double>(numbers.integer(-1, 3))
                                        : numbers.number(stats, low, high);
    };
    gamma.push_back(number(-3, 2));
    beta.push_back(number(-3, 2));
    a.push_back(number(-3, 2));
    b.push_back(number(-3, 2));
    const double first = x[static_cast<std::size_t>(k * n)];
    mean.push_back(numbers.integer(0, 2) == 0
                       ? std::clamp(round_to(stats, first), -largest(stats), largest(stats))
                       : number(-4, 4));
    second.push_back(numbers.integer(0, 2) == 0 ? std::ldexp(1.0, static_cast<int>(numbers.integer(-6, 7)))
                                                : std::abs(numbers.number(stats, -8, 8)));
  }
  Case c = plain(data, channels, std::move(x), epsilons[numbers.integer(0, 6)]);
  if (numbers.integer(0, 4) != 0)
    c = with_affine(std::move(c), std::move(gamma), std::move(beta));
  c.problem.stats = stats;
  switch (pass) {
  case Pass::gradient:
    return gradient(std::move(c), std::move(dy));
  case Pass::backward_inference:
  case Pass::double_backward_inference:
    c = backward_inference(std::move(c), std::move(dy), std::move(mean), std::move(second));
    break;
  default:
    c = backward(std::move(c), std::move(dy), std::move(mean), std::move(second));
  }
  c.problem.pass = pass;
  if (is_second_order(pass)) {
    if (numbers.integer(0, 5) != 0)
      c.v_x = std::move(v);
    if (numbers.integer(0, 5) != 0)
      c.v_gamma = std::move(a);
    if (numbers.integer(0, 5) != 0)
      c.v_beta = std::move(b);
  }
  return c;
}

constexpr Pass backward_passes[]{Pass::backward_training, Pass::backward_inference, Pass::gradient,
                                 Pass::double_backward, Pass::double_backward_inference};
const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                        {f16, f16}, {bf16, f32}, {bf16, bf16}};

TEST(Gradient, BothRoutesAgreeOnRandomAndAdversarialElements) {
  for (const Pass pass : backward_passes) {
    for (const auto& [data, stats] : types) {
      Numbers numbers(static_cast<std::uint64_t>(pass) * 10 +
                      static_cast<std::uint64_t>(data.p + stats.bytes));
      Agreement agreement;
      Effort effort;
      while (agreement.compared < 3000) {
        const Case c = random_case(numbers, pass, data, stats);
        const Truth truth = truth_of(c, 1);
        effort.escalated += truth.effort.escalated;
        effort.arbitrated += truth.effort.arbitrated;
        const std::int64_t before = agreement.differing;
        compare(c, truth, agreement);
        ASSERT_EQ(agreement.differing, before)
            << to_string(pass) << " " << data.name << " " << stats.name << " " << to_string(c.problem.shape)
            << " eps " << c.problem.eps;
      }
      std::printf("%s %s/%s: %lld by both routes, %lld ties, %lld zeros, %lld beyond the first precision\n",
                  std::string(to_string(pass)).c_str(), std::string(data.name).c_str(),
                  std::string(stats.name).c_str(), static_cast<long long>(agreement.compared),
                  static_cast<long long>(agreement.ties), static_cast<long long>(agreement.zeros),
                  static_cast<long long>(effort.escalated));
    }
  }
}

/// Four channels whose every term matters.
Case plain_case(Pass pass, std::uint64_t seed) {
  Numbers numbers(seed);
  std::vector<double> x, dy, v, gamma, beta, mean, second, a, b;
  for (int i = 0; i < 4 * 6; ++i) {
    x.push_back(numbers.number(f32, -3, 1));
    dy.push_back(numbers.number(f32, -3, 1));
    v.push_back(numbers.number(f32, -3, 1));
  }
  for (int k = 0; k < 4; ++k)
    for (std::vector<double>* values : {&gamma, &beta, &mean, &second, &a, &b})
      values->push_back(std::abs(numbers.number(f32, 0, 1)));
  Case c = with_affine(plain(f32, 4, x, 0.25), gamma, beta);
  if (pass == Pass::gradient)
    return gradient(c, dy);
  c = is_inference(pass) ? backward_inference(c, dy, mean, second) : backward(c, dy, mean, second);
  c.problem.pass = pass;
  if (is_second_order(pass)) {
    c.v_x = v;
    c.v_gamma = a;
    c.v_beta = b;
  }
  return c;
}

TEST(Gradient, EverySlipOfTheFormulaIsCaughtByTheRoutes) {
  const auto differing = [](Pass pass, Slip slip) {
    const Case c = plain_case(pass, 11);
    Agreement agreement;
    compare(c, truth_of(c), agreement, slip);
    return agreement.differing;
  };
  for (const Pass pass : backward_passes)
    EXPECT_EQ(differing(pass, Slip::none), 0) << to_string(pass);
  for (const Pass pass : {Pass::backward_training, Pass::gradient})
    for (const Slip slip : {Slip::no_mean_term, Slip::no_xhat_term, Slip::mean_not_by_n, Slip::xhat_not_by_n,
                            Slip::sign_of_xhat, Slip::no_gamma, Slip::gamma_twice, Slip::dgamma_of_x,
                            Slip::dgamma_plain, Slip::dbeta_mean})
      EXPECT_GT(differing(pass, slip), 0) << to_string(pass) << " " << static_cast<int>(slip);
  for (const Slip slip :
       {Slip::no_gamma, Slip::gamma_twice, Slip::dgamma_of_x, Slip::dgamma_plain, Slip::dbeta_mean})
    EXPECT_GT(differing(Pass::backward_inference, slip), 0) << static_cast<int>(slip);
  for (const Slip slip :
       {Slip::no_mean_term, Slip::no_xhat_term, Slip::mean_not_by_n, Slip::xhat_not_by_n, Slip::sign_of_xhat,
        Slip::no_gamma, Slip::no_triple, Slip::triple_is_double, Slip::no_v_gamma, Slip::no_mean_of_v})
    EXPECT_GT(differing(Pass::double_backward, slip), 0) << static_cast<int>(slip);
  for (const Slip slip : {Slip::no_gamma, Slip::no_v_gamma})
    EXPECT_GT(differing(Pass::double_backward_inference, slip), 0) << static_cast<int>(slip);
}

TEST(Gradient, EveryWrongInputIsCaughtByTheRoutes) {
  const auto caught = [](Pass pass, auto&& mutate) {
    const Case c = plain_case(pass, 12);
    Case mutant = c;
    mutate(mutant);
    Agreement agreement;
    compare(c, truth_of(mutant), agreement);
    return agreement.differing > 0;
  };
  EXPECT_TRUE(caught(Pass::backward_training, [](Case& m) { std::swap(m.saved_mean, m.saved_invstd); }));
  EXPECT_TRUE(caught(Pass::backward_training, [](Case& m) { std::swap(m.x, m.dy); }));
  for (const Pass pass : {Pass::double_backward, Pass::double_backward_inference}) {
    EXPECT_TRUE(caught(pass, [](Case& m) { std::swap(m.v_gamma, m.v_beta); }));
    EXPECT_TRUE(caught(pass, [](Case& m) { std::swap(m.v_x, m.dy); }));
    EXPECT_TRUE(caught(pass, [](Case& m) { m.v_gamma.clear(); }));
    EXPECT_TRUE(caught(pass, [](Case& m) { m.v_beta.clear(); }));
    EXPECT_TRUE(caught(pass, [](Case& m) { m.v_x.clear(); }));
  }
  EXPECT_TRUE(caught(Pass::double_backward_inference, [](Case& m) { m.running_var[1] *= 2; }));
  EXPECT_TRUE(caught(Pass::double_backward_inference, [](Case& m) { m.problem.eps = 0.5; }));
  EXPECT_TRUE(caught(Pass::double_backward_inference, [](Case& m) {
    m.problem.pass = Pass::double_backward, m.saved_mean = m.running_mean, m.saved_invstd = m.running_var;
  }));
  EXPECT_TRUE(caught(Pass::gradient, [](Case& m) { m.problem.eps = 0.5; }));
  for (const EpsPlacement eps : {EpsPlacement::outside_root, EpsPlacement::added_to_deviation,
                                 EpsPlacement::omitted, EpsPlacement::doubled, EpsPlacement::clamped})
    EXPECT_TRUE(caught(Pass::gradient, [&](Case& m) { m.problem.semantics.eps = eps; }));
  EXPECT_TRUE(
      caught(Pass::gradient, [](Case& m) { m.problem.semantics.normalising = VarianceKind::unbiased; }));
  EXPECT_TRUE(caught(Pass::backward_inference, [](Case& m) { m.running_mean[1] += 1; }));
  // Truth A does not look at eps, nor the pair at anything saved.
  EXPECT_FALSE(caught(Pass::backward_training, [](Case& m) { m.problem.eps = 0.5; }));
}

// --- the specification's worked examples, and data whose gradients are known ---

std::vector<double> rn(const Truth& truth, Output output) {
  for (const double off : truth[output].off)
    EXPECT_EQ(off, 0);
  return truth[output].rn;
}

TEST(Gradient, TheWorkedExamplesOfTheSpecification) {
  const Case forward = with_affine(plain(f32, 1, {2, 4, 8, 10}, 6), {2}, {1});
  const Doubles dy{1, 2, 0, 1};
  for (const Case& c : {gradient(forward, dy), backward(forward, dy, {6}, {0.25})}) {
    const Truth truth = truth_of(c);
    EXPECT_EQ(rn(truth, Output::dbeta), Doubles{4});
    EXPECT_EQ(rn(truth, Output::dgamma), Doubles{-1});
    EXPECT_EQ(rn(truth, Output::dx), (Doubles{-0.125, 0.4375, -0.4375, 0.125}));
  }
  const Truth inference = truth_of(backward_inference(forward, dy, {4}, {10}));
  EXPECT_EQ(rn(inference, Output::dgamma), Doubles{1});
  EXPECT_EQ(rn(inference, Output::dx), (Doubles{0.5, 1, 0, 0.5}));
  Case second = backward(forward, dy, {6}, {0.25});
  second.problem.pass = Pass::double_backward;
  second.v_x = {1, -1, 2, 0};
  second.v_gamma = {1};
  second.v_beta = {-2};
  const Truth truth = truth_of(second);
  EXPECT_EQ(rn(truth, Output::grad_dy), (Doubles{-2.6875, -3.21875, -0.78125, -1.3125}));
  EXPECT_EQ(rn(truth, Output::grad_gamma), Doubles{-0.71875});
  EXPECT_EQ(rn(truth, Output::grad_x), (Doubles{-0.12890625, 0.115234375, -0.115234375, 0.12890625}));
}

TEST(Gradient, ConstantDyHasNoGradientInThePairAtAnyScale) {
  // dx = gamma r (dy - dy - xhat 0): exactly 0, however far apart x lie; the same for dy proportional to
  // xhat, eps = 0.
  Numbers numbers(21);
  for (const auto& [data, stats] : types) {
    for (int round = 0; round < 20; ++round) {
      const auto x = values(numbers, data, 9);
      Case c = plain(data, 1, x, 0x1p-20);
      c.problem.stats = stats;
      const Truth truth = truth_of(gradient(c, Doubles(9, numbers.number(data, -9, 9))));
      EXPECT_EQ(rn(truth, Output::dx), Doubles(9, 0.0));
      EXPECT_EQ(rn(truth, Output::dgamma), Doubles(1, 0.0));
    }
  }
  Case c = plain(f64, 1, {1, 2, 4, 9}, 0);
  const Truth proportional = truth_of(gradient(c, {-3, -2, 0, 5}));
  EXPECT_EQ(rn(proportional, Output::dx), Doubles(4, 0.0));
}

TEST(Gradient, AConstantChannelHasNoTermInXhat) {
  // BN-BWD-10: dx = gamma invstd (dy - dbeta / n), with invstd = 1/sqrt(eps).
  for (const double value : {0.1F, 30000002.0F, 1e30F}) {
    const Truth truth = truth_of(
        gradient(with_affine(plain(f32, 1, {value, value, value, value}, 0x1p-20), {3}, {7}), {1, 2, 0, 1}));
    EXPECT_EQ(rn(truth, Output::dgamma), Doubles{0});
    EXPECT_EQ(rn(truth, Output::dx), (Doubles{0, 3072, -3072, 0}));
  }
  for (const EpsPlacement eps :
       {EpsPlacement::added_to_deviation, EpsPlacement::clamped, EpsPlacement::doubled}) {
    Case c = gradient(plain(f32, 1, {5, 5}, 0x1p-20), {1, 3});
    c.problem.semantics.eps = eps;
    EXPECT_EQ(rn(truth_of(c), Output::dgamma), Doubles{0});
    EXPECT_LT(truth_of(c)[Output::dx].rn[0], 0);
  }
}

TEST(Gradient, ZeroVarianceWithoutEpsFollowsTheDialect) {
  Case c = gradient(plain(f32, 1, {3, 3, 3}, 0), {1, 2, 4});
  Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::dbeta].rn[0], 7);
  EXPECT_TRUE(std::isnan(truth[Output::dgamma].rn[0]));
  EXPECT_TRUE(std::isnan(truth[Output::dx].rn[1]));
  c.problem.semantics.zero_eps = ZeroEps::zero_invstd;
  truth = truth_of(c);
  EXPECT_EQ(rn(truth, Output::dgamma), Doubles{0});
  EXPECT_EQ(rn(truth, Output::dx), Doubles(3, 0.0));
}

TEST(Gradient, OneValuePerChannelHasGradientZero) {
  // BN-BWD-9; truth A at a mean that is not x has none of that.
  const Case forward = with_affine(plain(f32, 2, {4, -7}, 0x1p-4), {2, 3}, {0, 0});
  const Truth pair = truth_of(gradient(forward, {5, 0.1F}));
  EXPECT_EQ(rn(pair, Output::dbeta), (Doubles{5, 0.1F}));
  EXPECT_EQ(rn(pair, Output::dgamma), Doubles(2, 0.0));
  EXPECT_EQ(rn(pair, Output::dx), Doubles(2, 0.0));
  const Truth given = truth_of(backward(forward, {5, 0}, {3, -7}, {1, 1}));
  EXPECT_EQ(rn(given, Output::dgamma), (Doubles{5, 0}));
  EXPECT_EQ(rn(given, Output::dx), (Doubles{-10, 0}));  // 2 (5 - 5 - 1 (5))
}

TEST(Gradient, TwoValuesWithoutEpsHaveGradientZero) {
  // y = +-1 whatever x: dx = 0 exactly, and dgamma = dy[0] - dy[1] for x[0] > x[1].
  Numbers numbers(22);
  for (int round = 0; round < 500; ++round) {
    const double a = numbers.number(f32, -20, 20);
    const double b = numbers.number(f32, -20, 20);
    const double g = std::ldexp(static_cast<double>(numbers.integer(-1000, 1000)), -4);
    const double h = std::ldexp(static_cast<double>(numbers.integer(-1000, 1000)), -4);
    if (a == b)
      continue;
    const Truth truth = truth_of(gradient(plain(f32, 1, {a, b}, 0), {g, h}));
    ASSERT_EQ(rn(truth, Output::dx), Doubles(2, 0.0));
    ASSERT_EQ(truth[Output::dgamma].rn[0], a > b ? g - h : h - g);
    ASSERT_LE(std::abs(truth[Output::dgamma].off[0]), 0x1p-50);
  }
}

TEST(Gradient, DxOfThePairSumsToZeroAndIsOrthogonalToXhat) {
  // BN-BWD-8: sum dx = 0, sum dx xhat = gamma r^3 eps dgamma, to what storing dx takes.
  Numbers numbers(23);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> x, dy;
    for (int i = 0; i < 16; ++i) {
      x.push_back(numbers.number(f64, -3, 1));
      dy.push_back(numbers.number(f64, -3, 1));
    }
    const Truth truth = truth_of(gradient(with_affine(plain(f64, 1, x, 0.125), {1.5}, {0}), dy));
    const ChannelFacts& facts = truth.channels[0];
    long double sum = 0;
    long double dot = 0;
    long double scale = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double dx = truth[Output::dx].rn[i];
      const long double xhat = (x[i] - facts.mean_hi) * static_cast<long double>(facts.invstd);
      sum += dx;
      dot += dx * xhat;
      scale += std::abs(dx) * (1 + std::abs(xhat));
    }
    const double r = facts.invstd;
    EXPECT_LE(std::abs(sum), scale * 0x1p-52);
    EXPECT_LE(std::abs(dot - 1.5L * r * r * r * 0.125L * truth[Output::dgamma].rn[0]), scale * 0x1p-50);
  }
}

// --- formats ---

TEST(Gradient, SixteenBitsAreReachedInOneRounding) {
  // 3745 + 936 2^-24 by way of f32 would be 3745, a tie, and then 3744; 1 + 2^-8 + 2^-40 would be 1.
  Case half = gradient(plain(f16, 1, {1, 2, 3}, 1), {3744, 1, 0x1.d4p-15});
  half.problem.stats = f16;
  EXPECT_EQ(truth_of(half)[Output::dbeta].rn[0], 3746);
  half.problem.stats = f32;
  EXPECT_EQ(truth_of(half)[Output::dbeta].rn[0], 3745);
  Case brain = gradient(plain(bf16, 1, {1, 2, 3}, 1), {1, 0x1p-8, 0x1p-40});
  EXPECT_EQ(truth_of(brain)[Output::dbeta].rn[0], 1.0078125);
}

TEST(Gradient, ElementsNextToATieAreNotRoundedByWayOfSingle) {
  // dx = gamma dy in inference, with gamma the single nearest to tie / dy: about every second product lies on
  // one side of the tie, and rounds to the tie in single.
  Numbers numbers(24);
  for (const Format& data : {f16, bf16}) {
    int wrong_by_single = 0;
    for (int round = 0; round < 3000; ++round) {
      const double dy = std::abs(numbers.number(data, 0, 0));
      const double tie = std::abs(numbers.number(data, 0, 0)) + spacing(data, 1) / 2;
      const double gamma = round_to(f32, tie / dy);
      const double product = gamma * dy;  // exact: 35 bits
      Case c = backward_inference(with_affine(plain(data, 1, {0}, 0), {1}, {0}), {dy}, {0}, {1});
      c.problem.stats = f32;
      c.gamma = {gamma};
      const Truth truth = truth_of(c);
      ASSERT_EQ(truth[Output::dx].rn[0], round_to(data, product));
      ASSERT_EQ(is_tie(data, truth[Output::dx].rn[0], truth[Output::dx].off[0]), product == tie);
      wrong_by_single += round_to(data, round_to(f32, product)) != round_to(data, product);
    }
    std::printf("%s: %d of 3000 elements are wrong by way of f32\n", std::string(data.name).c_str(),
                wrong_by_single);
    EXPECT_GT(wrong_by_single, 200);
  }
}

TEST(Gradient, TiesOfSixteenBitElementsAreTies) {
  // dx = gamma r dy with r = 1: every product of two bf16 numbers of 8 bits that ends in a half.
  std::int64_t ties = 0;
  for (int g = 128; g < 256; g += 2) {
    std::vector<double> dy;
    for (int d = 128; d < 256; ++d)
      dy.push_back(std::ldexp(d, -7));
    const Truth truth = truth_of(backward_inference(
        with_affine(plain(bf16, 1, Doubles(dy.size(), 0.0), 0), {std::ldexp(g, -7)}, {0}), dy, {0}, {1}));
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const double exact_value = dy[i] * std::ldexp(g, -7);
      const double got = truth[Output::dx].rn[i];
      ASSERT_EQ(got, round_to(bf16, exact_value));
      const bool tie = std::abs(exact_value - got) == spacing(bf16, exact_value >= 2 ? 2.0 : 1.0) / 2;
      ASSERT_EQ(is_tie(bf16, got, truth[Output::dx].off[i]), tie) << exact_value;
      ties += tie;
    }
  }
  std::printf("%lld ties of products\n", static_cast<long long>(ties));
  EXPECT_GT(ties, 50);
}

// --- what is not finite, and what is empty ---

TEST(Gradient, ANonFiniteValueTakesItsChannelAlone) {
  for (const double bad : {inf, -inf, nan}) {
    for (const bool in_x : {false, true}) {
      Case c = gradient(plain(f32, 2, {1, 2, 3, 4}, 1), {1, 2, 3, 4});
      (in_x ? c.x : c.dy)[1] = bad;
      const Truth truth = truth_of(c);
      EXPECT_TRUE(std::isnan(truth[Output::dgamma].rn[0]));
      EXPECT_TRUE(std::isnan(truth[Output::dx].rn[0]));
      EXPECT_TRUE(std::isnan(truth[Output::dx].rn[1]));
      const double dbeta = truth[Output::dbeta].rn[0];
      const double want = in_x ? 3 : bad;  // x does not enter
      EXPECT_TRUE(dbeta == want || (std::isnan(dbeta) && std::isnan(want)));
      EXPECT_EQ(truth.channels[0].gradient.finite, in_x);
      EXPECT_EQ(truth.channels[0].finite, !in_x);
      for (const Output output : {Output::dbeta, Output::dgamma})
        EXPECT_TRUE(std::isfinite(truth[output].rn[1]));
      for (const std::size_t i : {2U, 3U})
        EXPECT_TRUE(std::isfinite(truth[Output::dx].rn[i]));
    }
  }
}

TEST(Gradient, InInferenceANonFiniteValueStaysInItsElement) {
  Case c = backward_inference(plain(f32, 1, {1, 2, 3}, 0), {1, inf, 3}, {0}, {1});
  Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::dx].rn, (Doubles{1, inf, 3}));
  EXPECT_EQ(truth[Output::dbeta].rn[0], inf);
  EXPECT_EQ(truth[Output::dgamma].rn[0], inf);
  c.dy = {1, 2, 3};
  c.x[0] = nan;
  truth = truth_of(c);
  EXPECT_EQ(truth[Output::dx].rn, (Doubles{1, 2, 3}));  // x does not enter
  EXPECT_TRUE(std::isnan(truth[Output::dgamma].rn[0]));
  c.x[0] = 1;
  c.running_var = {-1};  // 1/0 would be at -eps; here the root of -1
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::dx].rn[0]));
  c.running_var = {0};
  c.dy[1] = 0;
  truth = truth_of(c);
  EXPECT_EQ(truth[Output::dx].rn[0], inf);
  EXPECT_TRUE(std::isnan(truth[Output::dx].rn[1]));  // inf * 0
  c.running_var = {inf};
  EXPECT_EQ(rn(truth_of(c), Output::dx), Doubles(3, 0.0));
}

TEST(Gradient, OfTheSecondOrderOnlyWhatReadsTheValueIsTouched) {
  Case c = plain_case(Pass::double_backward, 13);
  c.v_beta[0] = nan;
  Truth truth = truth_of(c);
  EXPECT_TRUE(std::isnan(truth[Output::grad_dy].rn[0]));
  EXPECT_TRUE(std::isfinite(truth[Output::grad_x].rn[0]));
  EXPECT_TRUE(std::isfinite(truth[Output::grad_dy].rn[6]));
  c.v_beta[0] = 1;
  c.dy[2] = inf;
  truth = truth_of(c);
  EXPECT_TRUE(std::isfinite(truth[Output::grad_dy].rn[0]));
  EXPECT_TRUE(std::isnan(truth[Output::grad_x].rn[0]));
  EXPECT_TRUE(std::isnan(truth[Output::grad_gamma].rn[0]));
  EXPECT_TRUE(std::isfinite(truth[Output::grad_gamma].rn[1]));
  c.dy[2] = 1;
  c.gamma[0] = inf;
  truth = truth_of(c);
  EXPECT_TRUE(std::isfinite(truth[Output::grad_gamma].rn[0]));
  EXPECT_TRUE(std::isnan(truth[Output::grad_dy].rn[0]));
}

TEST(Gradient, OfTheSecondOrderInInferenceEveryElementStandsAlone) {
  Case c = plain_case(Pass::double_backward_inference, 13);
  const auto holds = [&](Output output, std::size_t i) {
    return std::isfinite(truth_of(c)[output].rn[i]);
  };
  c.dy[2] = inf;
  c.v_x[3] = nan;
  c.x[4] = inf;
  EXPECT_EQ(truth_of(c)[Output::grad_x].rn[2], inf);
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::grad_dy].rn[3]));
  EXPECT_EQ(truth_of(c)[Output::grad_dy].rn[4], inf);
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::grad_gamma].rn[0]));
  for (const std::size_t i : {0U, 1U, 3U, 4U, 5U})
    EXPECT_TRUE(holds(Output::grad_x, i)) << i;
  for (const std::size_t i : {0U, 1U, 2U, 5U})
    EXPECT_TRUE(holds(Output::grad_dy, i)) << i;
  // A term whose cotangent is absent is not there: neither x nor dy has a say then.
  c.v_gamma.clear();
  c.running_mean[0] = inf;
  EXPECT_TRUE(holds(Output::grad_dy, 4));
  EXPECT_EQ(truth_of(c)[Output::grad_x].rn[2], 0);
  // invstd without a number: infinite times what is not 0.
  c = plain_case(Pass::double_backward_inference, 13);
  c.problem.eps = c.running_var[0] = 0;
  c.dy[0] = 0;
  EXPECT_TRUE(std::isnan(truth_of(c)[Output::grad_x].rn[0]));
  EXPECT_TRUE(std::isinf(truth_of(c)[Output::grad_x].rn[1]));
  EXPECT_TRUE(std::isinf(truth_of(c)[Output::grad_gamma].rn[0]));
}

TEST(Gradient, AnEmptyBatchHasGradientZero) {
  for (const Pass pass : backward_passes) {
    Case c = plain(f32, 2, {}, 1);
    c.problem.pass = pass;
    if (is_inference(pass))
      c.running_mean = c.running_var = {1, 1};
    if (takes_saved(pass))
      c.saved_mean = c.saved_invstd = {1, 1};
    const Truth truth = truth_of(c);
    for (const Output output : {Output::dbeta, Output::dgamma, Output::grad_gamma})
      EXPECT_EQ(rn(truth, output), Doubles(is_defined(c.problem, output) ? 2 : 0, 0.0)) << to_string(pass);
    EXPECT_EQ(admission_of(c).ruling, Ruling::either);
  }
}

TEST(Gradient, WhatIsNoCaseIsRefusedByName) {
  const auto message = [](const Case& c) -> std::string {
    try {
      truth_of(c);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  const Case c = plain_case(Pass::double_backward, 14);
  EXPECT_EQ(message(c), "accepted");
  const auto broken = [&](auto&& mutate) {
    Case m = c;
    mutate(m);
    return message(m);
  };
  EXPECT_NE(broken([](Case& m) { m.dy.pop_back(); }).find("dy has 23"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.saved_mean.clear(); }).find("saved_mean has 0"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.saved_invstd[2] = 0.1; }).find("saved_invstd[2]"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.v_x.pop_back(); }).find("v_x"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.v_beta[0] = 0.1; }).find("v_beta[0]"), std::string::npos);
  // Truth A or truth B: never both.
  EXPECT_NE(broken([](Case& m) { m.problem.pass = Pass::gradient; }).find("saved_mean"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.problem.pass = Pass::forward_training; }).find("dy"), std::string::npos);
  EXPECT_NE(broken([](Case& m) { m.problem.pass = Pass::backward_training; }).find("v_x"), std::string::npos);
}

// --- facts ---

TEST(GradientFacts, AreGoodWhereTheSumsCancel) {
  Numbers numbers(31);
  std::int64_t checked = 0;
  for (int round = 0; round < 600; ++round) {
    const Pass pass = backward_passes[round % 5];
    const auto& [data, stats] = types[static_cast<std::size_t>(numbers.integer(0, 6))];
    Case c = random_case(numbers, pass, data, stats);
    if (round % 3 == 0)  // sums that cancel to far below a double's reach
      for (std::size_t i = 1; i < c.dy.size(); i += 2)
        c.dy[i] = -c.dy[i - 1];
    const Truth truth = truth_of(c);
    const std::int64_t n = c.problem.shape.per_channel();
    for (std::size_t k = 0; k < truth.channels.size(); ++k) {
      const GradientFacts& f = truth.channels[k].gradient;
      const auto batch = second_route::statistics(c.channel(static_cast<std::int64_t>(k)), n);
      const bool given = !c.saved_mean.empty();
      const Rational mean = given                ? exact(c.saved_mean[k])
                            : is_inference(pass) ? exact(c.running_mean[k])
                                                 : batch.mean;
      const Rational s = (is_inference(pass) ? exact(c.running_var[k]) : batch.biased) + exact(c.problem.eps);
      if (!given && s == 0)
        continue;
      Rational G, G1, K, K1, X, V, V1, L, L1, Z, Z1;
      for (std::int64_t i = 0; i < n; ++i) {
        const auto place = k * static_cast<std::size_t>(n) + static_cast<std::size_t>(i);
        const Rational dy = exact(c.dy[place]);
        const Rational v = c.v_x.empty() ? 0 : exact(c.v_x[place]);
        const Rational d = exact(c.x[place]) - mean;
        G += dy, G1 += abs(dy), K += dy * d, K1 += abs(Rational(dy * d));
        V += v, V1 += abs(v), L += v * d, L1 += abs(Rational(v * d));
        Z += v * dy, Z1 += abs(Rational(v * dy));
        X = std::max(X, Rational(abs(d)));
      }
      /// Whether got^power is value^power to 2^-44, with the sign.
      const auto near = [&](double got, const Rational& value, int power) {
        ++checked;
        if (std::isinf(got))
          return abs(value) > exact(0x1p1000) || power == 2;
        if (got == 0 || std::abs(got) < 0x1p-960)
          return abs(value) < exact(0x1p-960);
        const Rational g = power == 1 ? exact(got) : Rational(exact(got) * exact(std::abs(got)));
        const Rational w = power == 1 ? value : Rational(value * abs(value));
        return abs(Rational(g / w - 1)) <= exact(0x1p-44);
      };
      EXPECT_TRUE(near(f.G, G, 1));
      EXPECT_TRUE(near(f.G1, G1, 1));
      EXPECT_TRUE(near(f.V, V, 1));
      EXPECT_TRUE(near(f.V1, V1, 1));
      EXPECT_TRUE(near(f.Z, Z, 1));
      EXPECT_TRUE(near(f.Z1, Z1, 1));
      EXPECT_TRUE(near(f.max_deviation, X, 1));
      const auto scaled = [&](double got, const Rational& sum) {
        if (given)
          return near(got, sum * exact(c.saved_invstd[k]), 1);
        if (sum == 0)
          return got == 0;
        if (std::isinf(got) || std::abs(got) < 0x1p-960)
          return std::isinf(got) || sum * sum < s * exact(0x1p-960) * exact(0x1p-960);
        ++checked;  // got^2 s = sum^2
        return (got < 0) == (sum < 0) &&
               abs(Rational(exact(got) * exact(got) * s / (sum * sum) - 1)) <= exact(0x1p-44);
      };
      EXPECT_TRUE(scaled(f.H, K)) << f.H;
      EXPECT_TRUE(scaled(f.H1, K1)) << f.H1;
      EXPECT_TRUE(scaled(f.W, L)) << f.W;
      EXPECT_TRUE(scaled(f.W1, L1)) << f.W1;
      EXPECT_LE(abs(Rational(exact(f.mean_hi) + exact(f.mean_lo) - mean)),
                abs(mean) * exact(0x1p-90) + exact(0x1p-1000));
    }
  }
  std::printf("%lld facts\n", static_cast<long long>(checked));
  EXPECT_GT(checked, 10000);
}

/// Sums of floats, in three orders, that must be one number.
template <class Term>
float any_order(std::size_t n, const Term& term) {
  float forward = 0;
  float backward = 0;
  float lanes[2]{};
  for (std::size_t i = 0; i < n; ++i) {
    forward += term(i);
    backward += term(n - 1 - i);
    lanes[i % 2] += term(i);
  }
  EXPECT_EQ(forward, backward);
  EXPECT_EQ(forward, lanes[0] + lanes[1]);
  return forward;
}

TEST(GradientFacts, AFlagMeansThatNoFormOfTheKernelRoundsInAnyOrder) {
  // Every flag that is up is tried in single precision, in the four forms of spec/bounds/backward.md.
  Numbers numbers(32);
  int dbetas = 0;
  int dgammas = 0;
  int dxs = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::size_t n = std::size_t{1} << numbers.integer(0, 6);
    const std::int64_t width = std::int64_t{1} << numbers.integer(1, 12);
    std::vector<double> x, dy;
    for (std::size_t i = 0; i < n; ++i) {
      x.push_back(std::ldexp(static_cast<double>(numbers.integer(-width, width + 1)), -3));
      dy.push_back(std::ldexp(static_cast<double>(numbers.integer(-width, width + 1)), 2));
    }
    const double mean = std::ldexp(static_cast<double>(numbers.integer(-16, 17)), -2);
    const double invstd =
        std::ldexp(numbers.integer(0, 8) == 0 ? 3.0 : 1.0, static_cast<int>(numbers.integer(-4, 5)));
    const double gamma =
        std::ldexp(numbers.integer(0, 8) == 0 ? 3.0 : -1.0, static_cast<int>(numbers.integer(-4, 5)));
    const Case c = backward(with_affine(plain(f32, 1, x, 1), {gamma}, {0}), dy, {mean}, {invstd});
    const Truth truth = truth_of(c);
    const GradientFacts& f = truth.channels[0].gradient;
    const auto m = static_cast<float>(mean);
    const auto r = static_cast<float>(invstd);
    const auto g = static_cast<float>(gamma);
    const auto size = static_cast<float>(n);
    const auto X = [&](std::size_t i) {
      return static_cast<float>(x[i]);
    };
    const auto DY = [&](std::size_t i) {
      return static_cast<float>(dy[i]);
    };
    if (!f.exact_dbeta)
      continue;
    ++dbetas;
    const float G = any_order(n, DY);
    ASSERT_EQ(static_cast<double>(G), truth[Output::dbeta].rn[0]);
    ASSERT_EQ(truth[Output::dbeta].off[0], 0);
    if (!f.exact_dgamma)
      continue;
    ++dgammas;
    const float H = any_order(n, [&](std::size_t i) { return DY(i) * ((X(i) - m) * r); });
    const float dot = any_order(n, [&](std::size_t i) { return DY(i) * (X(i) - m); });
    ASSERT_EQ(H, dot * r);
    ASSERT_EQ(static_cast<double>(H), truth[Output::dgamma].rn[0]);
    ASSERT_EQ(truth[Output::dgamma].off[0], 0);
    if (!f.exact_dx)
      continue;
    ++dxs;
    const float k = dot * r * r / size;
    const float c1 = g * r;
    for (std::size_t i = 0; i < n; ++i) {
      const float xhat = (X(i) - m) * r;
      const float forms[]{g * r * (DY(i) - G / size - xhat * H / size),
                          g * (r * (DY(i) - (G / size + xhat * (H * (1 / size))))),
                          g * r * (DY(i) - xhat * H / size - G / size),
                          (DY(i) - G / size - (X(i) - m) * k) * r * g,
                          g * r / size * (size * DY(i) - G - xhat * H),
                          c1 * DY(i) - c1 * G / size - c1 * r * H / size * (X(i) - m)};
      for (const float form : forms)
        ASSERT_EQ(static_cast<double>(form), truth[Output::dx].rn[i]) << x[i] << " " << dy[i];
      ASSERT_EQ(truth[Output::dx].off[i], 0);
    }
  }
  std::printf("exact dbeta %d, dgamma %d, dx %d\n", dbetas, dgammas, dxs);
  EXPECT_GT(dbetas, 10000);
  EXPECT_GT(dgammas, 3000);
  EXPECT_GT(dxs, 500);
}

TEST(GradientFacts, WhatRoundsSomewhereIsNotFlagged) {
  const auto facts = [](std::vector<double> x, std::vector<double> dy, double mean, double invstd,
                        double gamma) {
    return truth_of(backward(with_affine(plain(f32, 1, std::move(x), 1), {gamma}, {0}), std::move(dy), {mean},
                             {invstd}))
        .channels[0]
        .gradient;
  };
  const GradientFacts good = facts({2, 4, 8, 10}, {1, 2, 0, 1}, 6, 0.25, 2);
  EXPECT_TRUE(good.exact_dbeta && good.exact_dgamma && good.exact_dx);
  EXPECT_FALSE(facts({2, 4, 8, 10}, {1, 2, 0, 1}, 6, 0.75, 2).exact_dgamma);        // invstd no power of two
  EXPECT_FALSE(facts({2, 4, 8, 10}, {1, 2, 0, 1}, 6, 0.25, 3).exact_dx);            // gamma none
  EXPECT_FALSE(facts({2, 4, 8}, {1, 2, 0}, 6, 0.25, 2).exact_dx);                   // n none
  EXPECT_TRUE(facts({2, 4, 8}, {1, 2, 0}, 6, 0.25, 2).exact_dgamma);                // dgamma does not divide
  EXPECT_FALSE(facts({2, 4, 8, 10}, {1, 0x1p-30, 0, 1}, 6, 0.25, 2).exact_dbeta);   // 31 bits
  EXPECT_FALSE(facts({2, 4, 8, 10}, {1, 2, 0, 1}, 0x1p-30, 0.25, 2).exact_dgamma);  // x - m has 31 bits
  EXPECT_TRUE(facts({2, 4, 8, 10}, {1, 2, 0, 1}, 6, 0x1p-5, 2).exact_dx);
  EXPECT_FALSE(facts({2, 4, 8, 10}, {1, 2, 0, 1}, 6, 0x1p-20, 2).exact_dx);    // dy - 2^-42: 43 bits
  EXPECT_TRUE(facts({5, 5, 7, 7}, {1, -1, -1, 1}, 6, 0x1p-20, 2).exact_dx);    // H = 0: nothing to subtract
  EXPECT_FALSE(facts({5, 5, 7, 7}, {1, -1, -1, 1}, 6, 0x1p-120, 2).exact_dx);  // but r^2 underflows
  // The pair and inference compute their statistics: only dbeta is exact.
  const auto pair = truth_of(gradient(plain(f32, 1, {2, 4, 8, 10}, 6), {1, 2, 0, 1})).channels[0];
  EXPECT_TRUE(pair.gradient.exact_dbeta && !pair.gradient.exact_dgamma && !pair.gradient.exact_dx);
  EXPECT_TRUE(pair.exact.variance);
  // f16 tensors accumulate in f32: 13 bits of sum are exact there.
  Case half = backward(plain(f16, 1, {1, 2, 4, 1}, 1), {2048, 1, 1, 0}, {2}, {1});
  EXPECT_TRUE(truth_of(half).channels[0].gradient.exact_dbeta);
}

TEST(Gradient, ThreadsDoNotChangeABit) {
  Numbers numbers(41);
  for (const Pass pass : backward_passes) {
    const Case c = plain_case(pass, 42);
    const Truth one = truth_of(c, 1);
    const Truth four = truth_of(c, 4);
    for (const Output output : all_outputs) {
      EXPECT_EQ(one[output].rn, four[output].rn);
      EXPECT_EQ(one[output].off, four[output].off);
    }
    EXPECT_EQ(one.effort.elements, four.effort.elements);
    EXPECT_EQ(one.effort.elements, is_second_order(pass) ? 4 + 2 * 24 : 2 * 4 + 24);
  }
}

}  // namespace
}  // namespace normproof::reference
