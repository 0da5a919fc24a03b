// Pieces of text that more than one view prints.
#pragma once

#include <string>

#include "normproof/ci/report.h"

namespace normproof::ci {

/// "forward-training f32 contiguous".
std::string name_of(const properties::Key& key);

/// Why cases were skipped, also where a kernel did not say.
std::string reason_text(const std::string& reason);

/// Got, want, how far, how far permitted, which clause, how to see it again.
std::string judgement_text(const Report& report, const impls::KernelInfo& kernel,
                           const properties::Judgement& j, const Style& style);

}  // namespace normproof::ci
