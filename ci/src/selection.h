// What is tried, on what, under which gate: the options that `check`, `ulp`, `replay` and `findings` share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "normproof/ci/report.h"

namespace normproof::ci {

/// Kernels by name, by pattern, by library; as typed.
struct KernelSelection {
  std::vector<std::string> patterns;
  bool mutants = false;
};

/// Gate and manner of running; as typed.
struct Manner {
  std::string grade = "blocked";
  bool no_merged = false, no_folded = false, extended = false;
  bool in_process = false;
  std::string timeout = "60s";
  std::string memory = "8G";
  int repeats = 1;
  int threads = 0;
};

/// Which cases; as typed.
struct CaseSelection {
  std::string profile = "quick";
  std::string budget;
  std::string shapes;  ///< a named list or a file; instead of the profile
  std::int64_t batch = 32;
  std::uint64_t seed = 1;
  std::vector<std::string> passes, dtypes, layouts, regimes, dialects, files;
};

void add_options(CLI::App& command, KernelSelection& selection, bool positional);
void add_options(CLI::App& command, Manner& manner);
void add_options(CLI::App& command, CaseSelection& selection);

/// The kernels on trial, and what is not there to be tried.
struct Chosen {
  std::vector<impls::KernelInfo> kernels;
  std::vector<Absent> absent;
  std::vector<std::string> libraries;  ///< given by hand
};
/// Throws Failure: an unknown name is a mistake in the call (exit 2), a library given by hand that cannot be
/// loaded is not (exit 3). Bundled libraries that are not there or do not load are skipped, with their
/// reason.
Chosen choose(const KernelSelection& selection);

/// The one kernel that a word names: by name, or a library that holds one. `more` are libraries to look in.
impls::KernelInfo chosen_kernel(const std::string& word, const std::vector<std::string>& more);

/// The cases of a selection, by number; throws Failure as tried() does.
struct CaseList {
  std::size_t count = 0;
  std::function<Case(std::size_t)> make;
};
CaseList chosen_cases(const CaseSelection& cases, bool with_extended);

properties::TrialOptions trial_options(const Manner& manner);
/// With the budget of the cases, in whole seconds.
properties::TrialOptions trial_options(const Manner& manner, const CaseSelection& cases);
/// "90", "60s", "5m", "2h", "250ms"; the option's name is for the error.
std::chrono::milliseconds parse_duration(const std::string& text, const std::string& option);
/// "512M", "8G", "1.5G", "0" for none; in bytes.
std::uint64_t parse_size(const std::string& text, const std::string& option);

/// The recipes of a profile after the filters; case files are not among them. Throws Failure for unknown
/// words.
std::vector<properties::Recipe> recipes_of(const CaseSelection& cases, bool with_extended);

/// Runs what was selected into a report. Throws Failure for anything that is wrong before a kernel runs. A
/// filter that names an extended regime gets it whatever `with_extended` says.
Report tried(const KernelSelection& kernels, const Manner& manner, const CaseSelection& cases,
             bool with_extended, bool quiet);
/// The same for one case; its failures are diagnosed unless the caller does that itself.
Report tried_on(const Case& c, const KernelSelection& kernels, const Manner& manner, bool diagnose = true);
/// The case of a recipe line or a case file's path.
Case case_of(const std::string& origin);

/// As typed, for the report. Set once by main().
void remember_command(int argc, const char* const* argv);
const std::vector<std::string>& command_line();

}  // namespace normproof::ci
