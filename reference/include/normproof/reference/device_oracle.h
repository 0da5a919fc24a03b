// The certified oracle for tensors in the memory of a CUDA device: the same correctly rounded values, bit for
// bit, at a speed that the device's memory sets.
//
// What touches an element runs on the device: sums in double-double, the rounding test, and a second one in
// double-double for what the first leaves. What is done once per channel is the host's, and so are the
// channels that the tests cannot settle wholly (ties, exact zeros, special values): these are fetched and
// decided by certified_forward's own route. Bounds: spec/bounds/certified.md.
#pragma once

#include <cstdint>
#include <memory>

#include "normproof/reference/certified.h"

namespace normproof::reference {

/// Who decided what.
struct DeviceEffort {
  std::int64_t elements = 0;  ///< values of y or dx
  std::int64_t doubtful = 0;  ///< of these, failed the first test on the device
  std::int64_t channels = 0;
  std::int64_t host_channels = 0;  ///< of these, fetched and decided on the host
  CertifiedEffort host;            ///< what that took
};

/// One stream of one device, and workspace there that grows as needed and is freed with it: about 10 MB, a
/// byte for every 32 values, and up to 32 MB more where the host decides channels. Lives in the library
/// normproof::device_oracle, which is built where nvcc is found and not installed. Not thread-safe; objects
/// of different threads do not touch each other.
class DeviceOracle {
public:
  /// On the current device and the stream given, a cudaStream_t; null is the default stream. The stream stays
  /// the caller's and outlives this. Throws std::runtime_error with the CUDA runtime's reason where there is
  /// no device, and for a device whose arithmetic is not IEEE 754's.
  explicit DeviceOracle(void* stream = nullptr);
  ~DeviceOracle();
  DeviceOracle(const DeviceOracle&) = delete;
  DeviceOracle& operator=(const DeviceOracle&) = delete;

  /// As certified_forward and certified_backward (certified.h), with x, y, dy and dx in the device's memory
  /// and all per-channel tensors in the host's. Work begins after what is on the stream, and is done on
  /// return. `threads` are those of the host. A placement's spatial axes have to collapse into one of equal
  /// steps (contiguous, channels-last, slices of channels do): any other is std::invalid_argument, which
  /// names it. Throws what certified_forward does, and std::runtime_error with the runtime's words; then y or
  /// dx and the per-channel results may be partly written.
  DeviceEffort forward(const ForwardBuffers& buffers);
  DeviceEffort backward(const BackwardBuffers& buffers);

private:
  std::unique_ptr<class StageMachine> machine_;
};

}  // namespace normproof::reference
