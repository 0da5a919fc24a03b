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

/// The buffers of a case.
enum class Slot { x, gamma, beta, running_mean, running_var, num_batches_tracked, y, mean, var, invstd };
inline constexpr std::array all_slots{
    Slot::x, Slot::gamma, Slot::beta, Slot::running_mean, Slot::running_var, Slot::num_batches_tracked,
    Slot::y, Slot::mean,  Slot::var,  Slot::invstd};
inline constexpr std::size_t slot_count = all_slots.size();
constexpr std::size_t index(Slot slot) {
  return static_cast<std::size_t>(slot);
}

/// Where a buffer's data lie in the shared memory. Offset 0 holds the progress word, so it means: absent.
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
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
  std::array<Extent, slot_count> slots{};
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
