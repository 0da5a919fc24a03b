// The bounds can be reached and are not crossed: constructed witnesses with their ratios, and what a bound
// that is four times too small would do to correct kernels.
#include "normproof/properties/bounds.h"

#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "normproof/properties/judge.h"
#include "normproof/properties/recipe.h"
#include "normproof/reference/truth.h"
#include "simulated.h"

namespace normproof::properties {
namespace {

constexpr double u = 0x1p-24;

/// measured/permitted of one output of a simulated kernel under a class at `sequential`, the grade of its
/// sums.
double ratio(const Case& c, const Simulation& how, Output output, Class by) {
  const auto truth = reference::truth_of(c);
  const CaseVerdict verdict = judge(c, truth, simulate<float>(c, how), Gate{.grade = Grade::sequential});
  const auto grade = static_cast<std::size_t>(Grade::sequential);
  for (std::size_t k = 0; k < class_count; ++k) {
    if (all_classes[k] == by)
      return verdict.evidence[index(output)][grade][k].ratio;
  }
  return -1;
}

/// Every addition of a sequential sum loses a full u.
std::vector<double> losing_sum(int n) {
  std::vector<double> x(static_cast<std::size_t>(n), u);
  x[0] = 1;
  return x;
}

/// (1, -1, c, -c, ...) with c^2 just under 2u: the mean is 0 and every square is lost to the sum.
std::vector<double> losing_squares(int n) {
  const double c = round_to(f32, 0x1.6a09e4p-12);  // c^2 < 2u
  std::vector<double> x{1, -1};
  while (static_cast<int>(x.size()) < n) {
    x.push_back(c);
    x.push_back(-c);
  }
  return x;
}

struct Witness {
  std::string clause;
  std::string what;
  double ratio;
  double reaches;  // what spec/bounds/witnesses.md promises
};

std::vector<Witness> witnesses() {
  const Class centred{Family::centred, Form::centred};
  std::vector<Witness> found;
  for (const int n : {16, 64, 256}) {
    found.push_back({"BN-NUM-1", fmt::format("mean, sequential, n = {}", n),
                     ratio(channel_of(losing_sum(n)), {}, Output::mean, centred), 0.5});
    found.push_back({"BN-NUM-2", fmt::format("centred variance, sequential, n = {}", n),
                     ratio(channel_of(losing_squares(n)), {}, Output::var, centred), 0.5});
  }
  Case constant = channel_of(std::vector<double>(4096, round_to(f32, 12345.678)));
  found.push_back({"BN-NUM-2", "merged variance: centred mean off on a constant channel, n = 4096",
                   ratio(constant, {}, Output::var, {Family::merged, Form::centred}), 0.0});
  found.push_back({"BN-NUM-3", "invstd saturates at eps on a constant channel, n = 4096",
                   ratio(constant, {}, Output::invstd, centred), 0.5});

  const auto inference = [](double x, double mean, double var, double gamma, double beta) {
    Case c = channel_of({x});
    c.problem.pass = Pass::forward_inference;
    c.problem.affine = c.problem.running = true;
    c.gamma = {gamma};
    c.beta = {beta};
    c.running_mean = {mean};
    c.running_var = {var};
    return c;
  };
  found.push_back(
      {"BN-NUM-7", "folded y in inference",
       ratio(inference(0x1.855a48p-3, 0x1.332f02p-2, 0x1.a7f12ep+0, 0x1.bd52e6p-4, -0x1.f30622p-1),
             {.form = Form::folded}, Output::y, {Family::centred, Form::folded}),
       0.5});
  found.push_back(
      {"BN-NUM-6", "centred y in inference",
       ratio(inference(-0x1.31973cp+0, 0x1.9f1b7cp-1, 0x1.f6a68ap-1, 0x1.fb97b2p-3, 0x1.00b73cp-1), {},
             Output::y, centred),
       0.45});
  return found;
}

TEST(Bounds, a_bound_no_kernel_comes_near_would_hide_bugs) {
  fmt::print("{:<10} {:<66} {}\n", "clause", "witness", "measured/permitted");
  for (const Witness& w : witnesses()) {
    fmt::print("{:<10} {:<66} {:.3f}\n", w.clause, w.what, w.ratio);
    EXPECT_GE(w.ratio, w.reaches) << w.clause << " " << w.what;
  }
}

TEST(Bounds, a_quarter_of_a_bound_fails_a_correct_kernel) {
  // The same witnesses are the mutation test of the bounds: with B/4 these correct kernels would fail.
  int crossing = 0;
  for (const Witness& w : witnesses())
    crossing += w.reaches >= 0.45 && 4 * w.ratio > 1 ? 1 : 0;
  EXPECT_GE(crossing, 9);
}

/// y's bound in inference is a sum of terms, each of which some correct kernel needs (but for the last
/// rounding of the centred form, which is that of the output, forgiven by the measure).
TEST(Bounds, a_bound_of_y_without_one_of_its_terms_fails_a_correct_kernel) {
  struct Term {
    Form form;
    double LinearBound::* which;
    double x, mean, beta;  // magnitudes at which the term is the largest
  };
  for (const Term& term : {Term{Form::folded, &LinearBound::constant, 0x1p-8, 0x1p-8, 1},
                           Term{Form::centred, &LinearBound::per_deviation, 64, 0, 0}}) {
    const Class by{Family::centred, term.form};
    std::mt19937_64 random(7);
    const auto draw = [&](double magnitude) {
      return round_to(f32, magnitude * (1 + std::ldexp(static_cast<double>(random() >> 40), -24)));
    };
    int failing = 0;
    for (int i = 0; i < 400; ++i) {
      Case c = channel_of({draw(term.x)});
      c.problem.pass = Pass::forward_inference;
      c.problem.affine = c.problem.running = true;
      c.gamma = {draw(1)};
      c.beta = {draw(term.beta)};
      c.running_mean = {draw(term.mean)};
      c.running_var = {draw(1)};
      const double whole = ratio(c, {.form = term.form}, Output::y, by);
      EXPECT_LE(whole, 1);
      ChannelProblem channel;
      channel.facts = reference::truth_of(c).channels[0];
      channel.gamma = c.gamma[0];
      channel.beta = c.beta[0];
      channel.eps = c.problem.eps;
      channel.training = false;
      LinearBound bound = permitted(channel, reduction(Grade::sequential, 1, f32), by).y;
      const double deviation = std::abs(c.x[0] - c.running_mean[0]), value = std::abs(c.x[0]);
      const double measured = whole * bound.at(deviation, value);
      bound.*term.which = 0;
      failing += measured > bound.at(deviation, value) ? 1 : 0;
    }
    EXPECT_GT(failing, 0) << to_string(by) << ", x about " << term.x;
  }
}

TEST(Bounds, grades_are_nested) {
  for (const std::int64_t n : {1, 2, 3, 16, 79, 80, 1000, 65536, 1000000}) {
    EXPECT_LE(depth(Grade::tree, n), depth(Grade::blocked, n)) << n;
    EXPECT_LE(depth(Grade::blocked, n), depth(Grade::sequential, n)) << n;
    if (n <= 79) {
      EXPECT_EQ(depth(Grade::tree, n), depth(Grade::sequential, n)) << n;
    }
  }
  EXPECT_EQ(depth(Grade::blocked, 1000000), 16000);
  EXPECT_EQ(depth(Grade::tree, 65536), 2 * 16 + 64);
}

TEST(Bounds, a_relative_error_beyond_one_half_promises_nothing) {
  EXPECT_TRUE(std::isinf(accumulated(0x1p23, u)));
  EXPECT_FALSE(std::isinf(accumulated(0x1p23 - 1, u)));
}

TEST(Bounds, f64_bounds_do_not_drown_in_the_rounding_of_their_own_evaluation) {
  ChannelProblem channel;
  channel.facts.n = 4;
  channel.facts.mean_hi = 0.5;
  channel.facts.variance = channel.facts.deviation = channel.facts.invstd = channel.facts.mean_abs = 1;
  channel.facts.rms = 1.2;
  channel.eps = 0;
  channel.data = channel.stats = f64;
  const Permitted p = permitted(channel, reduction(Grade::wide, 4, f64), {Family::centred, Form::centred});
  // invstd: half of the variance's relative error and 5.5 roundings, 8.5 u to first order.
  EXPECT_NEAR(p.invstd_above * 0x1p53, 8.5, 0.1);
  EXPECT_NEAR(p.invstd_below * 0x1p53, 8.5, 0.1);
}

TEST(Bounds, wrong_statistics_at_eps_zero_and_variance_zero_have_no_bound) {
  Case c = channel_of(std::vector<double>(6, round_to(f32, 0.1)), 0);
  const auto truth = reference::truth_of(c);
  ChannelProblem channel;
  channel.facts = truth.channels[0];
  const Permitted p = permitted(channel, reduction(Grade::blocked, 6, f32), {Family::centred, Form::centred});
  EXPECT_TRUE(std::isinf(p.invstd_above));
  EXPECT_TRUE(std::isinf(p.y.at(0, 0.1)));
}

}  // namespace
}  // namespace normproof::properties
