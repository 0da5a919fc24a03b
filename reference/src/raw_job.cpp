// The stages: the fast test on everything, then on the few left the bound of each single element, the
// channel's sums in double-double, and the definition.
#include "raw_job.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>

namespace normproof::reference {

RawJob::RawJob(const RawTensors& t)
    : t_(t),
      n_(t.shape.per_channel()),
      grid_(t.data),
      stats_grid_(t.stats),
      data_(raw_lanes(t.data)),
      stats_(raw_lanes(t.stats)),
      x_places_(t.shape, t.x_placement, t.data.bytes),
      w_places_(t.shape, t.w == nullptr ? t.x_placement : t.w_placement, t.data.bytes),
      y_places_(t.shape, t.y_placement, t.data.bytes) {}

CertifiedEffort RawJob::run() {
  const auto threads = static_cast<std::size_t>(std::max(1, t_.threads));
  efforts_.resize(threads);
  spaces_.resize(threads);
  const auto alike = [](const auto& a, const auto& b) {
    return a && b;
  };
  const bool rows = alike(x_places_.rows(), w_places_.rows()) && y_places_.rows() &&
                    x_places_.rows()->stride == w_places_.rows()->stride;
  const bool columns = alike(x_places_.columns(), w_places_.columns()) && y_places_.columns() &&
                       *x_places_.columns() == *w_places_.columns();
  if (n_ > 0) {
    if (rows)
      by_rows();
    else if (columns && !grid_.wide)
      by_columns();
    else
      by_gathering();
  }
  CertifiedEffort total;
  for (const CertifiedEffort& effort : efforts_)
    total += effort;
  total.channels = t_.shape.channels;
  total.elements = t_.shape.elements();
  return total;
}

bool RawJob::put(void* to, std::int64_t c, const std::optional<Enclosed>& value) const {
  if (to == nullptr)
    return true;
  if (!value)
    return false;
  const Decided r = lanes().round(stats_grid_, *value);
  if (r.certain)
    stats_.store(to, c, r.rn);
  return r.certain;
}

void RawJob::put(void* to, const BoundedColumns& values, std::int64_t* told) const {
  if (to != nullptr)
    stats_.put_all(stats_grid_, values.value, values.error, t_.shape.channels, to, told);
}

Padded<double> RawJob::stats_or(const void* from, double otherwise) const {
  Padded<double> values(t_.shape.channels);
  if (from == nullptr)
    std::fill_n(values.begin(), t_.shape.channels, otherwise);
  else
    stats_.load_all(from, t_.shape.channels, values.begin());
  return values;
}

// --- sums ---

/// A number near the mean, of a few values; 0, which costs nothing, where that is near enough.
double RawJob::near_mean(const View& x) const {
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
  return !near && std::abs(mean) < 0x1p300 ? as_shift(mean) : 0;
}

/// The sums in double, and the line where they are good enough for one.
void RawJob::know(std::int64_t c, const Channel& v, Known& known) const {
  const std::optional<double> fixed = shift_of(c);
  known.shift = fixed ? *fixed : near_mean(v.x);
  constexpr int tries = 3;
  for (int k = 0; k < tries; ++k) {
    known.moments = {};
    data_.row_moments(v.x.data, v.w.data, v.x.rows, known.shift, known.moments);
    if (std::isfinite(known.moments.dd[0]))
      draw_usable(c, known);
    const double moved = as_shift(known.shift + known.statistics.mean.hi);
    if (known.line || fixed || !std::isfinite(moved) || moved == known.shift)
      return;
    known.shift = moved;
  }
}

void RawJob::know_precisely(std::int64_t c, const Channel& v, Known& known) const {
  known.moments = {};
  data_.row_moments_precise(v.x.data, v.w.data, v.x.rows, known.shift, known.moments);
  const bool usable =
      std::isfinite(known.moments.dd[0]) && known.moments.most_d < 0x1p300 && known.moments.most_w < 0x1p300;
  if (usable)
    draw_precisely(c, known);
}

// --- one channel as runs ---

void RawJob::channel(std::int64_t c, const Channel& v, int thread) {
  Space& space = spaces_[static_cast<std::size_t>(thread)];
  CertifiedEffort& effort = efforts_[static_cast<std::size_t>(thread)];
  std::int64_t* const open = space.open.room(n_);
  Known known;
  std::int64_t left = n_;
  if (!grid_.wide) {
    know(c, v, known);
    if (known.line)
      left = data_.row_elements(v.x.data, v.w.data, v.x.rows, v.y.data, v.y.rows, *known.line, open);
  } else {
    const std::optional<double> fixed = shift_of(c);
    known.shift = fixed ? *fixed : near_mean(v.x);
    know_precisely(c, v, known);
    if (known.form) {
      const Form& f = *known.form;
      const double error = f.error[0] + f.error[1] * known.moments.most_d + f.error[2] * known.moments.most_w;
      left = data_.row_elements_precise(v.x.data, v.w.data, v.x.rows, v.y.data, v.y.rows, f, 1.001 * error,
                                        open);
    }
  }
  const bool told = put_results(c, known);
  if (!known.line && !known.form)
    for (std::int64_t i = 0; i < n_; ++i)
      open[i] = i;
  if (left == 0 && told)
    return;
  effort.retested += left;
  finish(c, v, known, open, left, told, space, effort);
}

// --- what is left of a channel ---

void RawJob::finish(std::int64_t c, const Channel& v, Known& known, std::int64_t* open, std::int64_t left,
                    bool told, Space& space, CertifiedEffort& effort) const {
  if (known.line)
    left = retest(v, *known.line, open, left);
  if (left == 0 && told)
    return;
  constexpr std::int64_t short_run = 8;
  if (grid_.wide || v.x.rows.length >= short_run || n_ < short_run)
    return finish_precisely(c, v, known, open, left, told, space, effort);
  const auto gathered = [&](const Places& places, const void* data, std::vector<char>& to) -> View {
    if (data == nullptr)
      return {nullptr, {1, n_, n_}};
    to.resize(static_cast<std::size_t>(n_ * t_.data.bytes));
    places.gather(data, c, 1, to.data(), 0);
    return {to.data(), {1, n_, n_}};
  };
  finish_precisely(c, {gathered(x_places_, t_.x, space.x), gathered(w_places_, t_.w, space.w), v.y}, known,
                   open, left, told, space, effort);
}

void RawJob::finish_precisely(std::int64_t c, const Channel& v, Known& known, std::int64_t* open,
                              std::int64_t left, bool told, Space& space, CertifiedEffort& effort) const {
  if (!grid_.wide && std::isfinite(known.moments.dd[0])) {
    effort.double_double += left;
    know_precisely(c, v, known);
    told = told || put_results(c, known);
  }
  if (known.form)
    left = by_form(v, *known.form, open, left, space);
  if (left > 0 || !told)
    by_definition(c, v, open, left, told, effort);
}

std::int64_t RawJob::retest(const Channel& v, const Line& line, std::int64_t* open, std::int64_t left) const {
  return left == 0 ? 0
                   : data_.retest(grid_, v.x.data, v.w.data, v.x.rows, v.y.data, v.y.rows, line, open, left);
}

std::int64_t RawJob::by_form(const Channel& v, const Form& form, std::int64_t* open, std::int64_t left,
                             Space& space) const {
  const auto size = static_cast<std::size_t>(left);
  for (std::vector<double>* values : {&space.values, &space.weights, &space.rn, &space.off})
    values->resize(size);
  space.left.resize(size);
  for (std::size_t k = 0; k < size; ++k) {
    space.values[k] = data_.load(v.x.data, place(open[k], v.x.rows));
    if (v.w.data != nullptr)
      space.weights[k] = data_.load(v.w.data, place(open[k], v.w.rows));
  }
  const std::int64_t rest = lanes().decide_all(grid_, form, space.values.data(),
                                               v.w.data == nullptr ? nullptr : space.weights.data(), nullptr,
                                               left, space.rn.data(), space.off.data(), space.left.data());
  for (std::size_t k = 0; k < size; ++k)
    data_.store(v.y.data, place(open[k], v.y.rows), space.rn[k]);
  for (std::int64_t k = 0; k < rest; ++k)
    open[k] = open[space.left[static_cast<std::size_t>(k)]];
  return rest;
}

/// truth_of's own route: exact sums, double-doubles, balls, the arbiter.
void RawJob::by_definition(std::int64_t c, const Channel& v, std::int64_t* open, std::int64_t left, bool told,
                           CertifiedEffort& effort) const {
  Gathered values;
  const auto doubles = [&](const View& from, std::vector<double>& to) {
    if (from.data == nullptr)
      return;
    to.resize(static_cast<std::size_t>(n_));
    for (std::int64_t i = 0; i < n_; ++i)
      to[static_cast<std::size_t>(i)] = data_.load(from.data, place(i, from.rows));
  };
  doubles(v.x, values.x);
  doubles(v.w, values.w);
  std::vector<double> results(static_cast<std::size_t>(left));
  exactly(c, values, open, left, told, results.data());
  for (std::int64_t k = 0; k < left; ++k)
    data_.store(v.y.data, place(open[k], v.y.rows), results[static_cast<std::size_t>(k)]);
  effort.exact += left;
  effort.exact_channels += left == n_ ? 1 : 0;
}

// --- the three walks ---

namespace {

/// Bytes between runs that are filled side by side: an odd number of cache lines, or they would all meet in
/// the same few places of a cache.
std::int64_t spread_pitch(std::int64_t bytes) {
  return ((bytes + 63) / 64 | 1) * 64;
}

}  // namespace

/// So many results that none is still in a cache when it is read.
bool RawJob::past_cache() const {
  constexpr std::int64_t beyond_caches = std::int64_t{1} << 25;
  return t_.shape.elements() * t_.data.bytes > beyond_caches &&
         reinterpret_cast<std::uintptr_t>(t_.y) % static_cast<std::uintptr_t>(t_.data.bytes) == 0;
}

void RawJob::by_rows() {
  Rows out = *y_places_.rows();
  out.past_cache = past_cache();
  in_parallel(t_.shape.channels, t_.threads, [&](std::int64_t c, int thread) {
    channel(c,
            {view(x_places_, t_.x, c, *x_places_.rows()), view(w_places_, t_.w, c, *w_places_.rows()),
             view(y_places_, t_.y, c, out)},
            thread);
  });
}

void RawJob::by_gathering() {
  const std::int64_t together = std::max<std::int64_t>(1, 64 / t_.data.bytes);
  const std::int64_t blocks = (t_.shape.channels + together - 1) / together;
  in_parallel(blocks, t_.threads, [&](std::int64_t block, int thread) {
    const std::int64_t first = block * together;
    gather_and_solve(first, std::min(together, t_.shape.channels - first), thread);
  });
}

void RawJob::gather_and_solve(std::int64_t first, std::int64_t count, int thread) {
  const std::int64_t pitch = spread_pitch(n_ * t_.data.bytes);
  const auto size = static_cast<std::size_t>(pitch * count);
  const Rows run{1, n_, n_};
  const auto x = std::make_unique_for_overwrite<char[]>(size);
  const auto w = std::make_unique_for_overwrite<char[]>(t_.w == nullptr ? 0 : size);
  const auto y = std::make_unique_for_overwrite<char[]>(size);
  x_places_.gather(t_.x, first, count, x.get(), pitch);
  if (t_.w != nullptr)
    w_places_.gather(t_.w, first, count, w.get(), pitch);
  for (std::int64_t k = 0; k < count; ++k)
    channel(first + k,
            {{x.get() + k * pitch, run},
             {t_.w == nullptr ? nullptr : w.get() + k * pitch, run},
             {y.get() + k * pitch, run}},
            thread);
  y_places_.scatter(y.get(), pitch, first, count, t_.y);
}

namespace {

template <class Number>
LineArrays<Number> line_arrays(Padded<Number>& lines) {
  return {lines.member(0), lines.member(1), lines.member(2), lines.member(3), lines.member(4)};
}

/// The sums of all channels over some of the rows.
class ColumnSums {
public:
  ColumnSums(std::int64_t channels, bool weighted)
      : channels_(channels),
        members_(weighted ? 12 : 5),
        values_(channels, members_) {
    for (std::size_t k = 0; k < members_; ++k)
      std::fill_n(values_.member(k), channels, 0.0);
  }
  ColumnMoments members() {
    const auto at = [&](std::size_t k) {
      return k < members_ ? values_.member(k) : nullptr;
    };
    return {{at(0), at(1)}, {at(2), at(3)}, {at(5), at(6)}, {at(7), at(8)}, {at(9), at(10)}, at(4), at(11)};
  }
  /// One more hi + lo of every sum: exact but for two roundings of lo.
  void add(ColumnSums& others) {
    ColumnMoments own = members();
    const ColumnMoments more = others.members();
    const auto join = [&](double* const* to, const double* const* from) {
      for (std::int64_t c = 0; to[0] != nullptr && c < channels_; ++c) {
        const DoubleDouble total = two_sum(to[0][c], from[0][c]);
        to[0][c] = total.hi;
        to[1][c] += from[1][c] + total.lo;
      }
    };
    const auto raise = [&](double* to, const double* from) {
      for (std::int64_t c = 0; to != nullptr && c < channels_; ++c)
        to[c] = std::max(to[c], from[c]);
    };
    join(own.d, more.d), join(own.dd, more.dd);
    join(own.w, more.w), join(own.wd, more.wd), join(own.ww, more.ww);
    raise(own.most_d, more.most_d), raise(own.most_w, more.most_w);
  }
  Moments of(std::int64_t c) {
    const ColumnMoments all = members();
    Moments m;
    const auto pick = [&](double(&to)[2], double* const* from) {
      for (std::size_t part = 0; part < 2 && from[part] != nullptr; ++part)
        to[part] = from[part][c];
    };
    pick(m.d, all.d), pick(m.dd, all.dd);
    pick(m.w, all.w), pick(m.wd, all.wd), pick(m.ww, all.ww);
    m.most_d = all.most_d[c];
    m.most_w = all.most_w == nullptr ? 0 : all.most_w[c];
    return m;
  }

private:
  std::int64_t channels_;
  std::size_t members_;
  Padded<double> values_;
};

}  // namespace

void RawJob::by_columns() {
  const std::int64_t channels = t_.shape.channels;
  const std::int64_t in = *x_places_.columns();
  const std::int64_t out = *y_places_.columns();
  const std::int64_t bytes = t_.data.bytes;
  const auto row_of = [&](const Places& places, const void* data, std::int64_t row) -> const char* {
    return data == nullptr ? nullptr : places.channel(data, 0) + row * in * bytes;
  };
  // Rows are shared out in pieces of a cache's size.
  constexpr std::int64_t piece_bytes = 1 << 17;
  constexpr std::int64_t together = 4 * fold_rows;
  const std::int64_t piece = std::max<std::int64_t>(
      together, piece_bytes / std::max<std::int64_t>(1, channels * bytes) / together * together);
  const std::int64_t pieces = (n_ + piece - 1) / piece;
  const int threads = static_cast<int>(std::min<std::int64_t>(std::max(1, t_.threads), pieces));
  const auto sum = [&](std::int64_t row, std::int64_t rows, const double* shifts, ColumnSums& to) {
    data_.column_moments(row_of(x_places_, t_.x, row), row_of(w_places_, t_.w, row), rows, in, channels,
                         shifts, to.members());
  };

  Padded<double> shift = stats_or(given_shifts(), 0);
  double* const shifts = shift.begin();
  if (given_shifts() == nullptr) {
    ColumnSums first(channels, t_.w != nullptr);
    const std::int64_t rows = std::min(n_, fold_rows);
    sum(0, rows, shifts, first);
    for (std::int64_t c = 0; c < channels; ++c) {
      const ColumnMoments sums = first.members();
      const double mean = sums.d[0][c] / static_cast<double>(rows);
      const double square = sums.dd[0][c] / static_cast<double>(rows);
      const bool near = bytes == 2 && mean * mean < 0.8 * square;  // 0 costs float no rounding
      shifts[c] = !near && std::abs(mean) < 0x1p300 ? as_shift(mean) : 0;
    }
  }

  std::vector<ColumnSums> sums;
  sums.reserve(static_cast<std::size_t>(threads));
  for (int k = 0; k < threads; ++k)
    sums.emplace_back(channels, t_.w != nullptr);
  in_parallel(pieces, threads, [&](std::int64_t k, int thread) {
    sum(k * piece, std::min(piece, n_ - k * piece), shifts, sums[static_cast<std::size_t>(thread)]);
  });

  ColumnSums& all_sums = sums.front();
  for (std::size_t k = 1; k < sums.size(); ++k)
    all_sums.add(sums[k]);
  Padded<double> lines(channels, 5);
  Padded<float> float_lines(bytes == 2 ? channels : 0, 5);
  Padded<std::int64_t> usable(channels), told(channels);
  const DrawnColumns drawn{{line_arrays(lines), bytes == 2 ? line_arrays(float_lines) : LineArrays<float>{}},
                           usable.begin()};
  std::fill_n(told.begin(), channels, -1);
  draw_columns({shifts, all_sums.members()}, drawn, told.begin());

  struct Open {
    std::int64_t channel, row;
  };
  std::vector<std::vector<Open>> open(static_cast<std::size_t>(threads));
  in_parallel(pieces, threads, [&](std::int64_t k, int thread) {
    std::int64_t* const doubtful = spaces_[static_cast<std::size_t>(thread)].open.room(channels * piece);
    // Backwards: the end of the last pass is still in the cache.
    const std::int64_t first = (pieces - 1 - k) * piece;
    const std::int64_t end = std::min(first + piece, n_);
    char* y = y_places_.channel(t_.y, 0) + first * out * bytes;
    const std::int64_t left =
        data_.column_elements(row_of(x_places_, t_.x, first), row_of(w_places_, t_.w, first), end - first, in,
                              y, out, past_cache(), channels, drawn.lines, doubtful);
    for (std::int64_t i = 0; i < left; ++i) {
      const std::int64_t at = doubtful[i];
      open[static_cast<std::size_t>(thread)].push_back({at % channels, first + at / channels});
    }
  });

  // What is left, channel by channel; most have nothing.
  std::map<std::int64_t, std::vector<std::int64_t>> rows_of;
  for (std::int64_t c = 0; c < channels; ++c)
    if ((usable.begin()[c] & told.begin()[c]) == 0)
      rows_of[c];
  for (const auto& own : open)
    for (const Open& o : own)
      rows_of[o.channel].push_back(o.row);
  std::vector<Unsettled> doubtful;
  for (auto& [c, rows] : rows_of) {
    Known known;
    known.shift = shifts[c];
    known.moments = all_sums.of(c);
    if (usable.begin()[c] != 0)
      draw_usable(c, known);
    doubtful.push_back({c, &rows, told.begin()[c] != 0, known});
  }
  in_parallel(static_cast<std::int64_t>(doubtful.size()), t_.threads, [&](std::int64_t k, int thread) {
    Unsettled& one = doubtful[static_cast<std::size_t>(k)];
    if (!one.known.line) {  // from the start, with a better shift
      gather_and_solve(one.channel, 1, thread);
      one.told = true;
      one.rows->clear();
      return;
    }
    efforts_[static_cast<std::size_t>(thread)].retested += static_cast<std::int64_t>(one.rows->size());
    const Channel v{view(x_places_, t_.x, one.channel, {n_, 1, in}),
                    view(w_places_, t_.w, one.channel, {n_, 1, in}),
                    view(y_places_, t_.y, one.channel, {n_, 1, out})};
    const auto left =
        retest(v, *one.known.line, one.rows->data(), static_cast<std::int64_t>(one.rows->size()));
    one.rows->resize(static_cast<std::size_t>(left));
  });
  std::erase_if(doubtful, [](const Unsettled& one) { return one.told && one.rows->empty(); });
  constexpr std::size_t at_once = 64;
  for (std::size_t first = 0; first < doubtful.size(); first += at_once)
    settle_columns(std::span(doubtful).subspan(first, std::min(at_once, doubtful.size() - first)));
}

void RawJob::settle_columns(std::span<Unsettled> unsettled) {
  std::vector<std::int64_t> channels;
  for (const Unsettled& u : unsettled)
    channels.push_back(u.channel);
  const auto count = static_cast<std::int64_t>(channels.size());
  const std::int64_t pitch = spread_pitch(n_ * t_.data.bytes);
  const auto size = static_cast<std::size_t>(pitch * count);
  const auto x = std::make_unique_for_overwrite<char[]>(size);
  const auto w = std::make_unique_for_overwrite<char[]>(t_.w == nullptr ? 0 : size);
  constexpr std::int64_t some = 2048;
  in_parallel((n_ + some - 1) / some, t_.threads, [&](std::int64_t k, int) {
    const std::int64_t end = std::min(n_, (k + 1) * some);
    x_places_.gather_columns(t_.x, channels, k * some, end, x.get(), pitch);
    if (t_.w != nullptr)
      w_places_.gather_columns(t_.w, channels, k * some, end, w.get(), pitch);
  });
  in_parallel(count, t_.threads, [&](std::int64_t k, int thread) {
    Unsettled& u = unsettled[static_cast<std::size_t>(k)];
    const Rows run{1, n_, n_};
    const Channel v{{x.get() + k * pitch, run},
                    {t_.w == nullptr ? nullptr : w.get() + k * pitch, run},
                    view(y_places_, t_.y, u.channel, {n_, 1, *y_places_.columns()})};
    finish_precisely(u.channel, v, u.known, u.rows->data(), static_cast<std::int64_t>(u.rows->size()), u.told,
                     spaces_[static_cast<std::size_t>(thread)], efforts_[static_cast<std::size_t>(thread)]);
  });
}

}  // namespace normproof::reference
