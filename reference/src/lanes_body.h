// The body of lanes.h. Included by one file per instruction set, which defines NORMPROOF_LANES, the namespace
// of everything here: no inline function compiled for a newer machine may be shared with the others, which is
// also why nothing of the standard library is called.
#ifndef NORMPROOF_LANES
#error "define NORMPROOF_LANES, the name of the instruction set"
#endif

#include "lanes.h"
#include "rounding_body.h"

namespace normproof::reference::NORMPROOF_LANES {
namespace {

constexpr std::int64_t block = 256;

Decided decide_to(const Grid& grid, const Enclosed& v, double precision) {
  return grid.wide ? decided<true>(grid, v.hi, v.lo, v.error, precision)
                   : decided<false>(grid, v.hi, v.lo, v.error, precision);
}
Decided decide(const Grid& grid, const Enclosed& v) {
  return decide_to(grid, v, off_precision);
}
Decided round(const Grid& grid, const Enclosed& v) {
  return decide_to(grid, v, 0.25);
}

/// Terms: 1 with x, 2 with x and dy, 3 with x, dy and v.
template <bool Wide, int Terms>
std::int64_t decide_form(const Grid& grid, const Form& f, const double* x, const double* dy, const double* v,
                         std::int64_t n, double* __restrict rn, double* __restrict off,
                         std::int64_t* __restrict open) {
  std::int64_t undecided = 0;
  const Grid g = grid;  // the stores below cannot change these
  const Form c = f;
  for (std::int64_t first = 0; first < n; first += block) {
    const std::int64_t count = n - first < block ? n - first : block;
    std::int64_t doubt[block];
    std::int64_t any = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = first + i;
      const Pair d = two_sum(x[at], -c.shift);
      Pair t = sum({c.hi[0], c.lo[0]}, product(c.hi[1], c.lo[1], d.hi, d.lo));
      double error = c.error[0] + c.error[1] * magnitude(d.hi);
      if constexpr (Terms > 1) {
        t = sum(t, product(c.hi[2], c.lo[2], dy[at], 0));
        error += c.error[2] * magnitude(dy[at]);
      }
      if constexpr (Terms > 2) {
        t = sum(t, product(c.hi[3], c.lo[3], v[at], 0));
        error += c.error[3] * magnitude(v[at]);
      }
      const Decided result = decided<Wide>(g, t.hi, t.lo, error, off_precision);
      rn[at] = result.rn;
      off[at] = result.off;
      const std::int64_t doubtful = result.certain ? 0 : 1;
      doubt[i] = doubtful;
      any |= doubtful;
    }
    if (any != 0)
      for (std::int64_t i = 0; i < count; ++i) {
        open[undecided] = first + i;
        undecided += doubt[i];
      }
  }
  return undecided;
}

template <bool Wide>
std::int64_t decide_terms(const Grid& grid, const Form& f, const double* x, const double* dy, const double* v,
                          std::int64_t n, double* rn, double* off, std::int64_t* open) {
  if (v != nullptr)
    return decide_form<Wide, 3>(grid, f, x, dy, v, n, rn, off, open);
  if (dy != nullptr)
    return decide_form<Wide, 2>(grid, f, x, dy, v, n, rn, off, open);
  return decide_form<Wide, 1>(grid, f, x, dy, v, n, rn, off, open);
}

std::int64_t decide_all(const Grid& grid, const Form& f, const double* x, const double* dy, const double* v,
                        std::int64_t n, double* rn, double* off, std::int64_t* open) {
  return grid.wide ? decide_terms<true>(grid, f, x, dy, v, n, rn, off, open)
                   : decide_terms<false>(grid, f, x, dy, v, n, rn, off, open);
}

/// Doubles in their order, as integers: minima and maxima of integers vectorise without any promise about
/// NaN.
inline std::int64_t ordered(double v) {
  const auto b = static_cast<std::int64_t>(bits_of(v));
  return b ^ ((b >> 63) & static_cast<std::int64_t>(magnitude_mask));
}
inline double from_ordered(std::int64_t v) {
  return from_bits(static_cast<std::uint64_t>(v ^ ((v >> 63) & static_cast<std::int64_t>(magnitude_mask))));
}

Extent extent(const double* x, std::int64_t n) {
  std::int64_t least = ordered(infinity);
  std::int64_t most = ordered(-infinity);
  std::int64_t lowest = ordered(infinity);
  std::int64_t special = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t b = bits_of(x[i]);
    const std::uint64_t size = b & magnitude_mask;
    const std::int64_t finite = size < exponent_mask ? 1 : 0;
    special |= 1 - finite;
    const std::int64_t place = ordered(x[i]);
    least = finite != 0 && place < least ? place : least;
    most = finite != 0 && place > most ? place : most;
    // What is lost when the lowest bit of the significand goes; all of it where that is the hidden bit.
    const bool hidden = (size & ~exponent_mask) == 0;
    const double bit = hidden ? from_bits(size) : from_bits(size) - from_bits(size & (size - 1));
    const auto bit_place = static_cast<std::int64_t>(bits_of(bit));
    lowest = finite != 0 && size != 0 && bit_place < lowest ? bit_place : lowest;
  }
  Extent e{from_ordered(least), from_ordered(most), 0, from_ordered(lowest), special == 0};
  e.max_abs = magnitude(e.min) > magnitude(e.max) ? magnitude(e.min) : magnitude(e.max);
  if (least > most)
    e.max_abs = 0;
  return e;
}

bool representable(const Grid& grid, const double* values, std::int64_t n) {
  const Grid g = grid;
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double size = magnitude(values[i]);
    const double own = from_bits(bits_of(size) & exponent_mask);
    const double binade = own < g.least ? g.least : own;
    const double magic = binade * g.unit * 0x1.8p52;
    const int on_grid = int{(size + magic) - magic == size} & int{size <= g.largest};
    wrong |= 1 - (on_grid | int{size == infinity} | int{size != size});
  }
  return wrong == 0 || g.wide;
}

}  // namespace
}  // namespace normproof::reference::NORMPROOF_LANES
