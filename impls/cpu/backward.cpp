// The CPU kernels of the first and the second backward pass.
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
        ""),
    make_kernel<Backward<Direct, AlwaysDouble>>("cpu.backward_f64",
                                                "as cpu.backward_direct, all in double and rounded once", ""),
    make_kernel<Backward<Recomputed>>(
        "cpu.backward_recomputed",
        "gradients with xhat computed anew and coefficients first, dx = c1 dy - c2 - c3 (x - mean)", ""),
    make_kernel<DoubleBackward<>>(
        "cpu.double_backward", "the second order in its expanded form, all in double and rounded once", "")};

}  // namespace

Table backward_kernels() {
  return kernels;
}

}  // namespace normproof::impls::cpu
