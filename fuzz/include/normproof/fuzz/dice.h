// Random choices of the searches. A seed gives the same choices everywhere: integers, no
// std::*_distribution.
#pragma once

#include <cstddef>
#include <cstdint>

namespace normproof::fuzz {

/// SplitMix64 as a stream (Steele, Lea, Flood, OOPSLA 2014).
class Dice {
public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}

  std::uint64_t word() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  /// In [0, bound); 0 for a bound of 0. The bias is below bound * 2^-64.
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : static_cast<std::size_t>(word() % bound); }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::size_t>(high - low) + 1));
  }
  bool one_in(std::size_t n) { return below(n) == 0; }
  int sign() { return one_in(2) ? -1 : 1; }

private:
  std::uint64_t state_;
};

}  // namespace normproof::fuzz
