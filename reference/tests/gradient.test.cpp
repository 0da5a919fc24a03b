// The gradients against routes of their own: Jacobians over exact rationals, automatic differentiation of the forward
// pass at 100 digits, finite differences, and data whose gradients are known.
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
    const bool same = rn == want.rn && is_tie(format, rn, off) == want.tie &&
                      (std::abs(off) > 1 || std::abs(off - second_route::off(format, value, rn)) <= 0x1p-50);
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
    const bool inference = p.pass == Pass::backward_inference;
    const Rational mean = given ? exact(c.saved_mean[k]) : inference ? exact(c.running_mean[k]) : batch.mean;
    const Rational s = (inference ? exact(c.running_var[k]) : batch.biased) + exact(p.eps);
    if (!given && s == 0)
      continue;  // 1/0 has its own tests
    const Rational r = given ? exact(c.saved_invstd[k]) : Rational(0);
    const auto g = second_route::gradients(c, k, mean, given ? Rational(r * r) : Rational(1 / s), inference, slip);
    const auto see = [&](Output output, std::size_t i, const Rational& over_r, const Rational& shift) {
      const Format& format = format_of(p, output);
      Rational value = over_r * r + shift;
      const auto want = given ? second_route::nearest(format, value)
                              : second_route::nearest_scaled_root(format, over_r, s, shift, &value);
      agreement.see(format, truth[output], i, want, value);
    };
    if (p.pass == Pass::double_backward) {
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
      return numbers.integer(0, 3) == 0 ? static_cast<double>(numbers.integer(-1, 3)) : numbers.number(stats, low, high);
    };
    gamma.push_back(number(-3, 2));
    beta.push_back(number(-3, 2));
    a.push_back(number(-3, 2));
    b.push_back(number(-3, 2));
    const double first = x[static_cast<std::size_t>(k * n)];
    mean.push_back(numbers.integer(0, 2) == 0 ? std::clamp(round_to(stats, first), -largest(stats), largest(stats))
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
    return backward_inference(std::move(c), std::move(dy), std::move(mean), std::move(second));
  default:
    c = backward(std::move(c), std::move(dy), std::move(mean), std::move(second));
    c.problem.pass = pass;
  }
  if (pass == Pass::double_backward) {
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
                                 Pass::double_backward};
const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32}, {f16, f32}, {f16, f16}, {bf16, f32}, {bf16, bf16}};

TEST(Gradient, BothRoutesAgreeOnRandomAndAdversarialElements) {
  for (const Pass pass : backward_passes) {
    for (const auto& [data, stats] : types) {
      Numbers numbers(static_cast<std::uint64_t>(pass) * 10 + static_cast<std::uint64_t>(data.p + stats.bytes));
      Agreement agreement;
      Effort effort;
      while (agreement.compared < 3000) {
        const Case c = random_case(numbers, pass, data, stats);
        const Truth truth = truth_of(c, 1);
        effort.escalated += truth.effort.escalated;
        effort.arbitrated += truth.effort.arbitrated;
        const std::int64_t before = agreement.differing;
        compare(c, truth, agreement);
        ASSERT_EQ(agreement.differing, before) << to_string(pass) << " " << data.name << " " << stats.name << " "
                                               << to_string(c.problem.shape) << " eps " << c.problem.eps;
      }
      std::printf("%s %s/%s: %lld by both routes, %lld ties, %lld zeros, %lld beyond the first precision\n",
                  std::string(to_string(pass)).c_str(), std::string(data.name).c_str(),
                  std::string(stats.name).c_str(), static_cast<long long>(agreement.compared),
                  static_cast<long long>(agreement.ties), static_cast<long long>(agreement.zeros),
                  static_cast<long long>(effort.escalated));
    }
  }
}

}  // namespace
}  // namespace normproof::reference
