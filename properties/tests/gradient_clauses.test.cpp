// The clauses of the gradients, first and second order: as clauses.test.cpp has those of the forward pass.
// The wrong rewrites are slips in the formulas, evaluated in double.
#include <gmock/gmock.h>

#include "clauses.h"

namespace normproof::properties {
namespace {

using impls::Observation;
using impls::Outcome;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr int backward_kernels = 3, second_order_kernels = 1;

enum class Slip {
  none,
  dbeta_is_a_mean,
  dgamma_of_x,
  dgamma_without_invstd,
  constant_statistics,
  statistics_depend_on_x,
  terms_not_divided,
  terms_divided_by_n_minus_1,
  no_term_in_xhat,
  dx_without_gamma,
  dx_gamma_twice,
  dx_without_invstd,
  dx_invstd_twice,
  statistics_anew,
  running_statistics_anew,
  invstd_is_a_variance,
  invstd_is_a_deviation,
  added_to_what_was_there
};

/// A channel's values, and its mean and variance in double.
struct Channel {
  std::size_t first, n;
  double mean = 0, var = 0;

  Channel(const Case& c, std::size_t k)
      : first(k * static_cast<std::size_t>(c.problem.shape.per_channel())),
        n(static_cast<std::size_t>(c.problem.shape.per_channel())) {
    for (std::size_t i = first; i < first + n; ++i)
      mean += c.x[i] / static_cast<double>(n);
    for (std::size_t i = first; i < first + n; ++i)
      var += (c.x[i] - mean) * (c.x[i] - mean) / static_cast<double>(n);
  }
};

/// The gradients by the formula of the page, with one slip.
Observation gradients(const Case& c, Slip slip = Slip::none) {
  const Pass pass = c.problem.pass;
  Observation seen;
  seen.outcome = Outcome::completed;
  auto& dx = seen.outputs[index(Output::dx)];
  dx.resize(c.x.size());
  for (std::size_t k = 0; k < static_cast<std::size_t>(c.problem.shape.channels); ++k) {
    const Channel channel(c, k);
    const auto n = static_cast<double>(channel.n);
    double m = channel.mean, r = 1 / std::sqrt(channel.var + c.problem.eps);
    if (pass == Pass::backward_training && slip != Slip::statistics_anew) {
      m = c.saved_mean[k];
      r = c.saved_invstd[k];
    } else if (pass == Pass::backward_inference && slip != Slip::running_statistics_anew) {
      m = c.running_mean[k];
      r = 1 / std::sqrt(c.running_var[k] + c.problem.eps);
    }
    if (slip == Slip::invstd_is_a_variance)
      r = 1 / std::sqrt(r + c.problem.eps);
    if (slip == Slip::invstd_is_a_deviation)
      r = 1 / r;
    const double gamma = c.gamma.empty() ? 1 : c.gamma[k];
    double sum = 0, product = 0;
    for (std::size_t i = channel.first; i < channel.first + channel.n; ++i) {
      const double factor = slip == Slip::dgamma_of_x             ? c.x[i]
                            : slip == Slip::dgamma_without_invstd ? c.x[i] - m
                                                                  : (c.x[i] - m) * r;
      sum += c.dy[i];
      product += c.dy[i] * factor;
    }
    const bool constant = pass == Pass::backward_inference ? slip != Slip::statistics_depend_on_x
                                                           : slip == Slip::constant_statistics;
    const double divisor = slip == Slip::terms_not_divided            ? 1
                           : slip == Slip::terms_divided_by_n_minus_1 ? n - 1
                                                                      : n;
    double scale = gamma * r;
    if (slip == Slip::dx_without_gamma)
      scale = r;
    if (slip == Slip::dx_gamma_twice)
      scale *= gamma;
    if (slip == Slip::dx_without_invstd)
      scale = gamma;
    if (slip == Slip::dx_invstd_twice)
      scale *= r;
    const double old = slip == Slip::added_to_what_was_there ? 1 : 0;
    for (std::size_t i = channel.first; i < channel.first + channel.n; ++i) {
      const double xhat = slip == Slip::no_term_in_xhat ? 0 : (c.x[i] - m) * r;
      const double terms = constant ? 0 : sum / divisor + xhat * product / divisor;
      dx[i] = round_to(c.problem.data, scale * (c.dy[i] - terms) + old);
    }
    seen.outputs[index(Output::dbeta)].push_back(
        round_to(c.problem.stats, (slip == Slip::dbeta_is_a_mean ? sum / n : sum) + old));
    seen.outputs[index(Output::dgamma)].push_back(round_to(c.problem.stats, product + old));
  }
  return seen;
}

constexpr std::array first_order{Pass::backward_training, Pass::backward_inference, Pass::gradient};

bool passes_with(Slip slip, Pass pass) {
  const Case c = small_case(pass);
  EXPECT_THAT(broken(c, gradients(c)), IsEmpty()) << "without a slip";
  return !verdict(c, gradients(c, slip)).failed();
}

/// BN-BWD-1
TEST(Gradients, dbeta_is_a_mean) {
  for (const Pass pass : first_order)
    EXPECT_FALSE(passes_with(Slip::dbeta_is_a_mean, pass)) << to_string(pass);
}

/// BN-BWD-2
TEST(Gradients, dgamma_is_made_of_something_else_than_the_normalised_value) {
  for (const Slip slip : {Slip::dgamma_of_x, Slip::dgamma_without_invstd})
    for (const Pass pass : first_order)
      EXPECT_FALSE(passes_with(slip, pass)) << to_string(pass);
}

/// BN-BWD-3
TEST(Gradients, dx_forgets_that_the_statistics_depend_on_x) {
  for (const Slip slip : {Slip::constant_statistics, Slip::no_term_in_xhat, Slip::terms_not_divided,
                          Slip::terms_divided_by_n_minus_1})
    for (const Pass pass : {Pass::backward_training, Pass::gradient})
      EXPECT_FALSE(passes_with(slip, pass)) << static_cast<int>(slip) << ' ' << to_string(pass);
}

/// BN-BWD-4
TEST(Gradients, gamma_or_invstd_scales_dx_twice_or_not_at_all) {
  for (const Slip slip :
       {Slip::dx_without_gamma, Slip::dx_gamma_twice, Slip::dx_without_invstd, Slip::dx_invstd_twice})
    for (const Pass pass : first_order)
      EXPECT_FALSE(passes_with(slip, pass)) << static_cast<int>(slip) << ' ' << to_string(pass);
  // An absent gamma is 1, and beta does not enter.
  for (const Pass pass : first_order) {
    const Case c = small_case(pass);
    Case absent = c, other_beta = c;
    absent.problem.affine = false;
    absent.gamma.clear();
    absent.beta.clear();
    negate(other_beta.beta);
    EXPECT_FALSE(passes_as(absent, c)) << to_string(pass);
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            EXPECT_THAT(broken(absent, run(absent)), IsEmpty()) << name;
                            EXPECT_TRUE(same_outputs(run(c), run(other_beta))) << name;
                          }),
              backward_kernels);
  }
}

/// BN-BWD-5, BN-BWD-6
TEST(Gradients, what_was_saved_is_computed_anew_or_taken_for_something_else) {
  Case c = small_case(Pass::backward_training);
  for (double& r : c.saved_invstd)
    r *= 0.5;
  for (double& m : c.saved_mean)
    m = round_to(f32, m + 0.25);
  EXPECT_THAT(broken(c, gradients(c)), IsEmpty());
  for (const Slip slip : {Slip::statistics_anew, Slip::invstd_is_a_variance, Slip::invstd_is_a_deviation})
    EXPECT_TRUE(verdict(c, gradients(c, slip)).failed()) << static_cast<int>(slip);
  EXPECT_GE(each_kernel(c, [&](const std::string& name,
                               auto run) { EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name; }),
            backward_kernels);
}

/// BN-BWD-7
TEST(Gradients, they_are_added_to_what_was_there) {
  for (const Pass pass : first_order) {
    EXPECT_FALSE(passes_with(Slip::added_to_what_was_there, pass)) << to_string(pass);
    // The buffers hold NaN before the call: nothing that is added to them becomes a number.
    const Case c = small_case(pass);
    EXPECT_GE(
        each_kernel(c,
                    [&](const std::string& name, auto run) {
                      const Observation seen = run(c);
                      EXPECT_THAT(seen.breaches, IsEmpty()) << name;
                      for (const Output o : {Output::dbeta, Output::dgamma, Output::dx})
                        EXPECT_TRUE(std::ranges::all_of(seen[o], [](double v) { return std::isfinite(v); }))
                            << name << ' ' << to_string(o);
                    }),
        backward_kernels);
  }
}

/// BN-BWD-8: the worked example, whose numbers are exact in any order.
TEST(Pair, dx_is_not_orthogonal_to_what_normalisation_removes) {
  Case c = small_case(Pass::gradient, {4, 1, {}});
  c.problem.eps = 6;
  c.x = {2, 4, 8, 10};
  c.dy = {1, 2, 0, 1};
  c.gamma = {2};
  const auto holds = [&](const Observation& seen) {
    double sum = 0, product = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      sum += seen[Output::dx][i];
      product += seen[Output::dx][i] * (c.x[i] - 6) / 4;
    }
    return sum == 0 && product == 2 * 0x1p-6 * 6 * seen[Output::dgamma][0];
  };
  EXPECT_GE(each_kernel(c, [&](const std::string& name, auto run) { EXPECT_TRUE(holds(run(c))) << name; }),
            backward_kernels);
  EXPECT_TRUE(holds(gradients(c)));
  EXPECT_FALSE(holds(gradients(c, Slip::constant_statistics)));
  EXPECT_FALSE(holds(gradients(c, Slip::no_term_in_xhat)));
  Case given = c;
  given.problem.pass = Pass::backward_training;
  given.saved_mean = {5};
  given.saved_invstd = {0.25};
  EXPECT_FALSE(holds(gradients(given))) << "with other statistics it need not hold";
}

/// BN-BWD-9
TEST(Pair, one_value_per_channel_has_a_gradient) {
  const Case c = small_case(Pass::gradient, {1, 4, {}});
  const auto holds = [&](const Observation& seen) {
    return seen[Output::dbeta] == c.dy && seen[Output::dgamma] == std::vector<double>(4, 0.0) &&
           seen[Output::dx] == std::vector<double>(4, 0.0);
  };
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          EXPECT_TRUE(holds(run(c))) << name;
                          EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name;
                        }),
            backward_kernels);
  EXPECT_FALSE(holds(gradients(c, Slip::constant_statistics)));
  EXPECT_TRUE(verdict(c, gradients(c, Slip::constant_statistics)).failed());
}

/// BN-BWD-10
TEST(Pair, a_constant_channel_has_a_term_in_xhat) {
  Case c = small_case(Pass::gradient, {4, 2, {4}});
  std::ranges::fill(c.x, 3.0);
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(c);
                          EXPECT_THAT(seen[Output::dgamma], Each(0.0)) << name;
                          EXPECT_THAT(broken(c, seen), IsEmpty()) << name;
                          seen.outputs[index(Output::dgamma)][1] = 0x1p-20;
                          EXPECT_TRUE(verdict(c, seen).failed()) << name;
                        }),
            backward_kernels);
  EXPECT_THAT(broken(c, gradients(c, Slip::no_term_in_xhat)), IsEmpty()) << "there is none";
  EXPECT_TRUE(verdict(c, gradients(c, Slip::constant_statistics)).failed());
  // With var + eps = 0 the dialect decides: invstd 0, no gradient at all.
  c.problem.eps = 0;
  Case native = c;
  native.problem.dialect = "pytorch/native_batch_norm";
  native.problem.semantics = dialect_named("pytorch")->semantics;
  const auto at_zero = [](const Case& tried, auto holds) {
    EXPECT_GE(each_kernel(tried,
                          [&](const std::string& name, auto run) {
                            const Observation seen = run(tried);
                            for (const Output o : {Output::dgamma, Output::dx})
                              EXPECT_TRUE(std::ranges::all_of(seen[o], holds)) << name << ' ' << to_string(o);
                          }),
              1);
  };
  at_zero(native, [](double v) { return v == 0; });
  at_zero(c, [](double v) { return !std::isfinite(v); });
}

/// BN-BWD-11
TEST(GradientsNonFinite, a_value_spreads_or_is_swallowed) {
  for (const Pass pass : {Pass::backward_training, Pass::gradient})
    for (const bool in_dy : {true, false})
      for (const double value : {nan_value, inf_value, -inf_value}) {
        const Case clean = small_case(pass, {5, 19, {3}});
        Case c = clean;
        (in_dy ? c.dy : c.x)[4 * 15 + 7] = value;
        const auto holds = [&](const Observation& a, const Observation& b) {
          if (differing_channels(c, a, b) != std::set<std::size_t>{4})
            return false;
          const auto spoilt = [&](double v) {
            return std::isnan(value) ? std::isnan(v) : !std::isfinite(v);
          };
          if (!in_dy && !same(a[Output::dbeta][4], b[Output::dbeta][4]))
            return false;
          if (in_dy && !spoilt(b[Output::dbeta][4]))
            return false;
          const auto dx = b[Output::dx].begin() + 4 * 15;
          return spoilt(b[Output::dgamma][4]) && std::all_of(dx, dx + 15, spoilt);
        };
        EXPECT_GE(each_kernel(c,
                              [&](const std::string& name, auto run) {
                                const Observation a = run(clean);
                                Observation b = run(c);
                                EXPECT_TRUE(holds(a, b)) << name << ' ' << to_string(pass) << in_dy << value;
                                EXPECT_THAT(broken(c, b), IsEmpty()) << name;
                                b.outputs[index(Output::dx)][4 * 15] = 0;
                                EXPECT_FALSE(holds(a, b)) << "swallowed";
                                EXPECT_TRUE(verdict(c, b).failed());
                                b = run(c);
                                b.outputs[index(Output::dx)][0] = nan_value;
                                EXPECT_FALSE(holds(a, b)) << "spread";
                              }),
                  backward_kernels);
      }
}

/// The answer to an empty batch: refused, or zeros.
bool empty_gradient(const Observation& seen, std::initializer_list<Output> zeros) {
  if (seen.outcome == Outcome::rejected)
    return true;
  if (seen.outcome != Outcome::completed || seen.running_changed)
    return false;
  for (const Output o : zeros)
    for (const double v : seen[o])
      if (v != 0)
        return false;
  return seen[Output::dx].empty() && seen[Output::grad_x].empty() && seen[Output::grad_dy].empty();
}

Case emptied(Pass pass) {
  Case c = small_case(pass);
  c.problem.shape = {0, 4, {2}};
  for (auto* values : {&c.x, &c.dy, &c.v_x})
    values->clear();
  return c;
}

/// BN-BWD-12, BN-BWI-5
TEST(GradientsEmpty, an_empty_batch_divides_by_zero) {
  for (const Pass pass : first_order) {
    const Case c = emptied(pass);
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            EXPECT_TRUE(empty_gradient(run(c), {Output::dbeta, Output::dgamma}))
                                << name << ' ' << to_string(pass);
                          }),
              backward_kernels);
  }
  Observation wrong;
  wrong.outcome = Outcome::completed;
  wrong.outputs[index(Output::dgamma)] = {0, nan_value};
  EXPECT_FALSE(empty_gradient(wrong, {Output::dbeta, Output::dgamma}));
  wrong.outcome = Outcome::crashed;
  EXPECT_FALSE(empty_gradient(wrong, {}));
}

// ---- inference

/// BN-BWI-1, BN-BWI-2
TEST(GradientsInference, the_running_statistics_are_not_the_constants_that_they_are) {
  EXPECT_FALSE(passes_with(Slip::statistics_depend_on_x, Pass::backward_inference));
  EXPECT_FALSE(passes_with(Slip::running_statistics_anew, Pass::backward_inference));
  Case c = small_case(Pass::backward_inference);
  Observation seen = gradients(c);
  seen.outputs[index(Output::dgamma)] = gradients(c, Slip::running_statistics_anew)[Output::dgamma];
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-NUM-28"));
}

/// BN-BWI-3
TEST(GradientsInference, dx_of_an_element_depends_on_another_or_on_x) {
  const Case c = small_case(Pass::backward_inference, {5, 3, {7}});
  for (const double value : {1e3, nan_value}) {
    Case other_dy = c, other_x = c;
    other_dy.dy[40] = value;
    other_x.x[40] = value;
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            const Observation a = run(c);
                            Observation b = run(other_dy);
                            const std::set<std::size_t> one{40};
                            EXPECT_EQ(differing_elements(a[Output::dx], b[Output::dx]), one) << name;
                            EXPECT_EQ(std::isnan(b[Output::dx][40]), std::isnan(value)) << name;
                            EXPECT_EQ(std::isnan(b[Output::dgamma][1]), std::isnan(value)) << name;
                            EXPECT_EQ(std::isnan(b[Output::dbeta][1]), std::isnan(value)) << name;
                            b.outputs[index(Output::dx)][41] += 1;
                            EXPECT_NE(differing_elements(a[Output::dx], b[Output::dx]), one);
                            EXPECT_TRUE(verdict(other_dy, b).failed());
                            EXPECT_TRUE(same(a[Output::dx], run(other_x)[Output::dx])) << name;
                          }),
              backward_kernels);
  }
}

/// BN-BWI-4
TEST(GradientsInference, running_statistics_change) {
  const Case c = small_case(Pass::backward_inference);
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(c);
                          EXPECT_FALSE(seen.running_changed) << name;
                          EXPECT_THAT(seen.breaches, IsEmpty()) << name;
                          seen.running_changed = true;
                          EXPECT_THAT(broken(c, seen), ElementsAre("BN-BWI-4"));
                        }),
            backward_kernels);
}

// ---- second order

enum class SecondSlip {
  none,
  v_gamma_left_out_of_grad_dy,
  v_beta_left_out,
  grad_dy_without_the_mean_of_v,
  constant_statistics,
  no_q_term,
  no_p_term,
  no_xhat_term,
  v_gamma_left_out_of_grad_x,
  grad_gamma_with_v_gamma,
  absent_is_one,
  training_in_inference
};

Observation second_order(const Case& c, SecondSlip slip = SecondSlip::none) {
  Observation seen;
  seen.outcome = Outcome::completed;
  seen.outputs[index(Output::grad_dy)].resize(c.x.size());
  seen.outputs[index(Output::grad_x)].resize(c.x.size());
  const double absent = slip == SecondSlip::absent_is_one ? 1 : 0;
  for (std::size_t k = 0; k < static_cast<std::size_t>(c.problem.shape.channels); ++k) {
    const Channel channel(c, k);
    const auto n = static_cast<double>(channel.n);
    const bool constants = is_inference(c.problem.pass);
    const double m = constants ? c.running_mean[k] : c.saved_mean[k];
    const double r = constants ? 1 / std::sqrt(c.running_var[k] + c.problem.eps) : c.saved_invstd[k];
    const double gamma = c.gamma.empty() ? 1 : c.gamma[k];
    const double a = c.v_gamma.empty() ? absent : c.v_gamma[k], b = c.v_beta.empty() ? absent : c.v_beta[k];
    const auto v = [&](std::size_t i) {
      return c.v_x.empty() ? absent : c.v_x[i];
    };
    double dbeta = 0, dgamma = 0, V = 0, W = 0, Z = 0;
    for (std::size_t i = channel.first; i < channel.first + channel.n; ++i) {
      const double xhat = (c.x[i] - m) * r;
      dbeta += c.dy[i];
      dgamma += c.dy[i] * xhat;
      V += v(i);
      W += v(i) * xhat;
      Z += v(i) * c.dy[i];
    }
    if (constants && slip != SecondSlip::training_in_inference)
      V = W = dbeta = dgamma = 0;  // no mean, no part along xhat
    const double Q = Z - V * dbeta / n - W * dgamma / n;
    seen.outputs[index(Output::grad_gamma)].push_back(
        round_to(c.problem.stats, r * Q + (slip == SecondSlip::grad_gamma_with_v_gamma ? a : 0)));
    for (std::size_t i = channel.first; i < channel.first + channel.n; ++i) {
      const double xhat = (c.x[i] - m) * r;
      const double q = c.dy[i] - dbeta / n - xhat * dgamma / n;
      const double p = v(i) - (slip == SecondSlip::grad_dy_without_the_mean_of_v ? 0 : V / n) - xhat * W / n;
      double grad_dy = gamma * r * p;
      if (slip != SecondSlip::v_gamma_left_out_of_grad_dy)
        grad_dy += a * xhat;
      if (slip != SecondSlip::v_beta_left_out)
        grad_dy += b;
      double bracket = 0;
      if (slip != SecondSlip::no_xhat_term)
        bracket += xhat * Q;
      if (slip != SecondSlip::no_p_term)
        bracket += dgamma * p;
      if (slip != SecondSlip::no_q_term)
        bracket += W * q;
      double grad_x = slip == SecondSlip::v_gamma_left_out_of_grad_x ? 0 : a * r * q;
      if (slip == SecondSlip::constant_statistics || (constants && slip != SecondSlip::training_in_inference))
        grad_x = a * r * c.dy[i];
      else
        grad_x -= gamma * r * r / n * bracket;
      seen.outputs[index(Output::grad_dy)][i] = round_to(c.problem.data, grad_dy);
      seen.outputs[index(Output::grad_x)][i] = round_to(c.problem.data, grad_x);
    }
  }
  return seen;
}

/// Every cotangent given.
Case second_order_case(Shape shape = {3, 4, {2}}, Pass pass = Pass::double_backward) {
  Case c = small_case(pass, std::move(shape));
  const auto elements = c.x.size(), channels = c.gamma.size();
  for (auto [values, size] : {std::pair(&c.v_x, elements), {&c.v_gamma, channels}, {&c.v_beta, channels}}) {
    values->resize(size);
    for (std::size_t i = 0; i < size; ++i)
      (*values)[i] = round_to(f32, std::sin(1.0 + static_cast<double>(i)));
  }
  return c;
}

bool second_passes_with(SecondSlip slip) {
  const Case c = second_order_case();
  EXPECT_THAT(broken(c, second_order(c)), IsEmpty()) << "without a slip";
  return !verdict(c, second_order(c, slip)).failed();
}

/// BN-DBL-1
TEST(SecondOrder, an_absent_cotangent_is_not_0) {
  for (const int absent : {0, 1, 2}) {
    Case c = second_order_case(), zeros = c;
    std::vector<double>& gone = absent == 0 ? c.v_x : absent == 1 ? c.v_gamma : c.v_beta;
    std::vector<double>& zero = absent == 0 ? zeros.v_x : absent == 1 ? zeros.v_gamma : zeros.v_beta;
    gone.clear();
    std::ranges::fill(zero, 0.0);
    EXPECT_TRUE(verdict(c, second_order(c, SecondSlip::absent_is_one)).failed()) << absent;
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name;
                            EXPECT_EQ(run(c).outputs, run(zeros).outputs) << name;
                          }),
              second_order_kernels);
  }
  Case plain = second_order_case(), ones = plain;
  plain.problem.affine = false;
  plain.gamma.clear();
  plain.beta.clear();
  ones.gamma.assign(4, 1.0);
  EXPECT_FALSE(passes_as(plain, second_order_case()));
  EXPECT_GE(each_kernel(plain, [&](const std::string& name,
                                   auto run) { EXPECT_EQ(run(plain).outputs, run(ones).outputs) << name; }),
            second_order_kernels);
}

/// BN-DBL-2
TEST(SecondOrder, grad_dy_is_not_the_transposed_backward_pass) {
  for (const SecondSlip slip : {SecondSlip::v_gamma_left_out_of_grad_dy, SecondSlip::v_beta_left_out,
                                SecondSlip::grad_dy_without_the_mean_of_v})
    EXPECT_FALSE(second_passes_with(slip)) << static_cast<int>(slip);
  // <v, dx(dy)> = <dy, grad_dy(v)> where only v_x is given, to the rounding of 24 f32 products.
  Case c = second_order_case();
  c.v_gamma.clear();
  c.v_beta.clear();
  Case first = c;
  first.problem.pass = Pass::backward_training;
  for (auto* values : {&first.v_x, &first.v_gamma, &first.v_beta})
    values->clear();
  const auto products = [&](const std::vector<double>& dx, const std::vector<double>& grad_dy) {
    double left = 0, right = 0, size = 0;
    for (std::size_t i = 0; i < c.x.size(); ++i) {
      left += c.v_x[i] * dx[i];
      right += c.dy[i] * grad_dy[i];
      size += std::abs(c.v_x[i] * dx[i]) + std::abs(c.dy[i] * grad_dy[i]);
    }
    return std::abs(left - right) <=
           0x1p-24 * size;  // each dx and grad_dy is rounded once: u of each product
  };
  const std::vector<double> dx = perfect(first)[Output::dx];
  EXPECT_TRUE(products(dx, perfect(c)[Output::grad_dy]));
  EXPECT_FALSE(products(dx, second_order(c, SecondSlip::grad_dy_without_the_mean_of_v)[Output::grad_dy]));
}

/// BN-DBL-3
TEST(SecondOrder, grad_x_takes_the_statistics_for_constants) {
  for (const SecondSlip slip : {SecondSlip::constant_statistics, SecondSlip::no_q_term, SecondSlip::no_p_term,
                                SecondSlip::no_xhat_term, SecondSlip::v_gamma_left_out_of_grad_x})
    EXPECT_FALSE(second_passes_with(slip)) << static_cast<int>(slip);
  const Case c = second_order_case();
  EXPECT_GE(each_kernel(c, [&](const std::string& name,
                               auto run) { EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name; }),
            second_order_kernels);
}

/// BN-DBL-4
TEST(SecondOrder, v_gamma_enters_grad_gamma) {
  EXPECT_FALSE(second_passes_with(SecondSlip::grad_gamma_with_v_gamma));
  const Case c = second_order_case();
  Case other = c;
  negate(other.v_gamma);
  negate(other.v_beta);
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          EXPECT_EQ(run(c)[Output::grad_gamma], run(other)[Output::grad_gamma]) << name;
                        }),
            second_order_kernels);
}

/// BN-DBL-5, by BN-NUM-32, BN-NUM-33 and BN-NUM-34
TEST(SecondOrder, inference_counts_on_statistics_that_depend_on_x) {
  const Case c = second_order_case({3, 4, {2}}, Pass::double_backward_inference);
  EXPECT_THAT(broken(c, second_order(c)), IsEmpty()) << "without a slip";
  EXPECT_THAT(broken(c, second_order(c, SecondSlip::training_in_inference)),
              UnorderedElementsAre("BN-NUM-32", "BN-NUM-33", "BN-NUM-34"));
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name;
                          Case other = c;  // another value of the batch does not matter
                          other.x[7] += 1;
                          other.dy[7] += 1;
                          const Observation a = run(c), b = run(other);
                          for (const Output output : {Output::grad_dy, Output::grad_x})
                            for (std::size_t i = 0; i < c.x.size(); ++i)
                              EXPECT_EQ(a[output][i] == b[output][i], i != 7) << name << ' ' << i;
                        }),
            second_order_kernels);
}

/// BN-DBL-6
TEST(SecondOrder, a_non_finite_value_leaves_its_element_in_inference) {
  const Case clean = second_order_case({5, 19, {3}}, Pass::double_backward_inference);
  constexpr std::size_t place = 4 * 15 + 7;
  for (const int tensor : {0, 1, 2})
    for (const double value : {nan_value, inf_value}) {
      Case c = clean;
      (tensor == 0 ? c.x : tensor == 1 ? c.dy : c.v_x)[place] = value;
      const auto holds = [&](const Observation& a, const Observation& b) {
        for (const Output output : {Output::grad_dy, Output::grad_x})
          for (std::size_t i = 0; i < c.x.size(); ++i)
            if ((a[output][i] == b[output][i]) != (i != place || (output == Output::grad_x) != (tensor == 1)))
              return false;
        return true;
      };
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation a = run(clean);
                              Observation b = run(c);
                              EXPECT_TRUE(holds(a, b)) << name << tensor;
                              EXPECT_THAT(broken(c, b), IsEmpty()) << name << tensor;
                              b.outputs[index(Output::grad_dy)][0] = nan_value;
                              EXPECT_FALSE(holds(a, b)) << name << tensor;
                            }),
                second_order_kernels);
    }
  // Without v_gamma no x has a say.
  Case c = clean;
  c.v_gamma.clear();
  c.x[place] = inf_value;
  EXPECT_GE(each_kernel(c, [&](const std::string& name,
                               auto run) { EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name; }),
            second_order_kernels);
}

/// BN-DBL-6
TEST(SecondOrder, a_non_finite_value_leaves_its_channel) {
  const Case clean = second_order_case({5, 19, {3}});
  for (const int tensor : {0, 1, 2})
    for (const double value : {nan_value, inf_value}) {
      Case c = clean;
      (tensor == 0 ? c.x : tensor == 1 ? c.dy : c.v_x)[4 * 15 + 7] = value;
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation a = run(clean);
                              Observation b = run(c);
                              EXPECT_THAT(differing_channels(c, a, b), ElementsAre(4U)) << name << tensor;
                              EXPECT_FALSE(std::isfinite(b[Output::grad_gamma][4])) << name << tensor;
                              b.outputs[index(Output::grad_x)][0] = nan_value;
                              EXPECT_THAT(differing_channels(c, a, b), ElementsAre(0U, 4U));
                            }),
                second_order_kernels);
    }
}

/// BN-DBL-7
TEST(SecondOrder, an_empty_batch_divides_by_zero) {
  for (const Pass pass : {Pass::double_backward, Pass::double_backward_inference}) {
    const Case c = emptied(pass);
    EXPECT_GE(
        each_kernel(c, [&](const std::string& name,
                           auto run) { EXPECT_TRUE(empty_gradient(run(c), {Output::grad_gamma})) << name; }),
        second_order_kernels);
  }
  Observation wrong;
  wrong.outcome = Outcome::completed;
  wrong.outputs[index(Output::grad_gamma)] = {nan_value};
  EXPECT_FALSE(empty_gradient(wrong, {Output::grad_gamma}));
}

// ---- numeric clauses

/// BN-NUM-20 to BN-NUM-34 where nothing else is reported, BN-NUM-25 by link.
TEST(GradientsNumeric, an_error_is_held_to_the_bound_of_another_clause) {
  using enum Output;
  const Shape shape{8, 2, {5}};
  const Case given = small_case(Pass::backward_training, shape);
  EXPECT_EQ(first_broken(given, dbeta, {dbeta}), "BN-NUM-20");
  EXPECT_EQ(first_broken(given, dgamma, {dgamma}), "BN-NUM-21");
  EXPECT_EQ(first_broken(given, dx, {dx}), "BN-NUM-22");
  EXPECT_EQ(first_broken(given, dx, {dbeta, dgamma, dx}), "BN-NUM-25");
  const Case pair = small_case(Pass::gradient, shape);
  EXPECT_EQ(first_broken(pair, dbeta, {dbeta}), "BN-NUM-20");
  EXPECT_EQ(first_broken(pair, dgamma, {dgamma}), "BN-NUM-23");
  EXPECT_EQ(first_broken(pair, dx, {dx}), "BN-NUM-24");
  const Case inference = small_case(Pass::backward_inference, shape);
  EXPECT_EQ(first_broken(inference, dbeta, {dbeta}), "BN-NUM-20");
  EXPECT_EQ(first_broken(inference, dx, {dx}), "BN-NUM-27");
  EXPECT_EQ(first_broken(inference, dgamma, {dgamma}), "BN-NUM-28");
  const Case second = second_order_case(shape);
  EXPECT_EQ(first_broken(second, grad_dy, {grad_dy}), "BN-NUM-29");
  EXPECT_EQ(first_broken(second, grad_gamma, {grad_gamma}), "BN-NUM-30");
  EXPECT_EQ(first_broken(second, grad_x, {grad_x}), "BN-NUM-31");
  const Case constant = second_order_case(shape, Pass::double_backward_inference);
  EXPECT_EQ(first_broken(constant, grad_dy, {grad_dy}), "BN-NUM-32");
  EXPECT_EQ(first_broken(constant, grad_gamma, {grad_gamma}), "BN-NUM-33");
  EXPECT_EQ(first_broken(constant, grad_x, {grad_x}), "BN-NUM-34");
}

/// BN-NUM-20 to BN-NUM-24 and BN-NUM-27 to BN-NUM-34: correct kernels keep them.
TEST(GradientsNumeric, a_bundled_kernel_exceeds_a_bound) {
  int count = 0;
  for (const Pass pass : {Pass::backward_training, Pass::backward_inference, Pass::gradient,
                          Pass::double_backward, Pass::double_backward_inference})
    for (const char* regime : {"normal", "uniform", "outlier"})
      for (const std::uint64_t seed : {1U, 2U, 3U}) {
        Recipe r;
        r.pass = pass;
        r.shape = {16, 3, {7}};
        r.regime = {regime, regime[0] == 'o' ? 3 : 0};
        r.running = is_inference(pass);
        r.seed = seed;
        const Case c = expand(r);
        count += each_kernel(c, [&](const std::string& name, auto run) {
          EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name << ' ' << to_string(r);
        });
      }
  EXPECT_GE(count, 9 * (3 * backward_kernels + 2 * second_order_kernels));
}

/// BN-NUM-26
TEST(GradientsNumeric, one_step_on_exact_data_is_forgiven) {
  Recipe r;
  r.pass = Pass::backward_training;
  r.shape = {8, 2, {4}};
  r.regime = {"exact", 0};
  r.running = false;
  r.eps = 0.5;
  const Case c = expand(r);
  const reference::Truth truth = reference::truth_of(c);
  ASSERT_TRUE(truth.channels[1].gradient.exact_dbeta && truth.channels[1].gradient.exact_dgamma &&
              truth.channels[1].gradient.exact_dx);
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          for (const Output o : {Output::dbeta, Output::dgamma, Output::dx}) {
                            Observation seen = run(c);
                            EXPECT_THAT(broken(c, seen), IsEmpty()) << name;
                            for (const Output other : all_outputs)
                              if (other != o)
                                seen.outputs[index(other)].clear();
                            double& last = seen.outputs[index(o)].back();
                            last = last == 0 ? 0x1p-149 : stepped(f32, last, 1);
                            EXPECT_THAT(broken(c, seen), ElementsAre("BN-NUM-26"))
                                << name << ' ' << to_string(o);
                          }
                        }),
            backward_kernels);
}

/// BN-NUM-35
TEST(GradientsNegation, an_offset_that_keeps_its_sign) {
  for (const Pass pass :
       {Pass::backward_training, Pass::backward_inference, Pass::gradient, Pass::double_backward}) {
    const Case c =
        pass == Pass::double_backward ? second_order_case({7, 5, {9}}) : small_case(pass, {7, 5, {9}});
    Case minus = c;
    if (pass == Pass::double_backward)
      for (auto* values : {&minus.v_x, &minus.v_gamma, &minus.v_beta})
        negate(*values);
    else
      negate(minus.dy);
    constexpr std::array odd{Output::dbeta,   Output::dgamma, Output::dx,
                             Output::grad_dy, Output::grad_x, Output::grad_gamma};
    const auto holds = [&](const Observation& a, const Observation& b) {
      return std::ranges::all_of(odd, [&](Output o) { return negated(a[o], b[o]); });
    };
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            const Observation a = run(c);
                            Observation b = run(minus);
                            EXPECT_TRUE(holds(a, b)) << name << ' ' << to_string(pass);
                            auto& values =
                                b.outputs[index(pass == Pass::double_backward ? Output::grad_x : Output::dx)];
                            values[3] = stepped(f32, values[3], 1);
                            EXPECT_FALSE(holds(a, b));
                          }),
              second_order_kernels);
  }
}

}  // namespace
}  // namespace normproof::properties
