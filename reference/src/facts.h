// The facts about a channel that the bounds need (truth.h), and what is exactly summable in it.
#pragma once

#include "normproof/reference/truth.h"
#include "sums.h"

namespace normproof::reference {

/// Which sums of the channel every kernel of a class computes without any rounding, decided on integers.
Exactness exactness_of(const double* x, const ChannelSums& sums, const Format& accumulator);

}  // namespace normproof::reference
