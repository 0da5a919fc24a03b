// Filling, guarding and reading the buffers of a case.
#include "arena.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "layout.h"

namespace normproof::impls {
namespace {

constexpr std::uint64_t page = page_bytes;
constexpr std::uint64_t lead = 256;  ///< guard bytes before the data where no page guards them
/// Of address space between two zones, never backed by memory: a plane or a row too far is still caught.
constexpr std::uint64_t guard_gap = std::uint64_t{1} << 20;

std::uint64_t whole_pages(std::uint64_t bytes) {
  return (bytes + page - 1) / page * page;
}

/// A quiet NaN whose payload arithmetic makes only from itself: inputs carry payload 0 alone.
std::uint64_t poison(const Format& format) {
  if (format == f64)
    return 0x7FFC'5EED'0BAD'DA7A;
  if (format == f32)
    return 0x7FED'DA7A;
  return format == f16 ? 0x7F5A : 0x7FDA;
}

/// Bytes that depend on their position, so that a kernel cannot write them back by chance or by copying.
std::uint64_t guard_word(std::uint64_t position) {
  std::uint64_t z = (position + 1) * 0x9E37'79B9'7F4A'7C15;
  z = (z ^ (z >> 30)) * 0xBF58'476D'1CE4'E5B9;
  return z ^ (z >> 31);
}

std::byte guard_byte(std::uint64_t position) {
  return static_cast<std::byte>(guard_word(position / 8) >> (8 * (position % 8)));
}

/// Calls bytewise(position) or wordwise(position) for the whole of begin .. end - 1.
template <class Bytewise, class Wordwise>
void walk_guard(std::uint64_t begin, std::uint64_t end, Bytewise&& bytewise, Wordwise&& wordwise) {
  for (; begin < end && begin % 8 != 0; ++begin)
    bytewise(begin);
  for (; begin + 8 <= end; begin += 8)
    wordwise(begin);
  for (; begin < end; ++begin)
    bytewise(begin);
}
void lay_guard(std::byte* memory, std::uint64_t begin, std::uint64_t end) {
  walk_guard(
      begin, end, [&](std::uint64_t at) { memory[at] = guard_byte(at); },
      [&](std::uint64_t at) {
        const std::uint64_t word = guard_word(at / 8);
        std::memcpy(memory + at, &word, sizeof word);
      });
}
bool guard_holds(const std::byte* memory, std::uint64_t begin, std::uint64_t end) {
  bool holds = true;
  walk_guard(
      begin, end, [&](std::uint64_t at) { holds &= memory[at] == guard_byte(at); },
      [&](std::uint64_t at) {
        std::uint64_t word = 0;
        std::memcpy(&word, memory + at, sizeof word);
        holds &= word == guard_word(at / 8);
      });
  return holds;
}

/// Not cryptographic: it tells accidents and careless writes, four lanes wide for large tensors.
std::uint64_t hash_bytes(std::span<const std::byte> bytes) {
  constexpr std::uint64_t prime = 0x9E37'79B1'85EB'CA87;
  std::array<std::uint64_t, 4> lane{1, 2, 3, 4};
  const auto mix = [](std::uint64_t h, std::uint64_t word) {
    return std::rotl((h ^ word) * prime, 29);
  };
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32)
    for (std::size_t l = 0; l < 4; ++l) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at + 8 * l, sizeof word);
      lane[l] = mix(lane[l], word);
    }
  for (; at < bytes.size(); ++at)
    lane[at % 4] = mix(lane[at % 4], static_cast<std::uint64_t>(bytes[at]) + 1);
  std::uint64_t h = bytes.size();
  for (const std::uint64_t l : lane)
    h = mix(h, l);
  return h ^ (h >> 32);
}

View view_of(const Problem& problem, Slot slot, const Buffer& buffer) {
  const Shape& shape = problem.shape;
  if (!is_activation(slot))
    return {{1, shape.channels}, {shape.channels, buffer.strides[0]}};
  View view{{shape.batch, shape.channels}, {}};
  view.shape.insert(view.shape.end(), shape.spatial.begin(), shape.spatial.end());
  view.strides.assign(buffer.strides.begin(), buffer.strides.begin() + std::ssize(view.shape));
  return view;
}

Placement placement_of(const Problem& problem, Slot slot) {
  const int tensor = static_cast<int>(slot);
  return is_activation(slot)
             ? placement(problem.shape, problem.layout, problem.layout_seed, tensor)
             : channel_placement(problem.shape.channels, problem.layout, problem.layout_seed, tensor);
}

const Format& format_of(const Problem& problem, Slot slot) {
  return is_activation(slot) ? problem.data : problem.stats;
}

std::int64_t per_channel(const Problem& problem, Slot slot) {
  return is_activation(slot) ? problem.shape.per_channel() : 1;
}

/// The outputs: slot, its name for the judge and its bit for the kernel.
struct Reported {
  Slot slot;
  Output output;
  std::uint32_t bit;
};
constexpr std::array reported{Reported{Slot::y, Output::y, NP_OUT_Y},
                              Reported{Slot::mean, Output::mean, NP_OUT_MEAN},
                              Reported{Slot::var, Output::var, NP_OUT_VAR},
                              Reported{Slot::invstd, Output::invstd, NP_OUT_INVSTD},
                              Reported{Slot::running_mean, Output::running_mean, NP_OUT_RUNNING_MEAN},
                              Reported{Slot::running_var, Output::running_var, NP_OUT_RUNNING_VAR},
                              Reported{Slot::dx, Output::dx, NP_OUT_DX},
                              Reported{Slot::dgamma, Output::dgamma, NP_OUT_DGAMMA},
                              Reported{Slot::dbeta, Output::dbeta, NP_OUT_DBETA},
                              Reported{Slot::grad_dy, Output::grad_dy, NP_OUT_GRAD_DY},
                              Reported{Slot::grad_x, Output::grad_x, NP_OUT_GRAD_X},
                              Reported{Slot::grad_gamma, Output::grad_gamma, NP_OUT_GRAD_GAMMA}};

const Reported* report_of(Slot slot) {
  const auto* const found =
      std::find_if(reported.begin(), reported.end(), [slot](const Reported& r) { return r.slot == slot; });
  return found == reported.end() ? nullptr : found;
}

bool is_running(Slot slot) {
  return slot == Slot::running_mean || slot == Slot::running_var || slot == Slot::num_batches_tracked;
}

/// The numbers that a slot is filled with, or nothing: an output, or the counter.
const std::vector<double>* values_of(const Case& c, Slot slot) {
  switch (slot) {
  case Slot::x:
    return &c.x;
  case Slot::gamma:
    return &c.gamma;
  case Slot::beta:
    return &c.beta;
  case Slot::running_mean:
    return &c.running_mean;
  case Slot::running_var:
    return &c.running_var;
  case Slot::dy:
    return &c.dy;
  case Slot::saved_mean:
    return &c.saved_mean;
  case Slot::saved_invstd:
    return &c.saved_invstd;
  case Slot::v_x:
    return &c.v_x;
  case Slot::v_gamma:
    return &c.v_gamma;
  case Slot::v_beta:
    return &c.v_beta;
  default:
    return nullptr;
  }
}

/// Whether the pass reads or writes such a tensor at all. What it does not is ignored, even if given.
bool takes_part(Pass pass, Slot slot) {
  const bool forward = is_forward(pass);
  const bool backward =
      pass == Pass::backward_training || pass == Pass::backward_inference || pass == Pass::gradient;
  switch (slot) {
  case Slot::x:
  case Slot::gamma:
    return true;
  case Slot::beta:
    return forward || pass == Pass::gradient;
  case Slot::running_mean:
  case Slot::running_var:
    return forward || is_inference(pass);
  case Slot::dy:
    return !forward;
  case Slot::saved_mean:
  case Slot::saved_invstd:
    return takes_saved(pass);
  case Slot::dx:
  case Slot::dgamma:
  case Slot::dbeta:
    return backward;
  case Slot::v_x:
  case Slot::v_gamma:
  case Slot::v_beta:
  case Slot::grad_dy:
  case Slot::grad_x:
  case Slot::grad_gamma:
    return is_second_order(pass);
  default:  // the forward's outputs and its counter
    return forward;
  }
}

/// Whether the problem gives the kernel that tensor, among those that take part.
bool is_given(const Case& c, Slot slot) {
  const Problem& problem = c.problem;
  switch (slot) {
  case Slot::gamma:
  case Slot::beta:
    return problem.affine;
  case Slot::running_mean:
  case Slot::running_var:
  case Slot::num_batches_tracked:
    return problem.running || problem.pass != Pass::forward_training;
  case Slot::v_x:
  case Slot::v_gamma:
  case Slot::v_beta:
    return !values_of(c, slot)->empty();
  default:
    return true;
  }
}

void check_sizes(const Case& c) {
  const Problem& problem = c.problem;
  if (problem.shape.spatial.size() + 2 > NP_MAX_RANK)
    throw std::invalid_argument("shape " + to_string(problem.shape) + " has too many axes for a kernel");
  for (const Slot slot : all_slots) {
    const std::vector<double>* const values = values_of(c, slot);
    if (values == nullptr || !takes_part(problem.pass, slot))
      continue;
    const std::int64_t wanted = is_given(c, slot) ? per_channel(problem, slot) * problem.shape.channels : 0;
    if (std::ssize(*values) != wanted)
      throw std::invalid_argument(fmt::format("{} has {} values, shape {} needs {}", to_string(slot),
                                              values->size(), to_string(problem.shape), wanted));
  }
}

Head head_of(const std::byte* memory) {
  Head head;
  std::memcpy(&head, memory, sizeof head);
  return head;
}

}  // namespace

std::string_view to_string(Slot slot) {
  switch (slot) {
  case Slot::x:
    return "x";
  case Slot::gamma:
    return "gamma";
  case Slot::beta:
    return "beta";
  case Slot::num_batches_tracked:
    return "num_batches_tracked";
  case Slot::dy:
    return "dy";
  case Slot::saved_mean:
    return "saved_mean";
  case Slot::saved_invstd:
    return "saved_invstd";
  case Slot::v_x:
    return "v_x";
  case Slot::v_gamma:
    return "v_gamma";
  case Slot::v_beta:
    return "v_beta";
  default:
    return to_string(report_of(slot)->output);
  }
}

Arena::Arena(const Case& c, Side side) : case_(c) {
  check_sizes(c);
  const Problem& problem = c.problem;
  for (const Slot slot : all_slots) {
    if (!takes_part(problem.pass, slot) || !is_given(c, slot))
      continue;
    given_.push_back(slot);
    Buffer& buffer = slots_[index(slot)];
    if (slot == Slot::num_batches_tracked) {
      buffer.bytes = sizeof(std::int64_t);
      continue;
    }
    const Placement place = placement_of(problem, slot);
    const auto width = static_cast<std::uint64_t>(format_of(problem, slot).bytes);
    buffer.bytes = static_cast<std::uint64_t>(place.extent) * width;
    buffer.byte_offset = static_cast<std::uint64_t>(place.offset) * width;
    std::copy(place.strides.begin(), place.strides.end(), buffer.strides.begin());
    // The running statistics are in place in training; in inference a change is reported as such (collect).
    buffer.read_only = values_of(c, slot) != nullptr && !is_running(slot) ? 1 : 0;
    if (problem.layout == Layout::strided) {
      std::vector<bool>& elements = elements_[index(slot)];
      elements.assign(static_cast<std::size_t>(place.extent), false);
      for_each_tile(view_of(problem, slot, buffer), [&](std::int64_t, const ChannelRun& run) {
        for (std::int64_t k = 0; k < run.count; ++k)
          elements[static_cast<std::size_t>(place.offset + run.offset + k * run.step)] = true;
      });
    }
  }
  this->place(side);
}

void Arena::place(Side side, std::uint64_t red_zone) {
  const std::uint64_t margin = side == Side::none ? std::max(red_zone, lead) : red_zone;
  const std::uint64_t gap = margin == 0 ? guard_gap : 0;
  std::uint64_t at = page;
  for (const Slot slot : given_) {
    Buffer& buffer = slots_[index(slot)];
    buffer.zone_begin = at + gap;
    buffer.zone_end = at = buffer.zone_begin + std::max(whole_pages(buffer.bytes + 2 * margin), page);
    buffer.offset = side == Side::tail ? buffer.zone_end - margin - buffer.bytes : buffer.zone_begin + margin;
  }
  bytes_ = at + gap;
}

bool Arena::is_input(Slot slot, std::uint32_t outputs) const {
  if (values_of(case_, slot) == nullptr)
    return false;
  // Updated in place in training. In inference a change is reported as such (collect).
  if (is_running(slot))
    return updates_running() && (outputs & report_of(slot)->bit) == 0;
  return true;
}

std::uint64_t Arena::hash(const std::byte* memory, Slot slot) const {
  const Buffer& buffer = slots_[index(slot)];
  return hash_bytes({memory + buffer.offset, buffer.bytes});
}

void Arena::fill(std::byte* memory) {
  const Problem& problem = case_.problem;
  std::memset(memory, 0, sizeof(Head));
  for (const Slot slot : all_slots) {
    const Buffer& buffer = slots_[index(slot)];
    if (buffer.offset == 0)
      continue;
    lay_guard(memory, buffer.zone_begin, buffer.offset);
    lay_guard(memory, buffer.offset + buffer.bytes, buffer.zone_end);
    // Gaps count from the storage: a repeat run's bits are compared wherever it lies.
    if (!elements_[index(slot)].empty())
      lay_guard(memory + buffer.offset, 0, buffer.bytes);
    std::byte* const first = memory + buffer.offset + buffer.byte_offset;
    if (slot == Slot::num_batches_tracked) {
      std::memcpy(first, &case_.num_batches_tracked, sizeof case_.num_batches_tracked);
      continue;
    }
    const Format& format = format_of(problem, slot);
    const View view = view_of(problem, slot, buffer);
    if (const std::vector<double>* const values = values_of(case_, slot)) {
      scatter(format, view, values->data(), per_channel(problem, slot), first);
      before_[index(slot)] = hash(memory, slot);
    } else {
      with_codec(format, [&]<class Bits>(const Codec<Bits>) {
        for_each_tile(view, [&](std::int64_t, const ChannelRun& run) {
          Bits* const to = reinterpret_cast<Bits*>(first) + run.offset;
          for (std::int64_t k = 0; k < run.count; ++k)
            to[k * run.step] = static_cast<Bits>(poison(format));
        });
      });
    }
  }
}

bool Arena::gaps_hold(const std::byte* memory, Slot slot) const {
  const Buffer& buffer = slots_[index(slot)];
  const std::vector<bool>& elements = elements_[index(slot)];
  const std::uint64_t width = elements.empty() ? 0 : buffer.bytes / elements.size();
  for (std::size_t place = 0; place < elements.size(); ++place)
    if (!elements[place] && !guard_holds(memory + buffer.offset, place * width, (place + 1) * width))
      return false;
  return true;
}

void Arena::inspect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const {
  const auto breach = [&](Slot slot, std::string_view what) {
    observation.breaches.push_back(fmt::format("{}: {}", to_string(slot), what));
  };
  for (const Slot slot : all_slots) {
    const Buffer& buffer = slots_[index(slot)];
    if (buffer.offset == 0)
      continue;
    if (!guard_holds(memory, buffer.zone_begin, buffer.offset))
      breach(slot, "written before its start");
    if (!guard_holds(memory, buffer.offset + buffer.bytes, buffer.zone_end))
      breach(slot, "written past its end");
    if (is_input(slot, outputs) && hash(memory, slot) != before_[index(slot)])
      breach(slot, "an input was changed");
    else if (const Head head = head_of(memory); (head.written_inputs >> index(slot) & 1) != 0)
      breach(slot, "an input was written to, and had its old bits again at the end");
    else if (!gaps_hold(memory, slot))
      breach(slot, "written between its elements");
  }
}

void Arena::collect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const {
  const Problem& problem = case_.problem;
  for (const auto& [slot, output, bit] : reported) {
    const Buffer& buffer = slots_[index(slot)];
    if (buffer.offset == 0)
      continue;
    const bool given = is_running(slot) && !updates_running();
    if (given ? hash(memory, slot) == before_[index(slot)] : (outputs & bit) == 0)
      continue;
    observation.running_changed |= given;

    std::vector<double>& values = observation.outputs[index(output)];
    const std::int64_t n = per_channel(problem, slot);
    values.resize(static_cast<std::size_t>(n * problem.shape.channels));
    const Format& format = format_of(problem, slot);
    const Unwritten left =
        gather(format, view_of(problem, slot, buffer), memory + buffer.offset + buffer.byte_offset, n,
               poison(format), values.data());
    if (left.count > 0 && !given)
      observation.breaches.push_back(
          fmt::format("{}: {} of {} elements left unwritten (or added to), the first in channel {} at {}",
                      to_string(slot), left.count, values.size(), left.first / n, left.first % n));
  }
  if (const Buffer& counter = slots_[index(Slot::num_batches_tracked)]; counter.offset != 0) {
    std::int64_t count = 0;
    std::memcpy(&count, memory + counter.offset, sizeof count);
    observation.num_batches_tracked = count;
    if (!updates_running() && count != case_.num_batches_tracked)
      observation.running_changed = true;
  }
}

std::uint64_t Arena::fingerprint(const std::byte* memory, std::uint32_t outputs) const {
  std::uint64_t all = 0;
  for (const Slot slot : all_slots) {
    const Reported* const report = report_of(slot);
    if (slots_[index(slot)].offset != 0 &&
        (is_running(slot) || (report != nullptr && (outputs & report->bit) != 0)))
      all = std::rotl(all, 7) ^ hash(memory, slot);
  }
  return all;
}

std::uint64_t Arena::digest(const std::byte* memory) const {
  std::uint64_t all = 0;
  for (const Slot slot : given_) {
    const Buffer& buffer = slots_[index(slot)];
    all = std::rotl(all, 7) ^ hash_bytes({memory + buffer.zone_begin, buffer.zone_end - buffer.zone_begin});
  }
  return all;
}

std::string Arena::place_of(std::int64_t offset) const {
  // The nearest storage: zones are further apart than an accident reaches.
  std::int64_t nearest = std::numeric_limits<std::int64_t>::max();
  std::string words;
  for (const Slot slot : given_) {
    const Buffer& buffer = slots_[index(slot)];
    const auto begin = static_cast<std::int64_t>(buffer.offset);
    const auto end = begin + static_cast<std::int64_t>(buffer.bytes);
    const std::int64_t distance = offset < begin ? begin - offset : offset < end ? 0 : offset - end + 1;
    if (distance >= nearest)
      continue;
    nearest = distance;
    const std::string_view name = to_string(slot);
    if (offset < begin)
      words = fmt::format("before the start of {}, at byte {}", name, offset - begin);
    else if (offset < end)
      words = fmt::format("inside {}, at byte {} of {}", name, offset - begin, buffer.bytes);
    else
      words = fmt::format("past the end of {}, at byte {} of {}", name, offset - begin, buffer.bytes);
  }
  return words;
}

}  // namespace normproof::impls
