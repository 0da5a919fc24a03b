// What the failures of a report most probably are, and who would not have noticed. A trial keeps no
// observation; the few failing cases that are shown are run once more and diagnosed, so that a run without
// failures pays nothing.
#pragma once

#include "normproof/ci/report.h"
#include "normproof/properties/diagnosis.h"

namespace normproof::ci {

/// Runs the kernel on that case and diagnoses what it does.
properties::Diagnosis diagnosed(const impls::KernelInfo& kernel, const Case& c, impls::Runner& runner,
                                const properties::Gate& gate, const std::string& without = {});

/// Fills in `diagnosis` and `let_pass_by` of those failures that a text with that many per kernel shows, and
/// `smallest` of the first of them.
void add_diagnoses(Report& report, const properties::TrialOptions& options, std::size_t shown);

}  // namespace normproof::ci
