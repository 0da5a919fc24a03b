// How the CPU kernels walk a tensor of any strides: the axes of a channel folded into runs of values that lie
// equally far apart.
//
// Contiguous: one dense run per batch item. Channels-last (and a contiguous [N, C]): one run in all, with the
// channels side by side, which is worth a walk of its own (`interleaved`).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "normproof/kernel.h"

namespace normproof::impls::cpu {

/// Why a problem is turned down, with the status that the interface has for it.
struct Refusal {
  np_status status;
  std::string reason;
};

struct Geometry {
  std::int64_t channels = 0;
  std::int64_t n = 0;             ///< values per channel
  std::int64_t batch = 0;         ///< batch items, of n / batch values each
  std::int64_t channel_step = 0;  ///< from one channel to the next
  std::int64_t plane = 1;         ///< values of a run
  std::int64_t step = 1;          ///< from one value of a run to the next
  bool interleaved = false;       ///< channels are nearer to each other than values: all of a row first

  struct Axis {
    std::int64_t extent;
    std::int64_t stride;
  };
  std::array<Axis, NP_MAX_RANK> outer{};  ///< over the runs, the slowest first
  int outer_axes = 0;

  /// Of value i (batch, then space in row-major order) of a channel, in elements.
  constexpr std::int64_t offset(std::int64_t channel, std::int64_t i) const {
    std::int64_t at = channel * channel_step + i % plane * step;
    std::int64_t run = i / plane;
    for (int a = outer_axes - 1; a > 0; --a) {
      at += run % outer[static_cast<std::size_t>(a)].extent * outer[static_cast<std::size_t>(a)].stride;
      run /= outer[static_cast<std::size_t>(a)].extent;
    }
    return outer_axes == 0 ? at : at + run * outer[0].stride;
  }
};

inline Geometry geometry_of(int rank, const std::int64_t* shape, const std::int64_t* strides) {
  Geometry g{.channels = shape[1], .n = shape[0], .batch = shape[0], .channel_step = strides[1]};
  for (int axis = 2; axis < rank; ++axis)
    g.n *= shape[axis];
  if (g.n == 0 || g.channels == 0)
    return g;

  for (int axis = 0; axis < rank; ++axis) {
    if (axis == 1 || shape[axis] == 1)
      continue;
    Geometry::Axis* const last =
        g.outer_axes == 0 ? nullptr : &g.outer[static_cast<std::size_t>(g.outer_axes - 1)];
    if (last != nullptr && last->stride == strides[axis] * shape[axis])
      *last = {last->extent * shape[axis], strides[axis]};
    else
      g.outer[static_cast<std::size_t>(g.outer_axes++)] = {shape[axis], strides[axis]};
  }
  if (g.outer_axes > 0) {
    --g.outer_axes;
    g.plane = g.outer[static_cast<std::size_t>(g.outer_axes)].extent;
    g.step = g.outer[static_cast<std::size_t>(g.outer_axes)].stride;
  }
  g.interleaved = g.channels > 1 && std::abs(g.channel_step) < std::abs(g.step);
  return g;
}

inline Geometry geometry_of(const np_tensor& tensor) {
  return geometry_of(tensor.ndim, tensor.shape, tensor.strides);
}
/// Of x, from the problem alone: what a kernel plans with.
inline Geometry geometry_of(const np_problem& p) {
  return geometry_of(p.ndim, p.shape, p.x_strides);
}

}  // namespace normproof::impls::cpu
