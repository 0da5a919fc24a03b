// A growing block of memory behind a descriptor, so that a worker can map the same pages.
#pragma once

#include <cstddef>
#include <span>

namespace normproof::impls {

class SharedMemory {
public:
  /// An empty block of its own (host), or the block behind an inherited descriptor (worker).
  SharedMemory();
  explicit SharedMemory(int inherited_descriptor);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  int descriptor() const { return descriptor_; }
  std::byte* data() const { return data_; }

  std::size_t mapped() const { return mapped_; }

  /// At least `bytes`, mapped; data() may move. The host's part: the block grows.
  void require(std::size_t bytes);
  /// Maps what the host made: the worker's part. `bytes` is the host's mapped().
  void follow(std::size_t bytes);

private:
  void map(std::size_t bytes);

  int descriptor_ = -1;
  std::byte* data_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace normproof::impls
