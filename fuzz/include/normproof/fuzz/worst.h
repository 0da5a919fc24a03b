// Worst known inputs: case files with an index of what they are the worst of. They are kept in
// fuzz/corpus/worst/ and replayed by every test run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "normproof/fuzz/probe.h"
#include "normproof/spec/case.h"

namespace normproof::fuzz {

/// One line of the index. `value` is that of the objective, `ratio` is measured/permitted at the default
/// gate.
struct Worst {
  std::string file;  ///< of the case, beside the index
  std::string kernel;
  Output output = Output::y;
  Objective objective = Objective::ratio;
  double value = 0;
  double ratio = 0;
  std::string label;  ///< "searched: 120000 evaluations, seed 1"
};

/// Reads worst.json of a folder; throws std::invalid_argument with one sentence that names file and field.
std::vector<Worst> read_worst(const std::filesystem::path& folder);
/// The same from a text; `origin` is for the errors.
std::vector<Worst> parse_worst(std::string_view json, const std::string& origin);
std::string write_worst(const std::vector<Worst>& entries);

/// Adds an entry and its case to a folder, in place of the one for the same kernel, pass, format, output and
/// objective; not when that is worse. Returns whether it was added.
bool keep_worst(const std::filesystem::path& folder, Worst entry, const Case& c);

/// What a replay of an entry finds wrong: nothing, a ratio above 1, or a value other than the one recorded
/// (to 1e-6 of it: bounds are computed in double).
std::string complaint(const Worst& entry, const Score& now);

/// "cpu.welford_f32.forward-training.f32.var.ratio.json"
std::string worst_file_name(const std::string& kernel, const Problem& problem, Output output,
                            Objective objective);

}  // namespace normproof::fuzz
