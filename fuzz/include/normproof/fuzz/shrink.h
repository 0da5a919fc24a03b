// Shrinking a case: fewer channels and values, plain parameters, short significands, while it stays what it
// is: a failure, or nearly as bad.
#pragma once

#include <cstdint>
#include <functional>

#include "normproof/fuzz/moves.h"
#include "normproof/fuzz/probe.h"

namespace normproof::fuzz {

/// Whether a smaller case will do. Called at most `evaluations` times, in an order that is fixed by the
/// answers.
using Keeps = std::function<bool(const Case&)>;

/// The smallest case that was found; `c` itself where no smaller one will do. Its origin is that of `c`.
Case shrink(const Case& c, const Keeps& keeps, std::int64_t evaluations = 4000);

struct ShrinkOptions {
  double keep = 0.95;               ///< share of the objective that must remain
  std::int64_t evaluations = 4000;  ///< at most
};

struct Shrunk {
  Case smallest;
  Score score;
  std::int64_t evaluations = 0;
};

/// A worst case that stays nearly as bad. Where `c` breaks its bound (ratio above 1), so does what comes out.
/// Precondition: probe(c) counts.
Shrunk shrink(Probe& probe, const Case& c, const ShrinkOptions& options = {});

}  // namespace normproof::fuzz
