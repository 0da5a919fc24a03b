// Kernels that misbehave rather than miscalculate: each takes the right answer of a correct kernel and does
// one thing that the interface forbids. The worker must turn each into its status and go on.
#include <atomic>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cpu/tables.h"
#include "mutants/hostile/deeds.h"

namespace normproof::impls::cpu {
Table touching_kernels();
}  // namespace normproof::impls::cpu

namespace {

using namespace normproof::impls::cpu;
using namespace std::chrono_literals;

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
struct UnwrittenOutput : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Data& last = elements<Data>(t.y)[element_count(p) - 1];
    const Data before = last;
    Forward::run<Data, Stat>(p, t);
    last = before;
  }
};

struct ChangedInput {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    elements<Data>(t.x)[0] = -elements<Data>(t.x)[0];
  }
};

/// Uses an input as scratch memory and puts its bits back.
struct InputPutBack {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    volatile Data* const first = elements<Data>(t.x);
    const Data before = *first;
    *first = 0;
    *first = before;
  }
};

struct RoundingLeftUp {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    std::fesetround(FE_UPWARD);
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

/// A sum that is not set back: every call adds what all earlier ones had.
struct StateKept {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    static Data kept = 0;
    Data& first = elements<Data>(t.y)[0];
    kept += first;
    first = kept;
  }
};

/// y += where it should be y =.
struct Accumulates : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    if constexpr (std::is_floating_point_v<Data>) {
      const std::size_t count = element_count(p);
      Data* const y = elements<Data>(t.y);
      const std::vector<Data> before(y, y + count);
      Forward::run<Data, Stat>(p, t);
      for (std::size_t i = 0; i < count; ++i)
        y[i] = before[i] + y[i];
    }
  }
};

struct NaNEverywhere {
  template <class Data>
  static void after(const np_problem& p, const np_tensors& t) {
    std::fill_n(elements<Data>(t.y), element_count(p), std::numeric_limits<Data>::quiet_NaN());
  }
};

/// Welford's recurrence in f32, which says that it carries twice the digits of f64.
struct BoastfulClaims : Training<Welford, Affine::centred> {
  static void check(const np_problem& p) { Forward::check(p); }
  static void describe(const np_problem& p, np_capability& capability) {
    Training::describe(p, capability);
    capability.claims.accumulator_bits = 106;
    capability.claims.reduction_depth = 1;
  }
};

struct HugeWorkspace : Forward {
  static void describe(const np_problem& p, np_capability& capability) {
    Forward::describe(p, capability);
    capability.workspace_bytes = std::uint64_t{1} << 60;
  }
};

struct MemoryWithoutEnd {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    constexpr std::size_t chunk = std::size_t{16} << 20;
    for (;;) {
      void* volatile kept = std::malloc(chunk);  // a compiler may leave out memory that nobody looks at
      void* const more = kept;
      if (more == nullptr)
        std::this_thread::sleep_for(1ms);
      else
        std::memset(more, 1, chunk);
    }
  }
};

struct StackWithoutEnd {
  [[gnu::noinline]] static int deeper(volatile int* above) {
    volatile int here[256];
    here[0] = *above + 1;
    return here[0] < 0 ? 0 : deeper(here) + here[0];
  }
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    volatile int start = 0;
    deeper(&start);
  }
};

struct ClosedDescriptors {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    for (int descriptor = 0; descriptor < 256; ++descriptor)
      close(descriptor);
  }
};

struct Stopped {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    std::raise(SIGSTOP);
  }
};

struct ForkReturnsTwice {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    static_cast<void>(fork());
  }
};

/// A child that has left the process group and lives on.
struct ForkDaemon {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    if (fork() != 0)
      return;
    setsid();
    if (fork() == 0)
      for (;;)
        pause();
    _exit(0);
  }
};

struct ThreadWrites {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    std::thread([y = static_cast<volatile Data*>(elements<Data>(t.y))] {
      for (;;) {
        std::this_thread::sleep_for(1ms);
        y[0] = y[0] + 1;
      }
    }).detach();
  }
};

/// Harmless, as the workers of a thread pool are.
struct ThreadSleeps {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    static const bool once = [] {
      std::thread([] {
        for (;;)
          pause();
      }).detach();
      return true;
    }();
    static_cast<void>(once);
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

struct WrongStructSize : Forward {
  static void describe(const np_problem& p, np_capability& capability) {
    Forward::describe(p, capability);
    capability.struct_size = 4;
  }
};

struct Fails : Forward {
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
    make_kernel<Then<Stopped>>("hostile.stopped", "stops its process", ""),
    make_kernel<Then<MemoryWithoutEnd>>("hostile.memory", "takes memory without end", ""),
    make_kernel<Then<StackWithoutEnd>>("hostile.stack", "recurses without end", ""),
    make_kernel<Then<ClosedDescriptors>>("hostile.closed_descriptors", "closes all descriptors", ""),
    make_kernel<Then<ForkReturnsTwice>>("hostile.fork_returns_twice", "forks and returns in both", ""),
    make_kernel<Then<ForkDaemon>>("hostile.fork_daemon", "leaves a process behind", ""),
    make_kernel<Then<ThreadWrites>>("hostile.thread_writes", "leaves a thread that writes to y", ""),
    make_kernel<Then<ThreadSleeps>>("hostile.thread_sleeps", "leaves a thread that does nothing", ""),
    make_kernel<UnwrittenOutput>("hostile.unwritten_output", "leaves the last element of y as it was", ""),
    make_kernel<Accumulates>("hostile.accumulates", "adds to y what it should store", ""),
    make_kernel<Then<NaNEverywhere>>("hostile.nan_everywhere", "reports success and gives NaN", ""),
    make_kernel<Then<ChangedInput>>("hostile.changed_input", "negates the first element of x", ""),
    make_kernel<Then<InputPutBack>>("hostile.input_put_back", "writes to x and puts it back", ""),
    make_kernel<Then<FlushToZeroLeftOn>>("hostile.flush_to_zero", "leaves FTZ and DAZ on", ""),
    make_kernel<Then<RoundingLeftUp>>("hostile.rounding", "leaves the rounding mode upward", ""),
    make_kernel<Then<OtherBitsEachTime>>("hostile.other_bits", "gives other bits on every call", ""),
    make_kernel<Then<StateKept>>("hostile.state_kept", "gives an element of the call before", ""),
    make_kernel<BoastfulClaims>("hostile.claims", "claims more than it keeps", ""),
    make_kernel<Throw>("hostile.throws", "lets an exception cross the interface", ""),
    make_kernel<Then<PrintMegabytes>>("hostile.prints", "prints four megabytes", ""),
    make_kernel<WrongStructSize>("hostile.struct_size", "answers query with another struct_size", ""),
    make_kernel<HugeWorkspace>("hostile.huge_workspace", "asks for 2^60 bytes of workspace", ""),
    make_kernel<Fails>("hostile.fails", "prints a line and fails", ""),
};

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  static const std::vector<const np_kernel*> kernels = joined({table, touching_kernels()});
  return library_of(kernels, "normproof hostile", host_abi_major);
}
