// Where numbers lie must not matter: layouts of each tensor by itself, offsets and misalignment, tails of
// every vector width, threads, repeat runs, the channel's place; and what is an input stays as it was.
#include <gmock/gmock.h>

#include "relations.h"

namespace normproof::properties {
namespace {

using impls::Observation;

const std::vector<Pass> all{all_passes.begin(), all_passes.end()};
const std::vector<Pass> first_order{Pass::forward_training, Pass::forward_inference, Pass::backward_training,
                                    Pass::backward_inference, Pass::gradient};

Case laid_out(Case c, Layout layout, std::uint64_t seed) {
  c.problem.layout = layout;
  c.problem.layout_seed = layout == Layout::strided ? seed : 0;
  return c;
}

/// The same numbers in every layout; strided ones give each tensor its own strides, gaps and byte offset.
Relation layouts(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    const Observation want = kernel(laid_out(c, Layout::contiguous, 0));
    for (const Layout layout : all_layouts)
      if (const std::string found = difference(want, kernel(laid_out(c, layout, draw % 1000 + 1)));
          !found.empty())
        return std::string(to_string(layout)) + ": " + found;
    return {};
  };
}
/// The same where the data are any: each layout by the judge.
Relation judged_in_each_layout(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    for (const Layout layout : all_layouts) {
      const Case placed = laid_out(c, layout, draw % 1000 + 1);
      if (const std::string found = judged(placed, kernel(placed)); !found.empty())
        return std::string(to_string(layout)) + ": " + found;
    }
    return {};
  };
}

RC_GTEST_PROP(Layout, strides_of_another_tensor_or_of_another_layout, ()) {  // BN-FWD-15
  const Input in = *exact_input(first_order);
  keep(in, layouts(in), 1, two_pass);
}

RC_GTEST_PROP(Layout, a_path_that_one_layout_alone_takes, ()) {  // BN-FWD-15
  const Input in = *any_input(all);
  keep(in, judged_in_each_layout(in), 1);
}

TEST(Layout, gaps_offsets_and_strides_that_are_not_read) {  // BN-FWD-15
  EXPECT_FALSE(breaks(perfect, layouts, exact_input(first_order)));
  for (const char* name : {"byte_offset_ignored", "channel_stride_ignored", "dy_strides_ignored"}) {
    EXPECT_TRUE(breaks(mutant(name), layouts, exact_input(first_order))) << name;
    EXPECT_TRUE(breaks(mutant(name), judged_in_each_layout, any_input(all))) << name;
  }
}

// --- tails ---

rc::Gen<Input> near_a_width(std::vector<Pass> passes) {
  return rc::gen::exec([passes] {
    constexpr std::array widths{4, 8, 16, 32, 64, 128, 256};
    const int width = pick_of(widths), beyond = pick(-3, 4);
    Recipe r;
    r.pass = pick_of(passes);
    r.shape = {std::max(3, width + beyond), pick<std::int64_t>(1, 3), {}};
    r.dtype = pick(0, 2) == 0 ? f32 : f64;
    r.running = is_inference(r.pass);
    r.seed = pick<std::uint64_t>(1, 1 << 16);
    const std::uint32_t draw = pick<std::uint32_t>(0, 1 << 16);
    std::set<std::string> classes{"width " + std::to_string(width)};
    classes.insert(beyond == 0 ? "whole" : beyond < 0 ? "a few too few" : "a few more");
    return Input{exactly_summable(r, draw), classes, draw};
  });
}

/// The last value changes places with every other: it counts as they do.
Relation every_place(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    const Observation first = kernel(c);
    for (std::size_t i = 0; i < n; i += n > 40 && i > 4 && i + 40 < n ? 7 : 1) {
      Case other = c;
      Observation want = first;
      const auto exchange = [&](std::vector<double>& values) {
        for (std::size_t at = 0; at < values.size(); at += n)
          std::swap(values[at + i], values[at + n - 1]);
      };
      for (auto* values : {&other.x, &other.dy})
        exchange(*values);
      for (const Output o : all_outputs)
        if (per_element(o))
          exchange(want.outputs[index(o)]);
      if (const std::string found = difference(want, kernel(other)); !found.empty())
        return "value " + std::to_string(i) + " and the last: " + found;
    }
    return {};
  };
}

RC_GTEST_PROP(Tail, a_rest_beyond_the_vector_width_that_is_lost, ()) {  // BN-FWD-1, BN-NUM-9, BN-NUM-26
  const Input in = *near_a_width(first_order);
  keep(in, every_place(in), 1, two_pass);
}

TEST(Tail, the_last_values_dropped_and_a_width_never_drawn) {  // BN-FWD-1, BN-NUM-9, BN-NUM-26
  EXPECT_FALSE(breaks(perfect, every_place, near_a_width(first_order), 20));
  EXPECT_TRUE(breaks(mutant("tail_dropped"), every_place, near_a_width({Pass::forward_training})));
  EXPECT_TRUE(
      breaks(mutant("dbeta_misses_a_batch_item"), every_place, near_a_width({Pass::backward_training})));
  expect_reached(near_a_width(first_order),
                 {"width 4", "width 8", "width 16", "width 32", "width 64", "width 128", "width 256", "whole",
                  "a few too few", "a few more"});
}

// --- threads, repeats, inputs ---

Relation threads(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    const Observation want = kernel(c);
    for (const int count : {2, 3, 8}) {
      Case other = c;
      other.problem.threads = count;
      if (const std::string found = difference(want, kernel(other)); !found.empty())
        return std::to_string(count) + " threads: " + found;
    }
    return {};
  };
}

RC_GTEST_PROP(Threads, a_part_of_a_thread_that_is_lost_or_counted_twice, ()) {  // BN-FWD-1, BN-BWD-1
  const Input in = *exact_input(first_order);
  keep(in, threads(in), 1, two_pass);
}

TEST(Threads, one_share_missing) {  // BN-FWD-1, BN-BWD-1
  const Kernel last_share_lost = [](const Case& c) {
    Case other = c;
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    if (c.problem.threads > 1)
      for (std::size_t i = n - n / static_cast<std::size_t>(c.problem.threads); i < n; ++i)
        other.x[i] = 0;
    return perfect(other);
  };
  EXPECT_TRUE(breaks(last_share_lost, threads, exact_input({Pass::forward_training})));
}

/// In workers, on either side of a guard page: nothing outside is touched, no input changes, and what claims
/// to repeat its bits does.
TEST(Storage, inputs_used_as_scratch_or_bits_that_depend_on_the_address) {  // BN-FWD-6, BN-FWD-7, BN-FWD-16
  impls::Runner runner({.repeats = 3});
  int runs = 0;
  for (const Input& in : sample(any_input(all), 40))
    for (const impls::KernelInfo& kernel : bundled_kernels()) {
      const Observation seen = runner.run(kernel, in.c);
      if (seen.outcome != impls::Outcome::completed)
        continue;
      ++runs;
      EXPECT_THAT(seen.breaches, testing::IsEmpty()) << kernel.name << ' ' << in.c.origin;
      EXPECT_TRUE(seen.repeatable || !seen.claims.deterministic) << kernel.name << ' ' << in.c.origin;
      EXPECT_FALSE(seen.environment_changed) << kernel.name;
    }
  EXPECT_GE(runs, 100);
}

// --- the channel's place ---

/// One channel's numbers in every channel give one channel's results in every channel.
Relation places(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    Case same_all = c;
    for (auto* values : {&same_all.x, &same_all.dy})
      for (std::size_t i = 0; i < values->size(); ++i)
        (*values)[i] = (*values)[i % n];
    for (auto* values : {&same_all.gamma, &same_all.beta, &same_all.running_mean, &same_all.running_var,
                         &same_all.saved_mean, &same_all.saved_invstd})
      if (!values->empty())
        std::ranges::fill(*values, values->front());
    const Observation seen = kernel(same_all);
    if (seen.outcome != impls::Outcome::completed)
      return "not computed";
    for (const Output o : all_outputs)
      for (std::size_t i = 0; i < seen[o].size(); ++i)
        if (!same(seen[o][i], seen[o][per_element(o) ? i % n : 0]))
          return std::string(to_string(o)) + " of channel " + std::to_string(channel_of(c, o, i)) +
                 " is not that of channel 0";
    return {};
  };
}

RC_GTEST_PROP(Place, a_channel_whose_number_matters, ()) {  // BN-FWD-4, BN-FWD-14
  const Input in = *exact_input(first_order);
  keep(in, places(in), 1, two_pass);
}

TEST(Place, a_stale_gamma_in_the_last_block) {  // BN-FWD-4, BN-FWD-14
  EXPECT_FALSE(breaks(perfect, places, exact_input(first_order)));
  EXPECT_TRUE(breaks(mutant("dx_one_channel_off"), places, exact_input(first_order)));
}

}  // namespace
}  // namespace normproof::properties
