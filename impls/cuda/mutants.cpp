// Wrong on purpose, as kernels of a device are wrong: each a right one with one of its rules (rules.h)
// changed. The summary names the clause that must catch it.
#include "cpu/tables.h"
#include "cuda/glue.h"
#include "mutants/parts.h"

namespace normproof::impls::cuda {
namespace {

using cpu::InHalves;
using cpu::Unbiased;
using cpu::Where;
using cpu::WithRunning;

// --- within a block ---

/// What the warps left is read before all of them have.
struct MissingBarrier : Sound {
  template <class Write, class Read>
  static NP_DEVICE void write_then_read(Block& block, Write&& write, Read&& read) {
    block.each(write, read);
  }
};
/// Lanes beyond the end have the value 0, and so the deviation -mean.
struct MaskedLanesCount : Sound {
  template <class Acc>
  static NP_DEVICE Acc deviation(bool, Acc value, Acc mean) {
    return value - mean;
  }
};
/// A wavefront of 64 in place of a warp of 32: every second warp is left out.
struct WarpOf64 : Sound {
  static constexpr int warps(int threads) { return threads < 64 ? 1 : threads / 64; }
};
/// The last shuffles reach over lanes that have no part of the sum and take no part.
struct ShuffleBeyondTheMask : Sound {
  static constexpr int first_distance(int) { return warp / 2; }
};
struct EmptyLanesMerged : Sound {
  static constexpr bool passes_over_empty = false;
};
/// A lane's sum in a register of the data's own format.
struct HalfAccumulator : Sound {
  template <class Data, class Acc>
  static NP_DEVICE Acc kept(Acc sum) {
    return static_cast<Acc>(static_cast<Data>(sum));
  }
};

// --- wide loads ---

struct TailByTheVectorWidth : Sound {
  static constexpr Index tail_step(Index size) { return size; }
};
/// Windows are counted from where the run begins, wherever that is.
struct AlignmentAssumed : Sound {
  static constexpr Index misaligned(Index) { return 0; }
};

// --- where the values are ---

struct IndexOf32Bits : Sound {
  static NP_DEVICE Index offset(const Geometry& g, Index channel, Index i) {
    return static_cast<std::uint32_t>(g.offset(channel, i));
  }
};
/// Dense channels-last, whatever the strides are.
struct ChannelsLastAssumed : Sound {
  static NP_DEVICE Index offset(const Geometry& g, Index channel, Index i) {
    return i * g.channels + channel;
  }
};
/// The blocks of a launch do one task each, however many tasks there are.
struct GridWithoutLoop : Sound {
  static constexpr bool loops = false;
};

// --- between blocks and launches ---

struct RacyUpdate : Sound {
  static constexpr bool updates(Lane lane) { return lane.index < 2; }
};
struct AtomicsWithoutZeroing : Sound {
  static constexpr bool zeroes = false;
};
/// The number of parts as it would be if the last were as long as the others.
struct StaleBlockCount : Sound {
  static constexpr Index parts_read(Index parts, Index size, Index n) { return parts > 1 ? n / size : parts; }
};
struct PartsOfTheOtherLaunch : Sound {
  template <class Acc>
  static constexpr const Acc* squares_of(const Acc*, const Acc* sums) {
    return sums;
  }
};
/// The block before the last one takes itself for the last.
struct LastBlockEarly : Sound {
  static constexpr bool is_last(Index ticket, Index parts) { return ticket == (parts > 1 ? parts - 2 : 0); }
};
struct PartsTakenForEqual : Sound {
  static constexpr Index count_of_part(Index, Index size, Index) { return size; }
};
/// Each part ends with the first value of the next.
struct PartsOverlap : Sound {
  static constexpr Index end_of_part(Index part, Index size, Index n) {
    return smaller((part + 1) * size + 1, n);
  }
};
struct BesselByThePart : Sound {
  static constexpr Index runs_over(Index, Index part) { return part; }
};
/// dx is made with what the channel's first block summed.
struct SumOfOneBlock : Sound {
  template <class Acc>
  static NP_DEVICE Acc sum_for_dx(const Acc*, Index channel, const Acc* parts, Index count) {
    return parts[channel * count];
  }
};

template <class Algorithm, class Rules>
using Blocks = TrainingByBlocks<Algorithm, cpu::AsData, Rules>;
template <class Rules>
using Split = TrainingByLaunches<SplitSums<false>, Affine::folded, cpu::AsData, Rules>;
template <class Rules>
using Chan = TrainingByLaunches<ChanTree, Affine::centred, cpu::AsData, Rules>;
template <class Rules>
using Tiled = TrainingByLaunches<Tiles, Affine::centred, cpu::AsData, Rules>;

template <class Rules>
using Gradient = Backward<SplitBackward, cpu::AsData, Rules>;

constexpr np_kernel kernels[] = {
    make_kernel<Blocks<TwoPass, MissingBarrier>>(
        "mutant.cuda_missing_barrier",
        "the sums of the warps are read before all are written, caught by BN-NUM-1, -2", ""),
    make_kernel<Blocks<TwoPass, MaskedLanesCount>>(
        "mutant.cuda_masked_lanes_count",
        "lanes beyond the end add the square of the mean, caught by BN-NUM-2, -11", ""),
    make_kernel<Blocks<TwoPass, WarpOf64>>(
        "mutant.cuda_warp_of_64", "a warp taken for 64 lanes: every second is left out, caught by BN-NUM-1",
        ""),
    make_kernel<Blocks<TwoPass, ShuffleBeyondTheMask>>(
        "mutant.cuda_shuffle_beyond_mask",
        "the last shuffles read lanes that take no part, caught by BN-NUM-1", ""),
    make_kernel<Where<Blocks<TwoPass, HalfAccumulator>, InHalves>>(
        "mutant.cuda_half_accumulator", "each lane sums in the data's 16 bits, caught by BN-NUM-1, -2", ""),
    make_kernel<Blocks<Welford, EmptyLanesMerged>>(
        "mutant.cuda_empty_lanes_merged", "lanes without a value are merged: 0/0, caught by BN-NUM-1", ""),
    make_kernel<Blocks<VectorTwoPass, TailByTheVectorWidth>>(
        "mutant.cuda_tail_wrong_stride",
        "what is left of a row is read in steps of the vector width, caught by BN-NUM-1, -2", ""),
    make_kernel<Inference<Affine::folded, true, AlignmentAssumed>>(
        "mutant.cuda_alignment_assumed",
        "loads of 16 bytes from addresses that are not aligned to them, caught by BN-NUM-7", ""),
    make_kernel<Inference<Affine::centred, false, IndexOf32Bits>>(
        "mutant.cuda_index_32_bit",
        "element offsets of 32 bits: tensors of 2^32 elements and more, caught by BN-FWD-6, BN-NUM-6", ""),
    make_kernel<Inference<Affine::centred, false, GridWithoutLoop>>(
        "mutant.cuda_grid_without_loop",
        "no more tasks are done than the launch has blocks, caught by BN-FWD-6", ""),
    make_kernel<Tiled<ChannelsLastAssumed>>(
        "mutant.cuda_nhwc_geometry", "offsets of a dense NHWC tensor for any, caught by BN-FWD-15, BN-NUM-1",
        ""),
    make_kernel<Tiled<LastBlockEarly>>(
        "mutant.cuda_last_block_early",
        "the block before the last merges the parts, caught by BN-NUM-1, BN-NUM-2", ""),
    make_kernel<Tiled<PartsTakenForEqual>>(
        "mutant.cuda_parts_taken_for_equal",
        "the last part counts as much as the longer ones, caught by BN-NUM-1, -2", ""),
    make_kernel<Where<Split<RacyUpdate>, WithRunning>>(
        "mutant.cuda_racy_running_update",
        "two threads update the running statistics, caught by BN-NUM-8, -14 (BN-RUN-1)", ""),
    make_kernel<Split<StaleBlockCount>>(
        "mutant.cuda_stale_block_count",
        "the second kernel leaves out the shorter last part, caught by BN-NUM-1, -2", ""),
    make_kernel<Split<PartsOfTheOtherLaunch>>(
        "mutant.cuda_parts_of_other_launch",
        "the squares are added up from the sums of the launch before, caught by BN-NUM-2", ""),
    make_kernel<Split<PartsOverlap>>("mutant.cuda_parts_overlap",
                                     "each part ends with the next one's first value, caught by BN-NUM-1, -2",
                                     ""),
    make_kernel<TrainingByLaunches<SplitSums<true>, Affine::folded, cpu::AsData, AtomicsWithoutZeroing>>(
        "mutant.cuda_atomics_without_zeroing",
        "sums are added to what the workspace held, caught by BN-NUM-1, -2", ""),
    make_kernel<Where<Chan<BesselByThePart>, Unbiased>>(
        "mutant.cuda_bessel_by_part",
        "the values of one block for n in n - 1, caught by BN-NUM-14 (BN-RUN-2)", ""),
    make_kernel<Gradient<StaleBlockCount>>(
        "mutant.cuda_gradient_stale_block_count",
        "the second kernel leaves out the shorter last part, caught by BN-NUM-20, -21 (BN-BWD-1, -2)", ""),
    make_kernel<Gradient<SumOfOneBlock>>(
        "mutant.cuda_dx_by_one_block",
        "dx by the first block's sum of dy, caught by BN-NUM-22, -24, -25 (BN-BWD-3)", ""),
    make_kernel<Backward<OneBlockBackward, cpu::AsData, MissingBarrier>>(
        "mutant.cuda_gradient_missing_barrier",
        "the sums of the warps are read before all are written, caught by BN-NUM-20, -21", ""),
};

}  // namespace

cpu::Table mutants() {
  return kernels;
}

}  // namespace normproof::impls::cuda
