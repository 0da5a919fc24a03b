// The counter-based generator of recipes: a value is a pure function of (seed, tensor, channel, index).
//
// No state, hence no order: channels may be filled by any number of threads, and a shrunk shape keeps the
// values it still has. The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014);
// golden hashes in tests/recipe.test.cpp freeze it.
#pragma once

#include <cstdint>

namespace normproof::properties {

/// What a stream of words is for. Appending is free; changing an order changes every recipe.
enum class Stream : std::uint64_t {
  recipe,
  parameters,
  x,
  gamma,
  beta,
  running_mean,
  running_var,
  dy_parameters,
  dy,
  saved,
  v_x,
  v_gamma,
  v_beta
};

constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15;

constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

/// The words of one stream of one channel.
class Draw {
public:
  constexpr Draw(std::uint64_t seed, Stream stream, std::uint64_t channel)
      : key_(mix(mix(mix(seed + golden_ratio) + static_cast<std::uint64_t>(stream)) + channel)) {}

  constexpr std::uint64_t word(std::uint64_t index) const { return mix(key_ + (index + 1) * golden_ratio); }
  /// In [0, bound), bound > 0; the bias of the remainder is below bound * 2^-64.
  constexpr std::uint64_t below(std::uint64_t index, std::uint64_t bound) const {
    return word(index) % bound;
  }
  constexpr int sign(std::uint64_t index) const { return (word(index) >> 63) != 0 ? -1 : 1; }

private:
  std::uint64_t key_;
};

/// Fixed point: 60 bits behind the point.
constexpr int fraction_bits = 60;

/// Close to N(0, 1) in units of 2^-60, |value| < 6.01: an Irwin-Hall sum of twelve uniform 16-bit integers,
/// whose variance is 1 - 2^-32, filled up with 44 uniform bits so that significands are full and sums do
/// round.
constexpr std::int64_t normal(const Draw& draw, std::uint64_t index) {
  constexpr std::uint64_t two_lanes = 0x0000FFFF0000FFFF;
  std::uint64_t sum = 0;
  for (std::uint64_t k = 0; k < 3; ++k) {
    const std::uint64_t w = draw.word(4 * index + k);
    sum += (w & two_lanes) + ((w >> 16) & two_lanes);
  }
  const auto twelve = static_cast<std::int64_t>((sum & 0xFFFFFFFF) + (sum >> 32));
  const auto low = static_cast<std::int64_t>(draw.word(4 * index + 3) >> 20);
  return (twelve - 6 * 65535) * (std::int64_t{1} << 44) + low - (std::int64_t{1} << 43);
}

/// Uniform in [0, 1) in units of 2^-60.
constexpr std::int64_t uniform(const Draw& draw, std::uint64_t index) {
  return static_cast<std::int64_t>(draw.word(index) >> 4);
}

}  // namespace normproof::properties
