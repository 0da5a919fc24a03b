// The library of the bundled CPU kernels.
#include "cpu/tables.h"

namespace normproof::impls::cpu {
Table forward_kernels();
Table backward_kernels();
}  // namespace normproof::impls::cpu

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  using namespace normproof::impls::cpu;
  static const std::vector<const np_kernel*> kernels = joined({forward_kernels(), backward_kernels()});
  return library_of(kernels, "normproof cpu", host_abi_major);
}
