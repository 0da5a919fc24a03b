// A CUDA driver without a device: the entry points that the worker uses, over host memory, as strict as the
// real one is known to be. Built as libcuda.so.1 in a folder of its own, which LD_LIBRARY_PATH puts first for
// the workers of a test. Its "device" pointers are host pointers, so that a test kernel needs no GPU code.
//
// What is refused: any call before cuInit or in another process than cuInit's (a context does not survive a
// fork), work without a current context, copies that leave an allocation, and everything after an error that
// was made to stick. FAKE_CUDA, a list of words, says what is broken: no_device, init=NUMBER, memory=BYTES
// (all that there is), no_stream.
#include "fake_cuda.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include "src/cuda_driver.h"

namespace {

using namespace normproof::impls;
using Result = CuResult;
enum : Result {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_context = 201,
  illegal_address = 700,
  misaligned_address = 716,
  unknown_error = 999
};

struct Name {
  const char* name;
  const char* text;
};
const std::map<Result, Name>& names() {
  static const std::map<Result, Name> all{
      {invalid_value, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}},
      {out_of_memory, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
      {not_initialized, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}},
      {no_device, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
      {invalid_device, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}},
      {invalid_context, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}},
      {illegal_address, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}},
      {misaligned_address, {"CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"}}};
  return all;
}

/// The value of a word of FAKE_CUDA ("" for one without), or `absent`.
std::string setting(const std::string& word, const std::string& absent) {
  const char* const text = std::getenv("FAKE_CUDA");
  std::string rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const std::string one = rest.substr(0, rest.find(' '));
    rest.erase(0, one.size() + 1);
    if (one == word)
      return "";
    if (one.starts_with(word + "="))
      return one.substr(word.size() + 1);
  }
  return absent;
}
bool is_set(const std::string& word) {
  return setting(word, "-") != "-";
}

// The state of the one device. Streams run at once, but for what a kernel says runs later.
pid_t owner = 0;
bool retained = false;
thread_local CuContext current = nullptr;
char tags[2];  // addresses that are nobody else's
const CuContext the_context = reinterpret_cast<CuContext>(&tags[0]);
const CuStream the_stream = reinterpret_cast<CuStream>(&tags[1]);
Result stuck = success;
std::map<std::uintptr_t, std::size_t> allocations;
std::size_t allocated = 0;
std::vector<std::function<void()>> later;

Result ready() {
  return owner == getpid() ? stuck : not_initialized;
}
Result in_context() {
  if (const Result r = ready(); r != success)
    return r;
  return current == the_context && retained ? success : invalid_context;
}
bool is_allocated(std::uint64_t at, std::size_t bytes) {
  auto after = allocations.upper_bound(at);
  if (after == allocations.begin())
    return false;
  const auto [begin, size] = *std::prev(after);
  return at - begin <= size && bytes <= size - (at - begin);
}
void run_the_rest() {
  for (const auto& work : std::exchange(later, {}))
    work();
}

}  // namespace

extern "C" {

NP_FAKE Result cuInit(unsigned flags) {
  if (const std::string code = setting("init", ""); !code.empty())
    return std::stoi(code);
  owner = getpid();
  return flags == 0 ? is_set("no_device") ? no_device : success : invalid_value;
}
NP_FAKE Result cuGetErrorName(Result result, const char** text) {
  const auto found = names().find(result);
  *text = found == names().end() ? nullptr : found->second.name;
  return found == names().end() ? invalid_value : success;
}
NP_FAKE Result cuGetErrorString(Result result, const char** text) {
  const auto found = names().find(result);
  *text = found == names().end() ? nullptr : found->second.text;
  return found == names().end() ? invalid_value : success;
}
NP_FAKE Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return success;
}
NP_FAKE Result cuDeviceGetCount(int* count) {
  *count = is_set("empty") ? 0 : 1;
  return ready();
}
NP_FAKE Result cuDeviceGet(CuDevice* device, int ordinal) {
  *device = 0;
  return ordinal == 0 ? ready() : invalid_device;
}
NP_FAKE Result cuDeviceGetName(char* text, int size, CuDevice) {
  std::strncpy(text, "a device that is none", static_cast<std::size_t>(size));
  return ready();
}
NP_FAKE Result cuDevicePrimaryCtxRetain(CuContext* context, CuDevice) {
  retained = true;
  *context = the_context;
  return ready();
}
NP_FAKE Result cuCtxSetCurrent(CuContext context) {
  if (const Result r = ready(); r != success)
    return r;
  current = context;
  return success;
}
NP_FAKE Result cuCtxSynchronize() {
  if (const Result r = in_context(); r != success)
    return r;
  run_the_rest();
  return stuck;
}
NP_FAKE Result cuStreamCreate(CuStream* stream, unsigned) {
  *stream = the_stream;
  return is_set("no_stream") ? out_of_memory : in_context();
}
NP_FAKE Result cuStreamSynchronize(CuStream stream) {
  return stream == the_stream ? in_context() : invalid_value;
}
NP_FAKE Result cuMemAlloc_v2(CuPointer* address, std::size_t bytes) {
  if (const Result r = in_context(); r != success)
    return r;
  if (bytes == 0)
    return invalid_value;
  const std::size_t limit = std::stoull(setting("memory", std::to_string(std::size_t{1} << 34)));
  if (bytes > limit || allocated > limit - bytes)
    return out_of_memory;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr)
    return out_of_memory;
  std::memset(memory, 0xD5, bytes);  // device memory has something in it, and not zeros
  *address = reinterpret_cast<std::uintptr_t>(memory);
  allocations[*address] = bytes;
  allocated += bytes;
  return success;
}
NP_FAKE Result cuMemFree_v2(CuPointer address) {
  if (const Result r = in_context(); r != success)
    return r;
  const auto found = allocations.find(address);
  if (found == allocations.end())
    return invalid_value;
  allocated -= found->second;
  std::free(reinterpret_cast<void*>(found->first));
  allocations.erase(found);
  return success;
}
NP_FAKE Result cuMemcpyHtoDAsync_v2(CuPointer to, const void* from, std::size_t bytes, CuStream stream) {
  if (const Result r = in_context(); r != success)
    return r;
  if (stream != the_stream || !is_allocated(to, bytes))
    return invalid_value;
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return success;
}
NP_FAKE Result cuMemcpyDtoHAsync_v2(void* to, CuPointer from, std::size_t bytes, CuStream stream) {
  if (const Result r = in_context(); r != success)
    return r;
  if (stream != the_stream || !is_allocated(from, bytes))
    return invalid_value;
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return success;
}
NP_FAKE Result cuMemcpyDtoDAsync_v2(CuPointer to, CuPointer from, std::size_t bytes, CuStream stream) {
  if (const Result r = in_context(); r != success)
    return r;
  if (stream != the_stream || !is_allocated(to, bytes) || !is_allocated(from, bytes))
    return invalid_value;
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return success;
}
NP_FAKE Result cuMemsetD8Async(CuPointer to, unsigned char byte, std::size_t bytes, CuStream stream) {
  if (const Result r = in_context(); r != success)
    return r;
  if (stream != the_stream || !is_allocated(to, bytes))
    return invalid_value;
  std::memset(reinterpret_cast<void*>(to), byte, bytes);
  return success;
}

NP_FAKE void fake_cuda_stick(int result) {
  stuck = result;
}
NP_FAKE void fake_cuda_later(void (*work)(void*), void* argument) {
  later.emplace_back([work, argument] { work(argument); });
}
}

// The same signatures as the worker calls.
static_assert(
    std::is_same_v<decltype(&cuDevicePrimaryCtxRetain), decltype(CuEntryPoints::retain_primary_context)>);
static_assert(std::is_same_v<decltype(&cuCtxSetCurrent), decltype(CuEntryPoints::set_context)>);
static_assert(std::is_same_v<decltype(&cuStreamCreate), decltype(CuEntryPoints::create_stream)>);
static_assert(std::is_same_v<decltype(&cuStreamSynchronize), decltype(CuEntryPoints::synchronize_stream)>);
static_assert(std::is_same_v<decltype(&cuMemAlloc_v2), decltype(CuEntryPoints::allocate)>);
static_assert(std::is_same_v<decltype(&cuMemFree_v2), decltype(CuEntryPoints::free)>);
static_assert(std::is_same_v<decltype(&cuMemcpyHtoDAsync_v2), decltype(CuEntryPoints::copy_in)>);
static_assert(std::is_same_v<decltype(&cuMemcpyDtoHAsync_v2), decltype(CuEntryPoints::copy_out)>);
static_assert(std::is_same_v<decltype(&cuMemsetD8Async), decltype(CuEntryPoints::fill)>);
