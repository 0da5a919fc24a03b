// Distances in a floating-point format: ulps, ordinals, and the distance that the gate measures.
//
// A truth is stored as (rn, off): the correctly rounded value and the rest in units of spacing(rn), so that
// truth = rn + off * spacing(rn) holds to 2^-30 of a spacing (truth.h) in every format, f64 and its
// subnormals included. rn = +-inf means a truth beyond the overflow threshold; off then counts from
// 2^(emax+1), and nothing is nearer to it than that infinity: got = rn = +-inf is at distance 0. NaN is at
// distance 0 from NaN, infinitely far from a number.
#pragma once

#include <cstdint>

#include "normproof/spec/format.h"

namespace normproof::reference {

/// Gap between |v| and the next larger magnitude of the format (the next smaller for the largest number and
/// for infinity); 2^(emin-p+1) at zero and in the subnormals. v is representable or infinite.
double spacing(const Format& format, double v);

/// The ulp of a real y = rn + off * spacing(rn), after Harrison: min(b - a) over numbers a <= y <= b of the
/// format, a != b. At rn = 2^k it depends on the side that y lies on (notes of spec/bounds/model.md).
double ulp(const Format& format, double rn, double off);

/// Steps between two numbers of the format on the ordered line of its encodings; +0 and -0 are the same
/// point; infinities are one step beyond the largest. Undefined for NaN.
std::int64_t ordinal(const Format& format, double v);

/// |got - truth| in units of the truth's ulp (E_raw). got = +-inf against a finite truth counts as
/// +-2^(emax+1).
double ulps_off(const Format& format, double got, double rn, double off);

/// |got - truth|, absolute.
double distance(const Format& format, double got, double rn, double off);

/// E of the gate (spec/bounds/model.md): distance from the truth to the closed interval of reals that round
/// to `got`. 0 when got is the correctly rounded value and, at an exact tie, for either neighbour. Absolute.
double distance_to_rounding_interval(const Format& format, double got, double rn, double off);

/// Whether the truth lies exactly between two numbers: |off| = 1/2, or 1/4 below rn = 2^k, where the spacing
/// is half as wide. (The even neighbour is then rn.)
bool is_tie(const Format& format, double rn, double off);

/// One of the two numbers of the format that enclose the truth (the number itself when the truth is one).
bool is_faithful(const Format& format, double got, double rn, double off);

}  // namespace normproof::reference
