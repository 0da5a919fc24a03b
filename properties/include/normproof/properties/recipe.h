// Recipes: one line of text with everything in it.
//
// A recipe is what RapidCheck generates and shrinks, what a failure prints and what `normproof replay` takes.
// It is integers and names; expand() maps it to a case with a counter-based generator and integer or exactly
// rounded steps, no libm and no std::*_distribution, so that it means the same bits everywhere, for ever.
// Golden hashes guard that.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "normproof/spec/case.h"

namespace normproof::properties {

/// How the values of x, and in the backward passes those of dy, are made. `parameter` is the number behind
/// the colon of "offset:1000" (its meaning is the regime's), 0 where the regime takes none.
struct Regime {
  std::string name = "normal";
  std::int64_t parameter = 0;
  friend bool operator==(const Regime&, const Regime&) = default;
};

/// A regime's door sign, for `normproof list` and for error texts.
struct RegimeInfo {
  std::string_view name;
  std::string_view parameter;  ///< meaning of the parameter, empty if it takes none
  std::int64_t lowest = 0, highest = 0, standard = 0;
  Domain domain = Domain::core;
  std::string_view summary;
};
std::span<const RegimeInfo> regimes();

struct Recipe {
  Pass pass = Pass::forward_training;
  Format dtype = f32;
  std::optional<Format> stats;  ///< of parameters and statistics; absent where it is the usual one (stats_of)
  Shape shape{8, 4, {4, 4}};
  Layout layout = Layout::contiguous;
  std::uint64_t layout_seed = 0;  ///< Layout::strided only, 0 otherwise
  std::string dialect = "documented";
  Regime regime;
  double eps = 0x1.4f8b58p-17;                     ///< written as a hex float
  std::optional<double> momentum = 0x1.99999ap-4;  ///< written as a hex float, or "none"
  bool affine = true;
  bool running = true;
  int threads = 1;
  std::uint64_t seed = 1;

  friend bool operator==(const Recipe&, const Recipe&) = default;
};

/// The format of gamma, beta and the statistics: the recipe's, or the usual one, f32 for tensors of 16 bits
/// and that of the tensors for others. Pairs that are a problem at all: spec/bounds/formats.md.
Format stats_of(const Recipe& recipe);
Format usual_stats(const Format& dtype);

/// The canonical line, every field written:
/// np1 pass=forward-training dtype=f32 shape=8x4x4x4 layout=contiguous dialect=documented regime=offset:1000
///     eps=0x1.4f8b58p-17 momentum=0x1.99999ap-4 affine=1 running=1 threads=1 seed=1
/// (one line). stats=f16 stands behind dtype where it is not the usual one; a strided layout carries its
/// seed: layout=strided:7. parse(to_string(r)) == r.
std::string to_string(const Recipe& recipe);
std::string to_string(const Regime& regime);

/// The recipe, or one sentence that names the offending text, the reason and the nearest valid choice. Fields
/// may come in any order and may be left out (then they have Recipe's defaults); unknown or repeated fields
/// are errors. Decimal numbers are accepted for eps and momentum where the decimal is meant as the nearest
/// double.
std::variant<Recipe, std::string> parse_recipe(std::string_view line);

/// The case of a recipe. Deterministic to the bit on every platform. Throws std::invalid_argument for an
/// impossible one (a regime that needs an even n, say); reason(recipe) gives that sentence without throwing,
/// empty when possible.
Case expand(const Recipe& recipe);
std::string impossible(const Recipe& recipe);

/// FNV-1a over the bits of every tensor and scalar of a case: the golden hash, and the key for sharding. What
/// only some passes have is hashed where it is present.
std::uint64_t fingerprint(const Case& c);

}  // namespace normproof::properties
