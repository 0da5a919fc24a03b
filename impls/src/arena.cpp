// Filling, guarding and reading the buffers of a case.
#include "arena.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "layout.h"

namespace normproof::impls {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t lead = 256;  ///< guard bytes before the data; keeps 64-byte alignment

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

void lay_guard(std::byte* memory, std::uint64_t begin, std::uint64_t end) {
  for (; begin < end && begin % 8 != 0; ++begin)
    memory[begin] = static_cast<std::byte>(guard_word(begin / 8) >> (8 * (begin % 8)));
  for (; begin + 8 <= end; begin += 8) {
    const std::uint64_t word = guard_word(begin / 8);
    std::memcpy(memory + begin, &word, sizeof word);
  }
}
bool guard_holds(const std::byte* memory, std::uint64_t begin, std::uint64_t end) {
  bool holds = true;
  for (; begin < end && begin % 8 != 0; ++begin)
    holds &= memory[begin] == static_cast<std::byte>(guard_word(begin / 8) >> (8 * (begin % 8)));
  for (; begin + 8 <= end; begin += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, memory + begin, sizeof word);
    holds &= word == guard_word(begin / 8);
  }
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

View view_of(const Problem& problem, Slot slot) {
  const Shape& shape = problem.shape;
  if (slot != Slot::x && slot != Slot::y)
    return {{1, shape.channels}, {shape.channels, 1}};
  View view{{shape.batch, shape.channels}, strides(shape, problem.layout)};
  view.shape.insert(view.shape.end(), shape.spatial.begin(), shape.spatial.end());
  return view;
}

const Format& format_of(const Problem& problem, Slot slot) {
  return slot == Slot::x || slot == Slot::y ? problem.data : problem.stats;
}

std::int64_t per_channel(const Problem& problem, Slot slot) {
  return slot == Slot::x || slot == Slot::y ? problem.shape.per_channel() : 1;
}

constexpr std::array reported{Slot::y,      Slot::mean,         Slot::var,
                              Slot::invstd, Slot::running_mean, Slot::running_var};

Output output_of(Slot slot) {
  switch (slot) {
  case Slot::mean:
    return Output::mean;
  case Slot::var:
    return Output::var;
  case Slot::invstd:
    return Output::invstd;
  case Slot::running_mean:
    return Output::running_mean;
  case Slot::running_var:
    return Output::running_var;
  default:
    return Output::y;
  }
}

std::uint32_t bit_of(Slot slot) {
  switch (slot) {
  case Slot::y:
    return NP_OUT_Y;
  case Slot::mean:
    return NP_OUT_MEAN;
  case Slot::var:
    return NP_OUT_VAR;
  case Slot::invstd:
    return NP_OUT_INVSTD;
  case Slot::running_mean:
    return NP_OUT_RUNNING_MEAN;
  case Slot::running_var:
    return NP_OUT_RUNNING_VAR;
  default:
    return 0;
  }
}

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
  default:
    return nullptr;
  }
}

bool is_present(const Problem& problem, Slot slot) {
  const bool inference = problem.pass == Pass::forward_inference;
  switch (slot) {
  case Slot::gamma:
  case Slot::beta:
    return problem.affine;
  case Slot::running_mean:
  case Slot::running_var:
  case Slot::num_batches_tracked:
    return problem.running || inference;
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
    if (values == nullptr)
      continue;
    const std::int64_t wanted =
        is_present(problem, slot) ? per_channel(problem, slot) * problem.shape.channels : 0;
    if (std::ssize(*values) != wanted)
      throw std::invalid_argument(fmt::format("{} has {} values, shape {} needs {}", to_string(slot),
                                              values->size(), to_string(problem.shape), wanted));
  }
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
  default:
    return to_string(output_of(slot));
  }
}

Arena::Arena(const Case& c) : case_(c), bytes_(page) {
  check_sizes(c);
  const Problem& problem = c.problem;
  for (const Slot slot : all_slots) {
    if (!is_present(problem, slot))
      continue;
    const auto elements = static_cast<std::uint64_t>(per_channel(problem, slot) * problem.shape.channels);
    const auto width = static_cast<std::uint64_t>(format_of(problem, slot).bytes);
    const std::uint64_t size = slot == Slot::num_batches_tracked ? sizeof(std::int64_t) : elements * width;
    Guarded& zone = zones_[index(slot)];
    zone.begin = bytes_;
    zone.end = (zone.begin + lead + size + lead + page - 1) / page * page;
    slots_[index(slot)] = {zone.begin + lead, size};
    bytes_ = zone.end;
  }
}

bool Arena::is_input(Slot slot, std::uint32_t outputs) const {
  switch (slot) {
  case Slot::x:
  case Slot::gamma:
  case Slot::beta:
    return true;
  case Slot::running_mean:
  case Slot::running_var:
    return training() && (outputs & bit_of(slot)) == 0;
  default:
    return false;
  }
}

std::uint64_t Arena::hash(const std::byte* memory, Slot slot) const {
  const Extent extent = slots_[index(slot)];
  return hash_bytes({memory + extent.offset, extent.bytes});
}

void Arena::fill(std::byte* memory) {
  const Problem& problem = case_.problem;
  std::memset(memory, 0, page);
  for (const Slot slot : all_slots) {
    const Extent data = slots_[index(slot)];
    if (data.offset == 0)
      continue;
    lay_guard(memory, zones_[index(slot)].begin, data.offset);
    lay_guard(memory, data.offset + data.bytes, zones_[index(slot)].end);
    std::byte* const buffer = memory + data.offset;
    if (slot == Slot::num_batches_tracked) {
      std::memcpy(buffer, &case_.num_batches_tracked, sizeof case_.num_batches_tracked);
    } else if (const std::vector<double>* const values = values_of(case_, slot)) {
      scatter(format_of(problem, slot), view_of(problem, slot), values->data(), per_channel(problem, slot),
              buffer);
    } else {
      with_codec(format_of(problem, slot), [&]<class Bits>(const Codec<Bits> codec) {
        std::fill_n(reinterpret_cast<Bits*>(buffer), data.bytes / sizeof(Bits),
                    static_cast<Bits>(poison(codec.format)));
      });
    }
    if (values_of(case_, slot) != nullptr)
      before_[index(slot)] = hash(memory, slot);
  }
}

void Arena::inspect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const {
  for (const Slot slot : all_slots) {
    const Extent data = slots_[index(slot)];
    if (data.offset == 0)
      continue;
    if (!guard_holds(memory, zones_[index(slot)].begin, data.offset))
      observation.breaches.push_back(fmt::format("{}: written before its start", to_string(slot)));
    if (!guard_holds(memory, data.offset + data.bytes, zones_[index(slot)].end))
      observation.breaches.push_back(fmt::format("{}: written past its end", to_string(slot)));
    if (is_input(slot, outputs) && hash(memory, slot) != before_[index(slot)])
      observation.breaches.push_back(fmt::format("{}: an input was changed", to_string(slot)));
  }
}

void Arena::collect(const std::byte* memory, std::uint32_t outputs, Observation& observation) const {
  const Problem& problem = case_.problem;
  const auto read = [&](Slot slot, std::uint64_t unwritten_mark) {
    std::vector<double>& values = observation.outputs[index(output_of(slot))];
    const std::int64_t n = per_channel(problem, slot);
    values.resize(static_cast<std::size_t>(n * problem.shape.channels));
    return gather(format_of(problem, slot), view_of(problem, slot), memory + slots_[index(slot)].offset, n,
                  unwritten_mark, values.data());
  };
  for (const Slot slot : reported) {
    const bool running = slot == Slot::running_mean || slot == Slot::running_var;
    if (slots_[index(slot)].offset == 0)
      continue;
    if (running && !training()) {
      if (hash(memory, slot) != before_[index(slot)]) {
        observation.running_changed = true;
        read(slot, poison(problem.stats));
      }
    } else if ((outputs & bit_of(slot)) != 0) {
      const Unwritten left = read(slot, poison(format_of(problem, slot)));
      if (left.count > 0)
        observation.breaches.push_back(
            fmt::format("{}: {} of {} elements left unwritten, the first in channel {} at {}",
                        to_string(slot), left.count, observation[output_of(slot)].size(),
                        left.first / per_channel(problem, slot), left.first % per_channel(problem, slot)));
    }
  }
  if (const Extent counter = slots_[index(Slot::num_batches_tracked)]; counter.offset != 0) {
    std::int64_t count = 0;
    std::memcpy(&count, memory + counter.offset, sizeof count);
    observation.num_batches_tracked = count;
    if (!training() && count != case_.num_batches_tracked)
      observation.running_changed = true;
  }
}

std::uint64_t Arena::fingerprint(const std::byte* memory, std::uint32_t outputs) const {
  std::uint64_t all = 0;
  for (const Slot slot : all_slots)
    if (slots_[index(slot)].offset != 0 && (slot == Slot::num_batches_tracked || slot == Slot::running_mean ||
                                            slot == Slot::running_var || (outputs & bit_of(slot)) != 0))
      all = std::rotl(all, 7) ^ hash(memory, slot);
  return all;
}

}  // namespace normproof::impls
