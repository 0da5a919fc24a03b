// The worker's memory protection: nothing between the tensors' pages can be touched, inputs can only be read,
// and an access that the processor refuses is written down before the worker dies of it.
//
// A write to an input is no crash: it is noted, the page is opened and the kernel goes on, so that one run
// says all that is wrong with it. One per process; not for the in-process mode.
#pragma once

#include <cstddef>

#include "protocol.h"

namespace normproof::impls {

/// Takes SIGSEGV and SIGBUS, on a stack of its own. A library that takes them too, as some frameworks do,
/// gets what it wants; then a crash is reported without the tensor that it hit.
void watch_faults();

/// Protects the shared memory as the request's zones say. Costs nothing when the pages are those of the last
/// request. `memory` is the mapped block of `mapped` bytes.
void protect(std::byte* memory, std::size_t mapped, const Request& request);
/// Forgets the protection, before the block is mapped anew.
void forget_protection();

/// A block of `bytes` with a guard page at both ends that the handler knows by name; nullptr when there is no
/// memory. Only grows.
std::byte* guarded_scratch(Fault::Where which, std::size_t bytes, std::size_t& capacity);
/// Where in its block the kernel's scratch lies, for the report of a fault.
void name_scratch(Fault::Where which, const std::byte* start, std::size_t bytes);

}  // namespace normproof::impls
