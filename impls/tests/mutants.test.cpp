// Every wrong kernel does its wrong thing, on the outputs that it is named for, and nothing else: a mutant
// that is right, or that breaks the buffers, would show nothing of the gate.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cases.h"
#include "protocol.h"

namespace normproof::impls {
namespace {

using ::testing::IsEmpty;

struct Twin {
  std::string correct;  ///< the kernel that it was taken from
  Case c;
  std::vector<Output> spoilt;
};

const Shape shape{8, 3, {2}};

Case gradients(Pass pass, Formats formats = {f32, f32}) {
  Case c = exact_case(pass, shape, formats);
  for (std::size_t i = 0; i < c.dy.size(); ++i)  // no sum of theirs is 0
    c.dy[i] += static_cast<double>(i % 3) + (c.x[i] > 2 ? 1 : 0);
  return c;
}
Twin changed(Twin twin, auto&& change) {
  change(twin);
  return twin;
}
/// With gaps between the values of gamma, which not every seed has.
Case strided(Pass pass) {
  Case c = exact_case(pass, shape, {f32, f32}, Layout::strided);
  std::uint64_t& seed = c.problem.layout_seed;
  while (channel_placement(shape.channels, Layout::strided, seed, static_cast<int>(Slot::gamma)).strides[0] ==
         1)
    ++seed;
  return c;
}

const std::map<std::string, Twin>& twins() {
  using enum Output;
  const auto direct = [](Pass pass, std::vector<Output> spoilt) {
    return Twin{"cpu.backward_direct", gradients(pass), std::move(spoilt)};
  };
  const auto second = [](std::vector<Output> spoilt) {
    return Twin{"cpu.double_backward", gradients(Pass::double_backward), std::move(spoilt)};
  };
  const auto forward = [](Formats formats, std::vector<double> values, std::vector<Output> spoilt) {
    Case c = exact_case(Pass::forward_training, shape, formats);
    for (std::size_t i = 0; i < c.x.size(); ++i)
      c.x[i] = values[i % values.size()];
    return Twin{"cpu.two_pass_f64", c, std::move(spoilt)};
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  static const std::map<std::string, Twin> all{
      {"dx_mean_term_dropped", direct(Pass::backward_training, {dx})},
      {"dx_xhat_term_dropped", direct(Pass::backward_training, {dx})},
      {"dx_not_divided_by_n", direct(Pass::gradient, {dx})},
      {"dx_divided_by_one_less", direct(Pass::backward_training, {dx})},
      {"dx_gamma_missing", direct(Pass::backward_inference, {dx})},
      {"dx_wrong_sign", direct(Pass::gradient, {dx})},
      {"dx_one_channel_off", direct(Pass::backward_inference, {dx})},
      {"dx_three_ulps", direct(Pass::backward_training, {dx})},
      {"dgamma_uncentred", direct(Pass::backward_inference, {dgamma})},
      {"dgamma_without_invstd", direct(Pass::backward_training, {dgamma})},
      {"dbeta_misses_a_batch_item", direct(Pass::backward_inference, {dbeta})},
      {"gradients_over_batch_only", direct(Pass::backward_training, {dbeta, dgamma, dx})},
      {"eval_gradient_in_training", direct(Pass::backward_training, {dx})},
      {"training_gradient_in_eval", direct(Pass::backward_inference, {dx})},
      {"backward_eps_twice", direct(Pass::backward_inference, {dgamma, dx})},
      {"invstd_taken_for_variance", direct(Pass::backward_training, {dgamma, dx})},
      {"saved_statistics_ignored", direct(Pass::backward_training, {dgamma, dx})},
      {"second_order_term_once", second({grad_x})},
      {"second_order_v_gamma_ignored", second({grad_dy, grad_x})},
      {"second_order_invstd_missing", second({grad_gamma})},
      {"second_order_statistics_constant", second({grad_x})},
      {"second_order_grad_gamma_uncentred", second({grad_gamma})},
      {"second_order_training_in_eval",
       {"cpu.double_backward", gradients(Pass::double_backward_inference), {grad_dy, grad_x, grad_gamma}}},
      {"invstd_seven_ulps", forward({f32, f32}, {1, -1, 0, 0}, {invstd})},
      {"y_truncated", forward({bf16, f32}, {1, 2, 4, 7.5}, {y})},
      {"dx_truncated", changed({"cpu.backward_direct", gradients(Pass::gradient, {f16, f32}), {dx}},
                               [](Twin& t) { t.c.gamma.assign(3, 2 - 0x1p-20); })},
      // y = 1 + 2^-11 + 2^-30 lies above the middle of 1 and its f16 successor; as a float it is the middle.
      {"y_rounded_twice", changed(forward({f16, f32}, {1, -1}, {y}),
                                  [](Twin& t) {
                                    t.c.problem.eps = 0;
                                    t.c.gamma.assign(3, 0x1p-30);
                                    t.c.beta.assign(3, 1 + 0x1p-11);
                                  })},
      {"half_accumulator", forward({f16, f32}, {2048, 1, 1, 1}, {mean})},
      {"half_squares", forward({f16, f32}, {300, -300}, {var, invstd, y})},
      {"half_centre", forward({bf16, f32}, {1000, 1004}, {var})},
      {"byte_offset_ignored", {"cpu.two_pass_f64", strided(Pass::forward_training), {mean, y}}},
      {"channel_stride_ignored", {"cpu.two_pass_f64", strided(Pass::forward_training), {y}}},
      {"dy_strides_ignored", {"cpu.backward_direct", strided(Pass::backward_training), {dbeta, dx}}},
      {"nan_squashed", forward({f32, f32}, {1, nan, 2, 3}, {mean, var, y})},
      {"nan_spreads", changed(forward({f32, f32}, {1, 2, 4, 7}, {y}), [nan](Twin& t) { t.c.x[0] = nan; })}};
  return all;
}

bool differ(const std::vector<double>& a, const std::vector<double>& b) {
  return !std::equal(a.begin(), a.end(), b.begin(), b.end(),
                     [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

TEST(Mutants, EachDiffersFromItsCorrectTwinWhereItIsNamedFor) {
  for (const auto& [name, twin] : twins()) {
    Runner runner({.in_process = true});
    const Observation wrong = runner.run(kernel_of("libnormproof_mutants", "mutant." + name), twin.c);
    const Observation right = runner.run(kernel_of("libnormproof_cpu", twin.correct), twin.c);
    ASSERT_EQ(wrong.outcome, Outcome::completed) << name << ": " << wrong.detail;
    ASSERT_EQ(right.outcome, Outcome::completed) << name << ": " << right.detail;
    EXPECT_THAT(wrong.breaches, IsEmpty()) << name;
    for (const Output output : twin.spoilt)
      EXPECT_TRUE(differ(wrong[output], right[output])) << name << ' ' << to_string(output);
  }
}

TEST(Mutants, GradientsAddedToWhatWasThereShowThePoison) {
  const Observation seen = Runner({.in_process = true})
                               .run(kernel_of("libnormproof_mutants", "mutant.dgamma_accumulated"),
                                    gradients(Pass::backward_training));
  EXPECT_TRUE(std::isnan(seen[Output::dgamma][0]));
  EXPECT_FALSE(std::isnan(seen[Output::dbeta][0]));
}

/// A mutant without a test here might as well be a correct kernel.
TEST(Mutants, NoneIsWithoutATest) {
  std::set<std::string> tested{"textbook_variance",         "eps_outside_root",
                               "eps_added_to_deviation",    "inverted_momentum",
                               "biased_running_variance",   "tail_dropped",
                               "inference_updates_running",                   // worker.test.cpp
                               "dgamma_accumulated",        "index_32_bit"};  // huge.test.cpp
  for (const auto& [name, twin] : twins())
    tested.insert(name);
  const Catalogue catalogue = discover(std::vector{built_module("libnormproof_mutants")});
  std::set<std::string> there;
  for (const KernelInfo& kernel : catalogue.kernels)
    there.insert(kernel.name.substr(std::string("mutant.").size()));
  EXPECT_EQ(there, tested);
}

}  // namespace
}  // namespace normproof::impls
