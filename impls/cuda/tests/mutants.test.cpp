// Every wrong kernel of a device does its wrong thing where it is named for, and its right twin does not.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cases.h"

namespace normproof::impls {
namespace {

using ::testing::IsEmpty;
using enum Output;

struct Twin {
  std::string correct;  ///< the kernel that it was taken from
  Case c;
  std::set<Output> spoilt;
};

Case forward(Shape shape, double offset = 0, Format format = f32) {
  Case c = small_case(std::move(shape), format, Layout::contiguous, "pytorch/native_batch_norm");
  if (format == f16)
    c.problem.stats = f32;
  for (double& x : c.x)
    x += offset;
  return c;
}
Case inference(Shape shape) {
  Case c = forward(std::move(shape));
  c.problem.pass = Pass::forward_inference;
  return c;
}
Case gradient(Shape shape) {
  Case c = exact_case(Pass::backward_training, std::move(shape), {f32, f32});
  for (std::size_t i = 0; i < c.dy.size(); ++i)  // no sum of a part is 0
    c.dy[i] += static_cast<double>(i % 3);
  return c;
}

std::map<std::string, Twin> twins() {
  const Shape few{2, 3, {5}}, many{3, 2, {101}}, cut{1, 2, {5003}};
  const std::set<Output> moments{mean, var, invstd, y};
  return {{"missing_barrier", {"two_pass", forward(many), moments}},
          {"masked_lanes_count", {"two_pass", forward(many, 3), {var, invstd, y}}},
          {"warp_of_64", {"two_pass", forward(many, 3), moments}},
          {"shuffle_beyond_mask", {"two_pass", forward(many), moments}},
          {"half_accumulator", {"two_pass", forward({1, 2, {5120}}, 100, f16), {mean, var}}},
          {"empty_lanes_merged", {"welford", forward(few), moments}},
          {"tail_wrong_stride", {"two_pass_wide", forward(many, 3), moments}},
          {"alignment_assumed", {"inference_folded", inference({2, 3, {9}}), {y}}},
          {"grid_without_loop", {"inference_centred", inference({1, 60, {3}}), {y}}},
          {"nhwc_geometry", {"channels_last", forward(few), moments}},
          {"last_block_early", {"channels_last", forward(cut), moments}},
          {"parts_taken_for_equal", {"channels_last", forward(cut, 3), {mean, var}}},
          {"racy_running_update", {"multi_block", forward(few), {running_mean, running_var}}},
          {"stale_block_count", {"multi_block", forward(cut, 3), moments}},
          {"parts_of_other_launch", {"multi_block", forward(few, 3), {var, invstd, y}}},
          {"parts_overlap", {"multi_block", forward(cut, 3), {mean, var}}},
          {"atomics_without_zeroing", {"atomic", forward(few), moments}},
          {"bessel_by_part", {"chan_tree", forward(cut), {running_var}}},
          {"gradient_stale_block_count",
           {"backward_multi_block", gradient({1, 2, {4096 + 4}}), {dbeta, dgamma, dx}}},
          {"dx_by_one_block", {"backward_multi_block", gradient({1, 2, {4096 + 4}}), {dx}}},
          {"gradient_missing_barrier", {"backward", gradient(many), {dbeta, dgamma, dx}}}};
}

bool differ(const std::vector<double>& a, const std::vector<double>& b) {
  return !std::equal(a.begin(), a.end(), b.begin(), b.end(),
                     [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

TEST(DeviceMutants, a_wrong_kernel_that_is_right_where_it_is_named_for) {
  for (const auto& [name, twin] : twins()) {
    Runner runner({.in_process = true});
    const Observation wrong = runner.run(kernel_of("libnormproof_mutants", "mutant.cuda_" + name), twin.c);
    const Observation right =
        runner.run(kernel_of("libnormproof_cuda_lanes", "lanes." + twin.correct), twin.c);
    ASSERT_EQ(wrong.outcome, Outcome::completed) << name << ": " << wrong.detail;
    ASSERT_EQ(right.outcome, Outcome::completed) << name << ": " << right.detail;
    EXPECT_THAT(right.breaches, IsEmpty()) << name;
    if (name != "grid_without_loop") {
      EXPECT_THAT(wrong.breaches, IsEmpty()) << name;
    }
    for (const Output output : all_outputs)
      if (twin.spoilt.contains(output)) {
        EXPECT_TRUE(differ(wrong[output], right[output])) << name << ' ' << to_string(output);
      }
    // Statistics spoil what is made of them; an update or an elementwise part spoils itself alone.
    if (twin.spoilt == std::set{dx} || twin.spoilt == std::set{running_var} ||
        twin.spoilt == std::set{running_mean, running_var}) {
      for (const Output output : all_outputs)
        EXPECT_EQ(differ(wrong[output], right[output]), twin.spoilt.contains(output))
            << name << ' ' << to_string(output);
    }
  }
}

/// A mutant without a test here might as well be a correct kernel.
TEST(DeviceMutants, a_wrong_kernel_without_a_test) {
  std::set<std::string> tested{"index_32_bit"};  // huge.test.cpp
  for (const auto& [name, twin] : twins())
    tested.insert(name);
  std::set<std::string> there;
  for (const KernelInfo& kernel : discover(std::vector{built_module("libnormproof_mutants")}).kernels)
    if (const std::string prefix = "mutant.cuda_"; kernel.name.starts_with(prefix))
      there.insert(kernel.name.substr(prefix.size()));
  EXPECT_EQ(there, tested);
  EXPECT_GE(there.size(), 15U);
}

}  // namespace
}  // namespace normproof::impls
