// How fast kernels of a device are beside a copy on it: the wall time of run() to the end of its stream, best
// of three after a warm-up, and the fewest bytes that the pass must move over that time.
//
// usage: device_bench LIBRARY...   on stdout a JSON object per line, for each kernel, pass, format and layout
// that it supports; exit status 4, with the driver's reason, where there is no device.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <fmt/format.h>

#include "cases.h"
#include "cuda_driver.h"
#include "device_tensors.h"

namespace normproof::impls {
namespace {

using Clock = std::chrono::steady_clock;

/// Bytes read and written per second by a copy within the device, of 512 MiB, best of five.
double copy_bandwidth(const Cuda& device) {
  using Copy = CuResult (*)(CuPointer to, CuPointer from, std::size_t bytes, CuStream);
  const auto copy =
      reinterpret_cast<Copy>(dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), "cuMemcpyDtoDAsync_v2"));
  if (copy == nullptr)
    return 0;
  constexpr std::size_t bytes = std::size_t{1} << 29;
  const DeviceBlock from(device, bytes);
  const DeviceBlock to(device, bytes);
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = Clock::now();
    device.check(copy(to.address(), from.address(), bytes, device.stream()), "cuMemcpyDtoD");
    device.check(device.entry().synchronize_stream(device.stream()), "cuStreamSynchronize");
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return 2.0 * static_cast<double>(bytes) / best;
}

/// Larger than a device's cache: 100 MB of f32.
const Shape large{128, 64, {56, 56}};

/// Tensors of the size of x that the pass reads or writes at least once.
int activations(Pass pass) {
  return is_forward(pass) ? 2 : 3;
}

/// The dialect in which the kernel does such a problem, tried on a small one; or nothing.
std::optional<std::string_view> dialect_of(Runner& runner, const KernelInfo& kernel, Case small) {
  for (const std::string_view dialect :
       {"documented", "pytorch/native_batch_norm", "pytorch/F.batch_norm", "cudnn"}) {
    small.problem.dialect = dialect;
    small.problem.semantics = dialect_named(dialect)->semantics;
    if (runner.run(kernel, small).outcome == Outcome::completed)
      return dialect;
  }
  return std::nullopt;
}

double seconds_of(Runner& runner, const KernelInfo& kernel, Case& c, std::string_view dialect) {
  c.problem.dialect = dialect;
  c.problem.semantics = dialect_named(dialect)->semantics;
  runner.run(kernel, c);
  double best = 1e9;
  for (int run = 0; run < 3; ++run)
    if (const Observation seen = runner.run(kernel, c); seen.outcome == Outcome::completed)
      best = std::min(best, seen.seconds);
  return best;
}

int measure(const std::vector<std::filesystem::path>& libraries) {
  double copy = 0;
  try {
    copy = copy_bandwidth(cuda());
  } catch (const NoDevice& none) {
    fmt::print(stderr, "device_bench: {}\n", none.what());
    return 4;
  }
  const Catalogue catalogue = discover(libraries);
  for (const LibraryError& error : catalogue.errors)
    fmt::print(stderr, "device_bench: {}: {}\n", error.library.string(), error.reason);
  Runner runner;
  fmt::print("{{\"kernel\": \"copy\", \"gigabytes_per_second\": {:.1f}}}\n", copy * 1e-9);
  std::fflush(stdout);
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference, Pass::backward_training})
    for (const Formats& formats : {Formats{f32, f32}, Formats{f16, f32}})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
        const Case small = exact_case(pass, {4, 4, {4, 4}}, formats, layout);
        std::optional<Case> c;
        for (const KernelInfo& kernel : catalogue.kernels) {
          const auto dialect = kernel.device_type == 2 ? dialect_of(runner, kernel, small) : std::nullopt;
          if (!dialect)
            continue;
          if (!c)
            c = exact_case(pass, large, formats, layout);
          const double seconds = seconds_of(runner, kernel, *c, *dialect);
          const double bytes = static_cast<double>(activations(pass) * large.elements() * formats.data.bytes);
          fmt::print("{{\"kernel\": \"{}\", \"pass\": \"{}\", \"dtype\": \"{}\", \"layout\": \"{}\", "
                     "\"shape\": \"{}\", \"milliseconds\": {:.4f}, \"gigabytes_per_second\": {:.1f}, "
                     "\"of_copy\": {:.3f}}}\n",
                     kernel.name, to_string(pass), formats.data.name, to_string(layout), to_string(large),
                     seconds * 1e3, bytes / seconds * 1e-9, bytes / seconds / copy);
          std::fflush(stdout);
        }
      }
  return catalogue.errors.empty() ? 0 : 3;
}

}  // namespace
}  // namespace normproof::impls

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: device_bench LIBRARY...\n");
    return 2;
  }
  return normproof::impls::measure({argv + 1, argv + argc});
}
