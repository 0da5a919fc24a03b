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
inline constexpr int life_descriptor = 5;  ///< a pipe whose other end closes when the host dies

inline constexpr std::uint64_t page_bytes = 4096;
/// Guard bytes on both sides of a storage on a device: what a block of 256 threads writes too far at 16 bytes
/// a thread.
inline constexpr std::uint64_t device_red_zone = 4096;

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

/// A tensor in the shared memory: its storage, its first element and its strides. Offset 0 holds the head, so
/// a storage there means: absent. The zone is the storage with its slack; what lies between zones may not be
/// touched.
struct Buffer {
  std::uint64_t offset = 0;       ///< of the storage from the start of the memory
  std::uint64_t bytes = 0;        ///< of the storage
  std::uint64_t byte_offset = 0;  ///< of the first element from the start of the storage
  std::uint64_t zone_begin = 0;   ///< whole pages where there are guard pages
  std::uint64_t zone_end = 0;
  std::int32_t read_only = 0;
  std::array<std::int64_t, NP_MAX_RANK> strides{};
};

/// Where in its zone a storage lies: flush against the protected page before it, or against the one behind.
/// `none`: no page is protected, zones have guard bytes on both sides.
enum class Side : std::uint32_t { none, head, tail };

/// Which call into the library was last begun.
enum class Stage : std::uint32_t { idle, query, create, run, destroy };
constexpr std::string_view stage_name(Stage stage) {
  switch (stage) {
  case Stage::idle:
    return "between calls";
  case Stage::query:
    return "query";
  case Stage::create:
    return "create";
  case Stage::run:
    return "run";
  case Stage::destroy:
    return "destroy";
  }
  return "with its progress word overwritten";
}

/// An access that the processor refused.
struct Fault {
  enum class Access : std::uint32_t { unknown, read, write };
  enum class Where : std::uint32_t { elsewhere, tensors, workspace, reserve, stack };
  std::int32_t signal = 0;  ///< 0: there was none
  Access access = Access::unknown;
  Where where = Where::elsewhere;
  std::int64_t offset = 0;  ///< from the start of the shared memory, the workspace or the reserve
  std::uint64_t bytes = 0;  ///< of the workspace or the reserve
  std::uint64_t address = 0;
};

/// The start of the shared memory: what the worker leaves for the post-mortem. A kernel may have written over
/// it; nothing but words is made of it.
struct Head {
  std::uint32_t stage = 0;           ///< Stage
  std::uint32_t returned_twice = 0;  ///< run() came back in a second process too
  std::uint32_t lost = 0;            ///< the worker could not answer: its descriptors were closed
  std::uint64_t written_inputs = 0;  ///< a bit per Slot: a write to its read-only pages
  Fault fault;
};
static_assert(sizeof(Head) <= page_bytes);

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
  Side side = Side::none;
};

/// Sent once, unasked, when the library is loaded or could not be.
struct Hello {
  std::int32_t loaded = 0;
  std::int32_t kernel_count = 0;
  std::int32_t process = 0;  ///< that holds the library: its memory is what counts
  Text<256> environment;     ///< what loading did to the floating-point environment, if anything
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

/// Bits of Reply::scratch_touched.
enum ScratchBreach : std::int32_t {
  workspace_before = 1,
  workspace_after = 2,
  reserve_before = 4,
  reserve_after = 8
};

struct Reply {
  std::int32_t kernel_found = 1;
  std::int32_t status = NP_FAILED;
  std::uint32_t outputs = 0;  ///< NP_OUT_* of the capability
  np_claims claims{};
  Text<256> environment;             ///< what the call did to the floating-point environment, if anything
  std::int32_t scratch_touched = 0;  ///< ScratchBreach bits
  std::int32_t left_running = 0;     ///< there are more threads or processes than before the call
  std::int32_t device_lost = 0;      ///< the device's context is of no more use: nor is the worker
  double seconds = 0;
  Text<1024> message;
};

}  // namespace normproof::impls
