// The CPU kernels of the first and the second backward pass. The worst known inputs are those of the hunt in
// fuzz/corpus/worst, as parts of the bound.
#include "cpu/backward.h"

#include "cpu/double_backward.h"
#include "cpu/tables.h"

namespace normproof::impls::cpu {
namespace {

constexpr np_kernel kernels[] = {
    make_kernel<Backward<Direct>>(
        "cpu.backward_direct",
        "gradients with cascaded sums of dy and dy (x - mean), each thread a part of every channel; the pair "
        "with two passes forward",
        "f32 1x1x2 x=[-0x1.8587e8p-12, 0x1p-36] dy=[0x1.d717cp+0, 0x1.3feddcp+6] mean=0x1.0e47bap-12 "
        "invstd=0x1.14301p+8 gamma=0x1p+0: dgamma, ratio 0.556"),
    make_kernel<Backward<Direct, AlwaysDouble>>(
        "cpu.backward_f64", "as cpu.backward_direct, all in double and rounded once",
        "f64 2x1 x=[-0x1.8b85792f1e69cp-10, 0x1.163177eb1cfd7p-10] dy=[0x1.d717c135426b4p-11, "
        "0x1.3feddb7dbe67p-4] mean=0x1.0e47b965c7751p-12 invstd=0x1.1437c7e866f18p+7 gamma=0x1p+0: "
        "dgamma, ratio 0.612"),
    make_kernel<Backward<Recomputed>>(
        "cpu.backward_recomputed",
        "gradients with xhat computed anew and coefficients first, dx = c1 dy - c2 - c3 (x - mean)",
        "f32 2x1 x=[0x1.9fap-1, 0x1.78p+20] dy=[-0x1.3ede8p+9, -0x1.d6fep+5] mean=0x1.7a20dap+20 "
        "invstd=0x1.99999ap-1 gamma=0x1p+0: dgamma, ratio 0.518"),
    make_kernel<DoubleBackward<>>(
        "cpu.double_backward", "the second order in its expanded form, all in double and rounded once",
        "f64 1x1 x=-0x1.0000000000004p-49 dy=-0x1p-93 v_x=0x1.0ed3a5c6addb8p-4 "
        "v_gamma=0x1.0b2bff6be087cp+0 v_beta=0x1.1d87dbbe25fdfp-5 mean=-0x1.1cc5d8e172p+4 "
        "var=0x1.3aa8bc88c0769p+6 gamma=-0x1.e5d48273c540cp+0 eps=0x1.0628aap-10: grad_dy, ratio "
        "0.431")};

}  // namespace

Table backward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cpu
