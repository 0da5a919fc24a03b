// What the stages of the device oracle are told, and who carries them out. A stage is a function of (thread,
// threads, arguments) that needs no other thread (device_stages.h), so a device runs it as a kernel, and a
// test as a loop over the threads in any order: the same source, the same bits. Derivations:
// spec/bounds/certified.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "normproof/reference/certified.h"
#include "normproof/reference/device_oracle.h"
#include "raw_lanes.h"

namespace normproof::reference {

/// In the order in which a pass runs them.
enum class Stage : std::uint8_t {
  shifts,    ///< a number near the mean of each channel (training)
  sums,      ///< partial sums in double-double of each thread's share of a channel
  join,      ///< join_width partial sums to one
  elements,  ///< rounds what is certain; lists the rest
  retest,    ///< of the list, in double-double; counts by channel what stays open
  gather,    ///< values of one channel to a run
  scatter,   ///< a run to values of one channel
  probe,     ///< the arithmetic itself
};

/// Of the neighbours in space that a thread reads at once, where every tensor has them side by side and
/// aligned.
inline constexpr int pack_bytes = 16;
/// Partial sums that a thread joins to one; in the bound of sums the 22 joins, of 3u^2, are 6 additions, of
/// 11u^2.
inline constexpr std::int64_t join_width = 23;
inline constexpr std::int64_t join_depth = 6;

/// A tensor: value (b, s) of channel c, s counted over all of space, is at start + b * batch + c * channel +
/// s * space.
struct DeviceTensor {
  void* start = nullptr;
  std::int64_t batch = 0, channel = 0, space = 0;
};

/// Sums of a share: of d and d^2, or (backward) of w and w d, with the norms sum d^2 and sum w^2 beside them.
struct DeviceSums {
  double first[2], second[2];
  double norm_d, norm_w;
};

/// What the host found out about a channel.
struct DeviceChannel {
  Line line;
  Form form;
  bool known = false;  ///< whether it has all that its elements need: else they are the host's
};

/// Of all stages; pointers are the machine's.
struct StageArguments {
  std::int64_t channels, plane;
  std::int64_t n;  ///< values of a channel
  /// Threads of a channel in sums and elements, each with every parts-th value (packed: pack). Neighbours in
  /// the order of threads are neighbours in the channel or, `across`, in the channels: whichever lie side by
  /// side.
  std::int64_t parts;
  bool across;
  bool packed;
  DeviceTensor x, w, y;  ///< w.start is null in the forward passes
  Grid grid;

  double* shifts;  ///< of channels, as are known and open

  DeviceSums* sums;  ///< [channel][parts]
  const DeviceSums* from;
  DeviceSums* to;
  std::int64_t parts_from, parts_to;

  const DeviceChannel* known;
  std::int64_t* doubtful;  ///< values of them, as channel * n + place
  std::int64_t capacity;
  std::uint64_t* doubts;  ///< how many there were, also beyond the capacity
  std::uint64_t* open;    ///< of each channel, how many the host has to decide

  std::int64_t of_channel, first, count;
  void* run;

  const double* questions;
  double* answers;
};

/// Memory of a machine by what it is for.
enum class Memory : std::uint8_t { shifts, sums, joined, known, doubtful, counters, run, probe };
inline constexpr std::size_t memories = 8;

/// A device, or what stands for one. Everything happens in the order of the calls; one thread at a time.
/// Throws std::runtime_error, in the words of the device's own library.
class StageMachine {
public:
  virtual ~StageMachine() = default;
  /// Threads that fill it.
  virtual std::int64_t width() const = 0;
  /// `bytes` of memory of any content, until it is asked for again; owned by the machine.
  virtual void* memory(Memory which, std::size_t bytes) = 0;
  virtual void clear(void* memory, std::size_t bytes) = 0;
  virtual void put(void* memory, const void* from, std::size_t bytes) = 0;
  /// Waits for all that was asked for before.
  virtual void fetch(void* to, const void* memory, std::size_t bytes) = 0;
  virtual void run(Stage stage, const Format& data, std::int64_t threads, const StageArguments&) = 0;
};

/// certified_forward and certified_backward with x, y, dy and dx in the machine's memory and all per-channel
/// tensors in the host's.
DeviceEffort certified_forward(const ForwardBuffers& buffers, StageMachine& machine);
DeviceEffort certified_backward(const BackwardBuffers& buffers, StageMachine& machine);
/// Throws std::runtime_error unless the machine rounds to nearest, keeps subnormals and fuses nothing
/// unasked.
void require_ieee_arithmetic(StageMachine& machine);

}  // namespace normproof::reference
