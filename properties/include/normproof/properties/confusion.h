// Confusion: how far a diagnosis can be trusted, measured over bugs that are known.
//
// Each wrong kernel is diagnosed on some of its failing cases; on others with eps, momentum, shape and seed
// that the diagnosis was not developed on; and with its own bug struck from what is known, where the only
// right answer is none. A confident wrong name is the worst that can happen, so it is counted by itself.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "normproof/properties/diagnosis.h"
#include "normproof/properties/mutation.h"

namespace normproof::properties {

enum class Naming {
  right,      ///< the bug and nothing else; where it is not known: no name
  among,      ///< the bug among those that cannot be told apart
  abstained,  ///< no name
  wrong       ///< names without the bug
};
inline constexpr std::size_t naming_count = 4;

enum class Setting { as_found, perturbed, left_out };
inline constexpr std::size_t setting_count = 3;

struct ConfusionRow {
  std::string kernel, bug;
  std::array<std::array<std::int64_t, naming_count>, setting_count> cases{};
  std::array<std::map<std::string, std::int64_t>, setting_count> names;  ///< what was said, case by case
  std::array<Diagnosis, setting_count> combined;                         ///< over all of its cases
  std::array<Naming, setting_count> verdict{Naming::abstained, Naming::abstained, Naming::abstained};
};

/// `bugs`: kernel name -> the family of its bug; others are left out. Diagnoses up to `cases` failing ones of
/// each, from the report's sample.
std::vector<ConfusionRow> run_confusion(const MutationReport& report,
                                        const std::map<std::string, std::string>& bugs,
                                        const impls::RunOptions& run, std::size_t cases = 12);

/// What a diagnosis is worth where the bug is `bug`, or where that is not known (left out).
Naming naming(const Diagnosis& d, const std::string& bug, bool left_out);

/// The recipe with another eps, momentum, shape and seed; a few variants by number.
Recipe perturbed(const Recipe& recipe, std::size_t variant);

}  // namespace normproof::properties
