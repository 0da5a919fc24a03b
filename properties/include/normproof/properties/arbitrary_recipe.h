// RapidCheck's generator of recipes: integers that shrink towards the smallest, plainest problem.
//
// Every choice is an index into a list whose first entry is the plainest (shape extents 1, regime normal,
// f32, contiguous, documented), so RapidCheck's own shrinking of integers shrinks recipes. A combination that
// is impossible is repaired, not discarded: what remains possible after each step does not depend on luck.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <rapidcheck.h>

#include "normproof/properties/recipe.h"

namespace normproof::properties {

/// What RapidCheck prints for a counterexample: the line that `replay` takes.
inline std::ostream& operator<<(std::ostream& out, const Recipe& recipe) {
  return out << to_string(recipe);
}
inline void showValue(const Recipe& recipe, std::ostream& out) {
  out << to_string(recipe);
}

/// The regime of that number, at its n-th parameter between the bounds: 0 is the standard one.
inline Regime regime_at(std::size_t number, std::uint64_t parameter) {
  const RegimeInfo& info = regimes()[number % regimes().size()];
  if (info.parameter.empty() || parameter == 0)
    return {std::string(info.name), info.standard};
  const auto span = static_cast<std::uint64_t>(info.highest - info.lowest) + 1;
  return {std::string(info.name), info.lowest + static_cast<std::int64_t>(parameter % span)};
}

/// The recipe itself if it is possible, else the nearest that is: running statistics as pass and dialect want
/// them, a momentum, eps = 1/2 or n = 2 where the regime wants that; the dialect documented or the regime
/// normal where even that does not help.
inline Recipe repaired(Recipe r) {
  if (is_inference(r.pass))
    r.running = true;
  if (r.regime.name == "exact")
    r.eps = 0.5;
  if (impossible(r).empty())
    return r;
  const Dialect dialect = *dialect_named(r.dialect);
  if (!is_inference(r.pass) &&
      std::ranges::find(dialect.not_applicable, "running-variance") != dialect.not_applicable.end())
    r.running = false;
  if (!r.momentum && !dialect.semantics.cumulative_average)
    r.momentum = Recipe{}.momentum;
  if (!has_pass(dialect.semantics, r.pass))
    r.dialect = "documented";
  if (r.regime.name == "pair" || r.regime.name == "exact")
    r.shape = {r.regime.name == "pair" ? 2 : 4, r.shape.channels, {}};
  if (!impossible(r).empty())
    r.regime = Regime{};
  return r;
}

}  // namespace normproof::properties

namespace rc {

/// Any pass, format, layout, dialect and regime (the extended domain included), up to 6 axes and 2^12
/// elements or so.
template <>
struct Arbitrary<normproof::properties::Recipe> {
  static Gen<normproof::properties::Recipe> arbitrary() {
    using namespace normproof;
    using normproof::properties::Recipe;
    const auto assemble = [](int batch, int channels, const std::vector<int>& spatial, std::size_t regime,
                             std::uint64_t parameter, std::array<std::size_t, 8> choice, int threads,
                             std::uint64_t seed) {
      constexpr std::array eps{0x1.4f8b58p-17, 0x1.0624dep-10, 0x1p-1, 0x1p+0, 0x1.197998p-40, 0x0p+0};
      const std::array<std::optional<double>, 5> momentum{0x1.99999ap-4, 0.5, 0.0, 1.0, std::nullopt};
      Recipe r;
      r.shape = {batch, channels, {}};
      for (const int extent : spatial)
        if (r.shape.spatial.size() < 4)
          r.shape.spatial.push_back(extent);
      r.regime = properties::regime_at(regime, parameter);
      constexpr std::array dtypes{f32, f64, f16, bf16};
      r.pass = all_passes[choice[0]];
      r.dtype = dtypes[choice[6]];
      if (r.dtype.p < f32.p && choice[7] != 0)
        r.stats = r.dtype;
      r.layout = all_layouts[choice[1]];
      if (r.layout == Layout::strided)
        r.layout_seed = parameter % 1000;
      r.dialect = dialects()[choice[2] % dialects().size()].name;
      r.eps = eps[choice[3]];
      r.momentum = momentum[choice[4]];
      r.affine = choice[5] % 2 == 0;
      r.running = choice[5] / 2 % 2 == 0;
      r.threads = threads;
      r.seed = seed;
      return properties::repaired(r);
    };
    const auto below = [](std::size_t bound) {
      return gen::inRange<std::size_t>(0, bound);
    };
    return gen::apply(assemble, gen::inRange(1, 33), gen::inRange(1, 9),
                      gen::resize(4, gen::container<std::vector<int>>(gen::inRange(1, 6))),
                      below(properties::regimes().size()), gen::inRange<std::uint64_t>(0, 20'000'001),
                      gen::apply([](std::size_t a, std::size_t b, std::size_t c, std::size_t d, std::size_t e,
                                    std::size_t f, std::size_t g,
                                    std::size_t h) { return std::array{a, b, c, d, e, f, g, h}; },
                                 below(all_passes.size()), below(all_layouts.size()),
                                 below(dialects().size()), below(6), below(5), below(4), below(4), below(2)),
                      gen::inRange(1, 3), gen::inRange<std::uint64_t>(1, std::uint64_t{1} << 32));
  }
};

}  // namespace rc
