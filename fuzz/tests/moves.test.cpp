// The line of ordinals and the moves on it: what a search may reach is a case, in its formats and its space.
#include "normproof/fuzz/moves.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "normproof/fuzz/ordinals.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"

namespace normproof::fuzz {
namespace {

Format some_format() {
  return formats()[*rc::gen::inRange<std::size_t>(0, formats().size())];
}

/// Bits made of integers; infinities and NaNs become 0.
double some_value(const Format& format) {
  const auto bits = *rc::gen::arbitrary<std::uint64_t>();
  const double value = decode(format, bits & ((std::uint64_t{2} << (8 * format.bytes - 1)) - 1));
  return std::isfinite(value) ? value : 0;
}

RC_GTEST_PROP(Ordinals, a_place_of_the_line_is_the_number_that_has_it, ()) {
  const Format format = some_format();
  const double value = some_value(format);
  RC_ASSERT(at_ordinal(format, reference::ordinal(format, value)) == value);
}

RC_GTEST_PROP(Ordinals, a_step_is_the_next_number_also_across_zero_and_powers_of_two, ()) {
  const Format format = some_format();
  const double value = some_value(format), next = stepped(format, value, 1);
  RC_ASSERT(next >= value);
  RC_ASSERT(next == value || reference::ordinal(format, next) == reference::ordinal(format, value) + 1);
  RC_ASSERT(next > value || value == largest(format));
}

TEST(Ordinals, end_at_the_largest_number_and_do_not_wrap_around) {
  for (const Format& format : formats()) {
    EXPECT_EQ(stepped(format, 1, std::numeric_limits<std::int64_t>::max()), largest(format));
    EXPECT_EQ(stepped(format, -1, std::numeric_limits<std::int64_t>::min()), -largest(format));
  }
}

RC_GTEST_PROP(Ordinals, shortening_clears_the_low_bits_and_is_no_further_than_half_of_them, ()) {
  const Format format = some_format();
  const double value = some_value(format);
  const int bits = *rc::gen::inRange(1, format.p);
  const double s = shortened(format, value, bits);
  const std::int64_t at = reference::ordinal(format, s), from = reference::ordinal(format, value);
  RC_ASSERT(s == largest(format) || s == -largest(format) || at % (std::int64_t{1} << bits) == 0);
  RC_ASSERT(std::abs(at - from) <= std::int64_t{1} << (bits - 1));
}

Space some_space() {
  Space space;
  space.pass = all_passes[*rc::gen::inRange<std::size_t>(0, all_passes.size())];
  space.dtype = some_format();
  space.layout = all_layouts[*rc::gen::inRange<std::size_t>(0, all_layouts.size())];
  space.values = *rc::gen::inRange<std::int64_t>(2, 20);
  return space;
}

RC_GTEST_PROP(Moves, lead_from_a_case_to_a_case_of_the_same_space, ()) {
  const Space space = some_space();
  Dice dice(*rc::gen::arbitrary<std::uint64_t>());
  Case c = properties::expand(random_recipe(space, dice));
  for (int step = 0; step < 30; ++step) {
    c = moved(c, space, 12, dice);
    const std::int64_t n = c.problem.shape.per_channel();
    RC_ASSERT(n >= 1 && n <= space.values);
    for (const double v : c.running_var)
      RC_ASSERT(v >= 0);
  }
  // The oracle refuses wrong lengths and values that their format does not hold.
  reference::truth_of(c);
}

RC_GTEST_PROP(Moves, a_random_recipe_is_possible_and_not_of_the_extended_domain_by_name, ()) {
  const Space space = some_space();
  Dice dice(*rc::gen::arbitrary<std::uint64_t>());
  const properties::Recipe r = random_recipe(space, dice);
  RC_ASSERT(properties::impossible(r).empty());
  RC_ASSERT(r.shape.per_channel() <= space.values);
  for (const properties::RegimeInfo& info : properties::regimes())
    if (info.name == r.regime.name)
      RC_ASSERT(info.domain == Domain::core);
}

TEST(Moves, values_dropped_from_every_channel_are_those_of_x_and_dy_alike) {
  Space space;
  space.pass = Pass::backward_training;
  space.layout = Layout::channels_last;
  properties::Recipe r;
  r.pass = space.pass;
  r.layout = space.layout;
  r.shape = {2, 2, {3}};
  const Case c = properties::expand(r);
  const Case out = with_values(c, {0, 4, 5});
  EXPECT_EQ(out.problem.shape, (Shape{1, 2, {3}}));
  EXPECT_THAT(out.x, testing::ElementsAre(c.x[0], c.x[4], c.x[5], c.x[6], c.x[10], c.x[11]));
  EXPECT_THAT(out.dy, testing::ElementsAre(c.dy[0], c.dy[4], c.dy[5], c.dy[6], c.dy[10], c.dy[11]));
}

TEST(Moves, an_eps_that_never_leaves_its_few_choices) {
  const Space space;
  Dice dice(1);
  const Case start = properties::expand(random_recipe(space, dice));
  int between = 0;
  for (int i = 0; i < 2000; ++i) {
    const double eps = moved(start, space, 12, dice).problem.eps;
    EXPECT_GE(eps, 0);
    EXPECT_TRUE(is_representable(f32, eps)) << eps;
    between += std::ranges::find(space.eps, eps) == space.eps.end() ? 1 : 0;
  }
  EXPECT_GT(between, 10);
}

}  // namespace
}  // namespace normproof::fuzz
