// The numbers of a format as a line of integers, in which the searches step: one step is one ulp at any
// magnitude, so that a step of 2^k spans what a significand or an exponent is made of.
#pragma once

#include <cstdint>

#include "normproof/spec/format.h"

namespace normproof::fuzz {

/// The finite number at that place of the line; the largest number beyond its ends. Inverse of
/// reference::ordinal for finite values.
double at_ordinal(const Format& format, std::int64_t ordinal);
/// `steps` numbers further up (down when negative), the largest number at most.
double stepped(const Format& format, double value, std::int64_t steps);
/// The value with its `bits` lowest significand bits cleared, rounded to nearest: 0 bits leave it as it is.
double shortened(const Format& format, double value, int bits);

}  // namespace normproof::fuzz
