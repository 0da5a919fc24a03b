// The forward CPU kernels. The worst known inputs come from hill climbing over small contiguous tensors for
// the largest quotient of the measured error and what the kernel's own claims permit (spec/bounds): lower
// bounds on the worst, of which no kernel may reach 1.
#include "cpu/forward.h"

#include "cpu/tables.h"

namespace normproof::impls::cpu {
namespace {

constexpr np_kernel two_pass_f64 = make_kernel<Training<TwoPass, Affine::centred, AlwaysDouble>>(
    "cpu.two_pass_f64", "two passes with cascaded sums in double, y centred in double and rounded once",
    "f64 x=[-0x1.f98672245ac54p+4, 0x1.05ec8f270b399p+5, 0x1.8824c4ef41c16p+6] gamma=0x0p+0 "
    "beta=0x0p+0 eps=0x1.da8ab3677762ap-10: var, ratio 0.462");

constexpr np_kernel pairwise_f32 = make_kernel<Training<TwoPass, Affine::folded>>(
    "cpu.pairwise_f32", "two passes with cascaded sums in the tensor's own precision, y folded",
    "f32 x=[-0x1.9cc1b2p-5, 0x1.5d9ac8p-1, 0x1.877154p-1, -0x1.14fa6p-3, -0x1.dbdf68p-1, "
    "-0x1.b325fap-1, 0x1.20d782p-1, -0x1.02c122p-1, -0x1.08f158p-1, -0x1.a34edep-1, "
    "-0x1.234dbap-1, 0x1.042f96p-3, -0x1.3ea02ap-1, 0x1.9b38c6p-1, 0x1.a1139p-5, 0x1.95bbecp-1] "
    "gamma=-0x1.13e784p-7 beta=-0x1.0021dep-1 eps=0x1.d2731ep-19: y, ratio 0.887");

constexpr np_kernel welford_f32 = make_kernel<Training<Welford, Affine::centred>>(
    "cpu.welford_f32",
    "Welford's recurrence in the tensor's own precision (contiguous: 16 streams merged by Chan), y centred",
    "f32 x=[-0x1.0e8fp+3, -0x1.0ec9eep+3] gamma=0x0p+0 beta=0x0p+0 eps=0x1.084abap+0: invstd, "
    "ratio 0.335");

constexpr np_kernel chan_threads_f32 = make_kernel<Training<ChanThreads, Affine::folded>>(
    "cpu.chan_threads_f32",
    "Chan's merging of Welford leaves, each thread a part of every channel, in the tensor's own precision, y "
    "folded",
    "f32 x=[-0x1.35a1b2p+2, -0x1.10c672p+4, 0x1.118abep+2] gamma=0x1.26318cp-11 "
    "beta=0x1.ff9d9p-2 eps=0x1.3dee02p-3: y, ratio 0.936");

constexpr np_kernel inference_centred = make_kernel<Inference<Affine::centred>>(
    "cpu.inference_centred", "inference, y = ((x - mean) invstd) gamma + beta",
    "f32 x=[0x1.e9c8b2p+6] mean=0x1.008398p+8 var=0x1.063bcep-2 gamma=0x1.1e3b1ap-3 "
    "beta=-0x1.5d499p+6 eps=0x1.00fffep-18: y, ratio 0.629");

constexpr np_kernel inference_folded = make_kernel<Inference<Affine::folded>>(
    "cpu.inference_folded", "inference, y = x a + b with a = gamma invstd, b = beta - mean a",
    "f32 x=[-0x1.1291fcp-3] mean=-0x1.066922p-3 var=0x1.ffe35ep-1 gamma=-0x1.58e038p-4 "
    "beta=-0x1.001064p+1 eps=0x0p+0: y, ratio 0.968");

constexpr np_kernel corrected_two_pass_f32 = make_kernel<Training<CorrectedTwoPass, Affine::centred>>(
    "cpu.corrected_two_pass_f32",
    "two passes with cascaded sums, less the square of the summed deviations, y centred",
    "f32 5x1 x=[0x1.bb9p-4, 0x1.89068p-4, 0x1.75619p-3, 0x1.8908p-4, 0x1.8906d8p-4] gamma=0x1p+0 "
    "beta=0x0p+0 eps=0x1.0000c8p+0: invstd, ratio 0.305");

constexpr np_kernel blocked_lanes_f32 = make_kernel<Training<BlockedTwoPass, Affine::folded>>(
    "cpu.blocked_lanes_f32", "two passes, 16 lanes that sum blocks of about sqrt(rows) rows, y folded",
    "f32 24x1 x=[-0x1p-43, -0x1p-43, -0x1.2p-26, -0x1p-43, -0x1.ap-27, -0x1p-43, -0x1p-43, "
    "-0x1p-43, -0x1p-43, -0x1p-43, -0x1p-44, -0x1p-43, -0x1p-42, -0x1p-43, -0x1p-43, -0x1p-43, "
    "-0x1p-43, -0x1p-43, -0x1p-43, -0x1p-43, -0x1p-44, 0x1p-31, -0x1p-43, -0x1.6p-30] "
    "gamma=0x1.8p+0 beta=0x1.0006p+0 eps=0x1.0624f2p-10: y, ratio 0.964");

constexpr np_kernel compensated_f32 = make_kernel<Training<CompensatedTwoPass, Affine::centred>>(
    "cpu.compensated_f32", "two passes whose sums carry their rounding errors along (TwoSum tree), y centred",
    "f32 3x1 x=[-0x1.6a0174p+4, -0x1.6a0174p+4, -0x1.6a0174p+4] gamma=0x1p+0 beta=0x0p+0 "
    "eps=0x1p+0: mean, ratio 0.236");

constexpr np_kernel chan_tree_f32 = make_kernel<Training<ChanTree, Affine::centred>>(
    "cpu.chan_tree_f32", "Chan's merging of single values in a balanced tree, y centred",
    "f32 2x1x2 x=[-0x1.2200dep+10, -0x1.220106p+10, -0x1.2200ccp+10, -0x1.2201p+10] gamma=0x1p+0 "
    "beta=0x0p+0 eps=0x1.16046ap-40: invstd, ratio 0.311");

constexpr np_kernel shifted_textbook_f32 = make_kernel<Training<ShiftedTextbook, Affine::centred>>(
    "cpu.shifted_textbook_f32",
    "mean and mean of squares of the deviations from the median (two passes where n is small), y centred",
    "f32 1x1x6 x=[-0x1.6a0142p+6, -0x1.6a0172p+6, -0x1.6a01fep+6, -0x1.6a0114p+6, -0x1.6a0174p+6, "
    "-0x1.6a0174p+6] gamma=0x1p+0 beta=0x0p+0 eps=0x1.fffffcp-1: y, ratio 0.288");

constexpr np_kernel kernels[] = {two_pass_f64,           pairwise_f32,        welford_f32,
                                 chan_threads_f32,       inference_centred,   inference_folded,
                                 corrected_two_pass_f32, blocked_lanes_f32,   compensated_f32,
                                 chan_tree_f32,          shifted_textbook_f32};

}  // namespace

Table forward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cpu
