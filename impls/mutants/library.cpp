// The library of the wrong kernels.
#include "cpu/tables.h"

namespace normproof::impls::cpu {
Table forward_mutants();
Table backward_mutants();
Table elements_mutants();
Table gradient_mutants();
Table statistics_mutants();
Table storage_mutants();
}  // namespace normproof::impls::cpu
namespace normproof::impls::cuda {
cpu::Table mutants();
}  // namespace normproof::impls::cuda

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  using namespace normproof::impls::cpu;
  static const std::vector<const np_kernel*> kernels =
      joined({forward_mutants(), statistics_mutants(), elements_mutants(), backward_mutants(),
              gradient_mutants(), storage_mutants(), normproof::impls::cuda::mutants()});
  return library_of(kernels, "normproof mutants", host_abi_major);
}
