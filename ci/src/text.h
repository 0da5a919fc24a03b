// Pieces of text that more than one view prints.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "normproof/ci/report.h"

namespace normproof::ci {

/// "forward-training f32 contiguous".
std::string name_of(const properties::Key& key);

/// Why cases were skipped, also where a kernel did not say.
std::string reason_text(const std::string& reason);

/// The failures that are shown: the first of each clause and output before more of the same.
std::vector<const properties::Judgement*> chosen(std::span<const properties::Judgement> failures,
                                                 std::size_t limit);

/// Got, want, how far, how far permitted, which clause, what it probably is, how to see it again.
std::string judgement_text(const Report& report, const impls::KernelInfo& kernel,
                           const properties::Judgement& j, const Style& style);

}  // namespace normproof::ci
