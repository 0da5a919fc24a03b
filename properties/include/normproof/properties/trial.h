// A trial: many cases, many kernels, one report.
//
// The order of loops decides what a campaign costs: per case one truth, computed once, then every kernel. The
// report is the one record that the terminal, JSON and JUnit views are made of. Same version, seed and
// deterministic kernels: the same report bit for bit, whatever the number of threads; times stand in fields
// of their own.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {

/// One class must explain all that a kernel did under one key: a kernel may dispatch on these, not on the
/// case.
struct Key {
  Pass pass = Pass::forward_training;
  std::string dtype;
  Layout layout = Layout::contiguous;
  friend auto operator<=>(const Key&, const Key&) = default;
};

/// The best grade that an output met under a key, and what denied the next one up.
struct GradeMet {
  Output output = Output::y;
  std::optional<Grade> best;  ///< absent: not even `sequential`
  Class by;                   ///< a class that explains it
  double ratio = 0;           ///< worst measured/permitted at that grade and class
  std::optional<Grade> denied;
  Judgement witness;  ///< of the denied grade, for the class that came nearest
};

struct KeyVerdict {
  Key key;
  std::int64_t judgements = 0;
  std::vector<Class> explained_by;     ///< allowed classes with nothing above 1 at the gate
  std::vector<Judgement> unexplained;  ///< when empty above: one witness per allowed class
  std::vector<GradeMet> grades;        ///< per output that was judged
};

/// A row of the accuracy table. `nearest` is the largest measured/permitted at the gate, with its origin.
struct AccuracyRow {
  Pass pass = Pass::forward_training;
  Output output = Output::y;
  std::string dtype;
  Layout layout = Layout::contiguous;
  std::string regime;
  Accuracy accuracy;
  Extreme nearest;
};

struct KernelReport {
  impls::KernelInfo kernel;
  std::int64_t cases = 0;
  std::array<std::int64_t, status_count> counts{};  ///< core judgements by status
  std::array<std::int64_t, status_count>
      extended_counts{};            ///< extended domain: reported, gating only on request
  std::vector<Judgement> failures;  ///< the first ones, with origin
  std::vector<Judgement> extended_failures;
  std::map<std::string, std::int64_t> skips;  ///< reason -> cases
  std::vector<KeyVerdict> keys;
  std::vector<AccuracyRow> rows;
  bool unexplained = false;  ///< some key has no class that explains it
  double seconds = 0;        ///< inside the kernel's run()

  std::int64_t count(Status status) const { return counts[static_cast<std::size_t>(status)]; }
  std::int64_t judgements() const;  ///< core ones that were judged: without SKIPPED
  bool conforms(const Gate& gate) const;
  /// Nothing was verified: no PASS and no failure.
  bool inconclusive() const;
};

struct TrialReport {
  Gate gate;
  std::vector<KernelReport> kernels;
  std::int64_t cases_planned = 0;
  std::int64_t cases_tried = 0;  ///< fewer than planned only when the budget ended
  reference::Effort effort;      ///< of the oracle
  reference::Audit audit;        ///< a sample of every truth, decided again by the multiprecision oracle
  double seconds = 0, truth_seconds = 0;

  /// could_not_run where the audit disagrees: then no verdict of the run is worth anything.
  Exit exit() const;
};

struct Progress {
  std::int64_t done = 0, planned = 0;
  std::int64_t judgements = 0, failures = 0;
  double seconds = 0;
};

struct TrialOptions {
  Gate gate;
  impls::RunOptions run;
  int threads = 1;                                ///< cases in flight
  std::optional<std::chrono::seconds> budget;     ///< no new case is begun after it
  std::function<void(const Progress&)> progress;  ///< called from one thread at a time, in case order
  std::size_t keep_failures = 20;                 ///< per kernel
  /// Sees every kernel on every case, by number; called from several threads, in no order.
  std::function<void(std::size_t case_number, std::size_t kernel_number, const Case&, const reference::Truth&,
                     const impls::Observation&, const CaseVerdict&)>
      observe;
};

/// Every kernel on every recipe's case, in order. Impossible recipes throw std::invalid_argument before
/// anything runs.
TrialReport run_trial(std::span<const Recipe> recipes, std::span<const impls::KernelInfo> kernels,
                      const TrialOptions& options);
/// The same on explicit cases; their regime is called "case".
TrialReport run_trial(std::span<const Case> cases, std::span<const impls::KernelInfo> kernels,
                      const TrialOptions& options);

}  // namespace normproof::properties
