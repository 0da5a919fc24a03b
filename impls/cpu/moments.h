// Stable ways to the mean and the sum of squared deviations of each channel: two passes with sums of several
// kinds, a shifted pass, Welford's recurrence, and Chan's merging of independent parts. All work on rows of
// 16 lanes (source.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/sums.h"

namespace normproof::impls::cpu {

/// Mean and sum of squared deviations of `count` values, lane by lane.
template <class Acc>
struct Moments {
  std::int64_t count = 0;
  Row<Acc> mean{};
  Row<Acc> m2{};
};

/// The mean first, then the squares of the deviations from it.
template <class Sums>
struct TwoPassBy {
  static constexpr np_family family = NP_CENTRED;
  static constexpr bool threaded = false;
  static constexpr int doubled = 1;  ///< times the bits of the accumulator that the sums have
  static std::int64_t depth(const Geometry& g, int) { return Sums::depth(g.n, g.interleaved); }

  template <class Data, class Acc>
  static Row<Acc> mean(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Row<Acc> mean = Sums::sum(tile, [](Acc v, std::size_t) { return v; }, Operand<Data, Acc>{source});
    for (Acc& m : mean)
      m /= static_cast<Acc>(n);
    return mean;
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments{.count = n, .mean = mean(source, tile, n)};
    const Row<Acc>& mean = moments.mean;  // as the padding it deviates by 0
    moments.m2 = Sums::sum(
        tile,
        [&mean](Acc v, std::size_t l) {
          const Acc deviation = v - mean[l];
          return deviation * deviation;
        },
        Operand<Data, Acc>{source, mean});
    return moments;
  }
};
using TwoPass = TwoPassBy<Cascade>;
using BlockedTwoPass = TwoPassBy<Blocks>;

/// Two passes, then the square of the sum of the deviations is taken off: what the rounded mean added.
struct CorrectedTwoPass : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const Row<Acc>& mean = moments.mean;
    const Row<Acc> rest = Cascade::sum(
        tile, [&mean](Acc v, std::size_t l) { return v - mean[l]; }, Operand<Data, Acc>{source, mean});
    for (std::size_t l = 0; l < lanes; ++l)  // not below 0; a NaN stays one
      if (const Acc less = moments.m2[l] - rest[l] * rest[l] / static_cast<Acc>(n); !(less < 0))
        moments.m2[l] = less;
      else
        moments.m2[l] = 0;
    return moments;
  }
};

/// Two passes whose sums and squares carry their rounding errors along.
struct CompensatedTwoPass : TwoPass {
  static constexpr int doubled = 2;

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments{.count = n};
    Row<Acc>& mean = moments.mean;
    const auto sum = Cascade::sum(
        tile, [](Acc v, std::size_t) { return Compensated<Acc>{v, Acc{0}}; }, Operand<Data, Acc>{source});
    for (std::size_t l = 0; l < lanes; ++l)
      mean[l] = sum[l].value() / static_cast<Acc>(n);
    const auto squares = Cascade::sum(
        tile, [&mean](Acc v, std::size_t l) { return squared_difference(v, mean[l]); },
        Operand<Data, Acc>{source, mean});
    for (std::size_t l = 0; l < lanes; ++l)
      moments.m2[l] = squares[l].value();
    return moments;
  }
};

/// One pass over the deviations from a value near the mean: their sum and the sum of their squares. The
/// channel's median is never further from the mean than the standard deviation, which is all that the
/// analysis asks of the shift (spec/bounds/variance.md); it costs a selection. Too few values to earn that
/// back: two passes.
struct ShiftedTextbook : TwoPass {
  static std::int64_t depth(const Geometry& g, int) {
    return shifts(g.n, g.interleaved) ? shifted_depth(g.n, g.interleaved)
                                      : Cascade::depth(g.n, g.interleaved);
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    if (!shifts(n, source.lanes_are_channels))
      return TwoPass::of(source, tile, n);
    const Row<Acc> shift = medians(source, tile);
    const Operand<Data, Acc> values{source, shift};
    const Row<Acc> sum = Cascade::sum(tile, [&shift](Acc v, std::size_t l) { return v - shift[l]; }, values);
    const Row<Acc> squares = Cascade::sum(
        tile, [&shift](Acc v, std::size_t l) { return (v - shift[l]) * (v - shift[l]); }, values);
    Moments<Acc> moments{.count = n};
    for (std::size_t l = 0; l < lanes; ++l) {
      const Acc residual = sum[l] / static_cast<Acc>(n);
      moments.mean[l] = shift[l] + residual;
      moments.m2[l] = squares[l] - sum[l] * residual;
    }
    return moments;
  }

private:
  static std::int64_t shifted_depth(std::int64_t n, bool interleaved) {
    return 5 * (Cascade::depth(n, interleaved) + 4);
  }
  static bool shifts(std::int64_t n, bool interleaved) { return n - 1 >= shifted_depth(n, interleaved); }

  /// Of each lane, or of all lanes where they are one channel; 0 where a value is not finite (selection needs
  /// an order, and the moments of such a channel are not finite whatever the shift).
  template <class Data, class Acc>
  static Row<Acc> medians(const Source<Data, Acc>& source, std::int64_t tile) {
    std::array<std::vector<Acc>, lanes> values;
    const bool apart = source.lanes_are_channels;
    std::int64_t left = source.count();  // of one channel: without the padding
    for_each_row(
        tile, 0, source.rows(), [](Acc v, std::size_t) { return v; },
        [&](const Row<Acc>& row) {
          for (std::size_t l = 0; l < lanes; ++l)
            if (apart || left-- > 0)
              values[apart ? l : 0].push_back(row[l]);
        },
        Operand<Data, Acc>{source});
    Row<Acc> medians{};
    for (std::size_t l = 0; l < lanes; ++l) {
      std::vector<Acc>& all = values[l];
      if (all.empty() || !std::all_of(all.begin(), all.end(), [](Acc v) { return std::isfinite(v); }))
        continue;
      const auto middle = all.begin() + std::ssize(all) / 2;
      std::nth_element(all.begin(), middle, all.end());
      medians[l] = *middle;
    }
    return apart ? medians : constant_row(medians[0]);
  }
};

// --- merged moments ---

/// Chan's update of one lane: b, with no more values than a, into a.
template <class Acc>
constexpr void merge_lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
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
  const std::int64_t longer = source.lanes_are_channels ? 0 : source.count() % lanes;
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
  if (source.lanes_are_channels)
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

/// Welford's recurrence in 16 streams of a channel that Chan's formula merges. Contiguous: the streams are
/// the lanes. Channels-last: row i of a tile goes to stream i mod 16.
struct Welford {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool threaded = false;
  static constexpr int doubled = 1;
  static std::int64_t depth(const Geometry& g, int) {
    return merged_depth(g.n, std::max<std::int64_t>((g.n + lanes - 1) / lanes - 1, 0), 4);
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t) {
    if (!source.lanes_are_channels)
      return merged_moments(source, tile, std::max<std::int64_t>(source.rows(), 1));
    std::array<Moments<Acc>, lanes> streams;
    std::size_t next = 0;
    for_each_row(
        tile, 0, source.rows(), [](Acc v, std::size_t) { return v; },
        [&](const Row<Acc>& row) {
          append(streams[next], row);
          next = (next + 1) % lanes;
        },
        Operand<Data, Acc>{source});
    for (std::size_t half = lanes / 2; half > 0; half /= 2)
      for (std::size_t s = 0; s < half; ++s)
        if (streams[s + half].count > 0)
          streams[s] = merge(streams[s], streams[s + half]);
    return streams[0];
  }
};

/// Each thread takes a part of every channel, merges leaves of four values in a balanced tree by Chan's
/// formula, and the parts are merged in order of the threads.
struct ChanThreads {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool threaded = true;
  static constexpr int doubled = 1;
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

/// Chan's formula alone, in a balanced tree whose leaves are single values.
struct ChanTree {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool threaded = false;
  static constexpr int doubled = 1;
  static std::int64_t depth(const Geometry& g, int) {
    const std::int64_t rows = g.interleaved ? g.n : g.n / lanes;
    return merged_depth(g.n, 0, counter_depth(rows) + (g.interleaved ? 0 : 1 + 4));
  }

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t) {
    return merged_moments(source, tile, 1);
  }
};

}  // namespace normproof::impls::cpu
