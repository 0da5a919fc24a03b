// The CUDA driver as far as the worker needs it: memory, copies, one stream, and words for errors. Found with
// dlopen when the first kernel of a device asks for it, so that nothing here is built or linked with CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace normproof::impls {

// As in CUDA's cuda.h, which this stands in for: results, handles and the entry points' signatures.
using CuResult = int;
using CuDevice = int;
using CuContext = struct CuContextState*;
using CuStream = struct CuStreamState*;
using CuPointer = std::uint64_t;

inline constexpr CuResult cu_out_of_memory = 2;
inline constexpr unsigned cu_stream_non_blocking = 1;

struct CuEntryPoints {
  CuResult (*init)(unsigned flags);
  CuResult (*error_name)(CuResult, const char** text);
  CuResult (*error_string)(CuResult, const char** text);
  CuResult (*driver_version)(int* version);  ///< 1000 major + 10 minor
  CuResult (*device_count)(int* count);
  CuResult (*device_get)(CuDevice*, int ordinal);
  CuResult (*device_name)(char* text, int size, CuDevice);
  CuResult (*retain_primary_context)(CuContext*, CuDevice);
  CuResult (*set_context)(CuContext);
  CuResult (*synchronize_context)();
  CuResult (*create_stream)(CuStream*, unsigned flags);
  CuResult (*synchronize_stream)(CuStream);
  CuResult (*allocate)(CuPointer*, std::size_t bytes);
  CuResult (*free)(CuPointer);
  CuResult (*copy_in)(CuPointer to, const void* from, std::size_t bytes, CuStream);
  CuResult (*copy_out)(void* to, CuPointer from, std::size_t bytes, CuStream);
  CuResult (*fill)(CuPointer, unsigned char, std::size_t bytes, CuStream);
};

/// There is no driver or no device to be had: nothing about a kernel.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A call that the driver refused, in its words. Whether the context lives on is for the caller to find out.
struct DriverError : std::runtime_error {
  DriverError(const std::string& text, CuResult result) : std::runtime_error(text), code(result) {}
  CuResult code;
};

/// The first visible device, its primary context (which the CUDA runtime and frameworks share) and a stream
/// of our own. One per process, made by the first call of cuda(), never before a fork and never unmade:
/// another library's threads may still use the context at exit. One thread at a time.
class Cuda {
public:
  const CuEntryPoints& entry() const { return entry_; }
  CuStream stream() const { return stream_; }
  /// Makes the primary context the calling thread's, whatever a kernel left there.
  void enter() const;
  /// Throws DriverError "what: CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered".
  void check(CuResult result, const char* what) const;

private:
  friend const Cuda& cuda();
  Cuda();

  CuEntryPoints entry_{};
  CuContext context_ = nullptr;
  CuStream stream_ = nullptr;
};

/// Throws NoDevice with the driver's own reason; the reason is kept, and is the same the next time.
const Cuda& cuda();

}  // namespace normproof::impls
