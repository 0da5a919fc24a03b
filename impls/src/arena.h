// The arena: a case's tensors laid out in one block of memory for a kernel, and what the kernel made of it.
//
// Every buffer has pages of its own, in a worker between pages that cannot be touched: it lies flush against
// the one before it or the one behind. What it leaves of its pages, and the gaps between its elements, are
// guard bytes. Inputs are hashed, outputs are filled with a NaN of a payload that no arithmetic makes. The
// host fills and reads; the kernel's process only runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/spec/case.h"
#include "protocol.h"

namespace normproof::impls {

class Arena {
public:
  /// Throws std::invalid_argument where the case's vectors do not have the sizes of its shape. `c` must
  /// outlive it.
  explicit Arena(const Case& c, Side side = Side::none);

  /// Where the storages lie from now on; fill() again. With a `red_zone` that many guard bytes and more stand
  /// on both sides of each, and no page does: for a device, whose memory has no protected pages.
  void place(Side side, std::uint64_t red_zone = 0);

  /// Size of the block; it starts with a page for the Head.
  std::size_t bytes() const { return bytes_; }
  const std::array<Buffer, slot_count>& slots() const { return slots_; }

  /// Lays out inputs, poison and guard zones. Repeat runs fill again.
  void fill(std::byte* memory);
  /// Breaches of guard zones and inputs, for any outcome.
  void inspect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const;
  /// The outputs of the NP_OUT_* set `outputs`; an element that still has the poison is a breach. In
  /// inference the running statistics if they changed.
  void collect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const;
  /// Hash of the bits of all that collect() reads, wherever it lies.
  std::uint64_t fingerprint(const std::byte* memory, std::uint32_t outputs) const;
  /// Hash of everything that a kernel could write.
  std::uint64_t digest(const std::byte* memory) const;
  /// "past the end of mean, at byte 12 of 12": an offset from the start of the block in words.
  std::string place_of(std::int64_t offset) const;

private:
  bool updates_running() const { return case_.problem.pass == Pass::forward_training; }
  bool is_input(Slot slot, std::uint32_t outputs) const;
  bool gaps_hold(const std::byte* memory, Slot slot) const;
  std::uint64_t hash(const std::byte* memory, Slot slot) const;

  const Case& case_;
  std::vector<Slot> given_;
  std::array<Buffer, slot_count> slots_{};
  std::array<std::vector<bool>, slot_count> elements_{};  ///< of strided storages: the places that hold one
  std::array<std::uint64_t, slot_count> before_{};
  std::size_t bytes_ = 0;
};

std::string_view to_string(Slot slot);

}  // namespace normproof::impls
