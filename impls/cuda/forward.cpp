// The forward kernels of a device. The worst known inputs were hunted lane by lane for the largest quotient
// of the measured error and what the kernel's own claims permit: lower bounds on the worst.
#include "cpu/tables.h"
#include "cuda/glue.h"

namespace normproof::impls::cuda {
namespace {

constexpr np_kernel kernels[] = {
    make_kernel<TrainingByBlocks<TwoPass>>(
        NP_CUDA_NAME("two_pass"), "a block per channel: two passes, sums by warp shuffles, y centred",
        "f32 1x1x15 x=[0x1.5502p+54, 0x1.940fe6p+56, 0x1.4ec1dep+56, 0x1.130b92p+56, "
        "0x1.027ffep+56, 0x1.bdd2e4p+55, 0x1.3676cp+54, 0x1.d1708ep+55, 0x1.ff9e4ep+55, "
        "0x1.a23e68p+56, 0x1.8c49bp+56, 0x1.9b2462p+55, 0x1.897ecp+56, 0x1.7bc3f2p+55, "
        "0x1.6e312cp+56] gamma=0x1p+0 beta=0x0p+0 eps=0x1.0624dep-10: y, ratio 0.413"),
    make_kernel<TrainingByBlocks<TwoPass, cpu::AlwaysDouble>>(
        NP_CUDA_NAME("two_pass_f64"), "a block per channel: two passes in double, y centred and rounded once",
        "f32 1x1x6 x=[0x1.cec8p+20, 0x1.cec804p+20, -0x1.d537f8p+20, -0x1.d537f8p+20, "
        "-0x1.d537fcp+20, 0x1.cec802p+20] gamma=0x1.ffe7ep-4 beta=0x1p+1 eps=0x1.0624dep-10: y, "
        "ratio 1.0e-8"),
    make_kernel<TrainingByBlocks<VectorTwoPass>>(
        NP_CUDA_NAME("two_pass_wide"), "a block per channel: two passes with loads of 16 bytes, y centred",
        "f32 17x1 x=[0x1p+5, 0x1p+5, -0x1.75005p+24, -0x1p+5, 0x1p+0, -0x1p+5, 0x1.e1ep+24, 0x1p+5,"
        " 0x1p+5, 0x1p+5, 0x1.2p+5, 0x0p+0, -0x1.89ccp+17, 0x1p+29, 0x1p+5, 0x1p+5, 0x1p+5] "
        "gamma=-0x1.8p-9 beta=0x0p+0 eps=0x1.197998p-40: y, ratio 0.521"),
    make_kernel<TrainingByBlocks<Welford>>(
        NP_CUDA_NAME("welford"),
        "a block per channel: Welford's recurrence in each lane, merged by warp shuffles, y centred",
        "f32 2x1 x=[0x1.fbaaa6p-2, 0x1.fbab52p-2] gamma=-0x1.597956p+1 beta=-0x1.cbf184p+1 "
        "eps=0x1.197998p-40: y, ratio 0.294"),
    make_kernel<TrainingByLaunches<SplitSums<false>, Affine::folded>>(
        NP_CUDA_NAME("multi_block"),
        "several blocks per channel and a second kernel for each of two passes, y folded",
        "f32 1x1x6 x=[0x1.38p-35, -0x1.ep-33, -0x1p-37, -0x1p-37, -0x1p-59, -0x1p-36] "
        "gamma=-0x1.5p+0 beta=-0x1p-2 eps=0x1.4f8b58p-17: y, ratio 0.971"),
    make_kernel<TrainingByLaunches<SplitSums<true>, Affine::folded>>(
        NP_CUDA_NAME("atomic"),
        "several blocks per channel that add their sums atomically, in any order, y folded",
        "f32 4x1 x=[-0x1.e8p-30, 0x1p-36, 0x1.8p-32, -0x1.e727bp-30] gamma=0x1.a603p+0 beta=0x1p+0 "
        "eps=0x1.4f8b58p-17: y, ratio 0.960"),
    make_kernel<TrainingByLaunches<ChanTree, Affine::centred>>(
        NP_CUDA_NAME("chan_tree"),
        "chunks of four values a lane merged by Chan's formula, a second kernel for the chunks, y centred",
        "f32 2x1 x=[0x1.dc430ap+15, 0x1.dc450ep+15] gamma=-0x1.243dccp-6 beta=-0x1.e4dc4ap-5 "
        "eps=0x1.4f8b58p-17: y, ratio 0.280"),
    make_kernel<TrainingByLaunches<Tiles, Affine::centred>>(
        NP_CUDA_NAME("channels_last"),
        "tiles of 32 neighbouring channels, Welford down the rows, the last block merges, y centred",
        "f32 1x1x2 x=[0x1.e19a46p+4, 0x1.e197aap+4] gamma=-0x1.b7ca34p+4 beta=-0x1.ffffc6p-4 "
        "eps=0x1.0624dep-10: y, ratio 0.369"),
    make_kernel<Inference<Affine::centred, false>>(
        NP_CUDA_NAME("inference_centred"), "inference, y = ((x - mean) invstd) gamma + beta",
        "f32 1x1 x=0x1.2529e4p-1 mean=-0x1.04fe7ep-1 var=0x1.d4db56p-7 gamma=0x1.dedbf2p-23 "
        "beta=-0x1.f60076p-17 eps=0x1.0624dep-10: y, ratio 0.595"),
    make_kernel<Inference<Affine::folded, true>>(
        NP_CUDA_NAME("inference_folded"),
        "inference, y = x a + b with a = gamma invstd, b = beta - mean a, 16 bytes at a time",
        "f32 2x1 x=[-0x1.1fp-39, -0x1p-68] mean=-0x1.1efff8p-39 var=0x1p-63 gamma=-0x1.700bf4p+0 "
        "beta=-0x1.000002p-4 eps=0x1.197998p-40: y, ratio 0.998"),
};

}  // namespace

cpu::Table forward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cuda
