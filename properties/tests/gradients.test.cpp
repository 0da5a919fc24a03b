// What the gradients have to obey whatever their numbers: orthogonality, linearity in dy, elements by
// themselves in inference, any forward kernel before any backward one, and the second order as the transposed
// first.
#include <gmock/gmock.h>

#include "normproof/reference/double_double.h"
#include "normproof/reference/ulp.h"
#include "relations.h"

namespace normproof::properties {
namespace {

using impls::Observation;

const std::vector<Pass> pair{Pass::gradient};
const std::vector<Pass> given{Pass::backward_training};
const std::vector<Pass> backward{Pass::backward_training, Pass::backward_inference, Pass::gradient};

// --- orthogonality ---

/// sum dx = 0 and sum dx xhat = gamma invstd^3 eps dgamma, here gamma / 4 dgamma with xhat = d / 2. Exact
/// data have the same statistics whether these are given or not.
Relation orthogonality(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    const Observation seen = kernel(c);
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    for (std::size_t k = 0; k < seen[Output::dgamma].size(); ++k) {
      double sum = 0, product = 0, mean = 0;
      for (std::size_t i = k * n; i < (k + 1) * n; ++i)
        mean += c.x[i] / static_cast<double>(n);
      for (std::size_t i = k * n; i < (k + 1) * n; ++i) {
        sum += seen[Output::dx][i];
        product += seen[Output::dx][i] * (c.x[i] - std::round(mean)) / 2;
      }
      const double gamma = c.gamma.empty() ? 1 : c.gamma[k];
      if (sum != 0 || product != gamma / 4 * seen[Output::dgamma][k])
        return "dx of channel " + std::to_string(k) + " has a part that normalisation removes";
    }
    return {};
  };
}

RC_GTEST_PROP(Orthogonality, a_term_of_dx_that_is_missing_or_misscaled, ()) {  // BN-BWD-8, BN-BWD-3
  const Input in = *exact_input(pair);
  keep(in, orthogonality(in), 2, two_pass);
}

TEST(Orthogonality, dx_without_its_terms) {  // BN-BWD-8, BN-BWD-3
  EXPECT_FALSE(breaks(perfect, orthogonality, exact_input(pair)));
  for (const char* name :
       {"dx_mean_term_dropped", "dx_xhat_term_dropped", "dx_not_divided_by_n", "dx_divided_by_one_less",
        "dx_wrong_sign", "eval_gradient_in_training", "gradients_over_batch_only", "dgamma_without_invstd"})
    EXPECT_TRUE(breaks(mutant(name), orthogonality, exact_input(pair))) << name;
}

/// On any data the exact values obey it: sums of them, to what their digits hold.
RC_GTEST_PROP(Orthogonality, an_oracle_whose_gradient_is_not_that_of_the_forward_pass, ()) {  // BN-BWD-8
  const Input in = *any_input(pair);
  const Case& c = in.c;
  const reference::Truth truth = reference::truth_of(c);
  const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
  for (std::size_t k = 0; k < truth.channels.size(); ++k) {
    if (!truth.channels[k].finite)
      continue;
    reference::DoubleDouble sum;
    double digits = 0;
    for (std::size_t i = k * n; i < (k + 1) * n; ++i) {
      const double rn = truth[Output::dx].rn[i];
      const double gap = reference::spacing(c.problem.data, rn);
      sum = sum + reference::DoubleDouble(rn) + reference::DoubleDouble(truth[Output::dx].off[i] * gap);
      digits += reference::off_precision * gap;
    }
    RC_ASSERT(std::abs(sum.hi) <= digits);
  }
}

// --- linearity ---

/// dy -> dbeta, dgamma, dx is linear: f(a) + f(b) = f(a + b) on data whose sums are exact.
Relation linearity(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    Case other = c, both = c;
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    const double level = static_cast<double>(draw % 7) - 3;
    for (std::size_t i = 0; i < c.dy.size(); ++i) {
      other.dy[i] = level + 2 * (c.x[i] - c.x[i / n * n]);  // a + b d again
      both.dy[i] = c.dy[i] + other.dy[i];
    }
    const Observation a = kernel(c), b = kernel(other);
    Observation want = a;
    for (const Output o : {Output::dbeta, Output::dgamma, Output::dx})
      for (std::size_t i = 0; i < a[o].size(); ++i)
        want.outputs[index(o)][i] += b[o][i];
    return difference(want, kernel(both));
  };
}

RC_GTEST_PROP(Linearity, a_gradient_that_is_clipped_or_keeps_something, ()) {  // BN-BWD-1, BN-BWD-2, BN-BWD-7
  const Input in = *exact_input(backward);
  keep(in, linearity(in), 1, two_pass);
}

TEST(Linearity, old_content_and_clipping) {  // BN-BWD-1, BN-BWD-2, BN-BWD-7
  EXPECT_FALSE(breaks(perfect, linearity, exact_input(backward)));
  const Kernel clipped = [](const Case& c) {
    Observation seen = perfect(c);
    for (double& v : seen.outputs[index(Output::dx)])
      v = std::clamp(v, -4.0, 4.0);
    return seen;
  };
  EXPECT_TRUE(breaks(clipped, linearity, exact_input(backward)));
  const Kernel kept = [last = 0.0](const Case& c) mutable {
    Observation seen = perfect(c);
    for (double& v : seen.outputs[index(Output::dbeta)])
      v += std::exchange(last, v);
    return seen;
  };
  EXPECT_TRUE(breaks(kept, linearity, exact_input(backward)));
}

// --- inference: elements by themselves ---

Relation elementwise(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    Case other = c;
    const std::size_t at = draw % c.dy.size();
    other.dy[at] *= -4;
    for (double& v : other.x)
      v = -v;
    const Observation a = kernel(c), b = kernel(other);
    const std::set<std::size_t> moved = differing_elements(a[Output::dx], b[Output::dx]);
    return moved.empty() || moved == std::set<std::size_t>{at}
               ? ""
               : "dx follows x or another element's dy at " + std::to_string(*moved.begin());
  };
}

RC_GTEST_PROP(EvalGradient, an_element_that_looks_beyond_itself, ()) {  // BN-BWI-1, BN-BWI-3
  const Input in = *any_input({Pass::backward_inference});
  keep(in, elementwise(in), 2);
}

TEST(EvalGradient, the_training_gradient) {  // BN-BWI-1, BN-BWI-3
  EXPECT_FALSE(breaks(perfect, elementwise, any_input({Pass::backward_inference})));
  EXPECT_TRUE(
      breaks(mutant("training_gradient_in_eval"), elementwise, any_input({Pass::backward_inference})));
}

// --- one kernel's forward, another's backward ---

/// The backward pass of `kernel` on what each bundled forward kernel saved.
Relation after_any_forward(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    Case before = c;
    before.problem.pass = Pass::forward_training;
    before.problem.running = false;
    before.dy.clear();
    before.saved_mean.clear();
    before.saved_invstd.clear();
    std::string found;
    each_kernel(before, [&](const std::string& name, auto forward) {
      const Observation saved = forward(before);
      if (saved.outcome != impls::Outcome::completed || !found.empty() || saved[Output::mean].empty() ||
          saved[Output::invstd].empty())
        return;
      Case after = c;
      after.saved_mean = saved[Output::mean];
      after.saved_invstd = saved[Output::invstd];
      if (const std::string clause = judged(after, kernel(after)); !clause.empty())
        found = "after " + name + ' ' + clause;
    });
    return found;
  };
}

RC_GTEST_PROP(Pairing, a_backward_pass_that_needs_its_own_forward, ()) {  // BN-BWD-5, BN-BWD-6
  const Input in = *any_input(given);
  keep(in, after_any_forward(in), 2);
}

TEST(Pairing, statistics_anew_or_of_another_meaning) {  // BN-BWD-5, BN-BWD-6
  EXPECT_TRUE(breaks(mutant("invstd_taken_for_variance"), after_any_forward, any_input(given), 20));
  // On the very statistics of x it is right: what it ignores must differ.
  const auto of_another_batch = [](const Input& in) -> Relation {
    return [draw = in.draw](const Case& c, const Kernel& kernel) {
      Case other = c;
      for (double& r : other.saved_invstd)
        r = std::ldexp(r, draw % 2 == 0 ? 1 : -1);
      return judged(other, kernel(other));
    };
  };
  EXPECT_FALSE(breaks(perfect, of_another_batch, any_input(given), 20));
  EXPECT_TRUE(breaks(mutant("saved_statistics_ignored"), of_another_batch, any_input(given), 20));
}

// --- the second order ---

/// With v_gamma = v_beta = 0 the gradient with respect to dy is the backward pass of v_x: the map is its own
/// transpose. Both are correct roundings of one number.
Relation transposed(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    if (c.v_x.empty())
      return {};
    Case second = c;
    second.v_gamma.clear();
    second.v_beta.clear();
    Case first = c;
    first.problem.pass = Pass::backward_training;
    first.dy = c.v_x;
    first.v_x.clear();
    first.v_gamma.clear();
    first.v_beta.clear();
    return same(kernel(second)[Output::grad_dy], kernel(first)[Output::dx]) ? "" : "grad_dy is not dx of v_x";
  };
}

RC_GTEST_PROP(SecondOrderMap, an_oracle_whose_two_orders_differ, ()) {  // BN-DBL-2
  const Input in = *any_input({Pass::double_backward});
  RC_CLASSIFY(in.c.v_x.empty(), "without v_x");
  RC_ASSERT(transposed(in)(in.c, perfect).empty());
}

TEST(SecondOrderMap, a_map_that_is_not_its_own_transpose) {  // BN-DBL-2
  const Kernel shifted = [](const Case& c) {
    Case other = c;
    if (c.problem.pass == Pass::double_backward)
      for (double& m : other.saved_mean)
        m = round_to(other.problem.stats, m + 1);
    return perfect(other);
  };
  EXPECT_TRUE(breaks(shifted, transposed, any_input({Pass::double_backward})));
}

}  // namespace
}  // namespace normproof::properties
