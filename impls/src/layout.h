// Between channel-major doubles and a strided buffer of any format.
//
// The axes of a channel (batch, then space) are folded into as few strided runs as the strides allow: a
// contiguous tensor is one dense run per batch item, channels-last one strided run per channel. Strided runs
// are walked in tiles so that a cache line of the buffer serves all channels that it holds.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "normproof/spec/format.h"

namespace normproof::impls {

/// A view of a buffer with axes batch, channel, spatial...; strides in elements, any that do not overlap.
struct View {
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

/// The elements of one channel that lie `step` apart: values i .. i + count - 1 start at `offset`.
struct ChannelRun {
  std::int64_t i;
  std::int64_t count;
  std::int64_t offset;
  std::int64_t step;
};

/// The runs of channel 0; channel c has the same ones, c * strides[1] further.
inline std::vector<ChannelRun> channel_runs(const View& view) {
  struct Axis {
    std::int64_t extent, stride;
  };
  std::vector<Axis> axes;
  for (std::size_t a = 0; a < view.shape.size(); ++a) {
    if (view.shape[a] == 0)
      return {};
    if (a == 1 || view.shape[a] == 1)
      continue;
    if (!axes.empty() && axes.back().stride == view.strides[a] * view.shape[a])
      axes.back() = {axes.back().extent * view.shape[a], view.strides[a]};
    else
      axes.push_back({view.shape[a], view.strides[a]});
  }
  if (axes.empty())
    axes.push_back({1, 1});

  const Axis inner = axes.back();
  axes.pop_back();
  std::vector<std::int64_t> position(axes.size(), 0);
  std::vector<ChannelRun> runs;
  for (std::int64_t i = 0;; i += inner.extent) {
    std::int64_t offset = 0;
    for (std::size_t a = 0; a < axes.size(); ++a)
      offset += position[a] * axes[a].stride;
    runs.push_back({i, inner.extent, offset, inner.stride});
    std::size_t a = axes.size();
    while (a > 0 && ++position[a - 1] == axes[a - 1].extent)
      position[--a] = 0;
    if (a == 0)
      return runs;
  }
}

/// Calls `visit(c, run)` for every channel, in an order that is kind to the cache. `run` may be a part of a
/// run.
template <class Visit>
void for_each_tile(const View& view, Visit&& visit) {
  const std::int64_t channels = view.shape[1];
  for (const ChannelRun& run : channel_runs(view)) {
    const std::int64_t tile =
        run.step == 1 ? run.count : std::max<std::int64_t>(16, 32768 / std::max<std::int64_t>(channels, 1));
    for (std::int64_t first = 0; first < run.count; first += tile)
      for (std::int64_t c = 0; c < channels; ++c)
        visit(c, ChannelRun{run.i + first, std::min(tile, run.count - first),
                            run.offset + c * view.strides[1] + first * run.step, run.step});
  }
}

/// Reads and writes stored elements of one format. f32 and f64 convert in hardware (exact: the values are
/// representable), the others through their encoding.
template <class Bits>
struct Codec {
  using Stored = Bits;
  const Format& format;

  Bits store(double value) const {
    if constexpr (sizeof(Bits) == 8)
      return std::bit_cast<Bits>(value);
    else if constexpr (sizeof(Bits) == 4)
      return std::bit_cast<Bits>(static_cast<float>(value));
    else
      return static_cast<Bits>(encode(format, value));
  }
  double load(Bits bits) const {
    if constexpr (sizeof(Bits) == 8)
      return std::bit_cast<double>(bits);
    else if constexpr (sizeof(Bits) == 4)
      return static_cast<double>(std::bit_cast<float>(bits));
    else
      return decode(format, bits);
  }
};

/// Calls `use` with the codec of the format.
template <class Use>
decltype(auto) with_codec(const Format& format, Use&& use) {
  switch (format.bytes) {
  case 8:
    return use(Codec<std::uint64_t>{format});
  case 4:
    return use(Codec<std::uint32_t>{format});
  default:
    return use(Codec<std::uint16_t>{format});
  }
}

/// Writes channel-major values into the buffer.
inline void scatter(const Format& format, const View& view, const double* values, std::int64_t per_channel,
                    std::byte* buffer) {
  with_codec(format, [&]<class Bits>(const Codec<Bits> codec) {
    Bits* const stored = reinterpret_cast<Bits*>(buffer);
    for_each_tile(view, [&](std::int64_t c, const ChannelRun& run) {
      const double* const from = values + c * per_channel + run.i;
      Bits* const to = stored + run.offset;
      if (run.step == 1)
        for (std::int64_t k = 0; k < run.count; ++k)
          to[k] = codec.store(from[k]);
      else
        for (std::int64_t k = 0; k < run.count; ++k)
          to[k * run.step] = codec.store(from[k]);
    });
  });
}

/// Elements that have exactly the bits `poison`, and the first of them in channel-major order.
struct Unwritten {
  std::int64_t count = 0;
  std::int64_t first = -1;
};

/// Reads the buffer into channel-major values and counts the elements that still hold the poison.
inline Unwritten gather(const Format& format, const View& view, const std::byte* buffer,
                        std::int64_t per_channel, std::uint64_t poison, double* values) {
  Unwritten unwritten;
  with_codec(format, [&]<class Bits>(const Codec<Bits> codec) {
    const Bits* const stored = reinterpret_cast<const Bits*>(buffer);
    const Bits marked = static_cast<Bits>(poison);
    for_each_tile(view, [&](std::int64_t c, const ChannelRun& run) {
      const Bits* const from = stored + run.offset;
      double* const to = values + c * per_channel + run.i;
      Bits found = 0;
      const auto read = [&](std::int64_t k, Bits bits) {
        found = static_cast<Bits>(found | static_cast<Bits>(bits == marked));
        to[k] = codec.load(bits);
      };
      if (run.step == 1)
        for (std::int64_t k = 0; k < run.count; ++k)
          read(k, from[k]);
      else
        for (std::int64_t k = 0; k < run.count; ++k)
          read(k, from[k * run.step]);
      for (std::int64_t k = 0; found != 0 && k < run.count; ++k)
        if (from[k * run.step] == marked) {
          const std::int64_t at = c * per_channel + run.i + k;
          if (unwritten.count++ == 0 || at < unwritten.first)
            unwritten.first = at;
        }
    });
  });
  return unwritten;
}

}  // namespace normproof::impls
