// The smallest input on which a kernel still fails in the same way.
#pragma once

#include <cstdint>
#include <string>

#include "normproof/impls/kernels.h"
#include "normproof/properties/grade.h"
#include "normproof/properties/verdict.h"
#include "normproof/spec/case.h"

namespace normproof::ci {

/// Fewer channels and values, plainer parameters, shorter significands, while the same output breaks the same
/// clause in the same domain. `evaluations`: runs of the kernel at most. A kernel that begins to crash on the
/// way costs a worker each time.
Case smallest(const impls::KernelInfo& kernel, const Case& c, const properties::Judgement& failure,
              impls::Runner& runner, const properties::Gate& gate, std::int64_t evaluations);

/// Its numbers in a line, hex floats, without what has its plain value: "1x1x2: x = 0x1p+0 0x1.8p+1; eps =
/// 0x1p-6". Tensors of many values are cut.
std::string input_text(const Case& c);

}  // namespace normproof::ci
