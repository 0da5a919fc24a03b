// The facts about a channel that the bounds need (truth.h), and what is exactly summable in it.
#pragma once

#include "normproof/reference/truth.h"
#include "sums.h"

namespace normproof::reference {

/// Which sums of the channel every kernel of a class computes without any rounding, decided on integers.
Exactness exactness_of(const double* x, const ChannelSums& sums, const Format& accumulator);

/// J1 of BN-NUM-26: every tree of sums of the values is exact.
bool sums_exactly(const Format& accumulator, const WeightedSums& sums);

/// A channel's backward pass at a mean and an invstd that were given.
struct GivenGradient {
  const double* x;
  const double* dy;
  std::int64_t n;
  double mean, invstd, gamma;
  double sum;  ///< of dy
};
struct GradientExactness {
  bool dgamma = false, dx = false;
};
/// J2 and J3 of BN-NUM-26, where J1 is `sum_is_exact`.
GradientExactness gradient_exactness(const GivenGradient& g, bool sum_is_exact, const Format& accumulator);

}  // namespace normproof::reference
