// Three stable ways to the mean and the sum of squared deviations of each channel: two passes with cascaded
// sums, Welford's recurrence, and Chan's merging of independent parts. All work on rows of 16 lanes
// (source.h).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/source.h"

namespace normproof::impls::cpu {

/// Mean and sum of squared deviations of `count` values, lane by lane.
template <class Acc>
struct Moments {
  std::int64_t count = 0;
  Row<Acc> mean{};
  Row<Acc> m2{};
};

inline std::int64_t log2_floor(std::int64_t n) {
  return n < 1 ? 0 : static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(n))) - 1;
}

/// A balanced tree over a stream: partial results of 1, 2, 4, ... items, merged like the digits of a binary
/// counter. Of L items each passes through at most log2_floor(L) + 1 merges. merge(older, newer): older has
/// as many items or more.
template <class Item, class Merge>
class BinaryCounter {
public:
  explicit BinaryCounter(Merge merge) : merge_(merge) {}

  void push(Item item) {
    std::size_t level = 0;
    for (std::uint64_t digits = items_++; (digits & 1) != 0; digits >>= 1)
      item = merge_(partial_[level++], item);
    partial_[level] = item;
  }
  bool empty() const { return items_ == 0; }
  /// Of at least one item.
  Item total() const {
    auto level = static_cast<std::size_t>(std::countr_zero(items_));
    Item all = partial_[level];
    for (++level; (items_ >> level) != 0; ++level)
      if (((items_ >> level) & 1) != 0)
        all = merge_(partial_[level], all);
    return all;
  }

private:
  Merge merge_;
  std::uint64_t items_ = 0;
  std::array<Item, 48> partial_;
};
inline std::int64_t counter_depth(std::int64_t items) {
  return items <= 1 ? 0 : log2_floor(items) + 1;
}

// --- cascaded sums
// ---------------------------------------------------------------------------------------------

inline constexpr std::int64_t leaf_rows = 8;

template <class Acc>
Row<Acc> add(const Row<Acc>& a, const Row<Acc>& b) {
  Row<Acc> sum;
  for (std::size_t l = 0; l < lanes; ++l)
    sum[l] = a[l] + b[l];
  return sum;
}

/// Where the lanes are streams of one channel: their sum, in every lane.
template <class Acc>
Row<Acc> fold_lanes(Row<Acc> row) {
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t l = 0; l < half; ++l)
      row[l] += row[l + half];
  return constant_row(row[0]);
}

/// Sum of term(value, lane) over a tile, channel by channel. Lanes without a value contribute term(pad,
/// lane).
template <class Data, class Acc, class Term>
Row<Acc> cascaded_sum(const Source<Data, Acc>& source, std::int64_t tile, const Row<Acc>& pad, Term term) {
  BinaryCounter<Row<Acc>, decltype(&add<Acc>)> counter(&add<Acc>);
  std::array<Row<Acc>, leaf_rows> rows;
  for (std::int64_t first = 0; first < source.rows(); first += leaf_rows) {
    const std::int64_t number = std::min(leaf_rows, source.rows() - first);
    source.load(tile, first, number, rows.data(), pad);
    Row<Acc> leaf;
    for (std::size_t l = 0; l < lanes; ++l)
      leaf[l] = term(rows[0][l], l);
    for (std::size_t r = 1; r < static_cast<std::size_t>(number); ++r)
      for (std::size_t l = 0; l < lanes; ++l)
        leaf[l] += term(rows[r][l], l);
    counter.push(leaf);
  }
  if (counter.empty())
    return constant_row(Acc{0});
  return source.lanes_are_channels() ? counter.total() : fold_lanes(counter.total());
}

/// Additions that a value passes through in cascaded_sum.
inline std::int64_t cascade_depth(const Geometry& g) {
  const std::int64_t rows = g.interleaved ? g.n : (g.n + lanes - 1) / lanes;
  const std::int64_t leaves = (rows + leaf_rows - 1) / leaf_rows;
  const std::int64_t depth = std::min(rows, leaf_rows) - 1 + counter_depth(leaves) + (g.interleaved ? 0 : 4);
  return std::clamp<std::int64_t>(depth, 0, std::max<std::int64_t>(g.n - 1, 0));
}

/// The mean first, then the squares of the deviations from it.
struct TwoPass {
  static constexpr np_family family = NP_CENTRED;
  static constexpr bool threaded = false;
  static std::int64_t depth(const Geometry& g, int) { return cascade_depth(g); }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments{.count = n};
    const Row<Acc> sum =
        cascaded_sum(source, tile, constant_row(Acc{0}), [](Acc v, std::size_t) { return v; });
    for (std::size_t l = 0; l < lanes; ++l)
      moments.mean[l] = sum[l] / static_cast<Acc>(n);
    const Row<Acc>& mean = moments.mean;  // as the padding it deviates by 0
    moments.m2 = cascaded_sum(source, tile, mean, [&mean](Acc v, std::size_t l) {
      const Acc deviation = v - mean[l];
      return deviation * deviation;
    });
    return moments;
  }
};

// --- merged moments
// --------------------------------------------------------------------------------------------

/// Chan's update of one lane: b, with no more values than a, into a.
template <class Acc>
void merge_lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
  const Acc share = count_b / (count_a + count_b);
  const Acc difference = mean_b - mean_a;
  mean_a += difference * share;
  m2_a += m2_b + difference * difference * (count_a * share);
}

template <class Acc>
Moments<Acc> merge(const Moments<Acc>& a, const Moments<Acc>& b) {
  Moments<Acc> both = a;
  both.count = a.count + b.count;
  const auto count_a = static_cast<Acc>(a.count);
  const auto count_b = static_cast<Acc>(b.count);
  for (std::size_t l = 0; l < lanes; ++l)
    merge_lane(both.mean[l], both.m2[l], count_a, b.mean[l], b.m2[l], count_b);
  return both;
}

/// Welford's update with one more row.
template <class Acc>
void append(Moments<Acc>& moments, const Row<Acc>& row) {
  if (moments.count++ == 0) {
    moments.mean = row;
    moments.m2.fill(0);
    return;
  }
  const auto count = static_cast<Acc>(moments.count);
  for (std::size_t l = 0; l < lanes; ++l) {
    const Acc from_old = row[l] - moments.mean[l];
    moments.mean[l] += from_old / count;
    moments.m2[l] += from_old * (row[l] - moments.mean[l]);
  }
}

/// Streams of one channel, the first `longer` of which have one value more (row `last`): their moments, in
/// lane 0.
template <class Acc>
Moments<Acc> merge_streams(Moments<Acc> streams, const Row<Acc>& last, std::int64_t longer) {
  std::array<std::int64_t, lanes> counts;
  counts.fill(streams.count);
  Moments<Acc> extended = streams;
  append(extended, last);
  for (std::size_t l = 0; l < static_cast<std::size_t>(longer); ++l) {
    streams.mean[l] = extended.mean[l];
    streams.m2[l] = extended.m2[l];
    ++counts[l];
  }
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t l = 0; l < half; ++l) {
      if (counts[l + half] == 0)
        continue;
      merge_lane(streams.mean[l], streams.m2[l], static_cast<Acc>(counts[l]), streams.mean[l + half],
                 streams.m2[l + half], static_cast<Acc>(counts[l + half]));
      counts[l] += counts[l + half];
    }
  streams.count = counts[0];
  return streams;
}

/// Rows of a source grouped into leaves of `leaf` rows (Welford inside), which a binary counter merges by
/// Chan.
template <class Data, class Acc>
Moments<Acc> merged_moments(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t leaf) {
  BinaryCounter<Moments<Acc>, decltype(&merge<Acc>)> counter(&merge<Acc>);
  std::array<Row<Acc>, leaf_rows> rows;
  const Row<Acc> zeros = constant_row(Acc{0});
  const std::int64_t longer = source.lanes_are_channels() ? 0 : source.count() % lanes;
  const std::int64_t full_rows = source.rows() - (longer > 0 ? 1 : 0);
  for (std::int64_t first = 0; first < full_rows; first += leaf) {
    Moments<Acc> part;
    const std::int64_t last = std::min(first + leaf, full_rows);
    for (std::int64_t r = first; r < last; r += leaf_rows) {
      const std::int64_t number = std::min(leaf_rows, last - r);
      source.load(tile, r, number, rows.data(), zeros);
      for (std::size_t k = 0; k < static_cast<std::size_t>(number); ++k)
        append(part, rows[k]);
    }
    counter.push(part);
  }
  const Moments<Acc> all = counter.empty() ? Moments<Acc>{} : counter.total();
  if (source.lanes_are_channels())
    return all;
  if (longer > 0)
    source.load(tile, full_rows, 1, rows.data(), zeros);
  return merge_streams(all, longer > 0 ? rows[0] : zeros, longer);
}

/// The depth of merged moments (spec/bounds/model.md): additions on a path, one for each of `chain` single
/// values and two for each merge of groups, or M with M^2 = sum of 2 rho h^2 over the path
/// (spec/bounds/variance.md), whichever is more. A chain alone has M <= chain; a merge of depth-h groups adds
/// at most 2 h^2 to M^2 (rho <= 1).
inline std::int64_t merged_depth(std::int64_t n, std::int64_t chain, std::int64_t merges) {
  auto squared = static_cast<double>(chain * chain);
  for (std::int64_t h = chain; h < chain + merges; ++h)
    squared += static_cast<double>(2 * h * h);
  const auto m = static_cast<std::int64_t>(std::ceil(std::sqrt(squared)));
  return std::clamp<std::int64_t>(std::max(chain + 2 * merges, m), 0, std::max<std::int64_t>(n - 1, 0));
}

/// Welford's recurrence in one chain: of a channel (channels-last), or of each of 16 streams that Chan's
/// formula merges (contiguous).
struct Welford {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool threaded = false;
  static std::int64_t depth(const Geometry& g, int) {
    return g.interleaved ? std::max<std::int64_t>(g.n - 1, 0)
                         : merged_depth(g.n, (g.n + lanes - 1) / lanes - 1, 4);
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t) {
    return merged_moments(source, tile, std::max<std::int64_t>(source.rows(), 1));
  }
};

/// Each thread takes a part of every channel, merges leaves of four values in a balanced tree by Chan's
/// formula, and the parts are merged in order of the threads.
struct ChanThreads {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool threaded = true;
  static constexpr std::int64_t leaf = 4;

  static std::int64_t depth(const Geometry& g, int threads) {
    const std::int64_t share = (g.n + threads - 1) / threads;
    const std::int64_t rows = g.interleaved ? share : share / lanes;
    const std::int64_t chain = std::max<std::int64_t>(std::min(rows, leaf) - 1, 0);
    const std::int64_t streams = g.interleaved ? 0 : 1 + 4;  // the last row, then the lanes
    return merged_depth(g.n, chain, counter_depth((rows + leaf - 1) / leaf) + streams + threads - 1);
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t) {
    return merged_moments(source, tile, leaf);
  }
};

}  // namespace normproof::impls::cpu
