// Affine consistency (BN-NUM-15): every element of a channel uses the same statistics.
//
// y is gamma r' (x - m') + beta with one (m', r') for the whole channel, whatever the statistics' own errors.
// So there is one point (p, q), a = gamma r (1 + p), b = beta + q, in a rectangle that the statistics'
// clauses allow, that lies in a strip for every element. Two unknowns, 2n half-planes: a convex polygon is
// clipped. This sees a wrong element that no end-to-end bound sees at a large condition number, and needs no
// report of the kernel's.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace normproof::properties {

/// One element: low - lambda F <= slope p + q <= high + lambda F. low and high are the ends of the reals that
/// round to y_i, counted from the truth; slope is gamma r (x_i - mean); roundings is F_i of spec/bounds/y.md.
struct Strip {
  double slope = 0;
  double low = 0, high = 0;
  double roundings = 0;
};

/// The first strip that leaves nothing of the rectangle |p| <= p_limit, |q| <= q_limit, or nothing if one
/// point satisfies all. Each strip is widened by 2^-40 of its terms, for the rounding of the clipping itself.
std::optional<std::size_t> contradiction(std::span<const Strip> strips, double p_limit, double q_limit,
                                         double lambda = 1);

/// The least lambda (to a factor of 1.1, at most 2^60) at which the strips agree: measured/permitted of the
/// clause. The strips contradict each other at 1.
double contradiction_factor(std::span<const Strip> strips, double p_limit, double q_limit);

}  // namespace normproof::properties
