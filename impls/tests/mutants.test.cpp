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

// --- the mutants of statistics.cpp, elements.cpp and gradients.cpp: in f64 their twins do the same
// arithmetic bit for bit, so that what a mutant must not touch can be told from what it must ---

struct Slip {
  std::string name;
  Case c;
  std::set<Output> spoils;
  bool others_may_round = false;  ///< it sums in another order
};

Case plain(Pass pass, auto&& change, Shape of = {5, 3, {7}}) {
  const bool forward = pass == Pass::forward_training || pass == Pass::forward_inference;
  Case c = forward ? small_case(of, f64, Layout::contiguous, "pytorch/native_batch_norm")
                   : exact_case(pass, of, {f64, f64});
  c.problem.pass = pass;
  c.problem.eps = forward ? 0x1.8p-30 : 0x1.8p-10;
  c.problem.momentum = 0.3;
  c.num_batches_tracked = 3;
  for (double& x : c.x)
    x = x / 3 + 0.25;
  for (double& v : c.running_var)
    v /= 3;
  for (std::size_t i = 0; i < c.dy.size(); ++i)  // no sum of theirs is 0
    c.dy[i] += static_cast<double>(i % 3) + (c.x[i] > 0.5 ? 1 : 0);
  for (std::size_t k = 0; k < c.gamma.size(); ++k)
    c.gamma[k] = k % 3 == 1 ? -2 : k % 3 == 0 ? 1.5 : 0.75;
  change(c);
  return c;
}
Case plain(Pass pass, Shape of = {5, 3, {7}}) {
  return plain(pass, [](Case&) {}, std::move(of));
}

std::vector<Slip> slips() {
  using enum Output;
  using enum Pass;
  const std::set<Output> root{invstd, y}, spread{var, invstd, y, running_var},
      both{running_mean, running_var};
  std::vector<Slip> all;
  const auto add = [&](const Case& c, const std::set<Output>& spoils,
                       std::initializer_list<const char*> names, bool others = false) {
    for (const char* name : names)
      all.push_back({name, c, spoils, others});
  };
  const Case forward = plain(forward_training);
  const Shape large{35, 3, {31}};
  add(forward, root,
      {"eps_omitted", "eps_twice", "eps_as_limit", "eps_raised", "eps_hard_coded", "eps_in_half",
       "root_missing", "deviation_for_invstd", "root_in_float", "root_by_one_newton_step"});
  add(plain(forward_training,
            [](Case& c) {
              for (double& x : c.x)
                x *= 0x1p-20;
            }),
      root, {"small_variance_is_none"});
  add(forward, {mean, var, invstd, y, running_mean, running_var},
      {"rest_of_8_dropped", "rest_of_32_dropped"});
  add(plain(forward_training, large), {mean, var, invstd, y, running_mean, running_var},
      {"sums_end_at_1024"});
  add(forward, spread,
      {"padding_counts", "unbiased_normalises", "reciprocal_in_bfloat", "variance_a_little_small"});
  add(plain(forward_training,
            [](Case& c) {
              for (std::size_t k = 0; k < 3; ++k)
                c.x[35 * k] = 1e9;
            }),
      {mean, var, invstd}, {"shifted_by_the_first"}, true);
  add(forward, {mean, y, running_mean}, {"sums_in_float"});
  add(forward, spread, {"merge_within_only", "merge_equal_counts"}, true);
  add(forward, {mean, y, running_mean}, {"merge_mean_of_means", "merge_weights_swapped"}, true);
  add(forward, {running_var},
      {"running_var_with_eps", "deviation_runs", "bessel_by_batch_size", "bessel_in_half",
       "bessel_inverted"});
  add(forward, both,
      {"momentum_ignored", "momentum_in_bfloat", "running_replaced", "running_not_updated",
       "old_weight_in_half", "running_updated_twice"});
  add(plain(forward_training, [](Case& c) { c.problem.momentum.reset(); }), both,
      {"cumulative_counts_before"});
  add(forward, {}, {"batches_not_counted", "batches_counted_twice"});
  add(forward, {running_mean}, {"last_running_mean_stale"});
  add(forward, {invstd}, {"last_invstd_stale", "saves_variance_for_invstd"});
  add(forward, {var},
      {"saves_unbiased_variance", "saves_variance_with_eps", "saves_invstd_for_variance",
       "variance_from_invstd"});

  add(forward, {y},
      {"beta_ignored", "gamma_plus_one", "gamma_positive", "beta_scaled", "scale_in_half",
       "deviations_of_11_bits", "mean_in_bfloat", "negatives_cut", "last_element_off", "tail_of_y_zero",
       "y_three_ulps", "last_element_eight_ulps", "y_scaled_slightly", "parameters_of_the_next_channel",
       "training_by_the_running"});
  add(plain(forward_training,
            [](Case& c) {
              for (double& x : c.x)
                x *= 256;
            }),
      {y}, {"deviations_saturate"});
  add(plain(forward_training,
            [](Case& c) {
              c.gamma.assign(3, 1e-7);
              c.beta.assign(3, 0);
            }),
      {y}, {"small_y_is_zero"});
  add(plain(forward_training, {5, 18, {7}}), {y}, {"channels_beyond_16_off"});
  add(plain(forward_training,
            [](Case& c) {
              c.problem.data = f16;
              c.problem.stats = f32;
              for (auto* values : {&c.x, &c.gamma, &c.beta, &c.running_mean, &c.running_var})
                for (double& v : *values)
                  v = std::round(v * 64) / 64;
            }),
      {y}, {"folded_in_half"}, true);
  add(plain(forward_inference), {y},
      {"inference_eps_outside_root", "inference_eps_omitted", "inference_variance_in_half",
       "inference_root_missing", "inference_by_the_batch", "inference_folded_in_data",
       "inference_last_element_off"});

  const Case given = plain(backward_training);
  const auto times = [](double factor) {
    return [factor](Case& c) {
      for (double& v : c.dy)
        v *= factor;
    };
  };
  add(given, {dgamma, dx},
      {"dgamma_rest_of_8_dropped", "saved_eps_once_more", "saved_taken_for_deviation",
       "dgamma_terms_in_half"});
  add(plain(backward_training, large), {dbeta, dgamma, dx}, {"gradients_end_at_1024"});
  add(plain(backward_training, large), {dx}, {"dx_count_in_bfloat"});
  add(given, {dx},
      {"dx_invstd_twice", "dx_invstd_missing", "dx_gamma_twice", "dx_gamma_positive", "dx_means_in_half",
       "dx_xhat_uncentred", "dx_xhat_term_halved", "dx_mean_added", "last_dx_off"});
  add(plain(backward_training, times(256)), {dx}, {"dx_clipped"});
  add(plain(backward_training, times(0x1p-16)), {dx}, {"dx_small_is_zero"});
  add(plain(backward_inference), {dgamma, dx}, {"eval_eps_outside_root"});
  add(given, {dbeta}, {"dbeta_is_a_mean", "last_dbeta_off"});
  add(given, {dgamma}, {"dgamma_invstd_twice", "dgamma_is_a_mean", "last_dgamma_off", "dgamma_negated"});
  const Case second = plain(double_backward);
  add(second, {grad_x}, {"second_order_no_q", "second_order_no_p", "second_order_invstd_once"});
  add(second, {grad_dy},
      {"second_order_v_beta_ignored", "second_order_gamma_missing", "second_order_mean_missing",
       "second_order_v_gamma_sign"});
  return all;
}

const char* twin_of(Pass pass) {
  switch (pass) {
  case Pass::forward_training:
    return "cpu.two_pass_f64";
  case Pass::forward_inference:
    return "cpu.inference_centred";
  case Pass::double_backward:
    return "cpu.double_backward";
  default:
    return "cpu.backward_direct";
  }
}

TEST(Mutants, EachSpoilsWhatItIsNamedForAndNothingElse) {
  for (const Slip& slip : slips()) {
    Runner runner({.in_process = true});
    const Observation wrong = runner.run(kernel_of("libnormproof_mutants", "mutant." + slip.name), slip.c);
    const Observation right = runner.run(kernel_of("libnormproof_cpu", twin_of(slip.c.problem.pass)), slip.c);
    ASSERT_EQ(wrong.outcome, Outcome::completed) << slip.name << ": " << wrong.detail;
    ASSERT_EQ(right.outcome, Outcome::completed) << slip.name << ": " << right.detail;
    EXPECT_THAT(wrong.breaches, IsEmpty()) << slip.name;
    for (const Output output : all_outputs) {
      const bool other = differ(wrong[output], right[output]);
      if (slip.spoils.contains(output) || !slip.others_may_round) {
        EXPECT_EQ(other, slip.spoils.contains(output)) << slip.name << ' ' << to_string(output);
      }
    }
    EXPECT_EQ(wrong.num_batches_tracked != right.num_batches_tracked, slip.name.starts_with("batches_"))
        << slip.name;
  }
}

TEST(Mutants, WhatIsWrittenToIsSeen) {
  const auto seen = [](const char* name) {
    return Runner().run(kernel_of("libnormproof_mutants", name), plain(Pass::forward_training));
  };
  EXPECT_FALSE(seen("mutant.last_element_unwritten").breaches.empty());
  EXPECT_FALSE(seen("mutant.input_as_scratch").breaches.empty());
  EXPECT_TRUE(std::isnan(seen("mutant.y_added")[Output::y][0]));
}

/// A mutant without a test here might as well be a correct kernel.
TEST(Mutants, NoneIsWithoutATest) {
  std::set<std::string> tested{"textbook_variance",
                               "eps_outside_root",
                               "eps_added_to_deviation",
                               "inverted_momentum",
                               "biased_running_variance",
                               "tail_dropped",
                               "inference_updates_running",  // worker.test.cpp
                               "dgamma_accumulated",
                               "index_32_bit",  // huge.test.cpp
                               "last_element_unwritten",
                               "input_as_scratch",
                               "y_added"};
  for (const Slip& slip : slips())
    tested.insert(slip.name);
  for (const auto& [name, twin] : twins())
    tested.insert(name);
  const Catalogue catalogue = discover(std::vector{built_module("libnormproof_mutants")});
  std::set<std::string> there;
  for (const KernelInfo& kernel : catalogue.kernels)
    if (!kernel.name.starts_with("mutant.cuda_"))  // impls/cuda/tests
      there.insert(kernel.name.substr(std::string("mutant.").size()));
  EXPECT_EQ(there, tested);
}

}  // namespace
}  // namespace normproof::impls
