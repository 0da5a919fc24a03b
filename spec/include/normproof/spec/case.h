// A case: a problem with its numbers. What a recipe expands to and what a case file holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "normproof/spec/problem.h"

namespace normproof {

/// core cases gate. extended ones (squares that overflow the format, subnormals) are run and reported, and
/// fail only kernels that claim that domain or runs that ask for it.
enum class Domain { core, extended };

/// Every value is representable in its tensor's format. x is channel-major: x[c * n + i], n =
/// shape.per_channel(), with i running over batch, then space in row-major order; the layout belongs to the
/// kernel's buffers alone. Per-channel tensors have `channels` values; absent ones are empty.
struct Case {
  Problem problem;
  std::vector<double> x;
  std::vector<double> gamma;
  std::vector<double> beta;
  std::vector<double> running_mean;  ///< before the update; in inference the mean that is used
  std::vector<double> running_var;   ///< before the update; in inference the variance that is used
  std::int64_t num_batches_tracked = 0;

  std::vector<double> dy;          ///< backward passes: the gradient of y, like x
  std::vector<double> saved_mean;  ///< backward_training and double_backward: the statistics to use
  std::vector<double> saved_invstd;
  std::vector<double> v_x;      ///< second order: the cotangent of dx, like x; may be absent
  std::vector<double> v_gamma;  ///< the cotangents of dgamma and dbeta, per channel; may be absent
  std::vector<double> v_beta;

  Domain domain = Domain::core;
  std::string origin;  ///< the recipe line or the case file that it came from: what `replay` takes

  /// The values of one channel.
  const double* channel(std::int64_t c) const { return channel(x, c); }
  const double* channel(const std::vector<double>& values, std::int64_t c) const {
    return values.data() +
           static_cast<std::size_t>(c) * static_cast<std::size_t>(problem.shape.per_channel());
  }
};

}  // namespace normproof
