// One kernel called on one request: query, create, run, destroy, each with the floating-point environment
// guarded. The worker and the in-process mode run this same code. A kernel of a device gets the tensors
// there, and what it made of them is back in the arena at the end.
#pragma once

#include <cstddef>

#include "protocol.h"

namespace normproof::impls {

/// Calls the kernel on the buffers that lie in `memory`, which holds request.memory_bytes. Begins with the
/// calling thread's floating-point environment and ends with it.
Reply execute(const np_kernel& kernel, const Request& request, std::byte* memory);

}  // namespace normproof::impls
