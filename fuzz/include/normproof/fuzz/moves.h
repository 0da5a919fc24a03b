// Where a search may go from a case: the space that it searches, random points of it, and moves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "normproof/fuzz/dice.h"
#include "normproof/properties/recipe.h"
#include "normproof/spec/case.h"

namespace normproof::fuzz {

/// What stays fixed in a search, and what the rest may be. Everything else of a case is free: the values of
/// all tensors, parameters and statistics, the number of values per channel and their split into batch and
/// space.
struct Space {
  Pass pass = Pass::forward_training;
  Format dtype = f32;
  std::optional<Format> stats;  ///< as in a recipe
  Layout layout = Layout::contiguous;
  std::string dialect = "documented";
  std::int64_t values = 64;  ///< most values per channel
  /// Roots of 1e-12 to 1: an eps far below, near and above ordinary variances.
  std::vector<double> eps{0x1.4f8b58p-17, 0x1.197998p-40, 0x1.0624dep-10, 0x1p+0};
  std::vector<double> momenta{0x1.99999ap-4, 0.5, 1.0};
  std::vector<int> threads{1, 2};
};

/// A random recipe of the space: any core regime, its parameter, a shape, seeds. The baseline of a search.
properties::Recipe random_recipe(const Space& space, Dice& dice);

/// One to three elementary moves: steps in ordinals of up to 2^radius, significand bits, signs, exponents;
/// swaps and copies within a tensor; pairs that nearly cancel, values near the mean, beta near the rest of y,
/// terms that a running sum just loses; a tensor scaled or shifted; values dropped or repeated; eps a few
/// steps further; another split, eps, momentum or thread count. The result is a case of the space, not always
/// of the core domain.
Case moved(const Case& c, const Space& space, int radius, Dice& dice);

/// The case with these of its values per channel, as a batch of single positions (channels-last: as
/// positions of one batch).
Case with_values(const Case& c, const std::vector<std::size_t>& kept);

}  // namespace normproof::fuzz
