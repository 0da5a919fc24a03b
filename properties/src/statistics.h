// Mean, variance and invstd of a channel in double-double, for saved statistics and for domains.
//
// Near the truth, not the truth: a recipe must mean the same bits for ever, so its inputs never come from the
// oracle. Sums, products, quotients, fma and the square root, all of which IEEE 754 defines to the bit, and
// no other function.
#pragma once

#include <span>

#include "normproof/reference/double_double.h"
#include "normproof/spec/format.h"

namespace normproof::properties {

/// Of the finite values of a channel, taken times 2^-exponent so that no square overflows.
struct Statistics {
  reference::DoubleDouble mean;      ///< times 2^-exponent
  reference::DoubleDouble variance;  ///< biased, times 4^-exponent
  int exponent = 0;
};
Statistics statistics(std::span<const double> x);

/// Rounded once into the format; an infinity where that overflows.
double mean_of(const Statistics& s, const Format& format);
double variance_of(const Statistics& s, const Format& format);
/// 1 / sqrt(variance + eps), an infinity at 0.
double invstd_of(const Statistics& s, double eps, const Format& format);

}  // namespace normproof::properties
