// The domain that the values of a case show: a case file has no regime to say so, and what a narrow format
// holds depends on the data.
#pragma once

#include "normproof/spec/case.h"

namespace normproof::properties {

/// extended where a value is not finite or is subnormal in the accumulator, where n x^2, or 4 x^2, overflows
/// it, where a statistic or a gradient leaves its own format (spec/bounds/formats.md: beyond its largest
/// number, or a subnormal statistic of 16 bits), or where a product on the way to a gradient may overflow.
Domain domain_of(const Case& c);

}  // namespace normproof::properties
