// The executor on a device: every word of block.h is what CUDA has for it.
#pragma once

#include <algorithm>
#include <string>

#include <cuda_runtime.h>

#include "cpu/geometry.h"
#include "cuda/block.h"

#define NP_DEVICE __device__

namespace normproof::impls::cuda {

inline constexpr bool on_device = true;
/// Of a launch: eight blocks of 256 threads on each multiprocessor of the largest devices.
inline constexpr Index most_blocks = 1024;

/// The stream that the caller of run() gave.
struct Stream {
  Stream(void* stream, const np_tensor&) : handle(static_cast<cudaStream_t>(stream)) {}
  cudaStream_t handle;
};

template <class T>
class Lanes {
public:
  __device__ explicit Lanes(T value) : value_(value) {}
  __device__ T& operator[](Lane) { return value_; }
  const __device__ T& operator[](Lane) const { return value_; }

private:
  T value_;
};

class Block {
public:
  __device__ int threads() const { return static_cast<int>(blockDim.x); }

  template <class T>
  __device__ Lanes<T> lanes(T value) const {
    return Lanes<T>(value);
  }

  template <class... Bodies>
  __device__ void each(Bodies&&... bodies) {
    const Lane lane{static_cast<int>(threadIdx.x)};
    (bodies(lane), ...);
    __syncthreads();
  }

  template <class Body, class... Values>
  __device__ void apply(Body&& body, Values&... values) const {
    body(values[Lane{}]...);
  }

  /// Of the shared memory that the launch asked for, in the order of the calls.
  template <class T>
  __device__ T* shared(int count) {
    extern __shared__ double2 memory[];  // aligned to 16 bytes
    T* const first = reinterpret_cast<T*>(reinterpret_cast<char*>(memory) + used_);
    used_ += (count * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
    return first;
  }
  __device__ void start_task() { used_ = 0; }

  /// Any value, 32 bits at a time. Lanes outside the mask do not take part and keep what they have.
  template <class T>
  __device__ Lanes<T> shuffle_down(const Lanes<T>& from, int distance,
                                   std::uint32_t mask = whole_warp) const {
    Lanes<T> to = from;
    if ((mask >> (threadIdx.x % warp) & 1) == 0)
      return to;
    constexpr int words = sizeof(T) / sizeof(std::uint32_t);
    static_assert(words * sizeof(std::uint32_t) == sizeof(T));
    std::uint32_t bits[words];
    memcpy(bits, &from[Lane{}], sizeof bits);
    for (int w = 0; w < words; ++w)
      bits[w] = __shfl_down_sync(mask, bits[w], static_cast<unsigned>(distance));
    memcpy(&to[Lane{}], bits, sizeof bits);
    return to;
  }

  template <class T>
  __device__ T broadcast(const T& shared) const {
    const T value = shared;
    __syncthreads();
    return value;
  }

  /// What every lane of the block wrote to global memory before is seen by the block with the next ticket.
  __device__ Index ticket(Index* counter) {
    __shared__ Index taken;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
      taken = static_cast<Index>(atomicAdd(reinterpret_cast<unsigned long long*>(counter), 1ULL));
    __syncthreads();
    __threadfence();
    return broadcast(taken);
  }

private:
  int used_ = 0;
};

template <class T>
__device__ void atomic_add(T* to, T value) {
  atomicAdd(to, value);
}

/// A value that is read and written whole, 16 bytes at a time: `from` must be aligned to them.
template <class Pack, class T>
__device__ Pack load_pack(const T* from) {
  return *reinterpret_cast<const Pack*>(from);
}

template <class Pack, class T>
__device__ void store_pack(T* to, const Pack& pack) {
  *reinterpret_cast<Pack*>(to) = pack;
}

template <class Kernel>
__global__ void __launch_bounds__(most_threads) run_tasks(const Kernel kernel, Index tasks) {
  Block block;
  for (Index task = blockIdx.x; task < tasks; task += gridDim.x) {
    block.start_task();
    kernel(block, task);
    __syncthreads();
    if constexpr (!Kernel::loops)
      break;
  }
}

template <class Kernel>
void launch(Stream& stream, Index tasks, int threads, int shared_bytes, const Kernel& kernel) {
  static_assert(sizeof(Kernel) <= 4000, "arguments of a kernel: 4 KB in all");
  if (tasks <= 0)
    return;
  run_tasks<<<static_cast<unsigned>(std::min(tasks, most_blocks)), static_cast<unsigned>(threads),
              static_cast<std::size_t>(shared_bytes), stream.handle>>>(kernel, tasks);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    throw cpu::Refusal{NP_FAILED, std::string("launch: ") + cudaGetErrorString(error)};
}

}  // namespace normproof::impls::cuda
