// The table of the bundled CPU kernels.
#include "cpu/forward.h"

namespace {

using namespace normproof::impls::cpu;

constexpr np_kernel two_pass_f64 = make_kernel<Training<TwoPass, Affine::centred, AlwaysDouble>>(
    "cpu.two_pass_f64", "two passes with cascaded sums in double, y centred in double and rounded once", "");

constexpr np_kernel pairwise_f32 = make_kernel<Training<TwoPass, Affine::folded>>(
    "cpu.pairwise_f32", "two passes with cascaded sums in the tensor's own precision, y folded", "");

constexpr np_kernel welford_f32 = make_kernel<Training<Welford, Affine::centred>>(
    "cpu.welford_f32",
    "Welford's recurrence in the tensor's own precision (contiguous: 16 streams merged by Chan), y centred",
    "");

constexpr np_kernel chan_threads_f32 = make_kernel<Training<ChanThreads, Affine::folded>>(
    "cpu.chan_threads_f32",
    "Chan's merging of Welford leaves, each thread a part of every channel, in the tensor's own precision, y "
    "folded",
    "");

constexpr np_kernel inference_centred = make_kernel<Inference<Affine::centred>>(
    "cpu.inference_centred", "inference, y = ((x - mean) invstd) gamma + beta", "");

constexpr np_kernel inference_folded = make_kernel<Inference<Affine::folded>>(
    "cpu.inference_folded", "inference, y = x a + b with a = gamma invstd, b = beta - mean a", "");

constexpr const np_kernel* kernels[] = {&two_pass_f64,     &pairwise_f32,      &welford_f32,
                                        &chan_threads_f32, &inference_centred, &inference_folded};

constexpr np_library library{.struct_size = sizeof(np_library),
                             .abi_major_minimum = 1,
                             .name = "normproof cpu",
                             .version = "1",
                             .kernel_count = std::size(kernels),
                             .kernels = kernels};

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
