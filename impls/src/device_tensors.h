// A request's tensors on the device: the zones of the arena, red zones and poison included, copied there
// before a run and back after it, so that whoever judges sees a device as it sees the host.
//
// A device has no page that only a read may touch and no trap behind a tensor. So a storage has red zones on
// both sides, compared byte by byte when they are back, and an input that was written to shows by its bytes.
// Under compute-sanitizer an allocation's end is worth more than a red zone: `exact` gives each storage an
// allocation of just its size, and leaves scratch memory uninitialised for initcheck.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda_driver.h"
#include "protocol.h"

namespace normproof::impls {

/// NORMPROOF_DEVICE_MEMORY: "red-zones" (and unset) or "exact". Throws std::invalid_argument on other words.
bool exact_allocations();

/// Device memory; freed with it. A size of 0 is an allocation of 1: every tensor has an address.
class DeviceBlock {
public:
  DeviceBlock() = default;
  DeviceBlock(const Cuda& cuda, std::size_t bytes);
  ~DeviceBlock();
  DeviceBlock(DeviceBlock&&) noexcept;
  DeviceBlock& operator=(DeviceBlock&&) noexcept;

  CuPointer address() const { return address_; }

private:
  const Cuda* cuda_ = nullptr;
  CuPointer address_ = 0;
};

class DeviceTensors {
public:
  /// Copies `slots` of the arena at `memory` in; the counter of batches stays on the host.
  DeviceTensors(const Cuda& cuda, const std::array<Buffer, slot_count>& slots, std::byte* memory, bool exact);

  /// The storage's address on the device, or nullptr for one that is absent.
  void* storage(Slot slot) const;
  /// Copies all of it back into the arena.
  void fetch() const;

private:
  struct Piece {
    std::uint64_t offset;  ///< in the arena
    std::uint64_t bytes;
    CuPointer address;
  };
  const Cuda& cuda_;
  std::byte* memory_;
  std::vector<DeviceBlock> blocks_;
  std::vector<Piece> pieces_;
  std::array<CuPointer, slot_count> storages_{};
};

/// Scratch memory for a kernel on the device, with red zones around it.
class DeviceScratch {
public:
  DeviceScratch(const Cuda& cuda, std::uint64_t bytes, bool exact);

  void* data() const;
  struct Touched {
    bool before = false;
    bool after = false;
  };
  /// After the run: whether a byte of a red zone is another one.
  Touched touched() const;

private:
  const Cuda& cuda_;
  std::uint64_t bytes_;
  std::uint64_t zone_;
  DeviceBlock block_;
};

}  // namespace normproof::impls
