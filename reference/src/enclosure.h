// From exact numbers to double-doubles with a bound, and from those to linear forms: what a channel brings to
// the loops of lanes.h. Every bound is derived in spec/bounds/certified.md.
//
// Nothing is returned where a double-double might over- or underflow: that channel or value is then left to
// the multiprecision oracle.
#pragma once

#include <optional>

#include "lanes.h"
#include "linear.h"
#include "normproof/reference/double_double.h"
#include "settle.h"

namespace normproof::reference {

/// Relative errors: of products and (to the magnitudes added) of sums in the loops; of an exact quotient cut
/// to a double-double; of 1/sqrt of one as it stands.
inline constexpr double product_error = 8 * 0x1p-106;
inline constexpr double sum_error = 5 * 0x1p-106;
inline constexpr double quotient_error = 0x1p-105;
inline constexpr double root_error = 0x1p-102;
/// Of a whole form: a coefficient is a quotient times a root of one, then come one product and up to three
/// sums.
inline constexpr double form_error =
    1.02 * (1.5 * quotient_error + root_error + 2 * product_error + 3 * sum_error);

/// The number to quotient_error of itself; nothing outside 2^-400 .. 2^400 (and 0).
std::optional<DoubleDouble> double_double(const Quotient& q);
std::optional<DoubleDouble> double_double(const Dyadic& d);
/// The number as near as two doubles get, whatever its size: to quotient_error where nothing under- or
/// overflows.
DoubleDouble approximation(const Quotient& q);
/// 1/sqrt(s) to root_error of itself.
DoubleDouble inverse_root(DoubleDouble s);

/// The truth scale * q + shift: q exact, scale a root of a quotient.
std::optional<Enclosed> enclosed(DoubleDouble scale, const Quotient& q, double shift);
/// The truth q.
std::optional<Enclosed> enclosed(const Quotient& q);

/// The truth scale * L(x, dy, v) + shift, L exact, for values up to 2^400 in magnitude, with x counted from a
/// double near `centre`.
std::optional<Form> form_of(DoubleDouble scale, const Linear& over_scale, double shift, double centre);

/// By the rounding test, if that decides.
std::optional<Rounded> certified(const Format& format, const std::optional<Enclosed>& value);

}  // namespace normproof::reference
