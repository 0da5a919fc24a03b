// Accuracy statistics: how far outputs are off, in ulps, for the tables. They report; they never gate.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace normproof::properties {

/// Counts of E_raw by half octaves: bin 0 holds everything up to 2^-8 ulp, the last everything beyond 2^55.
class UlpHistogram {
public:
  static constexpr int bins = 128;
  void add(double ulps) { ++counts_[static_cast<std::size_t>(bin(ulps))]; }
  void merge(const UlpHistogram& other);
  std::int64_t count(int b) const { return counts_[static_cast<std::size_t>(b)]; }
  std::int64_t total() const;
  /// An upper limit of the q-quantile, the upper edge of its bin (0 when empty): sharp to a factor of
  /// sqrt(2).
  double quantile(double q) const;
  static int bin(double ulps);
  static double upper_edge(int b);

private:
  std::array<std::int64_t, bins> counts_{};
};

/// Of one output over any number of elements. The maxima are lower bounds of the kernel's true maximum
/// (sampled).
struct Accuracy {
  std::int64_t count = 0;
  std::int64_t correctly_rounded = 0;
  std::int64_t faithful = 0;
  std::int64_t special =
      0;  ///< NaN or infinity where the truth is finite, or the reverse: counted, never a number
  std::int64_t sign_of_zero = 0;  ///< a zero of the other sign than an exact zero's
  std::int64_t flushed = 0;       ///< zero where the truth is subnormal
  double max_raw = 0;             ///< E_raw, in ulps of the truth
  /// E_cond, in ulps of the condition scale: what the output would be if its terms did not cancel. In
  /// training mean and variance count with the scales of their own sums.
  double max_cond = 0;
  UlpHistogram histogram;

  void merge(const Accuracy& other);
};

}  // namespace normproof::properties
