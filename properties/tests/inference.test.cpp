// Inferred claims against kernels whose arithmetic is known.
#include "normproof/properties/inference.h"

#include <gtest/gtest.h>

#include "clauses.h"

namespace normproof::properties {
namespace {

impls::KernelInfo bundled(const std::string& name) {
  for (const impls::KernelInfo& kernel : bundled_kernels())
    if (kernel.name == name)
      return kernel;
  ADD_FAILURE() << "no kernel " << name;
  return {};
}

Inference of(const std::string& name) {
  static const std::vector<Case> cases = inference_cases("f32", 1);
  return infer_claims(bundled(name), cases, {});
}

TEST(Infer, a_width_that_the_kernel_has_not_or_one_less_than_it_has) {
  for (const auto& [name, bits] : {std::pair{"cpu.two_pass_f64", 106},
                                   {"cpu.pairwise_f32", 24},
                                   {"cpu.welford_f32", 24},
                                   {"cpu.chan_tree_f32", 24},
                                   {"cpu.blocked_lanes_f32", 24}})
    EXPECT_EQ(of(name).accumulator_bits, bits) << name;
}

/// The claims of the bundled kernels are right; what is inferred may be less deep, never deeper.
TEST(Infer, a_depth_that_is_more_than_the_kernels_own) {
  for (const char* const name :
       {"cpu.pairwise_f32", "cpu.welford_f32", "cpu.chan_tree_f32", "cpu.blocked_lanes_f32"}) {
    const Inference inferred = of(name);
    ASSERT_FALSE(inferred.explanations.empty()) << name;
    EXPECT_EQ(inferred.failed, 0) << name;
    EXPECT_TRUE(inferred.repeatable);
    EXPECT_LE(inferred.explanations.front().depth.rbegin()->second, inferred.own.reduction_depth) << name;
    EXPECT_EQ(inferred.explanations.front().depth.size(), 4U) << name;
  }
}

TEST(Infer, a_kernel_that_does_nothing_that_can_be_judged) {
  const Inference inferred = of("cpu.inference_folded");
  EXPECT_EQ(inferred.judged, 0);
  EXPECT_EQ(inferred.accumulator_bits, 0);
  EXPECT_FALSE(inferred.skipped.empty());
}

}  // namespace
}  // namespace normproof::properties
