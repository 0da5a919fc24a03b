// Two kernels on the same cases: where do they differ, and which of the two is nearer to the truth? It
// measures and judges, but gates nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "normproof/properties/trial.h"

namespace normproof::properties {

/// One element on which the two disagree. Errors are E_raw, in ulps of the truth.
struct Difference {
  std::int64_t channel = 0;
  std::int64_t element = 0;  ///< index within the channel; 0 for per-channel outputs
  double first = 0, second = 0, want = 0;
  double first_ulps = 0, second_ulps = 0;
  std::int64_t steps = 0;  ///< numbers of the format between them, one counted; -1: only one is a NaN
  std::string origin;
};

/// Of one output under one key, over all cases that both kernels completed and both reported it in.
struct ComparisonRow {
  Key key;
  Output output = Output::y;
  std::int64_t elements = 0;
  std::int64_t same = 0;  ///< equal bits; every NaN is like every other
  std::int64_t first_nearer = 0, second_nearer = 0, equally_near = 0;  ///< of those that differ
  double first_max = 0, second_max = 0;  ///< largest E_raw, over all elements with a finite one
  std::optional<Difference> largest;     ///< by steps; the first of equals in case order
};

/// What became of one of the two kernels on all cases.
struct Contestant {
  impls::KernelInfo kernel;
  std::int64_t completed = 0;
  std::int64_t failed = 0;                    ///< cases with a failing judgement under the gate
  std::map<std::string, std::int64_t> other;  ///< outcome and reason -> cases that were not completed
};

struct Comparison {
  Contestant first, second;
  std::int64_t cases = 0;  ///< tried
  std::int64_t both = 0;   ///< completed by both
  std::vector<ComparisonRow> rows;

  bool compared() const { return !rows.empty(); }
  bool differ() const;
};

/// Cases 0 .. count - 1, made when they are needed. Of the options: gate, run, budget and progress; one case
/// at a time, in order. The same cases and deterministic kernels give the same comparison.
Comparison compare(std::size_t count, const std::function<Case(std::size_t)>& make,
                   const impls::KernelInfo& first, const impls::KernelInfo& second,
                   const TrialOptions& options);

}  // namespace normproof::properties
