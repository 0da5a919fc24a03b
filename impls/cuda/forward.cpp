// The forward kernels of a device.
#include "cpu/tables.h"
#include "cuda/glue.h"

namespace normproof::impls::cuda {
namespace {

constexpr np_kernel kernels[] = {
    make_kernel<TrainingByBlocks<TwoPass>>(
        NP_CUDA_NAME("two_pass"), "a block per channel: two passes, sums by warp shuffles, y centred", ""),
    make_kernel<TrainingByBlocks<TwoPass, cpu::AlwaysDouble>>(
        NP_CUDA_NAME("two_pass_f64"), "a block per channel: two passes in double, y centred and rounded once",
        ""),
    make_kernel<TrainingByBlocks<VectorTwoPass>>(
        NP_CUDA_NAME("two_pass_wide"), "a block per channel: two passes with loads of 16 bytes, y centred",
        ""),
    make_kernel<TrainingByBlocks<Welford>>(
        NP_CUDA_NAME("welford"),
        "a block per channel: Welford's recurrence in each lane, merged by warp shuffles, y centred", ""),
    make_kernel<TrainingByLaunches<SplitSums<false>, Affine::folded>>(
        NP_CUDA_NAME("multi_block"),
        "several blocks per channel and a second kernel for each of two passes, y folded", ""),
    make_kernel<TrainingByLaunches<SplitSums<true>, Affine::folded>>(
        NP_CUDA_NAME("atomic"),
        "several blocks per channel that add their sums atomically, in any order, y folded", ""),
    make_kernel<TrainingByLaunches<ChanTree, Affine::centred>>(
        NP_CUDA_NAME("chan_tree"),
        "chunks of four values a lane merged by Chan's formula, a second kernel for the chunks, y centred",
        ""),
    make_kernel<TrainingByLaunches<Tiles, Affine::centred>>(
        NP_CUDA_NAME("channels_last"),
        "tiles of 32 neighbouring channels, Welford down the rows, the last block merges, y centred", ""),
    make_kernel<Inference<Affine::centred, false>>(NP_CUDA_NAME("inference_centred"),
                                                   "inference, y = ((x - mean) invstd) gamma + beta", ""),
    make_kernel<Inference<Affine::folded, true>>(
        NP_CUDA_NAME("inference_folded"),
        "inference, y = x a + b with a = gamma invstd, b = beta - mean a, 16 bytes at a time", ""),
};

}  // namespace

cpu::Table forward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cuda
