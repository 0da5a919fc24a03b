// One source, two executions: what a kernel may say, and who carries it out.
//
// A kernel is a value (its arguments) with `void operator()(Block&, Index task) const`, written in phases
// between barriers. Under nvcc (block_device.h) a Block is the thread block that the code runs in, and
// Lanes<T> is one T in a register of each thread. Under a plain C++ compiler (block_lanes.h) the same text
// runs phase by phase, each phase lane by lane in a hostile order. See spec/adr/0012.
//
//   block.each(body...)         every lane runs the bodies one after another, then waits at a barrier
//   block.apply(f, v...)        f(own values of v...) in every lane; private variables only, no barrier
//   block.lanes(value)          a private variable of each lane; body(Lane l) reaches its own as v[l]
//   block.shared<T>(count)      memory that the lanes of the block have in common
//   block.shuffle_down(v, d)    what lane + d of the same warp has in v; past its end, what the lane has;
//   takes
//                               a mask of the lanes of a warp that take part: anything else is read as
//                               garbage
//   block.broadcast(shared)     one value of shared memory, for every lane, then a barrier
//   block.ticket(counter)       one number from a counter in global memory, for every lane
//   atomic_add(to, value)       an addition in global memory that no other can come between
//   launch(stream, tasks, threads, shared bytes, kernel)
//
// Outside of `each` all lanes of a block take the same way: what stands there may depend on arguments, the
// task and broadcast values only. A launch has as many blocks as the device fills; each takes every so many
// tasks.
#pragma once

#include <cstdint>

namespace normproof::impls::cuda {

using Index = std::int64_t;

inline constexpr int warp = 32;
inline constexpr std::uint32_t whole_warp = 0xFFFFFFFF;
inline constexpr int most_threads = 256;

/// A thread of its block.
struct Lane {
  int index;
};

}  // namespace normproof::impls::cuda

#ifdef __CUDACC__
#include "cuda/block_device.h"  // IWYU pragma: export
#else
#include "cuda/block_lanes.h"  // IWYU pragma: export
#endif
