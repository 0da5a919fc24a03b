// Shapes of real layers: what `--shapes resnet50`, or a user's own list, puts on trial.
//
// A named list holds every distinct shape that a batch normalisation of the published network sees, in the
// order of the network. Deterministic and thread-safe throughout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/properties/profile.h"
#include "normproof/properties/recipe.h"
#include "normproof/spec/shape.h"

namespace normproof::properties {

struct ShapeList {
  std::string name;    ///< or the path of the file
  std::string source;  ///< the publication that the shapes are from; empty for a user's own
  std::vector<Shape> shapes;
};

/// A named list's door sign, for `normproof list`.
struct ShapeListInfo {
  std::string_view name;
  std::string_view source;
};
std::span<const ShapeListInfo> shape_lists();

/// The list of that name at a batch size. Throws std::invalid_argument with the nearest name for an unknown
/// one, and for a batch below 1 or so large that a shape leaves 2^40 elements.
ShapeList shape_list(std::string_view name, std::int64_t batch);

/// One shape per line, as in a recipe ("32x64x56x56"); a # starts a comment, blank lines count for nothing.
/// Throws std::invalid_argument that names file, line and text; so does a file without a shape.
ShapeList read_shapes(const std::filesystem::path& path);
ShapeList parse_shapes(std::string_view text, const std::string& origin);

/// Every shape once in every pass that the filter keeps; dtype, format of statistics, layout, dialect and
/// regime turn among what the filter keeps. Regimes are those of activations (normal, sparse, a mean of some
/// deviations, channels of many kinds) unless the filter names others; one that a shape or format cannot have
/// gives way to the next. Same arguments, same list. Throws std::invalid_argument for unknown names in the
/// filter, and where nothing is left.
std::vector<Recipe> recipes_for_shapes(const ShapeList& list, std::uint64_t seed, const Filter& filter = {});

}  // namespace normproof::properties
