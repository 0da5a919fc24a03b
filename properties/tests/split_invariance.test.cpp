// Statistics of parts, merged exactly, are those of the whole (BN-FWD-1, BN-FWD-2): any partition of the
// batch, parts of one value and empty parts among them.
//
// The relation needs no truth: with n_i, m_i, v_i of the parts, m = sum n_i m_i / n and v = sum n_i (v_i +
// (m_i - m)^2) / n. If the parts are off by e_i and d_i and m by at most e = sum n_i e_i / n, then v is off
// by at most sum n_i (d_i + 2 |m_i - m| (e_i + e) + (e_i + e)^2) / n. Here it tries the oracle and then the
// kernels.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "channel_judge.h"
#include "normproof/properties/bounds.h"
#include "normproof/reference/ulp.h"
#include "relations.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

struct Part {
  double n = 0;
  DoubleDouble mean, var;
  double mean_error = 0, var_error = 0;
};

struct Merged {
  DoubleDouble mean, var;
  double mean_error = 0, var_error = 0;
};

/// `mean_of_means`, `within_only`: the two ways in which shipped code has had it wrong.
Merged merged(const std::vector<Part>& parts, bool mean_of_means = false, bool within_only = false) {
  Merged m;
  double n = 0;
  for (const Part& part : parts)
    n += part.n;
  const DoubleDouble all(n);
  const DoubleDouble count(static_cast<double>(parts.size()));
  for (const Part& part : parts) {
    m.mean = m.mean + (mean_of_means ? part.mean / count : DoubleDouble(part.n) * part.mean / all);
    m.mean_error += part.n * part.mean_error / n;
  }
  for (const Part& part : parts) {
    const DoubleDouble apart = part.mean - m.mean;
    const DoubleDouble between = within_only ? DoubleDouble(0) : apart * apart;
    m.var = m.var + DoubleDouble(part.n) * (part.var + between) / all;
    const double e = part.mean_error + m.mean_error;
    m.var_error += part.n * (part.var_error + 2 * std::abs(apart.hi) * e + e * e) / n;
  }
  return m;
}

/// Channel 0 of the values from `first` on, as a case of its own.
Case part_of(const Case& whole, std::int64_t first, std::int64_t size) {
  Case part = whole;
  part.problem.shape = {size, 1, {}};
  part.x.assign(whole.x.begin() + first, whole.x.begin() + first + size);
  return part;
}

Case whole_of(std::int64_t n, const Regime& regime, std::uint64_t seed) {
  Recipe recipe;
  recipe.shape = {n, 1, {}};
  recipe.regime = regime;
  recipe.affine = false;
  recipe.running = false;
  recipe.seed = seed;
  return expand(recipe);
}

DoubleDouble exact(const reference::Truth& truth, Output output) {
  const double rn = truth[output].rn[0];
  return DoubleDouble(rn) + DoubleDouble(truth[output].off[0]) * DoubleDouble(reference::spacing(f32, rn));
}

/// off is a double: good to 2^-50 of a spacing.
double oracle_error(double rn) {
  return 0x1p-48 * reference::spacing(f32, rn);
}

Part part_by_oracle(const Case& c) {
  const reference::Truth truth = reference::truth_of(c);
  const double mean = truth[Output::mean].rn[0], var = truth[Output::var].rn[0];
  return {static_cast<double>(c.problem.shape.batch), exact(truth, Output::mean), exact(truth, Output::var),
          oracle_error(mean), oracle_error(var)};
}

/// What the kernel reports and what the grade permits it to be off, its last rounding included.
Part part_by_kernel(const Case& c, const impls::Observation& seen) {
  const reference::Truth truth = reference::truth_of(c);
  const ChannelProblem set = channel_problem(c, truth.channels[0], 0);
  const Gate gate;
  const Reduction sum = reduction(gate.grade, truth.channels[0].n, c.problem.accumulator());
  Part part{static_cast<double>(c.problem.shape.batch), DoubleDouble(seen[Output::mean][0]),
            DoubleDouble(seen[Output::var][0]), 0, 0};
  for (const Class& each : all_classes)
    if (gate.allows(each)) {
      const Permitted p = permitted(set, sum, each);
      part.mean_error = std::max(part.mean_error, p.mean);
      part.var_error = std::max(part.var_error, p.variance);
    }
  part.mean_error += 0.5 * reference::spacing(f32, part.mean.hi);
  part.var_error += 0.5 * reference::spacing(f32, part.var.hi);
  return part;
}

bool agree(const Merged& a, const Part& b) {
  const auto off = [](const DoubleDouble& x, const DoubleDouble& y) {
    return std::abs(static_cast<double>(x - y));
  };
  return off(a.mean, b.mean) <= (a.mean_error + b.mean_error) * (1 + 0x1p-40) &&
         off(a.var, b.var) <= (a.var_error + b.var_error) * (1 + 0x1p-40);
}

const std::vector<Regime> tried{{"normal", 0},        {"offset", 10}, {"offset", 1000}, {"uniform", 0},
                                {"near_constant", 4}, {"graded", 12}, {"outlier", 2}};

struct Split {
  Case whole;
  std::vector<std::int64_t> sizes;
};

Split any_split() {
  Split split;
  split.sizes = *rc::gen::container<std::vector<std::int64_t>>(pick<std::size_t>(1, 7),
                                                               rc::gen::inRange<std::int64_t>(0, 9));
  std::int64_t n = 0;
  for (const std::int64_t size : split.sizes)
    n += size;
  if (n < 2) {
    split.sizes.push_back(2 - n);
    n = 2;
  }
  const Regime& regime = tried[pick<std::size_t>(0, tried.size())];
  RC_CLASSIFY(std::ranges::count(split.sizes, 0) > 0, "an empty part");
  RC_CLASSIFY(std::ranges::count(split.sizes, 1) > 0, "a part of one value");
  RC_CLASSIFY(split.sizes.size() == 1, "a single part");
  RC_CLASSIFY(regime.name == "offset", "a large mean");
  split.whole = whole_of(n, regime, pick<std::uint64_t>(1, 1 << 20));
  return split;
}

template <class Measure>
std::vector<Part> parts_of(const Split& split, const Measure& measure) {
  std::vector<Part> parts;
  std::int64_t first = 0;
  for (const std::int64_t size : split.sizes) {
    if (size > 0)
      parts.push_back(measure(part_of(split.whole, first, size)));
    first += size;
  }
  return parts;
}

RC_GTEST_PROP(SplitInvariance, an_oracle_that_depends_on_the_partition, ()) {
  const Split split = any_split();
  RC_ASSERT(agree(merged(parts_of(split, part_by_oracle)), part_by_oracle(split.whole)));
}

RC_GTEST_PROP(SplitInvariance, a_kernel_that_is_wrong_on_parts_of_some_size, ()) {
  const Split split = any_split();
  const Part whole = part_by_oracle(split.whole);
  impls::Runner runner({.in_process = true});
  int count = 0;
  for (const impls::KernelInfo& kernel : bundled_kernels()) {
    if (runner.run(kernel, split.whole).outcome != impls::Outcome::completed)
      continue;
    ++count;
    const auto parts =
        parts_of(split, [&](const Case& c) { return part_by_kernel(c, runner.run(kernel, c)); });
    if (!agree(merged(parts), whole))
      RC_FAIL(kernel.name + " on parts of " + split.whole.origin);
  }
  RC_ASSERT(count >= 8);
}

const Split unequal{whole_of(11, {"normal", 0}, 5), {1, 0, 7, 3}};

TEST(SplitInvariance, a_mean_of_means_of_unequal_parts) {
  const auto parts = parts_of(unequal, part_by_oracle);
  EXPECT_TRUE(agree(merged(parts), part_by_oracle(unequal.whole)));
  EXPECT_FALSE(agree(merged(parts, true), part_by_oracle(unequal.whole)));
}

TEST(SplitInvariance, a_variance_without_what_lies_between_the_parts) {
  EXPECT_FALSE(agree(merged(parts_of(unequal, part_by_oracle), false, true), part_by_oracle(unequal.whole)));
}

/// The same two in a kernel's numbers: its roundings do not hide them.
TEST(SplitInvariance, roundings_that_cover_a_wrong_merge) {
  impls::Runner runner({.in_process = true});
  int count = 0;
  for (const impls::KernelInfo& kernel : bundled_kernels()) {
    if (runner.run(kernel, unequal.whole).outcome != impls::Outcome::completed)
      continue;
    ++count;
    const auto parts =
        parts_of(unequal, [&](const Case& c) { return part_by_kernel(c, runner.run(kernel, c)); });
    EXPECT_FALSE(agree(merged(parts, true), part_by_oracle(unequal.whole))) << kernel.name;
    EXPECT_FALSE(agree(merged(parts, false, true), part_by_oracle(unequal.whole))) << kernel.name;
  }
  EXPECT_GE(count, 8);
}

}  // namespace
}  // namespace normproof::properties
