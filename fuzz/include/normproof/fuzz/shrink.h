// Shrinking a worst case: fewer values, plain parameters, short significands, while it stays nearly as bad.
#pragma once

#include <cstdint>

#include "normproof/fuzz/moves.h"
#include "normproof/fuzz/probe.h"

namespace normproof::fuzz {

struct ShrinkOptions {
  double keep = 0.95;               ///< share of the objective that must remain
  std::int64_t evaluations = 4000;  ///< at most
};

struct Shrunk {
  Case smallest;
  Score score;
  std::int64_t evaluations = 0;
};

/// Where `c` breaks its bound (ratio above 1), so does what comes out. Precondition: probe(c) counts.
Shrunk shrink(Probe& probe, const Case& c, const ShrinkOptions& options = {});

}  // namespace normproof::fuzz
