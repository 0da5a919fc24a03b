// The hunt: a search for the input on which one output of one kernel is worst.
//
// A tenth of the effort draws random cases (the baseline by itself); the best of them, and cases that are
// given, become a beam. Each member climbs: a child made by a few moves replaces it when it is no better by
// the objective but when it is at least as good; its step radius (in bits) grows with success and shrinks
// without, as a box does that is split around its best point. The beam narrows as the effort is spent, and
// a member that is stuck starts again from a better one. What is found is a lower bound of the true maximum.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "normproof/fuzz/moves.h"
#include "normproof/fuzz/probe.h"

namespace normproof::fuzz {

struct Progress {
  std::int64_t evaluations = 0;
  double seconds = 0;
  double part = 0;  ///< of the effort, 0 to 1
  double best = 0;
};

/// How much may be spent: whichever of the two ends first; at least one is given. Only a number of
/// evaluations makes a hunt repeatable to the bit.
struct Effort {
  std::optional<std::int64_t> evaluations;
  std::optional<std::chrono::milliseconds> budget;
};

struct HuntOptions {
  Space space;
  Effort effort;
  std::uint64_t seed = 1;
  std::size_t beam = 20;
  std::vector<Case> starts;  ///< worst cases of other kernels, of the same pass and formats
  std::function<void(const Progress&)> progress;
};

struct Found {
  Case worst;
  Score score;
  std::string from;  ///< the recipe or file that the climb started at
  std::int64_t evaluations = 0;
  double seconds = 0;
  std::uint64_t seed = 1;
  std::string reason;  ///< why nothing was found: the last reason a case did not count

  bool any() const { return score.counts(); }
};

/// Deterministic for a number of evaluations and a kernel that is. The origin of `worst` is that of its
/// start.
Found hunt(Probe& probe, const HuntOptions& options);
/// The baseline: the worst of random recipes, by the same objective and effort.
Found random_search(Probe& probe, const HuntOptions& options);

/// "searched: 120000 evaluations, seed 1"
std::string label(const Found& found);

}  // namespace normproof::fuzz
