// Profiles: which recipes a run tries. A deterministic stream, so that every kernel, mutant and foreign
// tolerance of a run sees the same cases and each truth is computed once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "normproof/properties/recipe.h"

namespace normproof::properties {

enum class Profile { quick, standard, deep };
std::string_view to_string(Profile profile);
std::optional<Profile> parse_profile(std::string_view text);

/// What to keep of a profile; empty lists keep everything.
struct Filter {
  std::vector<Pass> passes;
  std::vector<std::string> dtypes, layouts, regimes, dialects;
  bool extended = true;
};

/// The recipes of a profile, in the order in which they are tried: every regime and edge early, so that a
/// budget that ends the run early still leaves a fair sample. Same profile, seed and filter: same list.
std::vector<Recipe> recipes(Profile profile, std::uint64_t seed, const Filter& filter = {});

}  // namespace normproof::properties
