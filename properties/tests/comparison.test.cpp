// Comparisons of two kernels that disagree in a known way, and of one with itself.
#include "normproof/properties/comparison.h"

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

impls::KernelInfo mutant(const std::string& name) {
  impls::KernelInfo kernel;
  kernel.name = name;
  kernel.library = impls::mutant_library();
  return kernel;
}

Comparison compared(const impls::KernelInfo& a, const impls::KernelInfo& b,
                    const std::vector<std::string>& lines) {
  return compare(lines.size(),
                 [&](std::size_t i) { return expand(std::get<Recipe>(parse_recipe(lines[i]))); }, a, b, {});
}

const std::vector<std::string> some{"np1 shape=8x3x5 regime=normal seed=1",
                                    "np1 shape=64x2 regime=offset:1000 seed=2",
                                    "np1 pass=forward-inference shape=8x3x5 seed=1"};

TEST(Compare, a_kernel_that_differs_from_itself) {
  const Comparison c = compared(bundled("cpu.welford_f32"), bundled("cpu.welford_f32"), some);
  EXPECT_EQ(c.cases, 3);
  EXPECT_EQ(c.both, 2) << "it does no inference";
  EXPECT_EQ(c.first.other.size(), 1U);
  ASSERT_TRUE(c.compared());
  EXPECT_FALSE(c.differ());
  for (const ComparisonRow& row : c.rows)
    EXPECT_FALSE(row.largest) << to_string(row.output);
}

TEST(Compare, the_nearer_one_that_is_not_named) {
  const Comparison c = compared(bundled("cpu.two_pass_f64"), bundled("cpu.welford_f32"), some);
  ASSERT_TRUE(c.differ());
  EXPECT_EQ(c.first.failed, 0);
  std::int64_t first = 0;
  std::int64_t second = 0;
  for (const ComparisonRow& row : c.rows) {
    EXPECT_EQ(row.elements, row.same + row.first_nearer + row.second_nearer + row.equally_near);
    EXPECT_LE(row.first_max, row.second_max + 0.5) << to_string(row.output);
    first += row.first_nearer;
    second += row.second_nearer;
  }
  EXPECT_GT(first, 10 * second) << "sums in double against sums in f32";

  const Comparison back = compared(bundled("cpu.welford_f32"), bundled("cpu.two_pass_f64"), some);
  ASSERT_EQ(back.rows.size(), c.rows.size());
  for (std::size_t r = 0; r < c.rows.size(); ++r) {
    EXPECT_EQ(back.rows[r].first_nearer, c.rows[r].second_nearer);
    EXPECT_EQ(back.rows[r].second_max, c.rows[r].first_max);
  }
}

TEST(Compare, a_wrong_output_that_does_not_stand_out) {
  const Comparison c =
      compared(bundled("cpu.two_pass_f64"), mutant("mutant.biased_running_variance"),
               {"np1 dialect=pytorch/native_batch_norm shape=8x3x5 regime=normal seed=1",
                "np1 dialect=pytorch/native_batch_norm shape=64x2 regime=offset:1000 seed=2"});
  EXPECT_EQ(c.first.failed, 0);
  EXPECT_EQ(c.second.failed, 2);
  for (const ComparisonRow& row : c.rows)
    if (row.output == Output::running_var) {
      ASSERT_TRUE(row.largest);
      EXPECT_EQ(row.second_nearer, 0);
      EXPECT_GT(row.largest->steps, 1000);
      EXPECT_GT(row.largest->second_ulps, 1000);
      EXPECT_EQ(row.largest->origin.substr(0, 4), "np1 ");
      return;
    }
  FAIL() << "no row of running_var";
}

TEST(Compare, a_nan_that_is_as_near_as_a_number) {
  const impls::KernelInfo zero = bundled("cpu.two_pass_f64");
  const Comparison c =
      compared(zero, mutant("mutant.eps_outside_root"), {"np1 shape=4x2 regime=constant eps=0x1p-10 seed=1"});
  bool seen = false;
  for (const ComparisonRow& row : c.rows)
    if (row.output == Output::y && row.largest && std::isnan(row.largest->second)) {
      seen = true;
      EXPECT_EQ(row.largest->steps, -1);
      EXPECT_EQ(row.first_nearer, row.elements - row.same);
    }
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace normproof::properties
