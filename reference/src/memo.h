// Elements that the rounding test cannot decide come in crowds of equals: exact results, ties of discrete
// data. One decision is enough for each.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "normproof/reference/truth.h"
#include "settle.h"

namespace normproof::reference {

/// A direct-mapped cache of decided elements by their inputs, for one channel and one output.
class Memo {
public:
  /// `decide()` for the element (x, dy, v), or what it returned before; `effort` grows as if it had been
  /// called.
  template <class Decide>
  Rounded operator()(double x, double dy, double v, Effort& effort, const Decide& decide) {
    if (entries_.empty())
      entries_.resize(size);
    const Key key{std::bit_cast<std::uint64_t>(x), std::bit_cast<std::uint64_t>(dy),
                  std::bit_cast<std::uint64_t>(v)};
    Entry& entry = entries_[key.place()];
    if (!entry.used || entry.key != key) {
      const Effort before = effort;
      entry.result = decide();
      entry.spent = effort - before;
      entry.key = key;
      entry.used = true;
    } else {
      effort += entry.spent;
    }
    return entry.result;
  }

private:
  static constexpr std::size_t size = 256;
  struct Key {
    std::uint64_t x, dy, v;
    std::size_t place() const {
      const std::uint64_t mixed =
          (x * 0x9e3779b97f4a7c15U ^ dy * 0xc2b2ae3d27d4eb4fU ^ v * 0x165667b19e3779f9U) *
          0x9e3779b97f4a7c15U;
      return static_cast<std::size_t>(mixed >> 56);
    }
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Entry {
    Key key{};
    bool used = false;
    Rounded result;
    Effort spent;
  };
  std::vector<Entry> entries_;
};

}  // namespace normproof::reference
