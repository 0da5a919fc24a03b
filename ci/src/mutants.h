// The record of `normproof mutants` and its views.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "normproof/ci/report.h"
#include "normproof/properties/confusion.h"
#include "normproof/properties/mutation.h"

namespace normproof::ci {

struct MutantReport {
  std::string version, profile;
  std::uint64_t seed = 0;
  std::vector<std::string> command;
  std::vector<properties::Peer> peers;
  properties::MutationReport trial;  ///< wrong kernels and correct twins
  std::size_t wrong_kernels = 0;     ///< the first so many rows
  bool diagnosed = false;
  std::vector<properties::ConfusionRow> confusion;

  /// Wrong kernels that nothing killed and nothing excuses.
  std::vector<std::string> unexcused() const;
  /// Correct kernels that were failed.
  std::vector<std::string> false_alarms() const;
  properties::Exit exit() const;
};

/// The bank over several seeds: does each wrong kernel die often enough in every one?
struct Robustness {
  struct Row {
    std::string kernel;
    std::vector<std::int64_t> kills;    ///< by seed: cases that killed it; none is tried once it died enough
    std::vector<std::int64_t> recipes;  ///< by seed: of the profile's recipes, those it was tried on
  };
  std::vector<Row> rows;
  std::uint64_t seeds = 0;
  std::string profile;
  properties::Gate gate;

  std::size_t killed_enough() const;  ///< wrong kernels with enough_kills in every seed
  /// Does not conform where some seed spares a kernel without an excuse.
  properties::Exit exit() const;
};
inline constexpr std::int64_t enough_kills = 7;
/// Those with the fewest kills first.
std::string robustness_text(const Robustness& robustness, const Style& style);

/// Survivors, kill matrix, peers, wrong judges, twins; 80 columns.
std::string mutants_text(const MutantReport& report, const Style& style);
/// The confusion table.
std::string confusion_text(const MutantReport& report, const Style& style);
/// spec/schema/mutants-1.json
std::string to_json(const MutantReport& report);

}  // namespace normproof::ci
