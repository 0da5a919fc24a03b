// The exhaustive tables on kernels that are right and on one that is not.
#include "normproof/fuzz/exhaustive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels.h"
#include "normproof/fuzz/probe.h"
#include "normproof/properties/recipe.h"

namespace normproof::fuzz {
namespace {

using std::chrono::milliseconds;

TEST(Exhaustive, every_x_is_tried_and_a_truncating_kernel_is_seen_where_it_is_furthest_off) {
  const Exhausted right = every_x(kernel_of("cpu.inference_centred"), f16, {});
  EXPECT_TRUE(right.exhaustive());
  EXPECT_LT(right.total, 8 * 63488);  // where y leaves the format, x is not of the core domain
  EXPECT_GT(right.total, 7 * 63488);
  EXPECT_LE(right.ratio, 1);
  const Exhausted wrong = every_x(kernel_of("mutant.y_truncated"), f16, {});
  if (wrong.covered > 0) {
    EXPECT_LT(wrong.correctly_rounded, right.correctly_rounded);
    EXPECT_GT(wrong.ratio, 1);
  }
}

TEST(Exhaustive, a_budget_leaves_out_what_it_says) {
  const Exhausted some = every_variance(kernel_of("cpu.inference_folded"), 0, {{}, milliseconds(1)});
  EXPECT_FALSE(some.exhaustive());
  EXPECT_GT(some.covered, 0);
  EXPECT_EQ(some.total, 2130706432);
  EXPECT_LE(some.ulps, 1.5);  // a rounded root, a rounded quotient
  EXPECT_GT(some.ulps, 0.5);
}

TEST(Exhaustive, pairs_are_judged_by_the_certified_oracle_output_by_output) {
  const auto tables = every_pair(kernel_of("cpu.two_pass_f64"), bf16, {{}, milliseconds(1)});
  ASSERT_EQ(tables.size(), 4U);
  for (const Exhausted& table : tables) {
    ASSERT_GT(table.covered, 0) << table.reason;
    EXPECT_LE(table.most_steps, 1);
    EXPECT_GT(table.correctly_rounded, table.covered * 9 / 10);
  }
}

TEST(Exhaustive, the_largest_pair_of_the_core_domain_overflows_in_no_kernel) {
  // x^2 fits twice, but not the square of the difference that Chan's merge forms.
  const auto pair = [](double a, double b) {
    Case c = properties::expand([] {
      properties::Recipe r;
      r.dtype = bf16;
      r.shape = {2, 1, {}};
      return r;
    }());
    c.x = {a, b};
    return Probe(kernel_of("cpu.welford_f32"), {Output::var, Objective::ratio, {}})(c);
  };
  EXPECT_THAT(pair(0x1.52p+63, -0x1.5cp+62).reason, testing::HasSubstr("core domain"));
  const Score largest_pair = pair(0x1.fep+62, -0x1.fep+62);
  EXPECT_TRUE(largest_pair.counts()) << largest_pair.reason;
  EXPECT_LE(largest_pair.ratio, 1);
}

TEST(Exhaustive, a_kernel_of_another_pass_is_skipped_with_its_reason) {
  const Exhausted none = every_x(kernel_of("cpu.welford_f32"), f16, {});
  EXPECT_EQ(none.covered, 0);
  EXPECT_FALSE(none.reason.empty());
}

}  // namespace
}  // namespace normproof::fuzz
