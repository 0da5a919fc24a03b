// One pass over raw buffers: the walk along channels, the stages of an element, the bookkeeping. What the
// pass computes is told by the few functions that ForwardJob and BackwardJob fill in.
//
// A channel's values are walked as runs or as columns where the placements have them; anything else is
// gathered into runs, a cache line of channels at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "form.h"
#include "normproof/reference/certified.h"
#include "raw_view.h"

namespace normproof::reference {

struct DeviceEffort;
class StageMachine;

/// The tensors of a pass: y = f(x, w), w null in the forward passes.
struct RawTensors {
  Shape shape;
  Format data, stats;
  Placement x_placement, w_placement, y_placement;
  const void* x;
  const void* w;
  void* y;
  int threads;
};

/// Per-channel numbers by the member, padded with zeros for the vectors; the numbers are not set.
template <class Number>
class Padded {
public:
  explicit Padded(std::int64_t channels, std::size_t members = 1)
      : size_(
            static_cast<std::size_t>((channels + 2 * column_padding - 1) / column_padding * column_padding)),
        values_(std::make_unique_for_overwrite<Number[]>(size_ * members)) {
    for (std::size_t k = 0; k < members; ++k)
      std::fill(member(k) + channels, member(k) + size_, Number(0));
  }
  Number* member(std::size_t k) { return values_.get() + k * size_; }
  Number* begin() { return values_.get(); }
  BoundedColumns bounded(std::size_t k) { return {member(k), member(k + 1)}; }

private:
  std::size_t size_;
  std::unique_ptr<Number[]> values_;
};

/// What is known of a channel so far.
struct Known {
  double shift = 0;
  Moments moments;
  Statistics statistics{};  ///< forward passes in training
  std::optional<Line> line;
  std::optional<Form> form;
};

class RawJob {
public:
  explicit RawJob(const RawTensors& t);
  virtual ~RawJob() = default;
  RawJob(const RawJob&) = delete;
  RawJob& operator=(const RawJob&) = delete;

  CertifiedEffort run();
  /// The same with x, w and y in the machine's memory (device_walk.cpp).
  DeviceEffort run(StageMachine& machine);

protected:
  /// One channel in doubles, in the order of its values.
  struct Gathered {
    std::vector<double> x, w;
  };

  /// Sums of columns in double, and the shifts they count from.
  struct Columns {
    const double* shifts;
    ColumnMoments moments;
  };

  /// The shifts that the channels' values are counted from; null: any near the mean will do, and may be
  /// moved.
  virtual const void* given_shifts() const = 0;
  /// The line from plain sums, the form from precise ones; none where they are not good enough.
  virtual void draw(std::int64_t c, Known& known) const = 0;
  virtual void draw_precisely(std::int64_t c, Known& known) const = 0;
  /// The lines of all channels from plain sums, and their results; clears told[c] where put_results would say
  /// false.
  virtual void draw_columns(const Columns& columns, const DrawnColumns& to, std::int64_t* told) const = 0;
  /// Writes the per-channel results; false if some could not be decided from what is known.
  virtual bool put_results(std::int64_t c, const Known& known) const = 0;
  /// Decides elements, and per-channel results unless they were `told`, by truth_of's route. `put(k, value)`
  /// writes the k-th of `open`.
  virtual void exactly(std::int64_t c, const Gathered& values, const std::int64_t* open, std::int64_t left,
                       bool told, double* results) const = 0;

  /// Rounds into a per-channel tensor; true where it is certain or not wanted.
  bool put(void* to, std::int64_t c, const std::optional<Enclosed>& value) const;
  double stat(const void* from, std::int64_t c) const { return stats_.load(from, c); }
  /// The same of all channels.
  void put(void* to, const BoundedColumns& values, std::int64_t* told) const;
  Padded<double> stats_or(const void* from, double otherwise) const;

  RawTensors t_;
  std::int64_t n_;
  Grid grid_;
  Grid stats_grid_;
  const RawLanes& data_;
  const RawLanes& stats_;

private:
  /// Room for indices that nobody clears.
  class Indices {
  public:
    std::int64_t* room(std::int64_t count) {
      if (count > size_) {
        values_ = std::make_unique_for_overwrite<std::int64_t[]>(static_cast<std::size_t>(count));
        size_ = count;
      }
      return values_.get();
    }

  private:
    std::unique_ptr<std::int64_t[]> values_;
    std::int64_t size_ = 0;
  };
  /// Scratch of one thread.
  struct Space {
    Indices open;
    std::vector<std::int64_t> left;
    std::vector<char> x, w;
    std::vector<double> values, weights, rn, off;
  };
  /// One channel of each tensor; w and x lie alike.
  struct Channel {
    View x, w, y;
  };

  static std::int64_t place(std::int64_t i, const Rows& rows) {
    return rows.length == 1 ? i * rows.stride : i / rows.length * rows.stride + i % rows.length;
  }
  std::optional<double> shift_of(std::int64_t c) const {
    return given_shifts() == nullptr ? std::nullopt : std::optional(stat(given_shifts(), c));
  }
  double near_mean(const View& x) const;
  /// A number that may be a shift: where the first test computes in float, it is a float.
  double as_shift(double v) const {
    return t_.data.bytes == 2 ? static_cast<double>(static_cast<float>(v)) : v;
  }
  /// draw(), and no line where the first test could not use it.
  void draw_usable(std::int64_t c, Known& known) const {
    draw(c, known);
    if (t_.data.bytes == 2 && known.line && !std::isfinite(known.line->float_error))
      known.line.reset();
  }
  void know(std::int64_t c, const Channel& v, Known& known) const;
  void know_precisely(std::int64_t c, const Channel& v, Known& known) const;

  void channel(std::int64_t c, const Channel& v, int thread);
  void finish(std::int64_t c, const Channel& v, Known& known, std::int64_t* open, std::int64_t left,
              bool told, Space& space, CertifiedEffort& effort) const;
  /// What comes after the retest, with the sums of v's values in double-double.
  void finish_precisely(std::int64_t c, const Channel& v, Known& known, std::int64_t* open, std::int64_t left,
                        bool told, Space& space, CertifiedEffort& effort) const;
  std::int64_t retest(const Channel& v, const Line& line, std::int64_t* open, std::int64_t left) const;
  std::int64_t by_form(const Channel& v, const Form& form, std::int64_t* open, std::int64_t left,
                       Space& space) const;
  void by_definition(std::int64_t c, const Channel& v, std::int64_t* open, std::int64_t left, bool told,
                     CertifiedEffort& effort) const;

  class OnDevice;

  bool past_cache() const;
  void by_rows();
  void by_columns();
  /// A channel of columns that the line left unsettled.
  struct Unsettled {
    std::int64_t channel;
    std::vector<std::int64_t>* rows;
    bool told;
    Known known;
  };
  void settle_columns(std::span<Unsettled> unsettled);
  void by_gathering();
  void gather_and_solve(std::int64_t first, std::int64_t count, int thread);
  View view(const Places& places, const void* data, std::int64_t c, const Rows& rows) const {
    return {data == nullptr ? nullptr : const_cast<char*>(places.channel(data, c)), rows};
  }

  Places x_places_, w_places_, y_places_;
  std::vector<CertifiedEffort> efforts_;
  std::vector<Space> spaces_;
};

}  // namespace normproof::reference
