// The body of lanes.h. Included by one file per instruction set, which defines NORMPROOF_LANES, the namespace
// of everything here: no inline function compiled for a newer machine may be shared with the others, which is
// also why nothing of the standard library is called.
#ifndef NORMPROOF_LANES
#error "define NORMPROOF_LANES, the name of the instruction set"
#endif

#include "lanes.h"
#include "normproof/reference/readings.h"
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

/// The gap above |v| in the format; v finite.
inline double gap_above(const Grid& g, double v) {
  const double own = from_bits(bits_of(v) & exponent_mask);
  return (own < g.least ? g.least : own) * g.unit;
}
/// Whether |v| = 2^k with a finer spacing below than above.
inline int starts_binade(const Grid& g, double v) {
  const double size = magnitude(v);
  return int{(bits_of(size) & ~exponent_mask) == 0} & int{size > g.least};
}

std::int64_t read(const Grid& grid, const double* got, const double* rn, const double* off,
                  const double* scale, std::int64_t n, Readings& to, std::int64_t* open) {
  const Grid g = grid;
  // Where nothing below can underflow, overflow or be a NaN. Then every scaling is exact, and each line
  // rounds as its counterpart in ulp.cpp does.
  const double least = g.wide ? 0x1p-700 : 0.0;
  const double most = g.wide ? 0x1p900 : g.largest;
  const double least_off = g.wide ? 0x1p-100 : 0x1p-700;
  const double least_scale = 0.5 * g.least * g.unit;  // rounds to 0
  const double most_scale = 0.5 * most;
  const std::int64_t wide = g.wide ? 1 : 0;
  double* __restrict ulps = to.ulps;
  double* __restrict distance = to.distance;
  double* __restrict beyond = to.beyond;
  double* __restrict least_reach = to.least_reach;
  double* __restrict condition_ulps = to.condition_ulps;
  std::int64_t* __restrict faithful = to.faithful;
  std::int64_t odd[Readings::block];
  std::int64_t any = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = got[i];
    const double r = rn[i];
    const double o = off[i];
    // Everything is computed and then chosen: nothing here may branch.
    const int below = int{o < 0};
    const int above = int{o > 0};
    const int negative = int{r < 0};
    const double gap = gap_above(g, r);
    const double half_gap = 0.5 * gap;
    const int power = starts_binade(g, r);
    const double t = (r - a) + o * gap;
    const double d = magnitude(t);
    const double own_gap = gap_above(g, a);
    const int own_power = starts_binade(g, a);
    const int own_negative = int{a < 0};
    const int toward_zero = (own_negative & int{t > 0}) | ((1 - own_negative) & int{t < 0});
    const double half_reach = 0.5 * own_gap;
    const double quarter_reach = 0.25 * own_gap;
    const double reach = (own_power & toward_zero) != 0 ? quarter_reach : half_reach;
    const double rest = d - reach;
    // Harrison's ulp: at a power of two the finer side counts, but for a truth above it.
    const int outward = (negative & below) | ((1 - negative) & above);
    const double unit = (power & (1 - outward)) != 0 ? half_gap : gap;
    // The neighbour of rn on the truth's side.
    const int inward = (negative & above) | ((1 - negative) & below);
    const double step = (power & inward) != 0 ? half_gap : gap;
    const double up = r + step;
    const double down = r - step;
    const int is_neighbour = (above & int{a == up}) | (below & int{a == down});
    // The ulp at the rounded scale: of a power of two the finer one below it.
    const double s = scale[i];
    const double magic = gap_above(g, s) * 0x1.8p52;
    const double on_grid = (s + magic) - magic;
    const double rounded = wide != 0 ? s : on_grid;
    const double scale_gap = gap_above(g, rounded);
    const double half_scale_gap = 0.5 * scale_gap;
    const double scale_unit = starts_binade(g, rounded) != 0 ? half_scale_gap : scale_gap;
    const double in_scale = d / scale_unit;
    const int usable = int{s > least_scale} & int{s <= most_scale};
    ulps[i] = d / unit;
    distance[i] = d;
    beyond[i] = rest > 0 ? rest : 0.0;
    least_reach[i] = own_power != 0 ? quarter_reach : half_reach;
    condition_ulps[i] = usable != 0 ? in_scale : 0.0;
    faithful[i] = int{a == r} | is_neighbour;
    const double a_size = magnitude(a);
    const double r_size = magnitude(r);
    const double o_size = magnitude(o);
    const int plain = int{a_size <= most} & int{a_size >= least} & int{r_size <= most} &
                      int{r_size >= least} & (int{o == 0} | int{o_size >= least_off}) & int{s >= least} &
                      int{s <= 0.5 * most};
    odd[i] = 1 - plain;
    any |= odd[i];
  }
  std::int64_t left = 0;
  if (any != 0)
    for (std::int64_t i = 0; i < n; ++i) {
      open[left] = i;
      left += odd[i];
    }
  return left;
}

}  // namespace
}  // namespace normproof::reference::NORMPROOF_LANES
