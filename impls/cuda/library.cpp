// The library of the kernels of a device: under nvcc for the device, else lane by lane on the CPU.
#include "cpu/tables.h"

namespace normproof::impls::cuda {
cpu::Table forward_kernels();
cpu::Table backward_kernels();
}  // namespace normproof::impls::cuda

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  using namespace normproof::impls;
  static const std::vector<const np_kernel*> kernels =
      cpu::joined({cuda::forward_kernels(), cuda::backward_kernels()});
#ifdef __CUDACC__
  return cpu::library_of(kernels, "normproof cuda", host_abi_major);
#else
  return cpu::library_of(kernels, "normproof lanes", host_abi_major);
#endif
}
