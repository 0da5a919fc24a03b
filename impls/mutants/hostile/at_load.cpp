// A correct kernel in a library whose mere loading switches flush-to-zero and denormals-are-zero on, as
// linking with -ffast-math does.
#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

#include "cpu/tables.h"
#include "mutants/hostile/deeds.h"

namespace {

__attribute__((constructor)) void switch_on() {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#else
  std::fesetround(FE_UPWARD);
#endif
}

constexpr np_kernel kernel = normproof::impls::cpu::make_kernel<normproof::impls::cpu::Correct>(
    "hostile.flush_to_zero_at_load", "correct; loading its library leaves FTZ and DAZ on", "");

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  static const std::vector<const np_kernel*> kernels{&kernel};
  return normproof::impls::cpu::library_of(kernels, "normproof hostile at load", host_abi_major);
}
