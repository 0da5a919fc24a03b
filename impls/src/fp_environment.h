// The floating-point control state: rounding mode, flush-to-zero, denormals-are-zero, exception masks. A
// kernel or the mere loading of a library built with -ffast-math can leave it changed, and every later result
// in the process with it. Sticky exception flags are not part of it.
#pragma once

#include <cfenv>
#include <cstdint>
#include <string>

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

/// "flush-to-zero on, rounding mode other": what differs in `after`, or nothing.
inline std::string changes(const FpEnvironment& before, const FpEnvironment& after) {
  std::string words;
  const auto note = [&](std::uint64_t mask, const char* what, bool has_sense) {
    if (((before.vector_control ^ after.vector_control) & mask) == 0)
      return;
    words += words.empty() ? "" : ", ";
    words += what;
    words += has_sense ? ((after.vector_control & mask) != 0 ? " on" : " off") : " other";
  };
#if defined(__x86_64__)
  note(0x8000, "flush-to-zero", true);
  note(0x0040, "denormals-are-zero", true);
  note(0x6000, "rounding mode", false);
  note(0x1F80, "exception masks", false);
#elif defined(__aarch64__)
  note(0x1000000, "flush-to-zero", true);
  note(0xC00000, "rounding mode", false);
#endif
  if (words.empty() && before != after)
    words = before.vector_control != after.vector_control ? "control word other" : "x87 control word other";
  return words;
}

}  // namespace normproof::impls
