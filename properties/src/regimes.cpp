// The regimes: what makes each kind of data, in integers. A value is an integer times a power of two that is
// rounded once into the format (fixed.h); V below is close to N(0, 1) in units of 2^-60 (random.h).
#include "regimes.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "cotangents.h"

namespace normproof::properties {
namespace {

constexpr int128 one = int128{1} << fraction_bits;

std::int64_t n_of(const Recipe& r) {
  return r.shape.per_channel();
}

Format accumulator(const Recipe& r) {
  return r.dtype.p > f32.p ? f64 : f32;
}

template <class Value>
void each(std::span<double> x, Value value) {
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = value(static_cast<std::uint64_t>(i));
}

std::string possible(const Recipe&, std::int64_t) {
  return {};
}

// ---- location and scale: x = (location + V) * 2^(scale - 60)
// ----------------------------------------------------

Centre location_scale(const ChannelDraw& c, std::span<double> x, int128 location, int scale) {
  each(x, [&](std::uint64_t i) {
    return round_once(c.recipe.dtype, location + normal(c.values, i), scale - fraction_bits);
  });
  return {.location = location, .scale = scale};
}

Centre fill_normal(const ChannelDraw& c, std::span<double> x) {
  return location_scale(c, x, 0, 0);
}

/// mean/std = K, with a sign per channel, so that a bias of the mean shows as such.
Centre fill_offset(const ChannelDraw& c, std::span<double> x) {
  return location_scale(c, x, c.parameters.sign(0) * c.parameter * one, 0);
}

std::string offset_impossible(const Recipe& r, std::int64_t k) {
  if (static_cast<double>(k) + 8 > largest(r.dtype))
    return fmt::format("{} holds no offset of {}; its largest number is {}", r.dtype.name, k,
                       largest(r.dtype));
  return {};
}

/// Deviation 2^K about a mean of the same size: condition number sqrt(2) at any distance of the variance from
/// eps.
Centre fill_variance(const ChannelDraw& c, std::span<double> x) {
  return location_scale(c, x, c.parameters.sign(0) * one, static_cast<int>(c.parameter));
}

std::string variance_impossible(const Recipe& r, std::int64_t k) {
  if (k + 4 > r.dtype.emax || k - r.dtype.p < r.dtype.emin)
    return fmt::format("a deviation of 2^{} leaves the range of {}; possible are {} to {}", k, r.dtype.name,
                       r.dtype.emin + r.dtype.p, r.dtype.emax - 4);
  return {};
}

/// About 10 bits above the smallest subnormal: all values are subnormal.
Centre fill_subnormal(const ChannelDraw& c, std::span<double> x) {
  const Format& f = c.recipe.dtype;
  return location_scale(c, x, 0, f.emin - f.p + 1 + std::min(10, f.p - 5));
}

/// Finite values whose squares overflow.
Centre fill_huge(const ChannelDraw& c, std::span<double> x) {
  return location_scale(c, x, 0, (c.recipe.dtype.emax + 1) / 2 + static_cast<int>(c.parameter));
}

std::string huge_impossible(const Recipe& r, std::int64_t k) {
  const int highest = r.dtype.emax - 3 - (r.dtype.emax + 1) / 2;
  if (k > highest)
    return fmt::format("the values themselves would overflow {}; the parameter is at most {} there",
                       r.dtype.name, highest);
  return {};
}

// ---- other distributions
// ----------------------------------------------------------------------------------------

Centre fill_uniform(const ChannelDraw& c, std::span<double> x) {
  each(x, [&](std::uint64_t i) { return round_once(c.recipe.dtype, uniform(c.values, i), -fraction_bits); });
  return {.location = 2 * one, .scale = -2};
}

/// One value 10^K times the rest, anywhere.
Centre fill_outlier(const ChannelDraw& c, std::span<double> x) {
  const std::int64_t factor = power_of_ten(c.parameter);
  const std::uint64_t place = x.empty() ? 0 : c.parameters.below(0, x.size());
  each(x, [&](std::uint64_t i) {
    const int128 v = normal(c.values, i);
    // The outlier is at least one deviation large: a small draw would hide it.
    return round_once(c.recipe.dtype, i == place ? (v < 0 ? v - one : v + one) * factor : v, -fraction_bits);
  });
  return {};
}

std::string outlier_impossible(const Recipe& r, std::int64_t k) {
  if (n_of(r) < 2)
    return fmt::format("one value beside others needs n = batch * space of at least 2, not {}", n_of(r));
  if (static_cast<double>(power_of_ten(k)) * 8 > largest(r.dtype))
    return fmt::format("{} holds no values of 10^{}; its largest number is {}", r.dtype.name, k,
                       largest(r.dtype));
  return {};
}

Centre fill_pixels(const ChannelDraw& c, std::span<double> x) {
  each(x, [&](std::uint64_t i) { return static_cast<double>(c.values.word(i) >> 56); });
  return {.location = 255 * (one >> 7), .scale = 6};
}

/// What a ReLU leaves: one value in K is not zero, at least one in a channel.
Centre fill_sparse(const ChannelDraw& c, std::span<double> x) {
  const std::uint64_t place = x.empty() ? 0 : c.parameters.below(0, x.size());
  const auto period = static_cast<std::uint64_t>(c.parameter);
  each(x, [&](std::uint64_t i) {
    if (i != place && c.values.word(4 * i) % period != 0)
      return 0.0;
    const int128 v = normal(c.values, i + x.size());
    return round_once(c.recipe.dtype, v < 0 ? -v : v, -fraction_bits);
  });
  return {.scale = -1};
}

/// Significands of any bits at exponents -K .. K, both signs: terms of very unequal size in every sum.
Centre fill_graded(const ChannelDraw& c, std::span<double> x) {
  const auto binades = static_cast<std::uint64_t>(2 * c.parameter + 1);
  each(x, [&](std::uint64_t i) {
    const int128 significand = one + uniform(c.values, 2 * i);
    const std::uint64_t w = c.values.word(2 * i + 1);
    const int exponent = static_cast<int>((w >> 1) % binades) - static_cast<int>(c.parameter);
    return round_once(c.recipe.dtype, (w & 1) != 0 ? -significand : significand, exponent - fraction_bits);
  });
  return {.scale = static_cast<int>(c.parameter) - 2};
}

/// A few ulps around one value: variance far below eps and below what the rounded mean resolves.
Centre fill_near_constant(const ChannelDraw& c, std::span<double> x) {
  const int p = c.recipe.dtype.p;
  const std::int64_t lowest = std::int64_t{1} << (p - 1);
  const auto choices = static_cast<std::uint64_t>(lowest - 2 * c.parameter);
  const std::int64_t middle =
      lowest + c.parameter + static_cast<std::int64_t>(c.parameters.below(0, choices));
  const int exponent = static_cast<int>(c.parameters.below(1, 9)) - 4 - (p - 1);
  const int sign = c.parameters.sign(2);
  const auto steps = static_cast<std::uint64_t>(2 * c.parameter + 1);
  each(x, [&](std::uint64_t i) {
    const std::int64_t step = static_cast<std::int64_t>(c.values.below(i, steps)) - c.parameter;
    return round_once(c.recipe.dtype, sign * (middle + step), exponent);
  });
  return {.location = sign * middle * one, .scale = exponent, .exact_mean = (c.parameters.word(3) & 1) != 0};
}

std::string near_constant_impossible(const Recipe& r, std::int64_t k) {
  const std::int64_t highest = (std::int64_t{1} << (r.dtype.p - 2)) - 1;
  if (k > highest)
    return fmt::format("a binade of {} has no room for {} ulps to both sides; at most {}", r.dtype.name, k,
                       highest);
  return {};
}

/// All values equal: zero, decimal fractions, a large odd-looking number, or any significand.
Centre fill_constant(const ChannelDraw& c, std::span<double> x) {
  constexpr std::array<double, 4> known{0.0, 0.1, 12345.678, 30000002.0};
  const Format& f = c.recipe.dtype;
  const std::uint64_t choice = c.parameters.below(0, 8);
  double value = choice < known.size() ? round_to(f, known[choice]) : 0.0;
  if (choice >= known.size() || value > largest(f)) {
    const int exponent = static_cast<int>(c.parameters.below(1, 17)) - 8;
    const int128 v = one + uniform(c.parameters, 2);
    value = round_once(f, c.parameters.sign(3) * v, std::min(exponent, f.emax - 1) - fraction_bits);
  }
  each(x, [&](std::uint64_t) { return value; });

  Centre centre;
  if (value != 0) {  // value = bits * 2^unit, and a spread of 8 ulps or so
    int unit = 0;
    double scaled = value;
    for (; scaled != static_cast<double>(static_cast<std::int64_t>(scaled)); --unit)
      scaled *= 2;
    centre = {.location = static_cast<int128>(static_cast<std::int64_t>(scaled)) * (one >> 3),
              .scale = unit + 3};
  }
  centre.exact_mean = (c.parameters.word(4) & 1) != 0;
  if ((c.parameters.word(5) & 1) != 0)
    centre.variance = c.recipe.eps > 0 ? 0.0 : 0.25;
  return centre;
}

// ---- exact statistics (spec/bounds/exact.md)
// --------------------------------------------------------------------

/// Values K + d and K - d mirrored about the middle of the channel (K itself there when n is odd): the mean
/// is K exactly while every value has a full significand. The grid 2^-g is the finest that holds all |x| <
/// 2^b.
Centre fill_paired(const ChannelDraw& c, std::span<double> x) {
  const std::int64_t k = c.parameters.sign(0) * c.parameter;
  const int g = c.recipe.dtype.p - bit_width(static_cast<uint128>(c.parameter + 7));
  const std::uint64_t n = x.size();
  each(x, [&](std::uint64_t i) {
    const std::uint64_t partner = n - 1 - i;
    const std::int64_t d = normal(c.values, std::min(i, partner)) >> (fraction_bits - g);
    const std::int64_t signed_d = i < partner ? d : (i > partner ? -d : 0);
    return round_once(c.recipe.dtype, static_cast<int128>(k) * (int128{1} << g) + signed_d, -g);
  });
  return {.location = k * one, .scale = 0};
}

std::string paired_impossible(const Recipe& r, std::int64_t k) {
  if (r.dtype.p - bit_width(static_cast<uint128>(k + 7)) < 2)
    return fmt::format("{} has no two bits behind the point at {}; the parameter is at most {}", r.dtype.name,
                       k, (std::int64_t{1} << (r.dtype.p - 2)) - 8);
  return {};
}

/// Two values K - d and K + d, with K +- d, 2d and d^2 representable: mean K, variance d^2.
Centre fill_pair(const ChannelDraw& c, std::span<double> x) {
  const std::int64_t room = (std::int64_t{1} << c.recipe.dtype.p) - 1 - c.parameter;  // |K| + d < 2^p
  const std::int64_t root = std::int64_t{1} << (c.recipe.dtype.p / 2);                // d^2 <= 2^p
  const auto highest = static_cast<std::uint64_t>(std::min({room, root, std::int64_t{1000}}));
  const auto d = 1 + static_cast<std::int64_t>(c.parameters.below(0, highest));
  const std::int64_t k = c.parameters.sign(1) * c.parameter;
  const int down = c.parameters.sign(2);
  x[0] = static_cast<double>(k - down * d);
  x[1] = static_cast<double>(k + down * d);
  return {.location = k * one, .scale = 0, .exact_mean = true, .variance = static_cast<double>(d * d)};
}

std::string pair_impossible(const Recipe& r, std::int64_t k) {
  if (n_of(r) != 2)
    return fmt::format("a pair needs n = batch * space of 2, not {} (shape 2x{}, say)", n_of(r),
                       r.shape.channels);
  if (k + 2 > std::int64_t{1} << r.dtype.p)
    return fmt::format("{} does not hold {} + 1; the parameter is at most {}", r.dtype.name, k,
                       (std::int64_t{1} << r.dtype.p) - 2);
  return {};
}

/// A bijection of [0, 2^m): odd multipliers and right shifts are invertible there.
std::uint64_t permuted(const Draw& draw, int m, std::uint64_t i) {
  const std::uint64_t mask = (std::uint64_t{1} << m) - 1;
  for (std::uint64_t round = 0; round < 4; ++round) {
    i = (i * (draw.word(16 + round) | 1) + draw.word(32 + round)) & mask;
    i ^= i >> ((m + 1) / 2);
  }
  return i;
}

/// n = 2^m values K, a quarter each of K + 1 and K - 1, at random places: every sum of every tree is a small
/// integer, variance 1/2, and with eps = 1/2 invstd is 1. The last value is neither K nor 0, so that dropping
/// it shows.
Centre fill_exact(const ChannelDraw& c, std::span<double> x) {
  const int m = bit_width(static_cast<uint128>(x.size())) - 1;
  const std::int64_t k = c.parameters.sign(0) * c.parameter;
  // Class of a place: the top two bits of its permuted index; an XOR gives the last place the class that is
  // wanted.
  const std::uint64_t wanted = k > 0 ? 0 : (k < 0 ? 1 : c.parameters.below(1, 2));
  const std::uint64_t flip = (permuted(c.parameters, m, x.size() - 1) >> (m - 2)) ^ wanted;
  each(x, [&](std::uint64_t i) {
    const std::uint64_t place = (permuted(c.parameters, m, i) >> (m - 2)) ^ flip;
    return static_cast<double>(place == 0 ? k + 1 : (place == 1 ? k - 1 : k));
  });
  return {.location = k * one, .scale = 0, .exact_mean = true, .variance = 0.5};
}

std::string exact_impossible(const Recipe& r, std::int64_t k) {
  const std::int64_t n = n_of(r);
  if (n < 4 || n > std::int64_t{1} << 20 || (n & (n - 1)) != 0)
    return fmt::format("exact sums need n = batch * space to be a power of two of 4 to 2^20, not {}", n);
  if (r.eps != 0.5)
    return fmt::format("exact outputs need eps=0x1p-1 (variance 1/2, invstd 1), not eps={}", r.eps);
  const std::int64_t highest = (std::int64_t{1} << std::min(accumulator(r).p - 2, 40)) / n;
  if (std::max<std::int64_t>(1, k) > highest)
    return fmt::format("sums are exact only while 4 n K <= 2^{}: at n = {} the parameter is at most {}",
                       accumulator(r).p, n, highest);
  if (k + 1 > std::int64_t{1} << r.dtype.p)
    return fmt::format("{} does not hold {}", r.dtype.name, k + 1);
  return {};
}

// ---- witnesses: near the worst that sequential order can do (spec/bounds/)
// -------------------------------------

/// (1, u, u, ...) times a power of two: every addition of u to the running sum is lost.
Centre fill_witness_mean(const ChannelDraw& c, std::span<double> x) {
  const int scale = static_cast<int>(c.parameters.below(0, 8));
  const int sign = c.parameters.sign(1);
  const double first = sign * power_of_two(scale), rest = first * unit_roundoff(accumulator(c.recipe));
  each(x, [&](std::uint64_t i) { return i == 0 ? first : rest; });
  return {.location = sign * one, .scale = scale};
}

/// (1, -1, c, -c, ...) times a power of two, c^2 just under 2u: the mean is 0 at every second step, the sum
/// of squares stays at 2 and loses each c^2.
Centre fill_witness_var(const ChannelDraw& c, std::span<double> x) {
  const int p = c.recipe.dtype.p, acc = accumulator(c.recipe).p;
  // c = root * 2^unit is the largest p-bit number with c^2 < 2^(1 - acc), a square or twice a square.
  const bool odd = (1 - acc) % 2 != 0;
  const int unit = (1 - acc - (odd ? 1 : 0)) / 2 - (p - 1);
  const uint128 square = uint128{odd ? 2U : 1U} << (2 * (p - 1));
  const bool lower_binade = !odd;  // an exact power of two: one step below it
  const uint128 root = lower_binade ? (uint128{1} << p) - 1 : integer_root(square);
  const int scale = static_cast<int>(c.parameters.below(0, 8));
  const int sign = c.parameters.sign(1);
  const double big = sign * power_of_two(scale);
  const double small =
      sign * round_once(c.recipe.dtype, static_cast<int128>(root), unit - (lower_binade ? 1 : 0) + scale);
  each(x, [&](std::uint64_t i) {
    const double size = i < 2 ? big : small;
    return i % 2 == 0 ? size : -size;
  });
  return {.scale = scale};
}

std::string witness_mean_impossible(const Recipe& r, std::int64_t) {
  if (n_of(r) < 2)
    return fmt::format("a sum that loses terms needs n = batch * space of at least 2, not {}", n_of(r));
  return {};
}

std::string witness_var_impossible(const Recipe& r, std::int64_t) {
  if (n_of(r) < 4 || n_of(r) % 2 != 0)
    return fmt::format("its mean of 0 needs an even n = batch * space of at least 4, not {}", n_of(r));
  return {};
}

// ---- one special value, and channels of many kinds
// ----------------------------------------------------------------

/// Normal channels; one of them holds one NaN or infinity. The others must not notice.
Centre fill_non_finite(const ChannelDraw& c, std::span<double> x) {
  const Centre centre = fill_normal(c, x);
  const Draw shared(c.recipe.seed, Stream::recipe, 0);
  if (!x.empty() && static_cast<std::int64_t>(
                        shared.below(0, static_cast<std::uint64_t>(c.recipe.shape.channels))) == c.index) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    constexpr std::array<double, 3> special{std::numeric_limits<double>::quiet_NaN(), inf, -inf};
    x[shared.below(1, x.size())] = special[shared.below(2, special.size())];
  }
  return centre;
}

// ---- regimes of dy
// ------------------------------------------------------------------------------------------------

/// About a mean of 4, mirrored in half of the channels: there sum dy xhat cancels as well.
Centre fill_mirrored(const ChannelDraw& c, std::span<double> x) {
  const int128 location = c.parameters.sign(0) * 4 * one;
  const bool mirrored = (c.parameters.word(1) & 1) != 0;
  each(x, [&](std::uint64_t i) {
    const std::uint64_t at = mirrored ? std::min<std::uint64_t>(i, x.size() - 1 - i) : i;
    return round_once(c.recipe.dtype, location + normal(c.values, at), -fraction_bits);
  });
  return {.location = location, .scale = 0};
}

std::string large_dy_impossible(const Recipe& r, std::int64_t k) {
  const int lowest = r.dtype.emin + 8, highest = r.dtype.emax - 4;
  if (k > highest || k < lowest)
    return fmt::format("a dy of 2^{} leaves the range of {}; possible are {} to {}", k, r.dtype.name, lowest,
                       highest);
  return {};
}

struct Ingredient {
  std::string_view name;
  std::int64_t parameter;
};
constexpr std::array ingredients{
    Ingredient{"normal", 0},      Ingredient{"offset", 10},  Ingredient{"offset", 1000},
    Ingredient{"offset", 100000}, Ingredient{"uniform", 0},  Ingredient{"variance", -8},
    Ingredient{"variance", -30},  Ingredient{"constant", 0}, Ingredient{"near_constant", 4},
    Ingredient{"outlier", 4},     Ingredient{"pixels", 0},   Ingredient{"sparse", 8},
    Ingredient{"graded", 12},     Ingredient{"paired", 1000}};

/// Every channel draws one of the core regimes: what leaks from one channel into another shows.
Centre fill_mixture(const ChannelDraw& c, std::span<double> x) {
  std::uint64_t choice = c.parameters.below(64, ingredients.size());
  for (;; choice = (choice + 1) % ingredients.size()) {  // normal is always possible
    const Ingredient& one_of = ingredients[choice];
    const RegimeEntry& entry = *regime_named(one_of.name);
    if (entry.impossible(c.recipe, one_of.parameter).empty()) {
      ChannelDraw inner = c;
      inner.parameter = one_of.parameter;
      return entry.fill(inner, x);
    }
  }
}

std::string graded_impossible(const Recipe& r, std::int64_t k) {
  const int highest = std::min(r.dtype.emax - 1, -r.dtype.emin);
  if (k > highest)
    return fmt::format("{} spans fewer binades; the parameter is at most {}", r.dtype.name, highest);
  return {};
}

constexpr Domain core = Domain::core, extended = Domain::extended;

constexpr std::array entries{
    RegimeEntry{{"normal", "", 0, 0, 0, core, "close to N(0, 1)"}, fill_normal, possible},
    RegimeEntry{{"uniform", "", 0, 0, 0, core, "uniform in [0, 1)"}, fill_uniform, possible},
    RegimeEntry{
        {"offset", "mean / deviation", 1, 10'000'000, 1000, core, "N(+-K, 1), a random sign per channel"},
        fill_offset,
        offset_impossible},
    RegimeEntry{{"variance", "log2 of the deviation", -40, 40, -8, core,
                 "deviation 2^K about a mean of that size: variance far below, near or far above eps"},
                fill_variance,
                variance_impossible},
    RegimeEntry{{"near_constant", "ulps to both sides", 1, 1000, 4, core, "within K ulps of one value"},
                fill_near_constant,
                near_constant_impossible},
    RegimeEntry{
        {"constant", "", 0, 0, 0, core, "all values of a channel equal: 0, 0.1, 12345.678, 30000002 or any"},
        fill_constant,
        possible},
    RegimeEntry{{"outlier", "log10 of its size", 1, 8, 6, core, "one value 10^K times the rest"},
                fill_outlier,
                outlier_impossible},
    RegimeEntry{{"pixels", "", 0, 0, 0, core, "integers 0 to 255"}, fill_pixels, possible},
    RegimeEntry{{"sparse", "one non-zero in", 2, 1000, 8, core, "zeros and a few positive values"},
                fill_sparse,
                possible},
    RegimeEntry{{"graded", "binades to both sides of 1", 1, 40, 12, core, "both signs, exponents -K to K"},
                fill_graded,
                graded_impossible},
    RegimeEntry{{"paired", "mean", 0, 1'000'000, 1000, core, "K + d with K - d: the mean is exactly +-K"},
                fill_paired,
                paired_impossible},
    RegimeEntry{{"pair", "mean", 0, 10'000'000, 10002, core,
                 "n = 2, K - d and K + d: mean K and variance d^2 exactly"},
                fill_pair,
                pair_impossible},
    RegimeEntry{
        {"exact", "mean", 0, std::int64_t{1} << 20, 3, core,
         "K, K + 1, K - 1 at random places, n = 2^m, eps = 1/2: every output is exact in every order"},
        fill_exact,
        exact_impossible,
        true,
        exact_dy},
    RegimeEntry{{"mixture", "", 0, 0, 0, core, "every channel draws one of the regimes above"},
                fill_mixture,
                possible},
    RegimeEntry{
        {"witness_mean", "", 0, 0, 0, core, "1, u, u, ...: sequential order loses every term but the first"},
        fill_witness_mean,
        witness_mean_impossible,
        false,
        witness_dbeta_dy},
    RegimeEntry{{"witness_var", "", 0, 0, 0, core,
                 "1, -1, c, -c, ..., c^2 just under 2u: sequential order loses c^2"},
                fill_witness_var,
                witness_var_impossible,
                false,
                witness_dgamma_dy},
    RegimeEntry{{"cancelling_dy", "", 0, 0, 0, core,
                 "sum dy is a few ulps of one of them, in half of the channels sum dy xhat too"},
                fill_mirrored,
                possible,
                false,
                cancelling_dy,
                true},
    RegimeEntry{{"large_dy", "log2 of the size of dy", -24, 24, 16, core, "x close to N(0, 1), dy times 2^K"},
                fill_normal,
                large_dy_impossible,
                false,
                large_dy,
                true},
    RegimeEntry{{"subnormal", "", 0, 0, 0, extended, "subnormal values"}, fill_subnormal, possible},
    RegimeEntry{{"huge", "binades above the root of the largest number", 1, 60, 1, extended,
                 "finite values whose squares overflow the format"},
                fill_huge,
                huge_impossible},
    RegimeEntry{{"non_finite", "", 0, 0, 0, extended, "one channel holds one NaN or infinity"},
                fill_non_finite,
                possible,
                false,
                non_finite_dy},
};

constexpr auto infos = [] {
  std::array<RegimeInfo, entries.size()> list{};
  for (std::size_t i = 0; i < entries.size(); ++i)
    list[i] = entries[i].info;
  return list;
}();

}  // namespace

std::span<const RegimeEntry> regime_entries() {
  return entries;
}

const RegimeEntry* regime_named(std::string_view name) {
  const auto found = std::ranges::find(entries, name, [](const RegimeEntry& e) { return e.info.name; });
  return found == entries.end() ? nullptr : &*found;
}

std::span<const RegimeInfo> regimes() {
  return infos;
}

}  // namespace normproof::properties
