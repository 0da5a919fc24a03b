// The commands of the program. Each add_ function describes one command to the parser and says what it does
// when it is chosen; the exit code of the program is what that returns.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "normproof/properties/verdict.h"

namespace normproof::ci {

using Run = std::function<properties::Exit()>;

void add_list(CLI::App& app, Run& run);
void add_check(CLI::App& app, Run& run);
void add_ulp(CLI::App& app, Run& run);
void add_replay(CLI::App& app, Run& run);
void add_explain(CLI::App& app, Run& run);
void add_truth(CLI::App& app, Run& run);
void add_mutants(CLI::App& app, Run& run);
void add_compare(CLI::App& app, Run& run);
void add_claims(CLI::App& app, Run& run);
void add_findings(CLI::App& app, Run& run);
void add_vectors(CLI::App& app, Run& run);
void add_hunt(CLI::App& app, Run& run);
void add_exhaustive(CLI::App& app, Run& run);

/// The lines on exit codes that every command's help ends with.
inline constexpr const char* exit_codes =
    "Exit codes: 0 conforms, 1 does not, 2 a mistake in the call, 3 something could not be\n"
    "read, written, loaded or run, 4 nothing was verified.";

}  // namespace normproof::ci
