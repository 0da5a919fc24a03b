// The edges of the domain: no value, one, two; batch size 1 with and without space; eps = 0, variance 0;
// values that are not finite, zeros with signs, subnormal and huge ones. The judge says what is right there;
// here they are drawn together with passes, formats, layouts and dialects, and every kind is seen to be
// drawn.
#include <gmock/gmock.h>

#include "relations.h"

namespace normproof::properties {
namespace {

using impls::Observation;
using impls::Outcome;

const std::vector<Pass> all{all_passes.begin(), all_passes.end()};

constexpr std::array kinds{"no value",
                           "one value",
                           "two values",
                           "batch size 1 with space",
                           "eps = 0",
                           "variance 0",
                           "eps = 0 and variance 0",
                           "NaN in x",
                           "Inf in x",
                           "both Inf in x",
                           "NaN in dy",
                           "zeros of both signs",
                           "gamma = 0",
                           "subnormal",
                           "huge"};

rc::Gen<Input> edge_input(std::vector<Pass> passes) {
  return rc::gen::exec([passes] {
    const std::string kind = pick_of(kinds);
    constexpr std::array formats{f32, f64, f16, bf16};
    Recipe r;
    r.pass = pick_of(passes);
    r.dtype = pick_of(formats);
    r.shape = any_shape();
    place(r);
    r.running = r.pass == Pass::forward_training || is_inference(r.pass);
    r.dialect = pick(0, 2) == 0 ? "documented" : "pytorch/native_batch_norm";
    r.seed = pick<std::uint64_t>(1, 1 << 20);
    const auto draw = pick<std::uint32_t>(0, 1 << 16);
    if (kind == "one value" || kind == "no value")
      r.shape = {1, r.shape.channels, {}};
    if (kind == "two values")
      r.shape = {2, r.shape.channels, {}};
    if (kind == "batch size 1 with space")
      r.shape = {1, r.shape.channels, {3, 2}};
    if (kind == "eps = 0" || kind == "eps = 0 and variance 0")
      r.eps = 0;
    if (kind == "variance 0" || kind == "eps = 0 and variance 0")
      r.regime = {"constant", 0};
    if (kind == "subnormal" || kind == "huge")
      r.regime = {kind, kind == "huge" ? 1 : 0};
    if (!impossible(r).empty()) {
      r.dialect = "documented";
      r.regime = Regime{};
    }
    Input in{expand(r), {kind, "pass " + std::string(to_string(r.pass))}, draw};
    Case& c = in.c;
    const std::size_t at = draw % c.x.size(), next = (at + 1) % c.x.size();
    if (kind == "no value") {
      c.problem.shape.batch = 0;
      for (auto* values : {&c.x, &c.dy, &c.v_x})
        values->clear();
    } else if (kind == "NaN in x") {
      c.x[at] = nan_value;
    } else if (kind == "Inf in x") {
      c.x[at] = draw % 2 == 0 ? inf_value : -inf_value;
    } else if (kind == "both Inf in x") {
      c.x[at] = inf_value;
      c.x[next] = -inf_value;
    } else if (kind == "NaN in dy" && !c.dy.empty()) {
      c.dy[at] = nan_value;
    } else if (kind == "zeros of both signs") {
      for (std::size_t i = 0; i < c.x.size(); ++i)
        if (i % 3 != 0)
          c.x[i] = i % 3 == 1 ? 0.0 : -0.0;
    } else if (kind == "gamma = 0") {
      std::ranges::fill(c.gamma, 0);
    }
    // Of an absent v_x it is open whether 0 times NaN is taken: a kernel that leaves the term out has a
    // number.
    if (is_second_order(c.problem.pass) && c.v_x.empty() &&
        !std::ranges::all_of(c.x, [](double v) { return std::isfinite(v); }))
      c.v_x.assign(c.x.size(), 1);
    c.origin += " with " + kind;
    return in;
  });
}

/// Makes no error and refuses what must be refused.
Observation right(const Case& c) {
  if (reference::must_reject(c).empty())
    return perfect(c);
  Observation refusal;
  refusal.outcome = Outcome::rejected;
  return refusal;
}

/// The judge's word; what is beyond the core domain counts only where it gates.
Relation by_the_judge(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    const Observation seen = kernel(c);
    const CaseVerdict v = verdict(c, seen);
    return v.gates && v.failed() ? "breaks " + *broken(v).begin() : "";
  };
}

/// Finite in gives finite out where the exact result is finite and the domain is the core one.
Relation finite_stays_finite(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    if (!reference::must_reject(c).empty() || !verdict(c, Observation{}).core)
      return {};
    const Observation seen = kernel(c);
    if (seen.outcome != Outcome::completed)
      return {};
    const reference::Truth truth = reference::truth_of(c);
    for (const Output o : all_outputs)
      for (std::size_t i = 0; i < seen[o].size(); ++i)
        if (!truth[o].empty() && std::isfinite(truth[o].rn[i]) && !std::isfinite(seen[o][i]))
          return std::string(to_string(o)) + " is not finite";
    return {};
  };
}

RC_GTEST_PROP(Edges, a_number_where_none_belongs_or_none_where_one_does, ()) {
  const Input in = *edge_input(all);
  keep(in, by_the_judge(in), 0);
  keep(in, finite_stays_finite(in), 0);
}

/// Of each kind some kernels did compute: none of them is an excuse.
TEST(Edges, a_kind_that_every_kernel_refuses_or_that_is_never_drawn) {
  expect_reached(edge_input(all), {kinds.begin(), kinds.end()});
  std::map<std::string, int> computed;
  impls::Runner runner({.in_process = true});
  for (const Input& in : sample(edge_input(all), 150))
    for (const impls::KernelInfo& kernel : bundled_kernels())
      if (runner.run(kernel, in.c).outcome == Outcome::completed)
        ++computed[*in.classes.begin() == "pass" ? ""
                                                 : *std::ranges::find_if(in.classes, [](const auto& name) {
                                                     return !name.starts_with("pass ");
                                                   })];
  for (const char* kind : kinds)
    EXPECT_GE(computed[kind], 5) << kind;
}

/// A mean that is off by a rounding leaves a variance above 0, whose root is a number where the exact one is
/// infinite: nothing is promised there. Where every sum is exact the dialect's answer is owed.
TEST(Edges, the_root_of_a_variance_that_is_all_roundings) {  // BN-FWD-9, BN-NUM-3
  int counted = 0;
  for (const char* dialect : {"documented", "pytorch/native_batch_norm"})
    for (const Pass pass : {Pass::forward_training, Pass::gradient})
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Recipe r;
        r.pass = pass;
        r.shape = {3, 16, {}};
        r.regime = {"constant", 0};
        r.dialect = dialect;
        r.eps = 0;
        r.seed = seed;
        const Case c = expand(r);
        counted += each_kernel(c, [&](const std::string& name, auto run) {
          EXPECT_THAT(broken(c, run(c)), testing::IsEmpty()) << name << ' ' << c.origin;
        });
      }
  EXPECT_GE(counted, 400);
  Case exact = small_case(Pass::forward_training, {4, 1, {}});
  exact.x = {5, 5, 5, 5};
  exact.problem.eps = 0;
  Observation seen = perfect(exact);
  EXPECT_FALSE(verdict(exact, seen).failed());
  seen.outputs[index(Output::invstd)] = {4194304};
  EXPECT_TRUE(verdict(exact, seen).failed());
}

TEST(Edges, a_nan_that_is_swallowed_or_one_that_is_made) {
  EXPECT_FALSE(breaks(right, by_the_judge, edge_input(all), 200));
  EXPECT_TRUE(breaks(mutant("nan_squashed"), by_the_judge, edge_input({Pass::forward_training}), 300));
  // A variance of nothing but roundings that became negative.
  const Kernel negative = [](const Case& c) {
    Observation seen = right(c);
    for (std::size_t k = 0; k < seen[Output::var].size(); ++k)
      if (seen[Output::var][k] == 0)
        for (const Output o : {Output::invstd, Output::y})
          for (double& v : seen.outputs[index(o)])
            v = nan_value;
    return seen;
  };
  EXPECT_TRUE(breaks(negative, finite_stays_finite, edge_input({Pass::forward_training}), 300));
  // One value per channel whose variance is unbiased, 0/0, where the dialect's is not.
  const Kernel unbiased = [](const Case& c) {
    Observation seen = right(c);
    if (c.problem.shape.per_channel() == 1)
      for (double& v : seen.outputs[index(Output::running_var)])
        v = nan_value;
    return seen;
  };
  EXPECT_TRUE(breaks(unbiased, by_the_judge, edge_input({Pass::forward_training}), 300));
}

}  // namespace
}  // namespace normproof::properties
