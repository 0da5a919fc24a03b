// The two memory layouts that the CPU kernels walk: planes of one channel (contiguous) and rows of all
// channels (channels-last; a contiguous [N, C] is that too).
#pragma once

#include <cstdint>
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
  std::int64_t plane = 0;  ///< values of one channel that lie together, if not interleaved
  std::int64_t n = 0;      ///< values per channel
  bool interleaved = false;

  std::int64_t offset(std::int64_t channel, std::int64_t i) const {
    return interleaved ? i * channels + channel : (i / plane * channels + channel) * plane + i % plane;
  }
};

/// Throws Refusal for strides that are neither.
inline Geometry geometry_of(const np_problem& p, const std::int64_t* strides) {
  Geometry g{.channels = p.shape[1], .plane = 1, .n = p.shape[0]};
  for (int axis = 2; axis < p.ndim; ++axis)
    g.plane *= p.shape[axis];
  g.n *= g.plane;

  // Walk from the innermost axis outwards; an axis of extent 1 may have any stride.
  const auto dense = [&](std::int64_t innermost, std::int64_t channel, std::int64_t batch) {
    std::int64_t step = innermost;
    for (int axis = p.ndim - 1; axis >= 2; --axis) {
      if (p.shape[axis] != 1 && strides[axis] != step)
        return false;
      step *= p.shape[axis];
    }
    return (p.shape[1] == 1 || strides[1] == channel) && (p.shape[0] == 1 || strides[0] == batch);
  };
  if (g.n == 0 || g.channels == 0)
    return g;
  if (g.channels > 1 && dense(g.channels, 1, g.plane * g.channels))
    g.interleaved = true;
  else if (!dense(1, g.plane, g.plane * g.channels))
    throw Refusal{NP_UNSUPPORTED, "only dense tensors, contiguous or channels-last"};
  return g;
}

}  // namespace normproof::impls::cpu
