// The gradient kernels of a device.
#include "cuda/backward.h"

#include "cpu/tables.h"
#include "cuda/glue.h"

namespace normproof::impls::cuda {
namespace {

constexpr np_kernel kernels[] = {
    make_kernel<Backward<OneBlockBackward>>(
        NP_CUDA_NAME("backward"), "gradients, a block per channel; the pair with two passes forward", ""),
    make_kernel<Backward<OneBlockBackward, cpu::AlwaysDouble>>(
        NP_CUDA_NAME("backward_f64"), "gradients, a block per channel, all in double and rounded once", ""),
    make_kernel<Backward<SplitBackward>>(
        NP_CUDA_NAME("backward_multi_block"),
        "gradients, several blocks per channel and a second kernel; the pair with two passes forward", ""),
};

}  // namespace

cpu::Table backward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cuda
