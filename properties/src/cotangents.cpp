// See cotangents.h. Integers times powers of two, rounded once, as everywhere in an expansion.
#include "cotangents.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "fixed.h"
#include "random.h"
#include "statistics.h"

namespace normproof::properties {
namespace {

constexpr int128 one = int128{1} << fraction_bits;

template <class Value>
void each(std::span<double> dy, Value value) {
  for (std::size_t i = 0; i < dy.size(); ++i)
    dy[i] = value(static_cast<std::uint64_t>(i));
}

/// The kinds of ordinary_dy, times 2^scale.
void fill(const ChannelDraw& c, std::span<double> dy, int scale) {
  const Format& f = c.recipe.dtype;
  const auto normal_at = [&](int128 location, int exponent) {
    each(dy, [&](std::uint64_t i) {
      return round_once(f, location + normal(c.values, i), scale + exponent - fraction_bits);
    });
  };
  switch (c.parameters.below(0, 8)) {
  case 4:
    return normal_at(one / 2, 0);
  case 5: {
    const int128 size = (one / 2) + 3 * (uniform(c.parameters, 1) >> 1);
    const double value = round_once(f, c.parameters.sign(2) * size, scale - fraction_bits);
    return each(dy, [&](std::uint64_t) { return value; });
  }
  case 6: {
    const std::uint64_t period = 2 + c.parameters.below(1, 15);
    return each(dy, [&](std::uint64_t i) {
      return c.values.word(4 * i) % period != 0
                 ? 0.0
                 : round_once(f, normal(c.values, i + dy.size()), scale - fraction_bits);
    });
  }
  case 7:
    return normal_at(0, static_cast<int>(c.parameters.below(1, 10)) - 6);
  default:
    return normal_at(0, 0);
  }
}

Format accumulator(const Recipe& r) {
  return r.dtype.p > f32.p ? f64 : f32;
}

}  // namespace

void ordinary_dy(const ChannelDraw& c, std::span<const double>, std::span<double> dy) {
  fill(c, dy, 0);
}

void large_dy(const ChannelDraw& c, std::span<const double>, std::span<double> dy) {
  fill(c, dy, static_cast<int>(c.parameter));
}

void exact_dy(const ChannelDraw& c, std::span<const double>, std::span<double> dy) {
  const double unit = power_of_two(static_cast<int>(c.parameters.below(0, 7)) - 3);
  each(dy, [&](std::uint64_t i) {
    constexpr std::array<double, 8> values{0, 0, 0, 1, -1, 2, -2, 3};
    // The last value is not 0, so that dropping it shows.
    const std::uint64_t choice = i + 1 == dy.size() ? 3 + c.values.below(i, 5) : c.values.below(i, 8);
    return unit * values[choice];
  });
}

void witness_dbeta_dy(const ChannelDraw& c, std::span<const double>, std::span<double> dy) {
  const double first = c.parameters.sign(1) * power_of_two(static_cast<int>(c.parameters.below(0, 8)));
  const double rest = first * unit_roundoff(accumulator(c.recipe));
  each(dy, [&](std::uint64_t i) { return i == 0 ? first : rest; });
}

void witness_dgamma_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy) {
  const double factor = c.parameters.sign(1) * power_of_two(-static_cast<int>(c.parameters.below(0, 3)));
  each(dy, [&](std::uint64_t i) { return factor * x[i]; });
}

void cancelling_dy(const ChannelDraw& c, std::span<const double>, std::span<double> dy) {
  const Format& f = c.recipe.dtype;
  const std::uint64_t n = dy.size();
  each(dy, [&](std::uint64_t i) {
    const std::uint64_t partner = n - 1 - i;
    const std::uint64_t drawn = std::min(i, partner);
    const std::int64_t v = normal(c.values, drawn);
    if (i == partner)  // alone in the middle
      return round_once(f, v, -8 - fraction_bits);
    const double value = round_once(f, v, -fraction_bits);
    if (i < partner || value == 0)
      return i < partner ? value : -value;
    const bool off = c.parameters.below(drawn + 1, 8) == 0;
    return -(off ? decode(f, encode(f, value) ^ 1) : value);
  });
}

void non_finite_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy) {
  ordinary_dy(c, x, dy);
  const Draw shared(c.recipe.seed, Stream::recipe, 0);
  const bool afflicted = std::ranges::any_of(x, [](double value) { return value - value != 0; });
  if (!afflicted || shared.below(3, 2) == 0)
    return;
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr std::array<double, 3> special{std::numeric_limits<double>::quiet_NaN(), inf, -inf};
  dy[shared.below(4, dy.size())] = special[shared.below(5, special.size())];
}

Saved saved_statistics(const ChannelDraw& c, const RegimeEntry& entry, std::span<const double> x) {
  const Recipe& r = c.recipe;
  const Draw& draw = c.values;
  const Format stats = stats_of(r);
  const Statistics s = statistics(x);
  Saved saved{mean_of(s, stats), invstd_of(s, r.eps, stats)};
  const bool constructed = entry.fill_dy != nullptr && !entry.about_dy;
  if (entry.exact_affine) {
    // Two binades to both sides of 1 while every listed number of BN-NUM-26 still fits.
    const int most = x.size() <= 4096 ? 2 : 0;
    saved.invstd =
        power_of_two(static_cast<int>(draw.below(0, static_cast<std::uint64_t>(2 * most + 1))) - most);
  } else if (!constructed && draw.below(0, 4) == 3) {
    const auto eighth = [&](std::uint64_t index) {
      return static_cast<double>(uniform(draw, index) - (std::int64_t{1} << (fraction_bits - 1))) *
             power_of_two(-2 - fraction_bits);
    };
    const double deviation = std::sqrt(variance_of(s, f64));
    if (deviation - deviation == 0)
      saved.mean = round_to(stats, mean_of(s, f64) + eighth(1) * deviation);
    saved.invstd = round_to(stats, saved.invstd * (1 + eighth(2)));
  }
  const double size = saved.mean < 0 ? -saved.mean : saved.mean;
  if (size < smallest_normal(stats) || !(size <= largest(stats)))
    saved.mean = 0;
  saved.invstd = std::clamp(saved.invstd, smallest_normal(stats), largest(stats));
  return saved;
}

Cotangents cotangents(const Recipe& r) {
  constexpr std::uint64_t all = 7;
  const std::uint64_t choice = Draw(r.seed, Stream::recipe, 0).below(12, 2 * all);
  const std::uint64_t given = choice < all ? choice + 1 : all;
  if (!r.affine)
    return {.x = true};
  return {.x = (given & 1) != 0, .gamma = (given & 2) != 0, .beta = (given & 4) != 0};
}

}  // namespace normproof::properties
