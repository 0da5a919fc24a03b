// The forward passes on raw buffers. A channel's values are walked as runs or as columns where the placement
// has them; anything else is gathered into runs, a cache line of channels at a time.
#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "environment.h"
#include "forward_channel.h"
#include "line.h"
#include "memo.h"
#include "normproof/reference/certified.h"
#include "raw_view.h"

namespace normproof::reference {
namespace {

class ForwardJob {
public:
  explicit ForwardJob(const ForwardBuffers& b)
      : b_(b),
        n_(b.shape.per_channel()),
        grid_(b.data),
        data_(raw_lanes(b.data)),
        stats_(raw_lanes(b.stats)),
        from_(b.shape, b.x_placement, b.data.bytes),
        to_(b.shape, b.y_placement, b.data.bytes) {}

  CertifiedEffort run() {
    const auto threads = static_cast<std::size_t>(std::max(1, b_.threads));
    efforts_.resize(threads);
    spaces_.resize(threads);
    if (n_ > 0) {
      if (from_.rows() && to_.rows())
        by_rows();
      else if (from_.columns() && to_.columns() && !grid_.wide)
        by_columns();
      else
        by_gathering();
    }
    CertifiedEffort total;
    for (const CertifiedEffort& effort : efforts_)
      total += effort;
    total.channels = b_.shape.channels;
    total.elements = b_.shape.elements();
    return total;
  }

private:
  bool training() const { return b_.given_mean == nullptr; }
  double gamma(std::int64_t c) const { return b_.gamma == nullptr ? 1 : stats_.load(b_.gamma, c); }
  double beta(std::int64_t c) const { return b_.beta == nullptr ? 0 : stats_.load(b_.beta, c); }

  /// Scratch of one thread.
  struct Space {
    std::vector<std::int64_t> open;
    std::vector<char> in, out;
    std::vector<double> x, rn, off;
    std::vector<std::int64_t> left;
  };

  /// What is known of a channel so far.
  struct Known {
    double shift = 0;
    Moments moments;
    Statistics statistics{};
    std::optional<Line> line;
    std::optional<Form> form;
  };

  // --- statistics ---

  static std::int64_t place(std::int64_t i, const Rows& rows) {
    return rows.length == 1 ? i * rows.stride : i / rows.length * rows.stride + i % rows.length;
  }

  /// A number near the mean, of a few values; 0, which costs nothing, where that is near enough.
  double first_shift(const View& x) const {
    const std::int64_t count = std::min<std::int64_t>(n_, 16);
    double sum = 0;
    double squares = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const double value = data_.load(x.data, place(n_ / count * k, x.rows));
      sum += value;
      squares += value * value;
    }
    const double mean = sum / static_cast<double>(count);
    const bool near = mean * mean < 0.8 * squares / static_cast<double>(count);
    return !near && std::abs(mean) < 0x1p300 ? mean : 0;
  }

  Statistics given(std::int64_t c) const {
    Statistics s{};
    s.variance = stats_.load(b_.given_variance, c);
    return s;
  }

  /// The sums in double, and the line where they are good enough for one.
  void know(std::int64_t c, const View& x, Known& known) const {
    known.shift = training() ? first_shift(x) : stats_.load(b_.given_mean, c);
    constexpr int tries = 3;
    for (int k = 0; k < tries; ++k) {
      known.moments = {};
      data_.row_moments(x.data, nullptr, x.rows, known.shift, known.moments);
      draw(c, known);
      const double moved = known.shift + known.statistics.mean.hi;
      if (known.line || !training() || !std::isfinite(moved) || moved == known.shift)
        return;
      known.shift = moved;
    }
  }

  void draw(std::int64_t c, Known& known) const {
    if (!std::isfinite(known.moments.dd[0]))
      return;
    known.statistics = training() ? plain_statistics(known.moments, n_) : given(c);
    known.line = forward_line(known.statistics, known.moments, known.shift, gamma(c), beta(c), b_.eps);
  }

  /// The same in double-double.
  void know_precisely(std::int64_t c, const View& x, Known& known) const {
    known.moments = {};
    if (training())
      data_.row_moments_precise(x.data, nullptr, x.rows, known.shift, known.moments);
    else
      data_.row_moments(x.data, nullptr, x.rows, known.shift, known.moments);
    if (!std::isfinite(known.moments.dd[0]) || !(known.moments.most_d < 0x1p300))
      return;
    known.statistics = training() ? precise_statistics(known.moments, n_) : given(c);
    known.form = forward_form(known.statistics, known.shift, gamma(c), beta(c), b_.eps);
  }

  bool put(void* to, std::int64_t c, const std::optional<Enclosed>& value) const {
    if (to == nullptr)
      return true;
    if (!value)
      return false;
    const Decided r = lanes().round(Grid(b_.stats), *value);
    if (r.certain)
      stats_.store(to, c, r.rn);
    return r.certain;
  }
  /// Whether the channel's statistics, as far as they are wanted, were certain.
  bool put_statistics(std::int64_t c, const Known& known) const {
    const Statistics& s = known.statistics;
    if (!std::isfinite(known.moments.dd[0]))
      return false;
    const DoubleDouble mean = DoubleDouble(known.shift) + s.mean;
    const Enclosed mean_in{mean.hi, mean.lo,
                           1.001 * (s.mean_error + 0x1p-100 * (std::abs(known.shift) + std::abs(s.mean.hi))) +
                               underflow_error};
    const Enclosed variance_in{s.variance.hi, s.variance.lo, s.variance_error + underflow_error};
    const DoubleDouble sum = s.variance + DoubleDouble(b_.eps);
    const double delta = s.variance_error / sum.hi;
    std::optional<Enclosed> r_in;
    if (sum.hi > 0x1p-300 && sum.hi < 0x1p300 && delta >= 0 && delta < 0x1p-10) {
      const DoubleDouble r = inverse_root(sum);
      r_in = Enclosed{r.hi, r.lo, 1.001 * r.hi * (delta * (0.5 + delta) + form_error)};
    }
    const bool mean_done = put(b_.mean, c, mean_in);
    const bool variance_done = put(b_.variance, c, variance_in);
    return put(b_.invstd, c, r_in) && mean_done && variance_done;
  }

  // --- one channel as runs ---

  void channel(std::int64_t c, const View& x, const View& y, int thread) {
    Space& space = spaces_[static_cast<std::size_t>(thread)];
    CertifiedEffort& effort = efforts_[static_cast<std::size_t>(thread)];
    space.open.resize(static_cast<std::size_t>(n_));
    Known known;
    std::int64_t left = n_;
    bool told = !training();
    if (!grid_.wide) {
      know(c, x, known);
      if (known.line)
        left = data_.row_elements(x.data, nullptr, x.rows, y.data, y.rows, *known.line, space.open.data());
    } else {
      known.shift = training() ? first_shift(x) : stats_.load(b_.given_mean, c);
      know_precisely(c, x, known);
      if (known.form)
        left = data_.row_elements_precise(x.data, nullptr, x.rows, y.data, y.rows, *known.form,
                                          known.form->error[0] + known.form->error[1] * known.moments.most_d,
                                          space.open.data());
    }
    told = told || put_statistics(c, known);
    const bool whole = !known.line && !known.form;
    if (whole)
      for (std::int64_t i = 0; i < n_; ++i)
        space.open[static_cast<std::size_t>(i)] = i;
    if (left == 0 && told)
      return;
    effort.retested += left;
    finish(c, x, y, known, space.open.data(), left, told, space, effort);
  }

  // --- what is left of a channel ---

  void write(const View& y, std::int64_t i, double value) const {
    data_.store(y.data, place(i, y.rows), value);
  }

  /// Decides the `left` elements in `open` and, unless they were `told`, the statistics.
  void finish(std::int64_t c, const View& x, const View& y, Known& known, std::int64_t* open,
              std::int64_t left, bool told, Space& space, CertifiedEffort& effort) const {
    if (known.line)
      left = retest(x, y, *known.line, open, left);
    if (left == 0 && told)
      return;
    if (!grid_.wide && std::isfinite(known.moments.dd[0])) {
      effort.double_double += left;
      if (x.rows.length < 8 && n_ >= 8) {
        space.in.resize(static_cast<std::size_t>(n_ * b_.data.bytes));
        from_.gather(b_.x, c, 1, space.in.data(), 0);
        know_precisely(c, {space.in.data(), {1, n_, n_}}, known);
      } else {
        know_precisely(c, x, known);
      }
      told = told || put_statistics(c, known);
    }
    if (known.form)
      left = by_form(x, y, *known.form, open, left, space);
    if (left > 0 || !told)
      exactly(c, x, y, open, left, told, effort);
  }

  std::int64_t retest(const View& x, const View& y, const Line& line, std::int64_t* open,
                      std::int64_t left) const {
    std::int64_t rest = 0;
    for (std::int64_t k = 0; k < left; ++k) {
      const std::int64_t i = open[k];
      const double d = data_.load(x.data, place(i, x.rows)) - line.shift;
      const double error =
          line.error_0 + line.error_d * std::abs(d - line.centre) + line.error_own * std::abs(d);
      const Decided r = lanes().round(grid_, {std::fma(d, line.slope, line.constant), 0, error});
      if (r.certain)
        write(y, i, r.rn);
      else
        open[rest++] = i;
    }
    return rest;
  }

  std::int64_t by_form(const View& x, const View& y, const Form& form, std::int64_t* open, std::int64_t left,
                       Space& space) const {
    const auto size = static_cast<std::size_t>(left);
    for (std::vector<double>* values : {&space.x, &space.rn, &space.off})
      values->resize(size);
    space.left.resize(size);
    for (std::size_t k = 0; k < size; ++k)
      space.x[k] = data_.load(x.data, place(open[k], x.rows));
    const std::int64_t rest = lanes().decide_all(grid_, form, space.x.data(), nullptr, nullptr, left,
                                                 space.rn.data(), space.off.data(), space.left.data());
    for (std::size_t k = 0; k < size; ++k)
      write(y, open[k], space.rn[k]);
    for (std::int64_t k = 0; k < rest; ++k)
      open[k] = open[space.left[static_cast<std::size_t>(k)]];
    return rest;
  }

  /// By truth_of's route: exact sums, double-doubles, balls, the arbiter.
  void exactly(std::int64_t c, const View& x, const View& y, const std::int64_t* open, std::int64_t left,
               bool told, CertifiedEffort& effort) const {
    Case one;
    Problem& p = one.problem;
    p.pass = training() ? Pass::forward_training : Pass::forward_inference;
    p.data = b_.data;
    p.stats = b_.stats;
    p.shape = {n_, 1, {}};
    p.eps = b_.eps;
    p.running = false;
    one.gamma = {gamma(c)};
    one.beta = {beta(c)};
    if (!training()) {
      one.running_mean = {stats_.load(b_.given_mean, c)};
      one.running_var = {stats_.load(b_.given_variance, c)};
    }
    one.x.resize(static_cast<std::size_t>(n_));
    for (std::int64_t i = 0; i < n_; ++i)
      one.x[static_cast<std::size_t>(i)] = data_.load(x.data, place(i, x.rows));
    ForwardChannel channel(one, 0, Route::certified);
    Memo memo;
    for (std::int64_t k = 0; k < left; ++k) {
      const double value = one.x[static_cast<std::size_t>(open[k])];
      write(y, open[k], memo(value, 0, 0, channel.effort, [&] { return channel.y(value); }).rn);
    }
    if (!told) {
      const auto tell = [&](void* to, const auto& value) {
        if (to != nullptr)
          stats_.store(to, c, value().rn);
      };
      tell(b_.mean, [&] { return channel.mean(); });
      tell(b_.variance, [&] { return channel.variance(); });
      tell(b_.invstd, [&] { return channel.invstd(); });
    }
    effort.exact += left;
    effort.exact_channels += left == n_ ? 1 : 0;
  }

  // --- the three walks ---

  void by_rows() {
    in_parallel(b_.shape.channels, b_.threads, [&](std::int64_t c, int thread) {
      channel(c, {const_cast<char*>(from_.channel(b_.x, c)), *from_.rows()},
              {to_.channel(b_.y, c), *to_.rows()}, thread);
    });
  }

  void by_gathering() {
    const std::int64_t together = std::max<std::int64_t>(1, 64 / b_.data.bytes);
    const std::int64_t pitch = n_ * b_.data.bytes;
    const Rows run{1, n_, n_};
    in_parallel(
        (b_.shape.channels + together - 1) / together, b_.threads, [&](std::int64_t block, int thread) {
          Space& space = spaces_[static_cast<std::size_t>(thread)];
          const std::int64_t first = block * together;
          const std::int64_t count = std::min(together, b_.shape.channels - first);
          std::vector<char> in(static_cast<std::size_t>(pitch * count));
          space.out.resize(in.size());
          from_.gather(b_.x, first, count, in.data(), pitch);
          for (std::int64_t k = 0; k < count; ++k)
            channel(first + k, {in.data() + k * pitch, run}, {space.out.data() + k * pitch, run}, thread);
          to_.scatter(space.out.data(), pitch, first, count, b_.y);
        });
  }

  void by_columns();

  ForwardBuffers b_;
  std::int64_t n_;
  Grid grid_;
  const RawLanes& data_;
  const RawLanes& stats_;
  Places from_;
  Places to_;
  std::vector<CertifiedEffort> efforts_;
  std::vector<Space> spaces_;
};

/// Per-channel numbers, padded for the vectors.
class Padded {
public:
  Padded(std::int64_t channels, std::size_t members)
      : size_(
            static_cast<std::size_t>((channels + 2 * column_padding - 1) / column_padding * column_padding)),
        values_(size_ * members) {}
  double* member(std::size_t k) { return values_.data() + k * size_; }

private:
  std::size_t size_;
  std::vector<double> values_;
};

void ForwardJob::by_columns() {
  const std::int64_t channels = b_.shape.channels;
  const std::int64_t in = *from_.columns();
  const std::int64_t out = *to_.columns();
  const auto row_of = [&](std::int64_t row) {
    return from_.channel(b_.x, 0) + row * in * b_.data.bytes;
  };
  const auto view = [&](std::int64_t c) -> View {
    return {const_cast<char*>(from_.channel(b_.x, c)), {n_, 1, in}};
  };
  // Rows are shared out in pieces of a cache's size, the same whatever the number of threads.
  const std::int64_t piece = std::max<std::int64_t>(
      fold_rows, (1 << 17) / std::max<std::int64_t>(1, channels * b_.data.bytes) / fold_rows * fold_rows);
  const std::int64_t pieces = (n_ + piece - 1) / piece;
  const int threads = static_cast<int>(std::min<std::int64_t>(std::max(1, b_.threads), pieces));

  Padded lines(channels, 5);
  double* shifts = lines.member(0);
  if (training()) {
    Padded first(channels, 5);
    const std::int64_t rows = std::min(n_, fold_rows);
    const ColumnMoments moments{{first.member(0), first.member(1)},
                                {first.member(2), first.member(3)},
                                {},
                                {},
                                {},
                                first.member(4),
                                nullptr};
    data_.column_moments(row_of(0), nullptr, rows, in, channels, shifts, moments);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double mean = first.member(0)[c] / static_cast<double>(rows);
      shifts[c] = std::abs(mean) < 0x1p300 ? mean : 0;
    }
  } else {
    for (std::int64_t c = 0; c < channels; ++c)
      shifts[c] = stats_.load(b_.given_mean, c);
  }

  std::vector<Padded> sums(static_cast<std::size_t>(threads), Padded(channels, 5));
  in_parallel(pieces, threads, [&](std::int64_t k, int thread) {
    Padded& own = sums[static_cast<std::size_t>(thread)];
    const ColumnMoments moments{
        {own.member(0), own.member(1)}, {own.member(2), own.member(3)}, {}, {}, {}, own.member(4), nullptr};
    data_.column_moments(row_of(k * piece), nullptr, std::min(piece, n_ - k * piece), in, channels, shifts,
                         moments);
  });

  std::vector<Known> known(static_cast<std::size_t>(channels));
  for (std::int64_t c = 0; c < channels; ++c) {
    Known& one = known[static_cast<std::size_t>(c)];
    one.shift = shifts[c];
    DoubleDouble d, dd;
    for (Padded& own : sums) {
      d = d + two_sum(own.member(0)[c], own.member(1)[c]);
      dd = dd + two_sum(own.member(2)[c], own.member(3)[c]);
      one.moments.most_d = std::max(one.moments.most_d, own.member(4)[c]);
    }
    one.moments.d[0] = d.hi, one.moments.d[1] = d.lo;
    one.moments.dd[0] = dd.hi, one.moments.dd[1] = dd.lo;
    draw(c, one);
    if (one.line) {
      lines.member(1)[c] = one.line->slope;
      const double error = one.line->error + (b_.data.bytes == 2 ? least_float_spread : 0);
      lines.member(3)[c] = one.line->constant - error;
      lines.member(4)[c] = one.line->constant + error;
    }
  }

  struct Open {
    std::int64_t channel, row;
  };
  std::vector<std::vector<Open>> open(static_cast<std::size_t>(threads));
  const Lines table{lines.member(0), lines.member(1), lines.member(2), lines.member(3), lines.member(4)};
  in_parallel(pieces, threads, [&](std::int64_t k, int thread) {
    std::vector<std::int64_t>& doubtful = spaces_[static_cast<std::size_t>(thread)].open;
    doubtful.resize(static_cast<std::size_t>(channels));
    // Backwards: the end of the last pass is still in the cache.
    const std::int64_t first = (pieces - 1 - k) * piece;
    const std::int64_t end = std::min(first + piece, n_);
    for (std::int64_t row = first; row < end; ++row) {
      char* y = to_.channel(b_.y, 0) + row * out * b_.data.bytes;
      const std::int64_t left =
          data_.column_elements(row_of(row), nullptr, y, channels, table, doubtful.data());
      for (std::int64_t i = 0; i < left; ++i)
        open[static_cast<std::size_t>(thread)].push_back({doubtful[static_cast<std::size_t>(i)], row});
    }
  });

  std::vector<std::vector<std::int64_t>> by_channel(static_cast<std::size_t>(channels));
  for (const auto& own : open)
    for (const Open& o : own)
      by_channel[static_cast<std::size_t>(o.channel)].push_back(o.row);
  in_parallel(channels, b_.threads, [&](std::int64_t c, int thread) {
    Space& space = spaces_[static_cast<std::size_t>(thread)];
    CertifiedEffort& effort = efforts_[static_cast<std::size_t>(thread)];
    Known& one = known[static_cast<std::size_t>(c)];
    const View y{to_.channel(b_.y, c), {n_, 1, out}};
    if (!one.line) {  // from the start, with a better shift
      std::vector<char> values(static_cast<std::size_t>(n_ * b_.data.bytes));
      std::vector<char> results(values.size());
      from_.gather(b_.x, c, 1, values.data(), 0);
      const Rows run{1, n_, n_};
      channel(c, {values.data(), run}, {results.data(), run}, thread);
      to_.scatter(results.data(), 0, c, 1, b_.y);
      return;
    }
    std::vector<std::int64_t>& rows = by_channel[static_cast<std::size_t>(c)];
    const bool told = !training() || put_statistics(c, one);
    effort.retested += static_cast<std::int64_t>(rows.size());
    if (!rows.empty() || !told)
      finish(c, view(c), y, one, rows.data(), static_cast<std::int64_t>(rows.size()), told, space, effort);
  });
}

}  // namespace

CertifiedEffort& CertifiedEffort::operator+=(const CertifiedEffort& o) {
  elements += o.elements;
  retested += o.retested;
  double_double += o.double_double;
  exact += o.exact;
  channels += o.channels;
  exact_channels += o.exact_channels;
  return *this;
}

CertifiedEffort certified_forward(const ForwardBuffers& b) {
  require_ieee_arithmetic();
  if (b.x == nullptr || b.y == nullptr)
    throw std::invalid_argument("certified_forward needs x and y");
  if ((b.given_mean == nullptr) != (b.given_variance == nullptr))
    throw std::invalid_argument("certified_forward needs both given statistics or none");
  if (!(b.eps >= 0) || !std::isfinite(b.eps))
    throw std::invalid_argument(
        fmt::format("certified_forward: eps = {} is not a number of 0 or more", b.eps));
  return ForwardJob(b).run();
}

}  // namespace normproof::reference
