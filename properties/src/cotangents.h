// What only the backward passes are given: dy, the saved statistics, the cotangents of the second order.
//
// All are inputs. The truth is taken at whatever is given, so nothing here need be the gradient of anything
// or the statistics of the very x beside it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "normproof/spec/format.h"
#include "regimes.h"

namespace normproof::properties {

/// What networks meet, one kind per channel: N(0, 1) in half of them; N(1/2, 1); all equal (dx is then a
/// cancellation of everything); sparse; or N(0, 1) some binades up or down.
void ordinary_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// Small integers, many of them 0, times one power of two: every sum of every tree is exact (BN-NUM-26).
void exact_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// (1, u, u, ...) times a power of two: dbeta in sequential order loses every term but the first.
void witness_dbeta_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// x times a power of two. Beside the regime witness_var, whose mean is 0: dgamma in sequential order stays
/// at its first two terms.
void witness_dgamma_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// Values mirrored with the other sign, some of them an ulp off: sum dy is a few ulps of one of them.
void cancelling_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// The ordinary ones times 2^parameter.
void large_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// Ordinary; where x of the channel is not finite, dy holds a special value too in half of the recipes.
void non_finite_dy(const ChannelDraw& c, std::span<const double> x, std::span<double> dy);

/// The statistics of x rounded to the format: in one channel of four off by up to 1/8 of the deviation and
/// 1/8 of invstd, as those of a moment ago would be; never where the regime constructs dy beside x. Normal
/// numbers or 0, always finite. Where y is exact invstd is a power of two.
struct Saved {
  double mean = 0, invstd = 1;
};
Saved saved_statistics(const ChannelDraw& c, const RegimeEntry& entry, std::span<const double> x);

/// Which cotangents a double backward is given: at least one, all of them in half of the recipes; those of
/// dgamma and dbeta only where there are gamma and beta.
struct Cotangents {
  bool x = false, gamma = false, beta = false;
};
Cotangents cotangents(const Recipe& r);

}  // namespace normproof::properties
