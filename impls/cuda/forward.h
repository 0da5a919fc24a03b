// Forward batch normalisation on a device, as it is written there: one block per channel, several blocks per
// channel with a second kernel behind them, tiles of neighbouring channels, and the elementwise kernels.
#pragma once

#include "cuda/channel.h"

namespace normproof::impls::cuda {

using cpu::Affine;

// --- one block per channel: two passes, or Welford ---

/// The mean, then the squares of the deviations from it.
struct TwoPass {
  static constexpr np_family family = NP_CENTRED;
  static constexpr bool side_by_side = false;
  static Index depth(const Geometry& g, int) { return block_depth(g.n, threads_for(g.n)); }
  template <class Acc>
  static constexpr int shared(int threads) {
    return shared_for<Acc>(threads);
  }

  template <class Rules, class Acc, class Data>
  static NP_DEVICE Part<Acc> moments(Block& block, const Values<const Data>& x, Index channel, Index n) {
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const auto value = [&](bool in, Index i) {
      return in ? static_cast<Acc>(x.template at<Rules>(channel, i)) : Acc{0};
    };
    Part<Acc> part{.count = n};
    part.mean = sum_over<Data, Acc, Rules>(block, 0, n, shared, value) / static_cast<Acc>(n);
    part.m2 = sum_over<Data, Acc, Rules>(block, 0, n, shared, [&](bool in, Index i) {
      const Acc deviation = Rules::deviation(in, value(in, i), part.mean);
      return deviation * deviation;
    });
    return part;
  }
};

/// Welford's recurrence in each lane, merged by Chan's formula.
struct Welford {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool side_by_side = false;
  static Index depth(const Geometry& g, int) {
    const int threads = threads_for(g.n);
    return cpu::merged_depth(g.n, ceil_div(g.n, threads) - 1, tree_depth(smaller(g.n, threads)));
  }
  template <class Acc>
  static constexpr int shared(int threads) {
    return shared_for<Part<Acc>>(threads);
  }

  template <class Rules, class Acc, class Data>
  static NP_DEVICE Part<Acc> moments(Block& block, const Values<const Data>& x, Index channel, Index n) {
    Part<Acc>* const shared = block.shared<Part<Acc>>(block.threads() / warp);
    Lanes<Part<Acc>> part = block.lanes(Part<Acc>{});
    block.each([&](Lane l) {
      for (Index i = l.index; i < n; i += block.threads())
        part[l].append(static_cast<Acc>(x.template at<Rules>(channel, i)));
    });
    return block_merge<Rules>(block, part, shared);
  }
};

/// Calls one(pointer to x, begin, end, i of the run's first element) for every window of a channel whose
/// values lie side by side in runs of `plane`, each lane its own.
template <class Rules, class Data, class One>
NP_DEVICE void for_each_window(Lane l, Index threads, const Values<const Data>& x, Index channel, Index n,
                               Index plane, One&& one) {
  const Index in_run = windows<Data>(plane);
  for (Index j = l.index; j < n / plane * in_run; j += threads) {
    const Index first = j / in_run * plane;
    const Data* const run = &x.template at<Rules>(channel, first);
    const Window w = window<Data, Rules>(run, plane, j % in_run);
    if (w.begin < w.end)
      one(run, w, first);
  }
}

/// Two passes whose loads are 16 bytes wide; what lies before the first boundary and behind the last is read
/// one by one.
struct VectorTwoPass {
  static constexpr np_family family = NP_CENTRED;
  static constexpr bool side_by_side = true;
  /// Windows are what the lanes share out; a format of b bytes has 16 / b values in one.
  static Index depth(const Geometry& g, int bytes) {
    const Index size = 16 / bytes;
    const Index all = g.n / g.plane * ((g.plane + 2 * size - 2) / size);
    const int threads = threads_for(g.n);
    return ceil_div(all, threads) * size - 1 + tree_depth(smaller(all, threads));
  }
  template <class Acc>
  static constexpr int shared(int threads) {
    return shared_for<Acc>(threads);
  }

  template <class Rules, class Acc, class Data>
  static NP_DEVICE Part<Acc> moments(Block& block, const Values<const Data>& x, Index channel, Index n) {
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const auto sum = [&](auto&& term) {
      Lanes<Acc> of_lane = block.lanes(Acc{0});
      block.each([&](Lane l) {
        for_each_window<Rules>(l, block.threads(), x, channel, n, x.g.plane,
                               [&](const Data* run, Window w, Index) {
                                 if (w.end - w.begin == Pack<Data>::size) {
                                   const auto pack = load_pack<Pack<Data>>(run + w.begin);
                                   for (const Data& value : pack.value)
                                     of_lane[l] = of_lane[l] + term(static_cast<Acc>(value));
                                 } else {
                                   const Index step = Rules::tail_step(Pack<Data>::size);
                                   for (Index e = w.begin; e < w.end; e += step)
                                     of_lane[l] = of_lane[l] + term(static_cast<Acc>(run[e]));
                                 }
                               });
      });
      return block_sum<Rules>(block, of_lane, shared);
    };
    Part<Acc> part{.count = n};
    part.mean = sum([](Acc value) { return value; }) / static_cast<Acc>(n);
    part.m2 = sum([&](Acc value) { return (value - part.mean) * (value - part.mean); });
    return part;
  }
};

/// y of a channel by one block, 16 bytes at a time where x and y are aligned alike.
template <class Rules, Affine form, class Data, class Acc>
NP_DEVICE void normalise_windows(Lane l, Index threads, const Forward<Data>& a, Index channel,
                                 const Line<Acc, form>& line) {
  const Index plane = smaller(a.x.g.plane, a.y.g.plane);
  for_each_window<Rules>(l, threads, a.x, channel, a.n, plane, [&](const Data* run, Window w, Index first) {
    Data* const to = &a.y.at(channel, first);
    if (w.end - w.begin < Pack<Data>::size) {
      for (Index e = w.begin; e < w.end; ++e)
        to[e] = line.y(run[e]);
      return;
    }
    auto pack = load_pack<Pack<Data>>(run + w.begin);
    for (Data& value : pack.value)
      value = line.y(value);
    if (is_aligned(to + w.begin))
      store_pack(to + w.begin, pack);
    else
      for (Index e = w.begin; e < w.end; ++e)
        to[e] = pack.value[e - w.begin];
  });
}

/// A whole channel by one block: moments, report, y.
template <class Data, class Acc, class Algorithm, class Rules>
struct OneBlock {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    const Part<Acc> part = Algorithm::template moments<Rules, Acc>(block, a.x, channel, a.n);
    finish<Rules>(block, a, channel, part.mean, part.m2, a.n);
    const auto line = line_of<Affine::centred>(a, channel, part.mean, invstd_of(a.problem, part.m2, a.n));
    block.each([&](Lane l) {
      if constexpr (Algorithm::side_by_side)
        normalise_windows<Rules>(l, block.threads(), a, channel, line);
      else
        for (Index i = l.index; i < a.n; i += block.threads())
          a.y.template at<Rules>(channel, i) = line.y(a.x.template at<Rules>(channel, i));
    });
  }
};

// --- several blocks per channel ---

/// How the n values of a channel are cut into parts, one for each block.
struct Parts {
  Index size;
  Index count;
};
/// Long enough to be worth a block each, and no more than a second kernel can take in one block's stride.
constexpr Parts parts_of(Index n, Index worth, Index most) {
  const Index wanted = smaller(ceil_div(n, worth), most);
  const Index size = wanted <= 1 ? n : ceil_div(n, wanted);
  return {size, n <= 0 ? 1 : ceil_div(n, size)};
}

/// What the second kernels leave for the elementwise one.
template <class Acc>
struct Coefficients {
  Acc* mean;
  Acc* invstd;
};

/// y by blocks of `values_per_task` values of a channel.
inline constexpr Index values_per_task = 4 * Index{most_threads};
template <class Data, class Acc, Affine form, class Rules>
struct Normalise {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;
  Coefficients<Acc> given;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index in_channel = ceil_div(a.n, values_per_task);
    const Index channel = task / in_channel;
    const Index begin = task % in_channel * values_per_task;
    const Index end = smaller(begin + values_per_task, a.n);
    const auto line = line_of<form>(a, channel, given.mean[channel], given.invstd[channel]);
    block.each([&](Lane l) {
      for (Index i = begin + l.index; i < end; i += block.threads())
        a.y.template at<Rules>(channel, i) = line.y(a.x.template at<Rules>(channel, i));
    });
  }
};
template <Affine form, class Rules, class Data, class Acc>
void normalise(Stream& stream, const Forward<Data>& a, Coefficients<Acc> given) {
  launch(stream, a.channels * ceil_div(a.n, values_per_task), threads_for(a.n), 0,
         Normalise<Data, Acc, form, Rules>{a, given});
}

/// The sum of a part of a channel, of its values or of the squares of their deviations from the mean; into a
/// place of its own, or added to the channel's.
template <class Data, class Acc, bool squares, bool atomically, class Rules>
struct PartialSum {
  static constexpr bool loops = Rules::loops;
  Values<const Data> x;
  Index n;
  Parts parts;
  const Acc* mean;
  Acc* sums;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index channel = task / parts.count;
    const Index part = task % parts.count;
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Acc sum = sum_over<Data, Acc, Rules>(
        block, part * parts.size, Rules::end_of_part(part, parts.size, n), shared, [&](bool in, Index i) {
          const Acc value = in ? static_cast<Acc>(x.template at<Rules>(channel, i)) : Acc{0};
          if constexpr (squares) {
            const Acc deviation = Rules::deviation(in, value, mean[channel]);
            return deviation * deviation;
          } else {
            return value;
          }
        });
    block.each([&](Lane l) {
      if (l.index != 0)
        return;
      if constexpr (atomically)
        atomic_add(sums + channel, sum);
      else
        sums[task] = sum;
    });
  }
};

/// The second kernel of a sum: one block adds what the blocks of a channel left.
template <class Rules, class Acc>
NP_DEVICE Acc sum_of_parts(Block& block, const Acc* sums, Index channel, const Parts& parts, Index n,
                           Acc* shared) {
  const Index read = Rules::parts_read(parts.count, parts.size, n);
  return sum_over<Acc, Acc, Sound>(block, 0, read, shared, [&](bool in, Index part) {
    return in ? sums[channel * parts.count + part] : Acc{0};
  });
}

template <class Acc, class Rules>
struct MeanOfParts {
  static constexpr bool loops = Rules::loops;
  Index n;
  Parts parts;  ///< as many as there are sums of a channel
  const Acc* sums;
  Acc* mean;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Acc sum = sum_of_parts<Rules>(block, sums, channel, parts, n, shared);
    block.each([&](Lane l) {
      if (l.index == 0)
        mean[channel] = sum / static_cast<Acc>(n);
    });
  }
};

template <class Data, class Acc, class Rules>
struct ReportOfParts {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;
  Parts parts;
  const Acc* sums;
  const Acc* squares;
  Coefficients<Acc> found;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Acc m2 = sum_of_parts<Rules>(block, Rules::squares_of(squares, sums), channel, parts, a.n, shared);
    finish<Rules>(block, a, channel, found.mean[channel], m2, parts.size);
    block.each([&](Lane l) {
      if (l.index == 0)
        found.invstd[channel] = invstd_of(a.problem, m2, a.n);
    });
  }
};

/// Two passes, each a kernel of partial sums and one that adds them up; then y, folded.
template <bool atomically>
struct SplitSums {
  static constexpr np_family family = NP_CENTRED;
  static constexpr bool deterministic = !atomically;
  static constexpr Parts parts(Index n) { return parts_of(n, 512, 256); }

  static Index depth(Index n) {
    const Parts p = parts(n);
    const Index of_part = block_depth(p.size, threads_for(p.size));
    return of_part + (atomically ? p.count - 1 : block_depth(p.count, threads_for(p.count)));
  }
  /// Values of Acc: mean and invstd, sums and squares of each part.
  static Index workspace(Index channels, Index n) { return channels * (2 + 2 * parts(n).count); }

  /// Leaves the mean in found.mean, the partial squares in what it returns.
  template <class Rules, class Data, class Acc>
  static Acc* sums(Stream& stream, const Values<const Data>& x, Coefficients<Acc> found, Acc* memory) {
    const Index n = x.g.n, channels = x.g.channels;
    const Parts cut = parts(n);
    const Parts kept = atomically ? Parts{n, 1} : cut;
    const int threads = threads_for(cut.size);
    Acc* const squares = memory + channels * cut.count;
    if (atomically && Rules::zeroes) {
      zero(stream, memory, channels);
      zero(stream, squares, channels);
    }
    launch(stream, channels * cut.count, threads, shared_for<Acc>(threads),
           PartialSum<Data, Acc, false, atomically, Rules>{x, n, cut, nullptr, memory});
    const int second = threads_for(kept.count);
    launch(stream, channels, second, shared_for<Acc>(second),
           MeanOfParts<Acc, Rules>{n, kept, memory, found.mean});
    launch(stream, channels * cut.count, threads, shared_for<Acc>(threads),
           PartialSum<Data, Acc, true, atomically, Rules>{x, n, cut, found.mean, squares});
    return squares;
  }

  template <class Rules, class Acc, class Data>
  static void run(Stream& stream, const Forward<Data>& a, Acc* memory) {
    const Coefficients<Acc> found{memory, memory + a.channels};
    Acc* const first = memory + 2 * a.channels;
    const Acc* const squares = sums<Rules>(stream, a.x, found, first);
    const Parts kept = atomically ? Parts{a.n, 1} : parts(a.n);
    const int second = threads_for(kept.count);
    launch(stream, a.channels, second, shared_for<Acc>(second),
           ReportOfParts<Data, Acc, Rules>{a, kept, first, squares, found});
    normalise<Affine::folded, Rules>(stream, a, found);
  }
};

// --- moments of chunks, merged by a second kernel ---

/// Of one chunk: each lane merges its few values pairwise, then lane by lane.
inline constexpr Index values_per_lane = 4;
template <class Data, class Acc, class Rules>
struct ChunkMoments {
  static constexpr bool loops = Rules::loops;
  Values<const Data> x;
  Index n;
  Parts chunks;
  Acc* mean;
  Acc* m2;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index channel = task / chunks.count;
    const Index chunk = task % chunks.count;
    const Index begin = chunk * chunks.size;
    const Index end = Rules::end_of_part(chunk, chunks.size, n);
    Part<Acc>* const shared = block.shared<Part<Acc>>(block.threads() / warp);
    Lanes<Part<Acc>> part = block.lanes(Part<Acc>{});
    block.each([&](Lane l) {
      const auto pair = [&](Index first) {
        Part<Acc> both;
        for (Index i = first + l.index; i < end && i < first + 2 * block.threads(); i += block.threads())
          both.append(static_cast<Acc>(x.template at<Rules>(channel, i)));
        return both;
      };
      part[l] = pair(begin);
      part[l].merge(pair(begin + 2 * block.threads()));
    });
    const Part<Acc> all = block_merge<Rules>(block, part, shared);
    block.each([&](Lane l) {
      if (l.index == 0) {
        mean[task] = all.mean;
        m2[task] = all.m2;
      }
    });
  }
};

template <class Data, class Acc, class Rules>
struct MergeChunks {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;
  Parts chunks;
  const Acc* mean;
  const Acc* m2;
  Coefficients<Acc> found;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    Part<Acc>* const shared = block.shared<Part<Acc>>(block.threads() / warp);
    Lanes<Part<Acc>> part = block.lanes(Part<Acc>{});
    const Index read = Rules::parts_read(chunks.count, chunks.size, a.n);
    block.each([&](Lane l) {
      for (Index chunk = l.index; chunk < read; chunk += block.threads()) {
        const Index at = channel * chunks.count + chunk;
        const Part<Acc> more{mean[at], m2[at], Rules::count_of_part(chunk, chunks.size, a.n)};
        if (chunk == l.index)
          part[l] = more;
        else
          part[l].merge(more);
      }
    });
    const Part<Acc> all = block_merge<Rules>(block, part, shared);
    finish<Rules>(block, a, channel, all.mean, all.m2, chunks.size);
    block.each([&](Lane l) {
      if (l.index == 0) {
        found.mean[channel] = all.mean;
        found.invstd[channel] = invstd_of(a.problem, all.m2, a.n);
      }
    });
  }
};

struct ChanTree {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool deterministic = true;
  static constexpr Parts chunks(Index n) {
    const Index size = values_per_lane * threads_for(ceil_div(n, values_per_lane));
    return {size, n <= 0 ? 1 : ceil_div(n, size)};
  }
  static int chunk_threads(Index n) { return static_cast<int>(chunks(n).size / values_per_lane); }

  static Index depth(Index n) {
    const Index lanes = smaller(n, chunk_threads(n));
    const Index of_chunk = (n > 2 * lanes ? 1 : 0) + tree_depth(lanes);
    return cpu::merged_depth(n, n > lanes ? 1 : 0,
                             of_chunk + block_depth(chunks(n).count, threads_for(chunks(n).count)));
  }
  static Index workspace(Index channels, Index n) { return channels * (2 + 2 * chunks(n).count); }

  template <class Rules, class Acc, class Data>
  static void run(Stream& stream, const Forward<Data>& a, Acc* memory) {
    const Parts cut = chunks(a.n);
    const Coefficients<Acc> found{memory, memory + a.channels};
    Acc* const mean = memory + 2 * a.channels;
    Acc* const m2 = mean + a.channels * cut.count;
    const int threads = chunk_threads(a.n);
    launch(stream, a.channels * cut.count, threads, shared_for<Part<Acc>>(threads),
           ChunkMoments<Data, Acc, Rules>{a.x, a.n, cut, mean, m2});
    const int second = threads_for(cut.count);
    launch(stream, a.channels, second, shared_for<Part<Acc>>(second),
           MergeChunks<Data, Acc, Rules>{a, cut, mean, m2, found});
    normalise<Affine::centred, Rules>(stream, a, found);
  }
};

// --- tiles of neighbouring channels ---

/// A block is 32 channels wide, a lane each, so that a warp reads what lies side by side in a channels-last
/// tensor, and 8 rows high.
inline constexpr int tile_rows = most_threads / warp;

template <class Data, class Acc, class Rules>
struct TileMoments {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;
  Parts parts;
  Acc* mean;  ///< of part p of channel c: at p * channels + c
  Acc* m2;
  Index* tickets;  ///< of each tile
  Coefficients<Acc> found;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index tile = task / parts.count;
    const Index part = task % parts.count;
    const Index first = tile * warp;
    Part<Acc>* const shared = block.shared<Part<Acc>>(block.threads());
    Lanes<Part<Acc>> of_lane = block.lanes(Part<Acc>{});

    block.each([&](Lane l) {
      const Index channel = first + l.index % warp;
      const Index end = Rules::end_of_part(part, parts.size, a.n);
      if (channel < a.channels)
        for (Index i = part * parts.size + l.index / warp; i < end; i += tile_rows)
          of_lane[l].append(static_cast<Acc>(a.x.template at<Rules>(channel, i)));
    });
    merge_rows(block, of_lane, shared);
    block.each([&](Lane l) {
      if (const Index channel = first + l.index; l.index < warp && channel < a.channels) {
        mean[part * a.channels + channel] = shared[l.index].mean;
        m2[part * a.channels + channel] = shared[l.index].m2;
      }
    });

    // Whoever comes last finds the parts of all others in memory.
    if (!Rules::is_last(block.ticket(tickets + tile), parts.count))
      return;
    block.each([&](Lane l) {
      const Index channel = first + l.index % warp;
      of_lane[l] = Part<Acc>{};
      if (channel < a.channels)
        for (Index p = l.index / warp; p < parts.count; p += tile_rows) {
          const Index at = p * a.channels + channel;
          const Part<Acc> more{mean[at], m2[at], Rules::count_of_part(p, parts.size, a.n)};
          if (of_lane[l].count == 0)
            of_lane[l] = more;
          else
            of_lane[l].merge(more);
        }
    });
    merge_rows(block, of_lane, shared);
    block.each([&](Lane l) {
      const Index channel = first + l.index;
      if (l.index >= warp || channel >= a.channels)
        return;
      const Part<Acc> all = shared[l.index];
      report(a, channel, all.mean, all.m2);
      update<Rules>(a, channel, all.mean, all.m2, parts.size);
      found.mean[channel] = all.mean;
      found.invstd[channel] = invstd_of(a.problem, all.m2, a.n);
    });
  }

private:
  /// The lanes of a channel into its first one, through shared memory.
  NP_DEVICE void merge_rows(Block& block, const Lanes<Part<Acc>>& of_lane, Part<Acc>* shared) const {
    block.each([&](Lane l) { shared[l.index] = of_lane[l]; });
    for (int half = tile_rows / 2; half > 0; half /= 2)
      block.each([&](Lane l) {
        if (l.index < half * warp)
          shared[l.index].template merge<Rules>(shared[l.index + half * warp]);
      });
  }
};

template <class Data, class Acc, class Rules>
struct NormaliseTile {
  static constexpr bool loops = Rules::loops;
  static constexpr Index rows = 8 * tile_rows;
  Forward<Data> a;
  Coefficients<Acc> given;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index in_tile = ceil_div(a.n, rows);
    const Index begin = task % in_tile * rows;
    block.each([&](Lane l) {
      const Index channel = task / in_tile * warp + l.index % warp;
      if (channel >= a.channels)
        return;
      const auto line = line_of<Affine::centred>(a, channel, given.mean[channel], given.invstd[channel]);
      for (Index i = begin + l.index / warp; i < smaller(begin + rows, a.n); i += tile_rows)
        a.y.template at<Rules>(channel, i) = line.y(a.x.template at<Rules>(channel, i));
    });
  }
};

struct Tiles {
  static constexpr np_family family = NP_MERGED;
  static constexpr bool deterministic = true;
  static constexpr Parts parts(Index n) { return parts_of(n, 16 * tile_rows, 64); }

  static Index depth(Index n) {
    const Parts p = parts(n);
    const Index merges = tree_depth(smaller(p.size, tile_rows)) + block_depth(p.count, tile_rows);
    return cpu::merged_depth(n, ceil_div(p.size, tile_rows) - 1, merges);
  }
  static Index tiles(Index channels) { return ceil_div(channels, warp); }
  /// The tickets take the place of two values each.
  static Index workspace(Index channels, Index n) {
    return 2 * tiles(channels) + channels * (2 + 2 * parts(n).count);
  }

  template <class Rules, class Acc, class Data>
  static void run(Stream& stream, const Forward<Data>& a, Acc* memory) {
    const Parts cut = parts(a.n);
    auto* const tickets = reinterpret_cast<Index*>(memory);
    memory += 2 * tiles(a.channels);
    const Coefficients<Acc> found{memory, memory + a.channels};
    Acc* const mean = memory + 2 * a.channels;
    zero(stream, tickets, tiles(a.channels));
    launch(stream, tiles(a.channels) * cut.count, most_threads,
           most_threads * static_cast<int>(sizeof(Part<Acc>)),
           TileMoments<Data, Acc, Rules>{a, cut, mean, mean + a.channels * cut.count, tickets, found});
    launch(stream, tiles(a.channels) * ceil_div(a.n, NormaliseTile<Data, Acc, Rules>::rows), most_threads, 0,
           NormaliseTile<Data, Acc, Rules>{a, found});
  }
};

// --- inference ---

template <class Data, class Acc>
struct GivenStatistics {
  static constexpr bool loops = true;
  Forward<Data> a;
  Coefficients<Acc> found;

  NP_DEVICE void operator()(Block& block, Index task) const {
    block.each([&](Lane l) {
      const Index channel = task * block.threads() + l.index;
      if (channel >= a.channels)
        return;
      found.mean[channel] = a.running_mean.template load<Acc>(channel);
      found.invstd[channel] = cpu::Rules::invstd(a.running_var.template load<Acc>(channel),
                                                 static_cast<Acc>(a.problem.eps.value));
    });
  }
};

/// A part of a channel, 16 bytes at a time.
template <class Data, class Acc, Affine form, class Rules>
struct NormaliseWide {
  static constexpr bool loops = Rules::loops;
  Forward<Data> a;
  Coefficients<Acc> given;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    const auto line = line_of<form>(a, channel, given.mean[channel], given.invstd[channel]);
    block.each([&](Lane l) { normalise_windows<Rules>(l, block.threads(), a, channel, line); });
  }
};

}  // namespace normproof::impls::cuda
