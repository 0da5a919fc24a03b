// Reductions over a block: from lane to lane within a warp by shuffles, from warp to warp through shared
// memory, the last ones by shuffles again. Their depth is log2 of the threads.
#pragma once

#include "cpu/moments.h"
#include "cuda/views.h"

namespace normproof::impls::cuda {

/// Lanes for a number of values: a power of two, a whole warp at least.
constexpr int threads_for(Index values) {
  int threads = warp;
  while (threads < values && threads < most_threads)
    threads *= 2;
  return threads;
}
/// Levels of a tree over `items` items: of lanes, those that have something.
constexpr Index tree_depth(Index items) {
  return items <= 1 ? 0 : 1 + tree_depth((items + 1) / 2);
}
/// Additions of a sum of `values` values by one block: a chain in each lane, then the tree.
constexpr Index block_depth(Index values, int threads) {
  return values <= 0 ? 0 : ceil_div(values, threads) - 1 + tree_depth(smaller(values, threads));
}

/// Mean and sum of squared deviations of `count` values.
template <class Acc>
struct Part {
  Acc mean{0};
  Acc m2{0};
  Index count = 0;

  /// Welford's update.
  NP_DEVICE void append(Acc value) {
    ++count;
    const Acc from_old = value - mean;
    mean = count == 1 ? value : mean + from_old / static_cast<Acc>(count);
    m2 = count == 1 ? Acc{0} : m2 + from_old * (value - mean);
  }
  /// Chan's update; `other` has no more values than this.
  template <class Rules = Sound>
  NP_DEVICE void merge(const Part& other) {
    if (Rules::passes_over_empty && other.count == 0)
      return;
    cpu::merge_lane(mean, m2, static_cast<Acc>(count), other.mean, other.m2, static_cast<Acc>(other.count));
    count += other.count;
  }
};

/// Merges one item of each lane into one: join(a, b) puts b, of the lane further up, into a. `shared` has
/// room for one item of each warp.
template <class Rules, class Item, class Join>
NP_DEVICE Item block_reduce(Block& block, Lanes<Item> item, Item* shared, Join&& join) {
  for (int distance = warp / 2; distance > 0; distance /= 2) {
    const Lanes<Item> other = block.shuffle_down(item, distance);
    block.apply(join, item, other);
  }
  const int warps = Rules::warps(block.threads());
  Rules::write_then_read(
      block,
      [&](Lane l) {
        if (l.index % warp == 0)
          shared[l.index / warp] = item[l];
      },
      [&](Lane l) {
        if (l.index < warps)
          item[l] = shared[l.index];
      });
  const std::uint32_t taking_part = warps == warp ? whole_warp : (std::uint32_t{1} << warps) - 1;
  for (int distance = Rules::first_distance(warps); distance > 0; distance /= 2) {
    const Lanes<Item> other = block.shuffle_down(item, distance, taking_part);
    block.apply(join, item, other);
  }
  block.each([&](Lane l) {
    if (l.index == 0)
      shared[0] = item[l];
  });
  return block.broadcast(shared[0]);
}

template <class Rules, class Acc>
NP_DEVICE Acc block_sum(Block& block, const Lanes<Acc>& value, Acc* shared) {
  return block_reduce<Rules>(block, value, shared, [](Acc& a, const Acc& b) { a = a + b; });
}
template <class Rules, class Acc>
NP_DEVICE Part<Acc> block_merge(Block& block, const Lanes<Part<Acc>>& part, Part<Acc>* shared) {
  return block_reduce<Rules>(block, part, shared,
                             [](Part<Acc>& a, const Part<Acc>& b) { a.template merge<Rules>(b); });
}
/// Shared memory that a block reduction of Items needs.
template <class Item>
constexpr int shared_for(int threads) {
  return (threads / warp * static_cast<int>(sizeof(Item)) + 15) / 16 * 16;
}

/// The sum of term(i) over begin .. end - 1. Lanes beyond the end are masked: term(in, i).
template <class Data, class Acc, class Rules, class Term>
NP_DEVICE Acc sum_over(Block& block, Index begin, Index end, Acc* shared, Term&& term) {
  Lanes<Acc> sum = block.lanes(Acc{0});
  const Index threads = block.threads();
  block.each([&](Lane l) {
    for (Index first = begin; first < end; first += threads) {
      const Index i = first + l.index;
      sum[l] = Rules::template kept<Data>(sum[l] + term(i < end, i));
    }
  });
  return block_sum<Rules>(block, sum, shared);
}

}  // namespace normproof::impls::cuda
