// Double-doubles and the rounding test of spec/bounds/certified.md, on the terms of lanes_body.h: once per
// instruction set, in the namespace that the including file names, and for a device.
#pragma once

#ifndef NORMPROOF_LANES
#error "define NORMPROOF_LANES, the name of the instruction set"
#endif

#include <cstdint>

#include "host_device.h"
#include "lanes.h"

namespace normproof::reference::NORMPROOF_LANES {
namespace {

constexpr std::uint64_t exponent_mask = 0x7ff0000000000000U;
constexpr std::uint64_t magnitude_mask = 0x7fffffffffffffffU;
constexpr double infinity = __builtin_inf();

NORMPROOF_HOST_DEVICE inline std::uint64_t bits_of(double v) {
  return __builtin_bit_cast(std::uint64_t, v);
}
NORMPROOF_HOST_DEVICE inline double from_bits(std::uint64_t v) {
  return __builtin_bit_cast(double, v);
}
NORMPROOF_HOST_DEVICE inline double magnitude(double v) {
  return __builtin_fabs(v);
}

struct Pair {
  double hi, lo;
};
/// Exact (Knuth).
NORMPROOF_HOST_DEVICE inline Pair two_sum(double a, double b) {
  const double s = a + b;
  const double t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
/// (a.hi + a.lo)(b.hi + b.lo), off by at most 8u^2 of it, not normalised.
NORMPROOF_HOST_DEVICE inline Pair product(double a_hi, double a_lo, double b_hi, double b_lo) {
  const double p = a_hi * b_hi;
  return {p, __builtin_fma(a_hi, b_hi, -p) + (a_hi * b_lo + a_lo * b_hi)};
}
/// Off by at most 5u^2 (|a| + |b|); normalised.
NORMPROOF_HOST_DEVICE inline Pair sum(Pair a, Pair b) {
  const Pair s = two_sum(a.hi, b.hi);
  return two_sum(s.hi, s.lo + (a.lo + b.lo));
}

/// The rounding test. hi + lo is normalised; the truth is within `error` of it. `precision` of a spacing is
/// what `error` may be at most.
template <bool Wide>
NORMPROOF_HOST_DEVICE inline Decided decided(const Grid& grid, double hi, double lo, double error,
                                             double precision) {
  const double size = magnitude(hi);
  const double own = from_bits(bits_of(size) & exponent_mask);  // the binade of hi
  const double binade = own < grid.least ? grid.least : own;
  const double spacing = binade * grid.unit;
  // The multiple of `spacing` nearest to hi, and the rest of hi: exact.
  double whole = hi;
  if constexpr (!Wide) {
    const double magic = spacing * 0x1.8p52;
    whole = (hi + magic) - magic;
  }
  const double rest = hi - whole;
  // Signed distance from the midpoint beyond `whole`, positive beyond it.
  const double half = 0.5 * spacing;
  double from_midpoint, side;
  if constexpr (Wide) {
    from_midpoint = magnitude(lo) - half;
    side = lo;
  } else {
    from_midpoint = (magnitude(rest) - half) + (rest < 0 ? -lo : lo);
    side = rest;
  }
  const double step = from_midpoint > 0 ? __builtin_copysign(spacing, side) : 0.0;
  const double rounded = whole + step;
  double off =
      ((rest - step) + lo) * (grid.inverse * from_bits((std::uint64_t{2046} << 52) - bits_of(binade)));
  constexpr double most = 0x1.fffffffffffffp-2;  // only a tie is 1/2
  off = off > most ? most : off < -most ? -most : off;
  off = magnitude(rounded) >= 2 * binade ? 0.5 * off : off;  // up into the next binade
  // As integers: nothing here may branch.
  int certain = int{magnitude(from_midpoint) > error} & int{error <= spacing * precision} &
                int{size > error} & int{magnitude(rounded) <= grid.largest} & int{size < 0x1p1000};
  if constexpr (Wide)  // below a power of two the numbers are twice as dense
    certain &= int{size != own} | int{lo * hi >= 0} | int{magnitude(lo) < 0.125 * spacing};
  return {__builtin_copysign(rounded, hi), off, certain != 0};
}

}  // namespace
}  // namespace normproof::reference::NORMPROOF_LANES
