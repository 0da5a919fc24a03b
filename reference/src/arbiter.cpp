// The exact arbiter: signs and squares.
#include "arbiter.h"

namespace normproof::reference {

std::optional<Quotient> root_of(const Quotient& variance, double eps, EpsPlacement placement) {
  const Quotient exact_eps{Dyadic(eps), 1};
  switch (placement) {
  case EpsPlacement::inside_root:
    return variance + exact_eps;
  case EpsPlacement::doubled:
    return variance + exact_eps + exact_eps;
  case EpsPlacement::omitted:
    return variance;
  case EpsPlacement::clamped:
    return compare(variance, exact_eps) < 0 ? exact_eps : variance;
  case EpsPlacement::outside_root:
  case EpsPlacement::added_to_deviation:
    return std::nullopt;
  }
  return std::nullopt;
}

int compare_scaled_root(const Quotient& scale, const Quotient& root, const Dyadic& shift, const Dyadic& m) {
  const Dyadic rest = m - shift;
  const int sign = scale.numerator.sign();
  if (sign != rest.sign())
    return sign < rest.sign() ? -1 : 1;
  const Dyadic left = scale.numerator * scale.numerator * root.denominator;
  const Dyadic scaled_rest = rest * scale.denominator;
  const Dyadic right = scaled_rest * scaled_rest * root.numerator;
  return sign * compare(left, right);
}

}  // namespace normproof::reference
