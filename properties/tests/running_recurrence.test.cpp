// The running statistics over many steps: each step starts from what the step before left (BN-RUN-1 to -4).
//
// A single update hides what only a sequence shows: a counter that is not handed on, an old value that is not
// read. Every step is judged by itself; after k steps the distance to the exact recurrence is at most the sum
// of what the steps may be off, each shrunk by the weights 1 - w of the steps behind it.
#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "channel_judge.h"
#include "normproof/properties/bounds.h"
#include "normproof/reference/ulp.h"
#include "relations.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

DoubleDouble exact(const Case& c, const reference::Truth& truth, Output output, std::size_t at) {
  const double rn = truth[output].rn[at];
  return DoubleDouble(rn) + DoubleDouble(truth[output].off[at]) *
                                DoubleDouble(reference::spacing(format_of(c.problem, output), rn));
}

/// What a step may add to the error of a running statistic, its rounding included.
double step_error(const Case& c, const reference::ChannelFacts& facts, std::int64_t channel, Output output,
                  double got) {
  const ChannelProblem set = channel_problem(c, facts, channel);
  const Gate gate;
  const Reduction sum = reduction(gate.grade, facts.n, c.problem.accumulator());
  double permitted_error = 0;
  for (const Class& each : all_classes)
    if (gate.allows(each)) {
      const Permitted p = permitted(set, sum, each);
      permitted_error =
          std::max(permitted_error, output == Output::running_mean ? p.running_mean : p.running_var);
    }
  return permitted_error + 0.5 * reference::spacing(format_of(c.problem, output), got);
}

struct Walk {
  bool steps_pass = true;  ///< every step by itself
  bool within = true;      ///< the last state against the exact recurrence
  std::string where;
};

Walk walk(const std::vector<std::uint64_t>& seeds, std::optional<double> momentum, const std::string& dialect,
          const Kernel& run) {
  Walk result;
  std::vector<double> mean, var;
  std::vector<DoubleDouble> true_mean, true_var;
  std::vector<double> mean_error, var_error;
  std::int64_t tracked = 0;
  for (std::size_t step = 0; step < seeds.size(); ++step) {
    Recipe recipe;
    recipe.shape = {3, 3, {2}};
    recipe.dialect = dialect;
    recipe.momentum = momentum;
    recipe.regime = {"offset", 10};
    recipe.seed = seeds[step];
    Case c = expand(recipe);
    const auto channels = static_cast<std::size_t>(c.problem.shape.channels);
    if (step == 0) {
      tracked = c.num_batches_tracked;
      for (std::size_t k = 0; k < channels; ++k) {
        true_mean.emplace_back(c.running_mean[k]);
        true_var.emplace_back(c.running_var[k]);
      }
      mean_error.assign(channels, 0);
      var_error.assign(channels, 0);
    } else {
      c.running_mean = mean;
      c.running_var = var;
      c.num_batches_tracked = tracked;
    }
    const reference::Truth truth = reference::truth_of(c);
    const impls::Observation seen = run(c);
    const CaseVerdict verdict = judge(c, truth, seen, {});
    if (verdict.failed() || seen.outcome != impls::Outcome::completed) {
      result.steps_pass = false;
      result.where = "step " + std::to_string(step) + ": " +
                     (verdict.notable.empty() ? seen.detail : verdict.notable.front().clause);
      if (seen.outcome != impls::Outcome::completed)
        return result;
    }
    // The exact recurrence goes on from exact values and counts by itself.
    const DoubleDouble w =
        momentum ? DoubleDouble(*momentum)
                 : DoubleDouble(1) / DoubleDouble(static_cast<double>(c.num_batches_tracked) + 1);
    const double n = static_cast<double>(c.problem.shape.per_channel());
    const bool unbiased = c.problem.semantics.running == VarianceKind::unbiased;
    mean = seen[Output::running_mean];
    var = seen[Output::running_var];
    for (std::size_t k = 0; k < channels; ++k) {
      const DoubleDouble fed = unbiased
                                   ? exact(c, truth, Output::var, k) * DoubleDouble(n) / DoubleDouble(n - 1)
                                   : exact(c, truth, Output::var, k);
      true_mean[k] = (DoubleDouble(1) - w) * true_mean[k] + w * exact(c, truth, Output::mean, k);
      true_var[k] = (DoubleDouble(1) - w) * true_var[k] + w * fed;
      const double kept = std::abs(static_cast<double>(DoubleDouble(1) - w));
      const auto channel = static_cast<std::int64_t>(k);
      mean_error[k] =
          kept * mean_error[k] + step_error(c, truth.channels[k], channel, Output::running_mean, mean[k]);
      var_error[k] =
          kept * var_error[k] + step_error(c, truth.channels[k], channel, Output::running_var, var[k]);
    }
    if (seen.num_batches_tracked)
      tracked = *seen.num_batches_tracked;
  }
  for (std::size_t k = 0; k < mean.size(); ++k) {
    const auto off = [](double got, const DoubleDouble& want) {
      return std::abs(static_cast<double>(DoubleDouble(got) - want));
    };
    if (!(off(mean[k], true_mean[k]) <= mean_error[k] * (1 + 0x1p-40)) ||
        !(off(var[k], true_var[k]) <= var_error[k] * (1 + 0x1p-40))) {
      result.within = false;
      result.where += " channel " + std::to_string(k) + " after " + std::to_string(seeds.size()) + " steps";
    }
  }
  return result;
}

constexpr std::array dialects_tried{"documented", "pytorch/native_batch_norm"};
const std::array<std::optional<double>, 5> momenta{0x1.99999ap-4, std::nullopt, 0.5, 0.0, 1.0};

RC_GTEST_PROP(RunningRecurrence, a_sequence_of_updates_that_drifts, ()) {
  const auto length = pick<std::size_t>(1, 9);
  const auto seeds =
      *rc::gen::container<std::vector<std::uint64_t>>(length, rc::gen::inRange<std::uint64_t>(1, 1 << 20));
  const std::size_t momentum = pick<std::size_t>(0, momenta.size());
  const std::size_t dialect = pick<std::size_t>(0, dialects_tried.size());
  RC_CLASSIFY(momentum == 1, "cumulative average");
  RC_CLASSIFY(length == 1, "a single step");
  RC_CLASSIFY(length > 4, "more than 4 steps");
  impls::Runner runner({.in_process = true});
  int tried = 0;
  for (const impls::KernelInfo& kernel : bundled_kernels()) {
    if (runner.run(kernel, small_case()).outcome != impls::Outcome::completed)
      continue;
    ++tried;
    const Walk w = walk(seeds, momenta[momentum], dialects_tried[dialect],
                        [&](const Case& c) { return runner.run(kernel, c); });
    if (!w.steps_pass || !w.within)
      RC_FAIL(kernel.name + ": " + w.where);
  }
  RC_ASSERT(tried >= 8);
}

Kernel perfectly() {
  return [](const Case& c) {
    return perfect(c);
  };
}

const std::vector<std::uint64_t> five{1, 2, 3, 4, 5};

TEST(RunningRecurrence, the_perfect_kernel_is_not_at_fault) {
  for (const auto& momentum : momenta) {
    const Walk w = walk(five, momentum, "documented", perfectly());
    EXPECT_TRUE(w.steps_pass && w.within) << w.where;
  }
}

/// Each step is right by itself, as far as it knows: only the sequence shows that its inputs were stale.
TEST(RunningRecurrence, state_that_is_not_handed_on) {
  std::vector<double> first_mean, first_var;
  const Kernel stale = [&](const Case& c) {
    Case old = c;
    if (first_mean.empty()) {
      first_mean = c.running_mean;
      first_var = c.running_var;
    }
    old.running_mean = first_mean;
    old.running_var = first_var;
    return perfect(old);
  };
  const Walk w = walk(five, 0x1.99999ap-4, "documented", stale);
  EXPECT_FALSE(w.within);
  EXPECT_FALSE(w.steps_pass);
}

TEST(RunningRecurrence, a_cumulative_average_that_does_not_count) {
  const Kernel stuck = [](const Case& c) {
    impls::Observation seen = perfect(c);
    seen.num_batches_tracked = c.num_batches_tracked;
    return seen;
  };
  EXPECT_FALSE(walk(five, std::nullopt, "documented", stuck).steps_pass);
  // A counter that is ahead: each update is that of a later batch.
  const Kernel ahead = [](const Case& c) {
    Case later = c;
    ++later.num_batches_tracked;
    impls::Observation seen = perfect(later);
    seen.num_batches_tracked = c.num_batches_tracked + 1;
    return seen;
  };
  const Walk w = walk(five, std::nullopt, "documented", ahead);
  EXPECT_FALSE(w.steps_pass);
  EXPECT_FALSE(w.within);
}

TEST(RunningRecurrence, momentum_that_weighs_the_old_values) {
  const Kernel inverted = [](const Case& c) {
    Case other = c;
    other.problem.semantics.momentum = MomentumSense::weight_of_old;
    return perfect(other);
  };
  const Walk w = walk(five, 0x1.99999ap-4, "documented", inverted);
  EXPECT_FALSE(w.steps_pass);
  EXPECT_FALSE(w.within);
  EXPECT_TRUE(walk(five, 0.5, "documented", inverted).within) << "at 1/2 there is no difference";
}

}  // namespace
}  // namespace normproof::properties
