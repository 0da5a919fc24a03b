// libcuda.so.1 by name: it comes with the kernel driver, not with the toolkit, and may be absent.
#include "cuda_driver.h"

#include <memory>
#include <string_view>

#include <dlfcn.h>
#include <fmt/format.h>

namespace normproof::impls {
namespace {

CuEntryPoints load() {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw NoDevice(fmt::format("no CUDA driver: {}", dlerror()));
  CuEntryPoints entry{};
  const auto take = [library]<class Function>(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr)
      throw NoDevice(fmt::format("the CUDA driver has no {}", name));
  };
  // The suffixes are the versions that cuda.h's macros choose since CUDA 4.
  take(entry.init, "cuInit");
  take(entry.error_name, "cuGetErrorName");
  take(entry.error_string, "cuGetErrorString");
  take(entry.driver_version, "cuDriverGetVersion");
  take(entry.device_count, "cuDeviceGetCount");
  take(entry.device_get, "cuDeviceGet");
  take(entry.device_name, "cuDeviceGetName");
  take(entry.retain_primary_context, "cuDevicePrimaryCtxRetain");
  take(entry.set_context, "cuCtxSetCurrent");
  take(entry.synchronize_context, "cuCtxSynchronize");
  take(entry.create_stream, "cuStreamCreate");
  take(entry.synchronize_stream, "cuStreamSynchronize");
  take(entry.allocate, "cuMemAlloc_v2");
  take(entry.free, "cuMemFree_v2");
  take(entry.copy_in, "cuMemcpyHtoDAsync_v2");
  take(entry.copy_out, "cuMemcpyDtoHAsync_v2");
  take(entry.fill, "cuMemsetD8Async");
  return entry;
}

}  // namespace

Cuda::Cuda() : entry_(load()) {
  try {
    check(entry_.init(0), "cuInit");
    int devices = 0;
    check(entry_.device_count(&devices), "cuDeviceGetCount");
    if (devices == 0)
      throw NoDevice("the CUDA driver sees no device");
    CuDevice device = 0;
    check(entry_.device_get(&device, 0), "cuDeviceGet");
    check(entry_.retain_primary_context(&context_, device), "cuDevicePrimaryCtxRetain");
    enter();
    // Does not wait for the default stream, nor that for it: work that a kernel leaves on another stream than
    // its own is not there when this one is synchronised.
    check(entry_.create_stream(&stream_, cu_stream_non_blocking), "cuStreamCreate");
  } catch (const DriverError& error) {
    throw NoDevice(error.what());
  }
}

void Cuda::enter() const {
  check(entry_.set_context(context_), "cuCtxSetCurrent");
}

void Cuda::check(CuResult result, const char* what) const {
  if (result == 0)
    return;
  const char* name = nullptr;
  const char* text = nullptr;
  const bool known = entry_.error_name(result, &name) == 0 && entry_.error_string(result, &text) == 0;
  throw DriverError(known && name != nullptr && text != nullptr
                        ? fmt::format("{}: {} ({}), {}", what, name, result, text)
                        : fmt::format("{}: CUDA error {}", what, result),
                    result);
}

const Cuda& cuda() {
  static std::string reason;
  static const std::unique_ptr<const Cuda> one = [] {
    try {
      return std::unique_ptr<const Cuda>(new Cuda);
    } catch (const NoDevice& none) {
      reason = none.what();
      return std::unique_ptr<const Cuda>();
    }
  }();
  if (!one)
    throw NoDevice(reason);
  return *one;
}

}  // namespace normproof::impls
