// The exact arbiter: which side of a number a truth lies on, decided over integers. It always ends, on ties
// too.
#pragma once

#include <optional>

#include "exact.h"
#include "normproof/spec/semantics.h"

namespace normproof::reference {

/// 1/r^2 for the placements of eps that make r = 1/sqrt(rational); nothing for the two that do not (1/sqrt(v)
/// + eps and 1/(sqrt(v) + eps) mix a root with a rational: those truths come from the highest precision
/// alone).
std::optional<Quotient> root_of(const Quotient& variance, double eps, EpsPlacement placement);

/// Sign of scale / sqrt(root) + shift - m, for root > 0.
///
/// With R = m - shift: if scale and R have different signs, they decide; else scale^2 is compared with R^2
/// root, and for negative ones the answer turns round. Every operation is one on integers.
int compare_scaled_root(const Quotient& scale, const Quotient& root, const Dyadic& shift, const Dyadic& m);

}  // namespace normproof::reference
