// What a kernel on a device can get wrong without touching a formula: which lanes count, who waits for whom,
// how many parts there are and who writes. `Sound` is right; a wrong kernel of mutants.cpp overrides one
// thing of it.
#pragma once

#include "cuda/block.h"

namespace normproof::impls::cuda {

constexpr Index ceil_div(Index a, Index b) {
  return (a + b - 1) / b;
}
constexpr Index smaller(Index a, Index b) {
  return a < b ? a : b;
}

struct Sound {
  /// A block goes on to the next of its tasks.
  static constexpr bool loops = true;
  /// Memory that is added to is zeroed by a launch before.
  static constexpr bool zeroes = true;

  /// What one lane writes for others to read, with a barrier between.
  template <class Write, class Read>
  static NP_DEVICE void write_then_read(Block& block, Write&& write, Read&& read) {
    block.each(write);
    block.each(read);
  }
  /// Results of warps that a block has.
  static constexpr int warps(int threads) { return threads / warp; }
  /// The first distance at which `parts` lanes, a power of two, exchange.
  static constexpr int first_distance(int parts) { return parts / 2; }
  /// Groups without a value are passed over when moments are merged.
  static constexpr bool passes_over_empty = true;

  /// The deviation of a lane that has a value (`in`), and of one beyond the end.
  template <class Acc>
  static NP_DEVICE Acc deviation(bool in, Acc value, Acc mean) {
    return in ? value - mean : Acc{0};
  }
  /// A sum as its lane keeps it.
  template <class Data, class Acc>
  static NP_DEVICE Acc kept(Acc sum) {
    return sum;
  }
  /// From one element of a window that is not read whole to the next.
  static constexpr Index tail_step(Index) { return 1; }
  /// Elements that a run begins beyond a 16-byte boundary.
  static constexpr Index misaligned(Index elements) { return elements; }
  static NP_DEVICE Index offset(const cpu::Geometry& g, Index channel, Index i) {
    return g.offset(channel, i);
  }

  /// Values of part `part`, from part * size on.
  static constexpr Index end_of_part(Index part, Index size, Index n) {
    return smaller((part + 1) * size, n);
  }
  /// Parts that the second kernel reads.
  static constexpr Index parts_read(Index parts, Index, Index) { return parts; }
  static constexpr Index count_of_part(Index part, Index size, Index n) {
    return end_of_part(part, size, n) - part * size;
  }
  /// Where the second kernel finds the sums of squares.
  template <class Acc>
  static constexpr const Acc* squares_of(const Acc* squares, const Acc*) {
    return squares;
  }
  /// Whether the block that drew this ticket is the last of its tile.
  static constexpr bool is_last(Index ticket, Index parts) { return ticket == parts - 1; }
  /// Which lane updates the running statistics, and over how many values they count.
  static constexpr bool updates(Lane lane) { return lane.index == 0; }
  static constexpr Index runs_over(Index n, Index) { return n; }
  /// The sums that dx is made with: of the whole channel, or what is in the parts.
  template <class Acc>
  static NP_DEVICE Acc sum_for_dx(const Acc* totals, Index channel, const Acc*, Index) {
    return totals[channel];
  }
};

}  // namespace normproof::impls::cuda
