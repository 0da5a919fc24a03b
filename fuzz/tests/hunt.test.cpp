// The searches on real kernels in workers.
#include "normproof/fuzz/hunt.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels.h"
#include "normproof/fuzz/shrink.h"
#include "normproof/properties/case_file.h"

namespace normproof::fuzz {
namespace {

Target of(Output output, Objective objective) {
  return {output, objective, {}};
}

Found hunted(const char* kernel, Output output, Objective objective, Pass pass, std::int64_t evaluations,
             bool climb = true, std::uint64_t seed = 1) {
  Probe probe(kernel_of(kernel), of(output, objective));
  HuntOptions options;
  options.space.pass = pass;
  options.effort.evaluations = evaluations;
  options.seed = seed;
  return climb ? hunt(probe, options) : random_search(probe, options);
}

TEST(Hunt, climbs_beyond_what_as_many_random_cases_reach) {
  const auto training = Pass::forward_training;
  const Found climbed = hunted("cpu.welford_f32", Output::var, Objective::cond, training, 6000);
  const Found drawn = hunted("cpu.welford_f32", Output::var, Objective::cond, training, 6000, false);
  ASSERT_TRUE(climbed.any() && drawn.any());
  EXPECT_GT(climbed.score.value, 1.25 * drawn.score.value);
}

TEST(Hunt, spends_no_more_evaluations_than_it_may) {
  const Found found = hunted("cpu.welford_f32", Output::mean, Objective::ratio, Pass::forward_training, 500);
  EXPECT_LE(found.evaluations, 500);
  EXPECT_GE(found.evaluations, 400);
}

TEST(Hunt, finds_the_same_again_from_the_same_seed_and_another_from_another) {
  const auto some = [](std::uint64_t seed) {
    return properties::write_case(
        hunted("cpu.pairwise_f32", Output::y, Objective::ratio, Pass::forward_training, 800, true, seed)
            .worst);
  };
  EXPECT_EQ(some(7), some(7));
  EXPECT_NE(some(7), some(8));
}

TEST(Hunt, breaks_a_textbook_variance_and_shrinks_it_to_a_few_short_values) {
  Probe probe(kernel_of("mutant.textbook_variance"), of(Output::var, Objective::ratio));
  HuntOptions options;
  options.effort.evaluations = 1500;
  const Found found = hunt(probe, options);
  ASSERT_TRUE(found.any());
  ASSERT_GT(found.score.ratio, 1);
  const Shrunk small = shrink(probe, found.worst, {.keep = 1e-6});
  EXPECT_GT(small.score.ratio, 1);
  EXPECT_LE(small.smallest.problem.shape.per_channel(), 3);
}

TEST(Hunt, a_kernel_that_dies_is_worse_than_any_number) {
  Probe probe(kernel_of("hostile.segfault"), of(Output::y, Objective::ratio));
  HuntOptions options;
  options.effort.evaluations = 50;
  const Found found = hunt(probe, options);
  EXPECT_EQ(found.score.value, HUGE_VAL);
  EXPECT_EQ(found.score.at.status, properties::Status::crashed);
}

TEST(Hunt, what_proves_nothing_is_not_found) {
  const Found found =
      hunted("cpu.inference_folded", Output::var, Objective::ratio, Pass::forward_training, 50);
  EXPECT_FALSE(found.any());
  EXPECT_FALSE(found.reason.empty());
}

TEST(Shrink, keeps_its_share_of_the_objective) {
  Probe probe(kernel_of("cpu.pairwise_f32"), of(Output::mean, Objective::claim));
  HuntOptions options;
  options.effort.evaluations = 1500;
  const Found found = hunt(probe, options);
  ASSERT_TRUE(found.any());
  const Shrunk small = shrink(probe, found.worst, {.keep = 0.9});
  EXPECT_GE(small.score.value, 0.9 * found.score.value);
  EXPECT_LE(small.smallest.x.size(), found.worst.x.size());
  EXPECT_DOUBLE_EQ(probe(small.smallest).value, small.score.value);
}

}  // namespace
}  // namespace normproof::fuzz
