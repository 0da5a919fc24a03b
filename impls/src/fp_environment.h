// The floating-point control state: rounding mode, flush-to-zero, denormals-are-zero, exception masks. A
// kernel or the mere loading of a library built with -ffast-math can leave it changed, and every later result
// in the process with it. Sticky exception flags are not part of it.
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace normproof::impls {

struct FpEnvironment {
  std::uint64_t vector_control = 0;  ///< MXCSR or FPCR
  std::uint64_t x87_control = 0;

  friend bool operator==(const FpEnvironment&, const FpEnvironment&) = default;
};

#if defined(__x86_64__)
inline FpEnvironment current_environment() {
  std::uint16_t x87 = 0;
  asm volatile("fnstcw %0" : "=m"(x87));
  return {_mm_getcsr() & 0xFFC0u, x87};
}
inline void restore_environment(const FpEnvironment& environment) {
  const auto x87 = static_cast<std::uint16_t>(environment.x87_control);
  asm volatile("fldcw %0" : : "m"(x87));
  _mm_setcsr(static_cast<std::uint32_t>(environment.vector_control));
}
#elif defined(__aarch64__)
inline FpEnvironment current_environment() {
  std::uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return {control, 0};
}
inline void restore_environment(const FpEnvironment& environment) {
  asm volatile("msr fpcr, %0" : : "r"(environment.vector_control));
}
#else
inline FpEnvironment current_environment() {
  return {static_cast<std::uint64_t>(std::fegetround()), 0};
}
inline void restore_environment(const FpEnvironment& environment) {
  std::fesetround(static_cast<int>(environment.vector_control));
}
#endif

}  // namespace normproof::impls
