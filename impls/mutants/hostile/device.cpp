// Kernels of device type 2 that misbehave, for the fake driver of impls/tests, under which device memory is
// host memory: the correct CPU kernel of the pass, told that its tensors lie on a device, and one deed. The
// touching kernels are those of the host (touch.cpp); the other deeds exist on devices alone.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include "cpu/tables.h"
#include "mutants/hostile/deeds.h"
#include "src/cuda_driver.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace normproof::impls::cpu {
Table touching_kernels();
}  // namespace normproof::impls::cpu

namespace {

using namespace normproof::impls::cpu;

constexpr np_device cuda_device{2, 0};

template <class Function>
Function* driver(const char* name) {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  void* const symbol = library == nullptr ? nullptr : dlsym(library, name);
  if (symbol == nullptr)
    throw Refusal{NP_FAILED, std::string("this is not the fake driver: it has no ") + name};
  return reinterpret_cast<Function*>(symbol);
}

np_problem on_host(const np_problem& p) {
  if (p.device.type != cuda_device.type)
    throw Refusal{NP_FAILED, "the problem is not said to be on the device"};
  np_problem copy = p;
  copy.device = {1, 0};
  return copy;
}

/// All tensors must say where they are.
void expect_on_device(const np_tensors& t) {
  for (const np_tensor* tensor :
       {t.x, t.gamma, t.beta, static_cast<const np_tensor*>(t.y), t.dy, t.saved_mean})
    if (tensor != nullptr && tensor->device.type != cuda_device.type)
      throw Refusal{NP_FAILED, "a tensor is not said to be on the device"};
}

/// The touching kernel of that number, with the problem turned to the host's.
template <std::size_t which>
struct Moved {
  static const np_kernel& kernel() { return touching_kernels()[which]; }
  static std::int32_t query(const np_problem* p, np_capability* c, np_message m) {
    const np_problem host = on_host(*p);
    return kernel().query(&host, c, m);
  }
  static std::int32_t create(const np_problem* p, void** state, np_message m) {
    const np_problem host = on_host(*p);
    return kernel().create(&host, state, m);
  }
  static std::int32_t run(void* state, const np_tensors* t, void* stream, np_message m) {
    return kernel().run(state, t, stream, m);
  }
  static np_kernel entry() {
    static std::deque<std::string> names;
    np_kernel moved = kernel();
    moved.device_type = cuda_device.type;
    moved.name =
        names.emplace_back("device." + std::string(moved.name).substr(sizeof("hostile.") - 1)).c_str();
    moved.query = query;
    moved.create = create;
    moved.run = run;
    return moved;
  }
};

/// Correct, and then Deed::after<Data>(problem, tensors, stream).
template <class Deed>
struct DeviceEntry {
  static std::int32_t query(const np_problem* p, np_capability* c, np_message m) {
    return guarded(m, [&] {
      Correct::check(on_host(*p));
      Correct::describe(on_host(*p), *c);
      c->workspace_bytes += 100;  // some of its own, behind what the correct kernel uses
    });
  }
  static std::int32_t create(const np_problem* p, void** state, np_message m) {
    return guarded(m, [&] { *state = new np_problem(on_host(*p)); });
  }
  static std::int32_t run(void* state, const np_tensors* t, void* stream, np_message m) {
    return guarded(m, [&] {
      const np_problem& p = *static_cast<const np_problem*>(state);
      expect_on_device(*t);
      if (stream == nullptr)
        throw Refusal{NP_FAILED, "no stream"};
      with_formats(p, [&]<class Data, class Stat>(Type<Data>, Type<Stat>) {
        Correct::run<Data, Stat>(p, *t);
        if constexpr (std::is_floating_point_v<Data>)
          Deed::template after<Data>(p, *t);
      });
    });
  }
  static void destroy(void* state) { delete static_cast<np_problem*>(state); }
};

struct Nothing {
  template <class>
  static void after(const np_problem&, const np_tensors&) {}
};

/// Reads nothing of the host, writes nothing of its own: y's first element has the bits of before.
struct Unwritten {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    constexpr std::uint64_t poison = sizeof(Data) == 8 ? 0x7FFC'5EED'0BAD'DA7A : 0x7FED'DA7A;
    std::memcpy(elements<Data>(t.y), &poison, sizeof(Data));
  }
};

struct ChangedInput {
  template <class Data>
  static void after(const np_problem&, const np_tensors& t) {
    elements<Data>(t.x)[0] = -elements<Data>(t.x)[0];
  }
};

/// Negates y on another stream, which nobody waits for before the result is taken.
struct OtherStream {
  template <class Data>
  static void after(const np_problem& p, const np_tensors& t) {
    struct Work {
      std::vector<Data> result;
      Data* y;
    };
    Data* const y = elements<Data>(t.y);
    auto* const work = new Work{{y, y + element_count(p)}, y};
    Unwritten::after<Data>(p, t);
    driver<void(void (*)(void*), void*)>("fake_cuda_later")(
        [](void* argument) {
          const auto* const w = static_cast<Work*>(argument);
          std::copy(w->result.begin(), w->result.end(), w->y);
          delete w;
        },
        work);
  }
};

/// An access of a kernel that was launched: it is reported by whoever synchronises first.
struct IllegalAddress {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    driver<void(int)>("fake_cuda_stick")(700);
  }
};

/// The same, in work on a stream that nobody waits for.
struct LateIllegalAddress {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    driver<void(void (*)(void*), void*)>("fake_cuda_later")(
        [](void*) { driver<void(int)>("fake_cuda_stick")(700); }, nullptr);
  }
};

/// Notices that its launch failed, and says so; the driver has more to say.
struct Says {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    driver<void(int)>("fake_cuda_stick")(700);
    throw Refusal{NP_FAILED, "the launch failed"};
  }
};

/// Loads 16 bytes at a time from wherever x begins.
struct VectorLoads {
  template <class>
  static void after(const np_problem&, const np_tensors& t) {
    if (reinterpret_cast<std::uintptr_t>(elements<std::byte>(t.x)) % 16 != 0)
      driver<void(int)>("fake_cuda_stick")(716);
  }
};

struct NoContextLeft {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    driver<int(normproof::impls::CuContext)>("cuCtxSetCurrent")(nullptr);
  }
};

struct HostSegfault {
  template <class>
  static void after(const np_problem&, const np_tensors&) {
    *static_cast<volatile int*>(nullptr) = 1;
  }
};

/// Says in its message whether its workspace was handed over with what was asked of the memory's bytes.
struct TellsWorkspace {
  template <class>
  static void after(const np_problem& p, const np_tensors& t) {
    np_capability capability{};
    Correct::describe(p, capability);
    const auto last = static_cast<const unsigned char*>(t.workspace)[capability.workspace_bytes + 99];
    throw Refusal{NP_FAILED, "workspace byte " + std::to_string(last)};
  }
};

template <class Deed>
constexpr np_kernel on_device(const char* name, const char* summary) {
  return {.struct_size = sizeof(np_kernel),
          .device_type = cuda_device.type,
          .name = name,
          .summary = summary,
          .worst_known = "",
          .query = &DeviceEntry<Deed>::query,
          .create = &DeviceEntry<Deed>::create,
          .run = &DeviceEntry<Deed>::run,
          .destroy = &DeviceEntry<Deed>::destroy};
}

constexpr np_kernel table[] = {
    on_device<Nothing>("device.correct", "does nothing wrong"),
    on_device<Unwritten>("device.unwritten_output", "leaves the first element of y as it was"),
    on_device<ChangedInput>("device.changed_input", "negates the first element of x"),
    on_device<OtherStream>("device.other_stream", "finishes y on a stream of its own"),
    on_device<IllegalAddress>("device.illegal_address", "its work ends in an illegal access"),
    on_device<LateIllegalAddress>("device.late_illegal_address", "the same on a stream of its own"),
    on_device<Says>("device.says", "fails and says so, over an illegal access"),
    on_device<VectorLoads>("device.vector_loads", "takes x to be aligned to 16 bytes"),
    on_device<NoContextLeft>("device.no_context_left", "leaves its thread without a context"),
    on_device<HostSegfault>("device.host_segfault", "writes through a null pointer on the host"),
    on_device<TellsWorkspace>("device.tells_workspace", "says what was in its workspace"),
};

template <std::size_t... which>
std::vector<np_kernel> moved(std::index_sequence<which...>) {
  return {Moved<which>::entry()...};
}

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  static const std::vector<np_kernel> touching = moved(std::make_index_sequence<4 * 24>{});
  static const std::vector<const np_kernel*> kernels = joined({table, touching});
  return library_of(kernels, "normproof hostile on a device", host_abi_major);
}
