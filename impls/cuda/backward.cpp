// The gradient kernels of a device, with worst known inputs as in forward.cpp.
#include "cuda/backward.h"

#include "cpu/tables.h"
#include "cuda/glue.h"

namespace normproof::impls::cuda {
namespace {

constexpr np_kernel kernels[] = {
    make_kernel<Backward<OneBlockBackward>>(
        NP_CUDA_NAME("backward"), "gradients, a block per channel; the pair with two passes forward",
        "f32 11x1 x=[0x1.f33cp-5, 0x1p-2, 0x1p-9, 0x1p-2, -0x0p+0, 0x1p-2, 0x1p-2, 0x1.31578p-5, "
        "0x1p+0, 0x1p-3, 0x1p-2] dy=[0x1p+27, 0x1p+3, 0x1p+3, 0x1p+3, 0x1p+3, 0x1p+3, 0x1p+3, "
        "0x1.1p+3, 0x1.000008p+3, 0x1p+3, 0x1p+3] mean=0x1.112cap-4 invstd=0x1.f0c6fep-1 "
        "gamma=-0x1.8a4c86p+29 beta=0x0p+0: dx, ratio 0.676"),
    make_kernel<Backward<OneBlockBackward, cpu::AlwaysDouble>>(
        NP_CUDA_NAME("backward_f64"), "gradients, a block per channel, all in double and rounded once",
        "f32 5x1 x=[-0x1.933c52p+0, 0x1.098f66p-2, -0x1.c3ace8p-2, 0x1.3f21c6p+0, 0x1.221ba8p+24] "
        "dy=[-0x1.099694p+4, -0x1.9164cp+3, 0x1.29b27ep+4, -0x1.4ef334p+3, 0x1.3c2de4p+10] "
        "mean=0x1.d02c3ep+21 invstd=0x1.1a60a8p-23 gamma=0x1.c6eadap-42 beta=0x0p+0: dx, ratio "
        "0.158"),
    make_kernel<Backward<SplitBackward>>(
        NP_CUDA_NAME("backward_multi_block"),
        "gradients, several blocks per channel and a second kernel; the pair with two passes forward",
        "f32 1x1x7 x=[0x1p-21, 0x0p+0, -0x1p-118, -0x1p-118, -0x1p-117, 0x1.f8p-18, -0x1p-14] "
        "dy=[0x1p+8, 0x1p-16, 0x1p-16, 0x1p-16, 0x1p-16, 0x1.f8p-17, 0x1p-4] mean=0x1.a8p-5 "
        "invstd=0x1.6f227p+0 gamma=0x1.ep+7 beta=0x0p+0: dx, ratio 0.585"),
};

}  // namespace

cpu::Table backward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cuda
