// The forward passes as the specification writes them (spec/batch_norm.md), over any kind of number.
//
// Instantiated with balls they compute the truth with its error bound; with doubles, what IEEE arithmetic
// makes of infinities and NaN.
#pragma once

#include <cmath>

#include "normproof/spec/semantics.h"

namespace normproof::reference {

/// invstd of the normalising variance v. inside_root is BN-FWD's definition; the others are the neighbours
/// that a diagnosis asks about.
template <class Number>
Number invstd(const Number& v, const Number& eps, EpsPlacement placement) {
  using std::sqrt, std::max;
  const Number one(1.0);
  switch (placement) {
  case EpsPlacement::inside_root:
    return one / sqrt(v + eps);
  case EpsPlacement::outside_root:
    return one / sqrt(v) + eps;
  case EpsPlacement::added_to_deviation:
    return one / (sqrt(v) + eps);
  case EpsPlacement::omitted:
    return one / sqrt(v);
  case EpsPlacement::doubled:
    return one / sqrt(v + (eps + eps));
  case EpsPlacement::clamped:
    return one / sqrt(max(v, eps));
  }
  return one / sqrt(v + eps);
}

template <class Number>
Number normalised(const Number& x, const Number& mean, const Number& invstd) {
  return (x - mean) * invstd;
}

template <class Number>
Number affine(const Number& normalised, const Number& gamma, const Number& beta) {
  return gamma * normalised + beta;
}

/// A running statistic after the update; weight is that of the new batch.
template <class Number>
Number updated(const Number& running, const Number& batch, const Number& weight) {
  return (Number(1.0) - weight) * running + weight * batch;
}

}  // namespace normproof::reference
