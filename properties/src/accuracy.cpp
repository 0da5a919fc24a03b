#include "normproof/properties/accuracy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>

namespace normproof::properties {

int UlpHistogram::bin(double ulps) {
  if (!(ulps > 0x1p-8))
    return 0;
  if (!(ulps < 0x1p55))
    return bins - 1;
  constexpr std::uint64_t significand = (std::uint64_t{1} << 52) - 1;
  const auto bits = std::bit_cast<std::uint64_t>(ulps);
  const int octave = static_cast<int>(bits >> 52) - 1023;
  const bool upper_half =
      (bits & significand) > (std::bit_cast<std::uint64_t>(0x1.6a09e667f3bcdp+0) & significand);
  const bool at_edge = (bits & significand) == 0;  // edges belong to the bin below
  return std::clamp(2 * (octave + 8) + (upper_half ? 2 : 1) - (at_edge ? 1 : 0), 0, bins - 1);
}

double UlpHistogram::upper_edge(int b) {
  if (b == bins - 1)
    return HUGE_VAL;
  return std::scalbn(b % 2 == 0 ? 1.0 : 0x1.6a09e667f3bcdp+0, b / 2 - 8);
}

void UlpHistogram::merge(const UlpHistogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i)
    counts_[i] += other.counts_[i];
}

std::int64_t UlpHistogram::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

double UlpHistogram::quantile(double q) const {
  const std::int64_t all = total();
  if (all == 0)
    return 0;
  const auto rank = static_cast<std::int64_t>(std::ceil(q * static_cast<double>(all)));
  std::int64_t seen = 0;
  for (int b = 0; b < bins; ++b) {
    seen += count(b);
    if (seen >= rank)
      return upper_edge(b);
  }
  return upper_edge(bins - 1);
}

void Accuracy::merge(const Accuracy& other) {
  count += other.count;
  correctly_rounded += other.correctly_rounded;
  faithful += other.faithful;
  special += other.special;
  sign_of_zero += other.sign_of_zero;
  flushed += other.flushed;
  max_raw = std::max(max_raw, other.max_raw);
  max_cond = std::max(max_cond, other.max_cond);
  histogram.merge(other.histogram);
}

}  // namespace normproof::properties
