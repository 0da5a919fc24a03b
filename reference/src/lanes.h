// The loops of the certified oracle that touch every element, compiled once per instruction set.
//
// Plain C++ that the compiler vectorises (lanes_body.h), in three translation units with their own flags;
// lanes() picks one at run time. Bounds and tests: spec/bounds/certified.md. They need round to nearest and
// gradual underflow.
#pragma once

#include <cstdint>

#include "normproof/reference/truth.h"
#include "normproof/spec/format.h"

namespace normproof::reference {

/// The numbers of a format that its rounding test needs.
struct Grid {
  double least;    ///< 2^emin, the smallest normal number
  double unit;     ///< 2^(1-p): spacing = unit * binade
  double inverse;  ///< 1 / unit
  double largest;  ///< finite
  bool wide;       ///< binary64: a double-double's upper half is the rounded value

  explicit Grid(const Format& format);
};

/// The truth of an element as a linear form c[0] + c[1] (x - shift) + c[2] dy + c[3] v, coefficients
/// c[k] = hi[k] + lo[k]. The evaluated form is off by at most error[0] + error[1] |x - shift| + error[2] |dy|
/// + error[3] |v|, everything included.
struct Form {
  double shift = 0;
  double hi[4] = {};
  double lo[4] = {};
  double error[4] = {};
};

/// What underflow in any step to a value can add, by far.
inline constexpr double underflow_error = 0x1p-1000;

/// One value hi + lo, off by at most `error`; hi is hi + lo rounded.
struct Enclosed {
  double hi = 0;
  double lo = 0;
  double error = 0;
};

/// What a rounding test leaves: the truth as (rn, off) of truth.h, if certain.
struct Decided {
  double rn;
  double off;
  bool certain;
};

/// What the exact sums of a channel need to know first.
struct Extent {
  double min, max;    ///< of the finite values
  double max_abs;     ///< largest finite magnitude
  double lowest_bit;  ///< the largest power of two that divides every finite value; infinity if all are 0
  bool finite;
};

struct RawLanes;
struct Readings;
struct ForwardColumns;
struct BackwardColumns;
struct DrawnColumns;
struct ForwardResults;
struct BackwardResults;

struct Lanes {
  const char* name;
  const RawLanes* raw;  ///< by format: f64, f32, f16, bf16 (raw_lanes.h)
  Decided (*decide)(const Grid&, const Enclosed&);
  /// The same where `off` is not wanted and need not be good.
  Decided (*round)(const Grid&, const Enclosed&);
  /// rn and off of n elements; dy and v may be null (then their terms are left out). Indices of those that
  /// the test could not decide go to `open` (room for n); returns how many.
  std::int64_t (*decide_all)(const Grid&, const Form&, const double* x, const double* dy, const double* v,
                             std::int64_t n, double* rn, double* off, std::int64_t* open);
  Extent (*extent)(const double* x, std::int64_t n);
  /// The lines and results of many channels (line.h).
  void (*forward_columns)(const ForwardColumns&, const DrawnColumns&, const ForwardResults&);
  void (*backward_columns)(const BackwardColumns&, const DrawnColumns&, const BackwardResults&);
  /// Whether the format holds every value.
  bool (*representable)(const Grid&, const double* values, std::int64_t n);
  /// The readings of ordinary values (readings.h). Indices of the others go to `open` (room for n); returns
  /// how many.
  std::int64_t (*read)(const Grid&, const double* got, const double* rn, const double* off,
                       const double* scale, std::int64_t n, Readings& to, std::int64_t* open);
};

/// The best table that this machine runs.
const Lanes& lanes();
/// All that this machine runs, the best first; null-terminated.
const Lanes* const* all_lanes();

}  // namespace normproof::reference
