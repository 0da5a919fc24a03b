// What travels between the host and a worker: fixed-size records over a SOCK_SEQPACKET pair, tensors in
// shared memory.
//
// One request, one reply. Nothing here has a pointer or needs parsing: a reply written by a hostile kernel
// can be wrong, never unreadable. The host decides from the shared memory what the kernel wrote; the reply
// carries only what it cannot see from there.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "normproof/kernel.h"

namespace normproof::impls {

/// Descriptors that every worker inherits.
inline constexpr int socket_descriptor = 3;
inline constexpr int memory_descriptor = 4;

/// The buffers of a case. The number of a slot is also the number of its tensor for placement() (shape.h).
enum class Slot {
  x,
  gamma,
  beta,
  running_mean,
  running_var,
  num_batches_tracked,
  y,
  mean,
  var,
  invstd,
  dy,
  saved_mean,
  saved_invstd,
  dx,
  dgamma,
  dbeta,
  v_x,
  v_gamma,
  v_beta,
  grad_dy,
  grad_x,
  grad_gamma
};
inline constexpr std::size_t slot_count = static_cast<std::size_t>(Slot::grad_gamma) + 1;
constexpr std::size_t index(Slot slot) {
  return static_cast<std::size_t>(slot);
}
inline constexpr auto all_slots = [] {
  std::array<Slot, slot_count> slots{};
  for (std::size_t s = 0; s < slot_count; ++s)
    slots[s] = static_cast<Slot>(s);
  return slots;
}();
/// Like x, with a batch and spatial axes; the others have one value per channel (or one in all, the counter).
constexpr bool is_activation(Slot slot) {
  return slot == Slot::x || slot == Slot::y || slot == Slot::dy || slot == Slot::dx || slot == Slot::v_x ||
         slot == Slot::grad_dy || slot == Slot::grad_x;
}

/// A tensor in the shared memory: its storage, its first element and its strides. Offset 0 holds the progress
/// word, so a storage there means: absent.
struct Buffer {
  std::uint64_t offset = 0;       ///< of the storage from the start of the memory
  std::uint64_t bytes = 0;        ///< of the storage
  std::uint64_t byte_offset = 0;  ///< of the first element from the start of the storage
  std::array<std::int64_t, NP_MAX_RANK> strides{};
};

/// Which call into the library was last begun; kept at the start of the shared memory for the post-mortem.
enum class Stage : std::uint32_t { idle, query, create, run, destroy };

template <std::size_t Size>
struct Text {
  std::array<char, Size> characters{};

  Text& operator=(std::string_view text) {
    characters.fill(0);
    text.copy(characters.data(), Size - 1);
    return *this;
  }
  /// Always bounded: the other side may have been overwritten.
  std::string_view view() const {
    const std::string_view all(characters.data(), Size);
    return all.substr(0, all.find('\0'));
  }
};

struct Request {
  enum class Command : std::uint32_t { describe, run };
  Command command = Command::describe;
  std::int32_t kernel_index = 0;  ///< describe
  Text<128> kernel;               ///< run
  Text<64> dialect;
  np_problem problem{};  ///< its dialect is set from the text above on the other side
  std::array<Buffer, slot_count> slots{};
  std::uint64_t memory_bytes = 0;
};

/// Sent once, unasked, when the library is loaded or could not be.
struct Hello {
  std::int32_t loaded = 0;
  std::int32_t kernel_count = 0;
  Text<128> library_name;
  Text<128> library_version;
  Text<1024> message;
};

struct Description {
  std::int32_t device_type = 1;
  Text<128> name;
  Text<1024> summary;
  Text<4096> worst_known;
};

struct Reply {
  std::int32_t kernel_found = 1;
  std::int32_t status = NP_FAILED;
  std::uint32_t outputs = 0;  ///< NP_OUT_* of the capability
  np_claims claims{};
  std::int32_t environment_changed = 0;
  std::int32_t workspace_overrun = 0;
  double seconds = 0;
  Text<1024> message;
};

}  // namespace normproof::impls
