// The backward passes as the specification writes them (spec/batch_norm.md), over any kind of number.
//
// With c = x - m and xhat = c r every gradient is r times something without r, but for its square:
//   q = dy - mean(dy) - c r^2 mean(dy c)        dx         = r gamma q
//   p = v - mean(v) - c r^2 mean(v c)           grad_dy    = r (gamma p + v_gamma c) + v_beta
//   Q = mean(v dy) - mean(v) mean(dy)           grad_gamma = r n Q
//       - r^2 mean(v c) mean(dy c)              grad_x     = r (v_gamma q
//                                                  - gamma r^2 (c Q + mean(dy c) p + mean(v c) q))
// Over balls they give the truth with its error bound. Over linear forms in (x, dy, v) they give the exact
// coefficients of the same expressions, from which the arbiter decides: a Scalar belongs to the channel, an
// Element to one value of it.
#pragma once

#include <cmath>

#include "normproof/spec/semantics.h"

namespace normproof::reference {

/// k with d(invstd)/dv = -k invstd / 2, at the normalising variance v > 0: it stands where the
/// specification's dx has the square of invstd, and is that square for 1/sqrt(v + constant). Here are the two
/// placements of eps that mix a root with a rational; the others have a rational k.
template <class Number>
Number invstd_slope(const Number& v, const Number& invstd, EpsPlacement placement) {
  using std::sqrt;
  if (placement == EpsPlacement::outside_root)
    return Number(1.0) / (v * sqrt(v) * invstd);
  if (placement == EpsPlacement::added_to_deviation)
    return invstd / sqrt(v);
  return invstd * invstd;
}

/// What one channel brings to the gradients of its elements.
template <class Scalar>
struct ChannelGradient {
  Scalar gamma{}, v_gamma{};
  Scalar r2{};  ///< invstd^2, or what invstd_slope puts in its place
  Scalar mean_dy{}, mean_dy_c{};
  Scalar mean_v{}, mean_v_c{}, mean_v_dy{};
};

/// w without its mean and without its part along c.
template <class Scalar, class Element>
Element residual(const Element& w, const Scalar& mean_w, const Element& c, const Scalar& slope) {
  return w - mean_w - slope * c;
}

template <class Scalar, class Element>
Element dx_over_r(const ChannelGradient<Scalar>& s, const Element& dy, const Element& c) {
  return s.gamma * residual(dy, s.mean_dy, c, Scalar(s.r2 * s.mean_dy_c));
}

template <class Scalar, class Element>
Element grad_dy_over_r(const ChannelGradient<Scalar>& s, const Element& v, const Element& c) {
  return s.gamma * residual(v, s.mean_v, c, Scalar(s.r2 * s.mean_v_c)) + s.v_gamma * c;
}

/// Q, grad_gamma / (n r).
template <class Scalar>
Scalar covariance(const ChannelGradient<Scalar>& s) {
  return s.mean_v_dy - s.mean_v * s.mean_dy - s.r2 * s.mean_v_c * s.mean_dy_c;
}

template <class Scalar, class Element>
Element grad_x_over_r(const ChannelGradient<Scalar>& s, const Element& dy, const Element& v,
                      const Element& c) {
  const Element q = residual(dy, s.mean_dy, c, Scalar(s.r2 * s.mean_dy_c));
  const Element p = residual(v, s.mean_v, c, Scalar(s.r2 * s.mean_v_c));
  const Element bracket = covariance(s) * c + s.mean_dy_c * p + s.mean_v_c * q;
  return s.v_gamma * q - Scalar(s.gamma * s.r2) * bracket;
}

}  // namespace normproof::reference
