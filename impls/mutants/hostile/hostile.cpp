// Kernels that misbehave rather than miscalculate: each takes the right answer of a correct kernel and does
// one thing that the interface forbids. The worker must turn each into its status and go on.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cpu/forward.h"

namespace {

using namespace normproof::impls::cpu;
/// The correct kernel. One width per problem is enough to misbehave in.
struct Correct : Training<TwoPass, Affine::centred> {
  static void check(const np_problem& p) {
    Training::check(p);
    if (is_half(p.data_dtype))
      throw Refusal{NP_UNSUPPORTED, "f32 and f64 only"};
  }
};

/// A correct kernel with Deed::after(problem, tensors) behind it.
template <class Deed>
struct Then : Correct {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Correct::run<Data, Stat>(p, t);
    if constexpr (std::is_floating_point_v<Data>)
      Deed::template after<Data>(p, t);
  }
};

struct Segfault {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    std::fputs("about to dereference nothing\n", stdout);
    *static_cast<volatile int*>(nullptr) = 1;
  }
};

struct Abort {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    std::abort();
  }
};

struct ExitZero {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    std::exit(0);
  }
};

struct EndlessLoop {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    for (volatile bool forever = true; forever;)
      std::this_thread::yield();
  }
};

/// The last element of y gets the bits that it had before.
struct UnwrittenOutput : Correct {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Data& last = elements<Data>(t.y)[p.shape[0] * p.shape[1] - 1];
    const Data before = last;
    Correct::run<Data, Stat>(p, t);
    last = before;
  }
};

struct ChangedInput {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    elements<Data>(t.x)[0] = -elements<Data>(t.x)[0];
  }
};

struct OverrunByOne {
  template <class Data>
  static void after(const np_problem& p, const np_tensors& t) {
    elements<Data>(t.mean)[p.shape[1]] = 0;
  }
};

struct UnderrunByOne {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    elements<Data>(t.y)[-1] = 0;
  }
};

struct WorkspaceOverrun {
  template <class Data>
  static void after(const np_problem& p, const np_tensors& t) {
    static_cast<Data*>(t.workspace)[Channels<Data>::arrays * p.shape[1]] = 0;
  }
};

struct FlushToZeroLeftOn {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#else
    std::fesetround(FE_UPWARD);
#endif
  }
};

struct OtherBitsEachTime {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    static std::atomic<int> calls{0};
    elements<Data>(t.y)[0] += static_cast<Data>(++calls);
  }
};

struct Throw {
  static void check(const np_problem&) {}
  static void describe(const np_problem&, np_capability&) {}
  template <class, class>
  static void run(const np_problem&, const np_tensors&) {
    throw 7;  // not an exception that the glue turns into a code
  }
};

/// Says nothing of its tensors' size and prints far more than a pipe holds.
struct PrintMegabytes {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    const std::string line(1000, 'x');
    for (int i = 0; i < 4000; ++i)
      std::puts(line.c_str());
  }
};

struct WrongStructSize : Correct {
  static void describe(const np_problem& p, np_capability& capability) {
    Correct::describe(p, capability);
    capability.struct_size = 4;
  }
};

struct Fails : Correct {
  template <class, class>
  static void run(const np_problem&, const np_tensors&) {
    std::fputs("a line on stderr\n", stderr);
    throw Refusal{NP_FAILED, "out of luck"};
  }
};

constexpr np_kernel table[] = {
    make_kernel<Then<Segfault>>("hostile.segfault", "writes through a null pointer", ""),
    make_kernel<Then<Abort>>("hostile.abort", "calls abort()", ""),
    make_kernel<Then<ExitZero>>("hostile.exit_zero", "calls exit(0)", ""),
    make_kernel<Then<EndlessLoop>>("hostile.endless_loop", "never returns", ""),
    make_kernel<UnwrittenOutput>("hostile.unwritten_output", "leaves the last element of y as it was", ""),
    make_kernel<Then<ChangedInput>>("hostile.changed_input", "negates the first element of x", ""),
    make_kernel<Then<OverrunByOne>>("hostile.overrun", "writes one element past the end of mean", ""),
    make_kernel<Then<UnderrunByOne>>("hostile.underrun", "writes one element before the start of y", ""),
    make_kernel<Then<WorkspaceOverrun>>("hostile.workspace_overrun", "writes past the end of its workspace",
                                        ""),
    make_kernel<Then<FlushToZeroLeftOn>>("hostile.flush_to_zero", "leaves FTZ and DAZ on", ""),
    make_kernel<Then<OtherBitsEachTime>>("hostile.other_bits", "gives other bits on every call", ""),
    make_kernel<Throw>("hostile.throws", "lets an exception cross the interface", ""),
    make_kernel<Then<PrintMegabytes>>("hostile.prints", "prints four megabytes", ""),
    make_kernel<WrongStructSize>("hostile.struct_size", "answers query with another struct_size", ""),
    make_kernel<Fails>("hostile.fails", "prints a line and fails", ""),
};

constexpr auto pointers = [] {
  std::array<const np_kernel*, std::size(table)> all{};
  for (std::size_t k = 0; k < std::size(table); ++k)
    all[k] = &table[k];
  return all;
}();

constexpr np_library library{.struct_size = sizeof(np_library),
                             .abi_major_minimum = 1,
                             .name = "normproof hostile",
                             .version = "1",
                             .kernel_count = static_cast<int32_t>(pointers.size()),
                             .kernels = pointers.data()};

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
