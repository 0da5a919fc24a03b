// The oracle against a hundred digits: a hundred thousand elements of every pass and format, and the
// derivatives against automatic differentiation and finite differences of the forward pass.
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>
#include <vector>

#include <boost/math/differentiation/autodiff.hpp>
#include <gtest/gtest.h>

#include "cases.h"
#include "hundred_digits.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"

namespace normproof::reference {
namespace {

using hundred_digits::Digits;
using testing_cases::Numbers;

struct Tally {
  std::int64_t agreeing = 0;
  std::int64_t doubtful = 0;  ///< ties and zeros, left to the rational route
  std::int64_t differing = 0;
};

/// Every output of the case.
void compare(const Case& c, const Truth& truth, Tally& tally) {
  const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
  for (std::size_t k = 0; k < static_cast<std::size_t>(c.problem.shape.channels); ++k) {
    const hundred_digits::Channel want = hundred_digits::channel(c, k);
    const auto see = [&](Output output, std::size_t place, const Digits& value) {
      const Format& format = format_of(c.problem, output);
      const auto near = hundred_digits::nearest(format, value);
      const double rn = truth[output].rn.at(place);
      const double off = truth[output].off.at(place);
      if (near.doubtful)
        ++tally.doubtful;
      else if (rn == near.rn && (std::isinf(rn) || std::abs(off - near.off) <= off_precision))
        ++tally.agreeing;
      else
        ++tally.differing;
    };
    const auto one = [&](Output output, const Digits& value) {
      if (is_defined(c.problem, output))
        see(output, k, value);
    };
    const auto each = [&](Output output, const std::vector<Digits>& values) {
      for (std::size_t i = 0; i < values.size(); ++i)
        see(output, k * n + i, values[i]);
    };
    one(Output::mean, want.mean);
    one(Output::var, want.var);
    one(Output::invstd, want.invstd);
    one(Output::running_mean, want.running_mean);
    one(Output::running_var, want.running_var);
    one(Output::dbeta, want.dbeta);
    one(Output::dgamma, want.dgamma);
    one(Output::grad_gamma, want.grad_gamma);
    each(Output::y, want.y);
    each(Output::dx, want.dx);
    each(Output::grad_dy, want.grad_dy);
    each(Output::grad_x, want.grad_x);
  }
}

/// Channels of moderate numbers: random ones, small integers, and ones far from 0; of any number of values.
Case sample(Numbers& numbers, Pass pass, const Format& data, const Format& stats) {
  constexpr std::int64_t channels = 8;
  const std::int64_t n = numbers.integer(2, 100);
  Case c;
  c.problem.pass = pass;
  c.problem.data = data;
  c.problem.stats = stats;
  c.problem.shape = {n, channels, {}};
  c.problem.eps = numbers.integer(0, 3) == 0 ? 0.25 : 0x1.4f8b58p-17;
  c.problem.semantics.running = numbers.bits() % 2 == 0 ? VarianceKind::biased : VarianceKind::unbiased;
  const auto number = [&] {
    return numbers.number(stats, -3, 2);
  };
  for (std::int64_t k = 0; k < channels; ++k) {
    const std::int64_t family = numbers.integer(0, 4);
    const double offset = family == 1 ? numbers.number(data, 6, 9) : 0;
    const auto value = [&] {
      if (family == 2)
        return static_cast<double>(numbers.integer(-8, 9));
      return round_to(data, offset + numbers.number(data, -3, 1));
    };
    for (std::int64_t i = 0; i < n; ++i) {
      c.x.push_back(value());
      c.dy.push_back(value());
      c.v_x.push_back(value());
    }
    for (std::vector<double>* values :
         {&c.gamma, &c.beta, &c.v_gamma, &c.v_beta, &c.running_mean, &c.saved_mean})
      values->push_back(number());
    c.running_var.push_back(std::abs(number()));
    c.saved_invstd.push_back(std::abs(number()));
  }
  const bool forward = pass == Pass::forward_training || pass == Pass::forward_inference;
  if (forward)
    c.dy.clear();
  if (pass != Pass::backward_training && pass != Pass::double_backward)
    c.saved_mean.clear(), c.saved_invstd.clear();
  if (pass != Pass::double_backward)
    c.v_x.clear(), c.v_gamma.clear(), c.v_beta.clear();
  return c;
}

TEST(HundredDigits, AgreeOnAHundredThousandElementsOfEveryPassAndFormat) {
  const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                          {f16, f16}, {bf16, f32}, {bf16, bf16}};
  for (const Pass pass : all_passes) {
    for (const auto& [data, stats] : types) {
      const bool mixed = data.p != stats.p;
      Numbers numbers(static_cast<std::uint64_t>(pass) * 100 +
                      static_cast<std::uint64_t>(data.p + stats.bytes));
      Tally tally;
      while (tally.agreeing < (mixed ? 20000 : 100000) && tally.differing == 0) {
        const Case c = sample(numbers, pass, data, stats);
        compare(c, truth_of(c), tally);
      }
      std::printf("%s %s/%s: %lld agree, %lld doubtful\n", std::string(to_string(pass)).c_str(),
                  std::string(data.name).c_str(), std::string(stats.name).c_str(),
                  static_cast<long long>(tally.agreeing), static_cast<long long>(tally.doubtful));
      ASSERT_EQ(tally.differing, 0);
      EXPECT_LT(tally.doubtful, tally.agreeing / 5);
    }
  }
}

// --- derivatives of the forward pass ---

namespace ad = boost::math::differentiation;

/// invstd by its definition.
template <class Number>
Number invstd_of(const Number& v, const Digits& eps, EpsPlacement placement) {
  switch (placement) {
  case EpsPlacement::outside_root:
    return 1 / sqrt(v) + eps;
  case EpsPlacement::added_to_deviation:
    return 1 / (sqrt(v) + eps);
  case EpsPlacement::omitted:
    return 1 / sqrt(v);
  case EpsPlacement::doubled:
    return 1 / sqrt(v + 2 * eps);
  case EpsPlacement::clamped:
    return 1 / sqrt(v < eps ? Number(eps) : v);
  default:
    return 1 / sqrt(v + eps);
  }
}

/// L = sum dy y of one channel, whatever x, gamma and beta are made of.
template <class Number>
Number loss(const std::vector<Number>& x, const std::vector<Digits>& dy, const Number& gamma,
            const Number& beta, const Digits& eps, EpsPlacement placement = EpsPlacement::inside_root,
            VarianceKind kind = VarianceKind::biased) {
  const auto n = static_cast<double>(x.size());
  Number mean(0);
  for (const Number& value : x)
    mean += value;
  mean /= n;
  Number v(0);
  for (const Number& value : x)
    v += (value - mean) * (value - mean);
  v /= kind == VarianceKind::biased ? n : n - 1;
  const Number r = invstd_of(v, eps, placement);
  Number sum(0);
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += dy[i] * (gamma * ((x[i] - mean) * r) + beta);
  return sum;
}

/// Whether the truth is the value, to the 2^-50 of a spacing that it promises (or to what 100 digits leave of
/// a 0).
bool is_truth(const Format& format, const Values& values, std::size_t i, const Digits& value) {
  const double rn = values.rn.at(i);
  if (std::isinf(rn))
    return abs(value) > largest(format) && (value < 0) == (rn < 0);
  return abs(value - rn - Digits(values.off.at(i)) * spacing(format, rn)) <=
         Digits(2 * off_precision) * spacing(format, rn) + Digits("1e-45");
}

Case small_pair(Numbers& numbers, const Format& format) {
  Case c;
  c.problem.pass = Pass::gradient;
  c.problem.data = c.problem.stats = format;
  c.problem.shape = {numbers.integer(2, 7), 1, {}};
  c.problem.eps = numbers.bits() % 2 == 0 ? 0.125 : 2;
  for (std::int64_t i = 0; i < c.problem.shape.batch; ++i) {
    c.x.push_back(numbers.number(format, -2, 1));
    c.dy.push_back(numbers.number(format, -2, 1));
  }
  c.gamma = {numbers.number(format, -1, 1)};
  c.beta = {numbers.number(format, -1, 1)};
  return c;
}

std::vector<Digits> digits(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

TEST(Derivatives, AutomaticDifferentiationOfTheForwardPassGivesThePair) {
  Numbers numbers(7);
  using Dual = decltype(ad::make_fvar<Digits, 1>(Digits(0)));
  std::int64_t checked = 0;
  for (int round = 0; round < 1500; ++round) {
    const Format& format = formats()[static_cast<std::size_t>(round % 4)];
    Case c = small_pair(numbers, format);
    constexpr std::array placements{EpsPlacement::inside_root,  EpsPlacement::inside_root,
                                    EpsPlacement::outside_root, EpsPlacement::added_to_deviation,
                                    EpsPlacement::omitted,      EpsPlacement::doubled,
                                    EpsPlacement::clamped};
    Semantics& s = c.problem.semantics;
    s.eps = placements[static_cast<std::size_t>(round) % placements.size()];
    s.normalising = round % 5 == 0 ? VarianceKind::unbiased : VarianceKind::biased;
    const Truth truth = truth_of(c);
    const std::vector<Digits> dy = digits(c.dy);
    const auto derivative = [&](std::optional<std::size_t> at, bool by_gamma, bool by_beta) {
      std::vector<Dual> x(c.x.begin(), c.x.end());
      Dual gamma(c.gamma[0]);
      Dual beta(c.beta[0]);
      if (at)
        x[*at] = ad::make_fvar<Digits, 1>(Digits(c.x[*at]));
      if (by_gamma)
        gamma = ad::make_fvar<Digits, 1>(Digits(c.gamma[0]));
      if (by_beta)
        beta = ad::make_fvar<Digits, 1>(Digits(c.beta[0]));
      return Digits(loss(x, dy, gamma, beta, c.problem.eps, s.eps, s.normalising).derivative(1));
    };
    EXPECT_TRUE(is_truth(format, truth[Output::dgamma], 0, derivative({}, true, false))) << round;
    EXPECT_TRUE(is_truth(format, truth[Output::dbeta], 0, derivative({}, false, true))) << round;
    for (std::size_t i = 0; i < c.x.size(); ++i, ++checked)
      ASSERT_TRUE(is_truth(format, truth[Output::dx], i, derivative(i, false, false)))
          << round << " placement " << static_cast<int>(s.eps);
  }
  std::printf("%lld dx by automatic differentiation\n", static_cast<long long>(checked));
}

/// Statistics that are exact and saved exactly: the closed form at them is the true derivative. n is a power
/// of two, so the mean is a number of the format; invstd is any, and eps whatever makes it the one of x.
struct SecondOrder {
  Case c;
  Digits eps;

  SecondOrder(Numbers& numbers, const Format& format) {
    c.problem.pass = Pass::double_backward;
    c.problem.data = c.problem.stats = format;
    const std::int64_t n = std::int64_t{1} << numbers.integer(1, 4);
    c.problem.shape = {n, 1, {}};
    const auto integer = [&] {
      return static_cast<double>(numbers.integer(-8, 9));
    };
    double sum = 0;
    for (std::int64_t i = 0; i + 1 < n; ++i) {
      c.x.push_back(integer());
      sum += c.x.back();
    }
    const double mean = integer();
    c.x.push_back(static_cast<double>(n) * mean - sum);
    c.saved_mean = {mean};
    c.saved_invstd = {std::abs(numbers.number(format, -2, 1))};
    for (std::int64_t i = 0; i < n; ++i) {
      c.dy.push_back(numbers.number(format, -2, 1));
      c.v_x.push_back(numbers.number(format, -2, 1));
    }
    c.gamma = {numbers.number(format, -1, 1)};
    c.beta = {0};
    c.v_gamma = {numbers.number(format, -1, 1)};
    c.v_beta = {numbers.number(format, -1, 1)};
    Digits v = 0;
    for (const double x : c.x)
      v += (Digits(x) - mean) * (Digits(x) - mean) / static_cast<double>(n);
    eps = 1 / (Digits(c.saved_invstd[0]) * c.saved_invstd[0]) - v;
  }

  /// M = sum v_x dx + v_gamma dgamma + v_beta dbeta is the derivative by t of the loss at
  /// (x + t v_x, gamma + t v_gamma, beta + t v_beta): no first derivative needs to be written down.
  template <class Number>
  Number moved(const Number& t, const std::vector<Number>& x, const std::vector<Digits>& dy,
               const Number& gamma) const {
    std::vector<Number> place;
    for (std::size_t i = 0; i < x.size(); ++i)
      place.push_back(x[i] + Digits(c.v_x[i]) * t);
    return loss(place, dy, Number(gamma + Digits(c.v_gamma[0]) * t), Number(Digits(c.v_beta[0]) * t), eps);
  }
};

TEST(Derivatives, MixedAutomaticDifferentiationGivesDoubleBackward) {
  Numbers numbers(8);
  std::int64_t checked = 0;
  for (int round = 0; round < 500; ++round) {
    const Format& format = formats()[static_cast<std::size_t>(round % 4)];
    const SecondOrder second(numbers, format);
    const Case& c = second.c;
    const Truth truth = truth_of(c);
    // t, and one of x[i], gamma.
    const auto mixed = [&](std::optional<std::size_t> at) {
      const auto variables =
          ad::make_ftuple<Digits, 1, 1>(Digits(0), at ? Digits(c.x[*at]) : Digits(c.gamma[0]));
      const auto& t = std::get<0>(variables);
      const auto& other = std::get<1>(variables);
      using Dual = ad::promote<std::remove_cvref_t<decltype(t)>, std::remove_cvref_t<decltype(other)>>;
      std::vector<Dual> x(c.x.begin(), c.x.end());
      if (at)
        x[*at] = other;
      return Digits(
          second.moved(Dual(t), x, digits(c.dy), at ? Dual(c.gamma[0]) : Dual(other)).derivative(1, 1));
    };
    ASSERT_TRUE(is_truth(format, truth[Output::grad_gamma], 0, mixed({}))) << round;
    for (std::size_t i = 0; i < c.x.size(); ++i, ++checked) {
      ASSERT_TRUE(is_truth(format, truth[Output::grad_x], i, mixed(i))) << round;
      // The loss is linear in dy: its derivative by dy[i] is the loss at the i-th unit vector.
      std::vector<Digits> unit(c.x.size());
      unit[i] = 1;
      using Dual = decltype(ad::make_fvar<Digits, 1>(Digits(0)));
      const std::vector<Dual> x(c.x.begin(), c.x.end());
      const Dual value = second.moved(ad::make_fvar<Digits, 1>(Digits(0)), x, unit, Dual(c.gamma[0]));
      ASSERT_TRUE(is_truth(format, truth[Output::grad_dy], i, Digits(value.derivative(1)))) << round;
    }
  }
  std::printf("%lld elements of the second order by automatic differentiation\n",
              static_cast<long long>(checked));
}

TEST(Derivatives, FiniteDifferencesGiveBothOrders) {
  // Central differences of steps 10^-25: off by 10^-50 relatively, of which subtraction leaves 50 and more
  // digits.
  Numbers numbers(9);
  const Digits h("1e-25");
  for (int round = 0; round < 200; ++round) {
    const Format& format = formats()[static_cast<std::size_t>(round % 4)];
    const Case pair = small_pair(numbers, format);
    const Truth first = truth_of(pair);
    const auto at = [&](std::size_t i, const Digits& step) {
      std::vector<Digits> x = digits(pair.x);
      x[i] += step;
      return loss(x, digits(pair.dy), Digits(pair.gamma[0]), Digits(pair.beta[0]), pair.problem.eps);
    };
    for (std::size_t i = 0; i < pair.x.size(); ++i)
      ASSERT_TRUE(is_truth(format, first[Output::dx], i, (at(i, h) - at(i, -h)) / (2 * h)));

    const SecondOrder second(numbers, format);
    const Truth truth = truth_of(second.c);
    const auto mixed = [&](std::size_t i) {
      const auto corner = [&](const Digits& t, const Digits& step) {
        std::vector<Digits> x = digits(second.c.x);
        x[i] += step;
        return second.moved(t, x, digits(second.c.dy), Digits(second.c.gamma[0]));
      };
      return Digits((corner(h, h) - corner(h, -h) - corner(-h, h) + corner(-h, -h)) / (4 * h * h));
    };
    for (std::size_t i = 0; i < second.c.x.size(); ++i)
      ASSERT_TRUE(is_truth(format, truth[Output::grad_x], i, mixed(i)));
  }
}

}  // namespace
}  // namespace normproof::reference
