// The loops of the certified oracle over typed storage: sums of channels, and elements by the fast rounding
// test.
//
// A channel is walked in two ways. Rows: runs of consecutive values of one channel (contiguous tensors).
// Columns: a row holds one value of every channel, so each lane is a channel (channels-last, and [N, C]).
// Bounds: spec/bounds/certified.md.
#pragma once

#include <cstdint>

#include "lanes.h"
#include "normproof/reference/certified.h"

namespace normproof::reference {

/// Additions in a row before partial sums are folded into double-doubles; with the tree that joins unrolled
/// sums, D of the bounds.
inline constexpr std::int64_t fold_rows = 8;
inline constexpr double fold_depth = 10;

/// Sums over one channel of d = x - shift and w (dy, or nothing), each as hi + lo. With w the sum of d is not
/// formed, and those of d^2 and w^2 are norms, good to a part in a million.
struct Moments {
  double d[2] = {};   ///< sum d
  double dd[2] = {};  ///< sum d^2
  double w[2] = {};   ///< sum w
  double wd[2] = {};  ///< sum w d
  double ww[2] = {};  ///< sum w^2
  double most_d = 0;  ///< max |d|
  double most_w = 0;
  std::int64_t deepest = 0;  ///< additions in the deepest lane of precise sums
};

/// The truth of an element in double: slope d + weight w + constant with d = x - shift, off by at most
/// error_0 + error_d |d - centre| + error_own |d| + error_w |w|, and by `error` for each of the channel's
/// elements.
template <class Number>
struct LineOf {
  Number shift{}, slope{}, weight{}, constant{}, centre{};
  Number error{};
  Number float_error{};  ///< the same where the form is evaluated in float; infinite where it cannot be
  Number error_0{}, error_d{}, error_own{}, error_w{};
};
using Line = LineOf<double>;

/// Lines of many channels, by the member (padded): what the columns read.
template <class Number>
struct LineArrays {
  Number* shift;
  Number* slope;
  Number* weight;
  Number* low;   ///< constant - error (in float: - float_error)
  Number* high;  ///< constant + it
};
struct Lines {
  LineArrays<double> in_double;
  LineArrays<float> in_float;  ///< of the 16-bit formats alone
};

/// Moments of many channels, by the member: each array is padded to a multiple of column_padding.
inline constexpr std::int64_t column_padding = 16;
struct ColumnMoments {
  double* d[2];
  double* dd[2];
  double* w[2];
  double* wd[2];
  double* ww[2];
  double* most_d;
  double* most_w;
};

/// What the lines of many channels are drawn from, by the member (padded).
struct ForwardColumns {
  std::int64_t channels;
  double n, eps;
  const double *shift, *gamma, *beta;
  ColumnMoments moments;
  const double* variance;  ///< null: of the moments. Else given, and the mean is the shift
  /// Running statistics before the update, null for none, the new batch's weight in them, and what its
  /// variance is multiplied by first.
  const double *running_mean, *running_variance;
  double momentum, unbias;
};
struct BackwardColumns {
  std::int64_t channels;
  double n;
  const double *shift, *invstd, *gamma;
  ColumnMoments moments;
};
/// What becomes of them, room for as much.
struct DrawnColumns {
  Lines lines;
  std::int64_t* usable;  ///< all bits set where the line may be used, none where not
};
/// A result of many channels, off by at most `error`.
struct BoundedColumns {
  double *value, *error;
};
struct ForwardResults {
  BoundedColumns mean, variance, invstd, running_mean, running_variance;
};
struct BackwardResults {
  BoundedColumns dgamma, dbeta;
};

/// Runs of consecutive values: `rows` of them, each `length` long and `stride` values after the one before.
struct Rows {
  std::int64_t rows, length, stride;
  bool past_cache = false;  ///< of results: so many that none is still in a cache when it is read
};

struct RawLanes {
  /// Sums of rows in double, folded after fold_rows additions; w may be null.
  void (*row_moments)(const void* x, const void* w, const Rows&, double shift, Moments&);
  /// The same in double-double throughout.
  void (*row_moments_precise)(const void* x, const void* w, const Rows&, double shift, Moments&);
  /// Writes every element to y by the fast test; the index (row * length + place) of those in doubt to
  /// `open`.
  std::int64_t (*row_elements)(const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                               const Line&, std::int64_t* open);
  /// The same with the form of double-doubles, off by at most `error`. f64 alone.
  std::int64_t (*row_elements_precise)(const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                                       const Form&, double error, std::int64_t* open);
  /// As row_moments for `channels` columns of `rows` rows; shifts are padded too.
  void (*column_moments)(const void* x, const void* w, std::int64_t rows, std::int64_t stride,
                         std::int64_t channels, const double* shifts, const ColumnMoments&);
  /// Writes the rows; the indices (row * channels + channel) in doubt go to `open`.
  std::int64_t (*column_elements)(const void* x, const void* w, std::int64_t rows, std::int64_t in, void* y,
                                  std::int64_t out, bool past_cache, std::int64_t channels, const Lines&,
                                  std::int64_t* open);
  /// Of `left` indices in `open`, those that the line with the bound of each single element leaves; the
  /// others are written. Not of f64.
  std::int64_t (*retest)(const Grid&, const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                         const Line&, std::int64_t* open, std::int64_t left);
  /// Rounds n values to the format and stores them; clears told[k] where `error` leaves one in doubt.
  void (*put_all)(const Grid&, const double* values, const double* error, std::int64_t n, void* y,
                  std::int64_t* told);
  void (*load_all)(const void* x, std::int64_t n, double* to);
  /// steps_between.
  Steps (*steps)(const void* truth, const void* got, std::int64_t n);
  /// The double of a stored value, and back (of a value that the format holds).
  double (*load)(const void* x, std::int64_t place);
  void (*store)(void* y, std::int64_t place, double value);
};

/// Of the format, for the instruction set that runs.
const RawLanes& raw_lanes(const Format& format);

}  // namespace normproof::reference
