// The executor on the CPU: the lanes of a block one after another, phase by phase, and everything that CUDA
// leaves open decided against the kernel.
//
// The number of blocks of a launch, their order and that of the lanes of a phase follow a seed. What nobody
// has written is all ones (a NaN, an index of -1): private variables, shared memory at the start of a block,
// what a shuffle brings from a lane that takes no part. Shared memory keeps what the block's last task left.
// So a lost barrier, a masked lane, a memory of another launch or an order that was relied upon changes the
// result.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/geometry.h"
#include "cuda/block.h"

#define NP_DEVICE

namespace normproof::impls::cuda {

inline constexpr bool on_device = false;

/// All ones.
template <class T>
T garbage() {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memset(static_cast<void*>(&value), 0xFF, sizeof value);
  return value;
}

/// The numbers 0 .. count - 1 in an order of the seed's (SplitMix64): steps of a number prime to count.
class Order {
public:
  explicit Order(std::uint64_t seed) : state_(seed) {}

  struct Walk {
    Index count;
    Index at;
    Index step;
    Index next() {
      const Index now = at;
      at += step;
      at -= at >= count ? count : 0;
      return now;
    }
  };
  Index below(Index end) { return static_cast<Index>(next() % static_cast<std::uint64_t>(end)); }
  Walk walk(Index count) {
    Index step = 1 + below(count);
    while (std::gcd(step, count) != 1)
      step = step % count + 1;
    return {count, below(count), step % count};
  }

private:
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

/// The choices of one run follow from where and how large x is and nothing else, so that a run can be
/// repeated; a worker lays repeats of one case at two places in their pages.
struct Stream {
  explicit Stream(std::uint64_t seed) : order(seed) {}
  Stream(void*, const np_tensor& x) : order(seed_of(x)) {}
  Order order;

private:
  static std::uint64_t seed_of(const np_tensor& x) {
    std::uint64_t seed = std::bit_cast<std::uintptr_t>(x.data) % 4096 + x.byte_offset;
    for (int axis = 0; axis < x.ndim; ++axis)
      seed = seed * 0x100000001B3 + static_cast<std::uint64_t>(x.shape[axis]);
    return seed;
  }
};

template <class T>
class Lanes {
public:
  Lanes(int threads, T value) : values_(static_cast<std::size_t>(threads), value) {}
  T& operator[](Lane lane) { return values_[static_cast<std::size_t>(lane.index)]; }
  const T& operator[](Lane lane) const { return values_[static_cast<std::size_t>(lane.index)]; }

private:
  std::vector<T> values_;
};

class Block {
public:
  Block(int threads, std::vector<std::byte>& memory, Order& order)
      : threads_(threads),
        memory_(memory),
        order_(order) {}

  int threads() const { return threads_; }

  template <class T>
  Lanes<T> lanes(T value) const {
    return Lanes<T>(threads_, value);
  }

  template <class... Bodies>
  void each(Bodies&&... bodies) {
    Order::Walk walk = order_.walk(threads_);
    for (int k = 0; k < threads_; ++k) {
      const Lane lane{static_cast<int>(walk.next())};
      (bodies(lane), ...);
    }
  }

  template <class Body, class... Values>
  void apply(Body&& body, Values&... values) const {
    for (int lane = 0; lane < threads_; ++lane)
      body(values[Lane{lane}]...);
  }

  template <class T>
  T* shared(int count) {
    const std::size_t start = used_;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
    if (used_ > memory_.size())
      throw std::logic_error("more shared memory than the launch asked for");
    return reinterpret_cast<T*>(memory_.data() + start);
  }
  void start_task() { used_ = 0; }

  template <class T>
  Lanes<T> shuffle_down(const Lanes<T>& from, int distance, std::uint32_t mask = whole_warp) const {
    Lanes<T> to = lanes(garbage<T>());
    for (int lane = 0; lane < threads_; ++lane) {
      const int other = lane % warp + distance < warp ? lane + distance : lane;
      const bool both = (mask >> (lane % warp) & 1) != 0 && (mask >> (other % warp) & 1) != 0;
      if (both && other < threads_)
        to[Lane{lane}] = from[Lane{other}];
    }
    return to;
  }

  template <class T>
  T broadcast(const T& shared) const {
    return shared;
  }

  Index ticket(Index* counter) { return (*counter)++; }

private:
  int threads_;
  std::vector<std::byte>& memory_;
  Order& order_;
  std::size_t used_ = 0;
};

template <class T>
void atomic_add(T* to, T value) {
  *to = *to + value;
}

/// 16 bytes at once; from an address that is not aligned to them a device reads nothing.
template <class Pack, class T>
Pack load_pack(const T* from) {
  Pack pack = garbage<Pack>();
  if (std::bit_cast<std::uintptr_t>(from) % sizeof(Pack) == 0)
    std::memcpy(static_cast<void*>(&pack), from, sizeof pack);
  return pack;
}

template <class Pack, class T>
void store_pack(T* to, const Pack& pack) {
  std::memcpy(static_cast<void*>(to), &pack, sizeof pack);
}

template <class Kernel>
void launch(Stream& stream, Index tasks, int threads, int shared_bytes, const Kernel& kernel) {
  if (tasks <= 0)
    return;
  const Index blocks = 1 + stream.order.below(std::min<Index>(tasks, 24));  // of a small device
  std::vector<std::byte> memory(static_cast<std::size_t>(shared_bytes));
  Order::Walk walk = stream.order.walk(blocks);
  for (Index b = 0; b < blocks; ++b) {
    std::fill(memory.begin(), memory.end(), std::byte{0xFF});
    Block block(threads, memory, stream.order);
    for (Index task = walk.next(); task < tasks; task += blocks) {
      block.start_task();
      kernel(block, task);
      if constexpr (!Kernel::loops)
        break;
    }
  }
}

}  // namespace normproof::impls::cuda
