// How each regime fills a channel, and when it cannot. The public list of regimes is regimes() in recipe.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fixed.h"
#include "normproof/properties/recipe.h"
#include "random.h"

namespace normproof::properties {

/// What a channel of x, or of dy, is filled from.
struct ChannelDraw {
  const Recipe& recipe;
  std::int64_t parameter = 0;
  std::int64_t index = 0;
  Draw parameters;  ///< words 0, 1, ... of what the whole channel shares
  Draw values;
};

/// Where a channel lies: location * 2^(scale - 60), spread about 2^scale. Inference draws its statistics from
/// it.
struct Centre {
  int128 location = 0;
  int scale = 0;
  bool exact_mean = false;  ///< the mean that inference gets is the location itself
  std::optional<double> variance =
      std::nullopt;  ///< the variance that inference gets, where it must not be drawn
};

struct RegimeEntry {
  RegimeInfo info;
  /// Fills x, which has n values, in batch-then-space order.
  Centre (*fill)(const ChannelDraw&, std::span<double> x) = nullptr;
  /// Why the recipe's shape, eps or format cannot have it; empty when it can. The parameter is in range
  /// already.
  std::string (*impossible)(const Recipe&, std::int64_t parameter) = nullptr;
  /// gamma is a power of two and beta a small integer, so that y is exact too; so is a saved invstd.
  bool exact_affine = false;
  /// Fills dy beside the finished x (cotangents.h); none: what networks meet.
  void (*fill_dy)(const ChannelDraw&, std::span<const double> x, std::span<double> dy) = nullptr;
  /// Its point is dy: impossible in the forward passes.
  bool about_dy = false;
};

std::span<const RegimeEntry> regime_entries();
const RegimeEntry* regime_named(std::string_view name);

}  // namespace normproof::properties
