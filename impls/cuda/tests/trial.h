// A device kernel run lane by lane on buffers of its own, without the worker: any format, any alignment, any
// seed of the hostile choices, any accumulator.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/glue.h"

namespace normproof::impls::cuda {

template <class Data>
constexpr np_dtype dtype_of() {
  return {static_cast<std::uint8_t>(std::is_same_v<Data, BF16> ? 4 : 2),
          static_cast<std::uint8_t>(8 * sizeof(Data)), 1};
}

/// x and y are [batch, channels, plane] in memory, `shift` elements beyond a 16-byte boundary.
template <class Data>
struct Trial {
  using Stat = std::conditional_t<std::is_same_v<Data, double>, double, float>;

  Index batch, channels, plane;
  std::int32_t pass = NP_FORWARD_TRAINING;
  double eps = 0;
  std::uint64_t seed = 1;
  Index shift = 0;
  std::vector<Data> x, y;  ///< in a backward pass y is dx
  std::vector<Data> dy;
  std::vector<Stat> gamma, beta, mean, var, invstd, running_mean, running_var, dgamma, dbeta;
  std::int64_t batches = 0;

  Trial(Index of_batch, Index of_channels, Index of_plane)
      : batch(of_batch),
        channels(of_channels),
        plane(of_plane) {
    const auto all = static_cast<std::size_t>(batch * channels * plane);
    for (auto* values : {&x, &y, &dy})
      values->assign(all, Data{});
    for (auto* values : {&gamma, &beta, &mean, &var, &invstd, &running_mean, &running_var, &dgamma, &dbeta})
      values->assign(static_cast<std::size_t>(channels), Stat{1});
  }
  Index n() const { return batch * plane; }
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  /// Value i of channel k.
  void set(std::vector<Data>& to, Index k, Index i, double value) const {
    to[at((i / plane * channels + k) * plane + i % plane)] = static_cast<Data>(value);
  }

  /// Runs Kernel; the workspace is left in `workspace`, which is filled with NaNs before.
  template <class Kernel>
  void run(std::vector<std::uint64_t>& workspace) {
    np_problem p{};
    p.struct_size = sizeof p;
    p.pass = pass;
    p.dialect = "documented";
    p.device = {device_type, 0};
    p.data_dtype = dtype_of<Data>();
    p.stats_dtype = dtype_of<Stat>();
    p.ndim = 3;
    p.threads = 1;
    std::int64_t shape[3]{batch, channels, plane};
    std::int64_t strides[3]{channels * plane, plane, 1};
    for (int axis = 0; axis < 3; ++axis) {
      p.shape[axis] = shape[axis];
      p.x_strides[axis] = p.y_strides[axis] = strides[axis];
    }
    p.eps = {eps, {2, 64, 1}};
    p.momentum = {0.25, {2, 64, 1}};
    p.has_momentum = p.has_affine = p.has_running = 1;

    const auto activation = [&](std::vector<Data>& shifted) {
      return np_tensor{shifted.data(), p.device, 3, p.data_dtype, shape, strides, 0};
    };
    std::vector<Data> memory_x, memory_y, memory_dy;
    np_tensor of_x = activation(shifted(memory_x, x));
    np_tensor of_y = activation(shifted(memory_y, y));
    np_tensor of_dy = activation(shifted(memory_dy, dy));
    for (auto [tensor, memory] : {std::pair{&of_x, &memory_x}, {&of_y, &memory_y}, {&of_dy, &memory_dy}})
      tensor->byte_offset = first(*memory) * sizeof(Data);
    std::int64_t one = 1;
    np_tensor small[9];
    std::size_t s = 0;
    for (auto* values : {&gamma, &beta, &mean, &var, &invstd, &running_mean, &running_var, &dgamma, &dbeta})
      small[s++] = {values->data(), p.device, 1, p.stats_dtype, &channels, &one, 0};
    np_tensors t{};
    t.struct_size = sizeof t;
    t.x = &of_x;
    t.y = t.dx = &of_y;
    t.dy = &of_dy;
    t.gamma = &small[0];
    t.beta = &small[1];
    t.mean = &small[2];
    t.var = &small[3];
    t.invstd = &small[4];
    t.running_mean = &small[5];
    t.running_var = &small[6];
    t.dgamma = &small[7];
    t.dbeta = &small[8];
    t.saved_mean = &small[2];
    t.saved_invstd = &small[4];
    t.num_batches_tracked = &batches;
    t.workspace = workspace.data();
    Stream stream(seed);
    Kernel::template run<Data>(p, t, stream);
    const auto begin = memory_y.begin() + static_cast<std::ptrdiff_t>(first(memory_y));
    y.assign(begin, begin + static_cast<std::ptrdiff_t>(y.size()));
  }
  template <class Kernel>
  void run() {
    std::vector<std::uint64_t> workspace(at(64 * (1 + channels * (4 + n()))), ~std::uint64_t{0});
    run<Kernel>(workspace);
  }

private:
  /// The element that lies `shift` beyond the first 16-byte boundary.
  std::size_t first(const std::vector<Data>& memory) const {
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    return (16 - address % 16) % 16 / sizeof(Data) + at(shift);
  }
  std::vector<Data>& shifted(std::vector<Data>& memory, const std::vector<Data>& values) const {
    memory.resize(values.size() + 32);
    std::copy(values.begin(), values.end(), memory.begin() + static_cast<std::ptrdiff_t>(first(memory)));
    return memory;
  }
};

}  // namespace normproof::impls::cuda
