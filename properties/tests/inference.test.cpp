// Inferred claims against kernels whose arithmetic is known.
#include "normproof/properties/inference.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "normproof/impls/kernels.h"

namespace normproof::properties {
namespace {

impls::KernelInfo named(const std::string& name) {
  std::vector<std::filesystem::path> libraries = impls::bundled_libraries();
  libraries.push_back(impls::mutant_library());
  for (const impls::KernelInfo& kernel : impls::discover(libraries).kernels)
    if (kernel.name == name)
      return kernel;
  ADD_FAILURE() << "no kernel " << name;
  return {};
}

/// Each kernel once: an inference judges the same runs hundreds of times.
const Inference& of(const std::string& name) {
  static const Recipe like;
  static const std::vector<Case> cases = inference_cases(like);
  static std::map<std::string, Inference> known;
  if (!known.contains(name))
    known[name] = infer_claims(named(name), cases, {});
  return known[name];
}

TEST(Infer, a_width_that_the_kernel_has_not_or_one_less_than_it_has) {
  for (const auto& [name, bits] :
       {std::pair{"cpu.two_pass_f64", 106}, {"cpu.pairwise_f32", 24}, {"cpu.welford_f32", 24}})
    EXPECT_EQ(of(name).accumulator_bits, bits) << name;
}

/// The claims of the bundled kernels are right; what is inferred may be less deep, never deeper.
TEST(Infer, a_depth_that_is_more_than_the_kernels_own) {
  for (const char* const name : {"cpu.pairwise_f32", "cpu.welford_f32"}) {
    const Inference& inferred = of(name);
    ASSERT_FALSE(inferred.explanations.empty()) << name;
    EXPECT_EQ(inferred.failed, 0) << name;
    EXPECT_TRUE(inferred.repeatable);
    const Explanation& best = inferred.explanations.front();
    EXPECT_EQ(best.depth.size(), 3U) << name;
    for (const auto& [n, depth] : best.depth)
      EXPECT_LE(depth, inferred.own.at(n).reduction_depth) << name << " at n = " << n;
  }
}

TEST(Infer, a_folded_y_that_passes_for_centred) {
  const Inference& folded = of("cpu.pairwise_f32");
  ASSERT_FALSE(folded.explanations.empty());
  for (const Explanation& e : folded.explanations)
    EXPECT_EQ(e.affine, NP_AFFINE_FOLDED);
  EXPECT_EQ(of("cpu.welford_f32").explanations.front().affine, NP_AFFINE_CENTRED);
}

/// What is told of a stronger claim can be seen again, and is beyond what that claim permits.
TEST(Infer, a_stronger_claim_ruled_out_without_evidence) {
  const Inference& inferred = of("cpu.pairwise_f32");
  std::vector<std::string> claims;
  for (const Denial& denial : inferred.denials) {
    claims.push_back(denial.claim);
    EXPECT_GT(denial.by.ratio(), 1) << denial.claim;
    EXPECT_THAT(denial.by.origin, testing::StartsWith("np1 ")) << denial.claim;
    EXPECT_FALSE(denial.by.clause.empty()) << denial.claim;
  }
  EXPECT_THAT(claims, testing::IsSupersetOf({"48 bits", "y centred"}));
}

TEST(Infer, a_textbook_variance_that_passes_for_another) {
  const Inference& inferred = of("mutant.textbook_variance");
  ASSERT_FALSE(inferred.explanations.empty());
  EXPECT_EQ(inferred.explanations.front().family, NP_TEXTBOOK);
}

/// Each pass of each bundled kernel: what it claims is true, so nothing may be ruled out that is no stronger.
TEST(Infer, a_claim_ruled_out_that_is_the_kernels_own) {
  std::size_t inferred = 0;
  for (const char* const name : {"cpu.inference_folded", "cpu.inference_centred", "cpu.backward_direct"})
    for (const Pass pass : {Pass::forward_inference, Pass::backward_training}) {
      Recipe like;
      like.pass = pass;
      const impls::KernelInfo kernel = named(name);
      const Inference seen = infer_claims(kernel, inference_cases(like), {});
      if (seen.judged == 0)
        continue;
      ++inferred;
      ASSERT_FALSE(seen.explanations.empty()) << name << " " << to_string(pass);
      const impls::Claims& own = seen.own.begin()->second;
      const Explanation& best = seen.explanations.front();
      EXPECT_EQ(seen.accumulator_bits, own.accumulator_bits) << name << " " << to_string(pass);
      EXPECT_EQ(best.family, NP_FAMILY_UNKNOWN);
      EXPECT_EQ(best.depth.empty(), pass == Pass::forward_inference);
      for (const auto& [n, depth] : best.depth)
        EXPECT_LE(depth, seen.own.at(n).reduction_depth) << name << " " << to_string(pass) << " n = " << n;
    }
  EXPECT_EQ(inferred, 3U);
}

TEST(Infer, a_kernel_that_does_nothing_that_can_be_judged) {
  const Inference& inferred = of("cpu.inference_folded");
  EXPECT_EQ(inferred.judged, 0);
  EXPECT_EQ(inferred.accumulator_bits, 0);
  EXPECT_FALSE(inferred.skipped.empty());
  Recipe impossible_one;
  impossible_one.dialect = "nosuch";
  EXPECT_THROW(inference_cases(impossible_one), std::invalid_argument);
}

}  // namespace
}  // namespace normproof::properties
