// Where the values of a channel lie in a buffer, and work shared among threads.
#pragma once

#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "normproof/spec/shape.h"
#include "raw_lanes.h"

namespace normproof::reference {

/// One channel: `rows` runs, the first at `data`.
struct View {
  char* data;
  Rows rows;
};

/// The places of a placed tensor by channel.
class Places {
public:
  Places(const Shape& shape, const Placement& placement, int bytes);

  /// Channels as runs of consecutive values, where they are.
  const std::optional<Rows>& rows() const { return rows_; }
  /// The stride between rows that hold one value of every channel each, where all n rows are equally far
  /// apart.
  const std::optional<std::int64_t>& columns() const { return columns_; }
  char* channel(void* data, std::int64_t c) const {
    return static_cast<char*>(data) + bytes_ * (offset_ + c * channel_stride_);
  }
  const char* channel(const void* data, std::int64_t c) const {
    return static_cast<const char*>(data) + bytes_ * (offset_ + c * channel_stride_);
  }
  /// Copies `count` channels from `first` to runs of n values, `pitch` bytes apart, or back.
  void gather(const void* data, std::int64_t first, std::int64_t count, char* to, std::int64_t pitch) const;
  void scatter(const char* from, std::int64_t pitch, std::int64_t first, std::int64_t count,
               void* data) const;

  /// The values of some channels in rows `first` to `end` of columns, to runs `pitch` bytes apart: one sweep
  /// for all of them, since what costs is the way to memory.
  void gather_columns(const void* data, const std::vector<std::int64_t>& channels, std::int64_t first,
                      std::int64_t end, char* to, std::int64_t pitch) const;

private:
  template <class Copy>
  void each(std::int64_t first, std::int64_t count, std::int64_t pitch, const Copy& copy) const;

  Shape shape_;
  std::vector<std::int64_t> strides_;
  std::int64_t offset_ = 0;
  std::int64_t channel_stride_ = 0;
  std::int64_t bytes_ = 0;
  std::optional<Rows> rows_;
  std::optional<std::int64_t> columns_;
};

/// work(i, thread) for every i below count, on up to `threads` threads. Rethrows what a thread throws.
template <class Work>
void in_parallel(std::int64_t count, int threads, const Work& work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i)
      work(i, 0);
    return;
  }
  std::atomic<std::int64_t> next = 0;
  std::mutex guard;
  std::exception_ptr failure;
  const auto run = [&](int thread) {
    try {
      for (std::int64_t i = next++; i < count; i = next++)
        work(i, thread);
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int t = 1; t < std::min<std::int64_t>(threads, count); ++t)
      helpers.emplace_back(run, t);
    run(0);
  }
  if (failure)
    std::rethrow_exception(failure);
}

}  // namespace normproof::reference
