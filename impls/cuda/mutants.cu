// mutants.cpp for the device, as a library of its own: what a device makes of them.
#include "cuda/mutants.cpp"

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  using namespace normproof::impls;
  static const std::vector<const np_kernel*> kernels = cpu::joined({cuda::mutants()});
  return cpu::library_of(kernels, "normproof cuda mutants", host_abi_major);
}
