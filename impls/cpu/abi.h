// The glue between a kernel written in C++ and the C interface: state, dtype dispatch, refusals and
// exceptions turned into codes with text. A kernel is a type with
//   static constexpr int pass;
//   static void check(const np_problem&);                    throws Refusal
//   static void describe(const np_problem&, np_capability&);
//   template <class Data> static void run(const np_problem&, const np_tensors&);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "cpu/geometry.h"

namespace normproof::impls::cpu {

inline void tell(np_message message, std::string_view text) {
  if (message.text == nullptr || message.size == 0)
    return;
  const std::size_t length = std::min(text.size(), message.size - 1);
  std::memcpy(message.text, text.data(), length);
  message.text[length] = '\0';
}

/// Runs `body`; what it throws becomes a status.
template <class Body>
std::int32_t guarded(np_message message, Body&& body) {
  try {
    body();
    return NP_OK;
  } catch (const Refusal& refusal) {
    tell(message, refusal.reason);
    return refusal.status;
  } catch (const std::exception& error) {
    tell(message, error.what());
    return NP_FAILED;
  }
}

inline bool is_float(np_dtype dtype, int bits) {
  return dtype.code == 2 && dtype.bits == bits && dtype.lanes == 1;
}

/// What every CPU kernel refuses.
inline void check_common(const np_problem& p, int pass) {
  if (p.pass != pass)
    throw Refusal{NP_UNSUPPORTED, "not this kernel's pass"};
  if (p.device.type != 1)
    throw Refusal{NP_NO_DEVICE, "a CPU kernel"};
  const bool single = is_float(p.data_dtype, 32) && is_float(p.stats_dtype, 32);
  const bool twice = is_float(p.data_dtype, 64) && is_float(p.stats_dtype, 64);
  if (!single && !twice)
    throw Refusal{NP_UNSUPPORTED, "only f32 with f32 statistics and f64 with f64 statistics"};
  if (p.ndim < 2 || p.ndim > NP_MAX_RANK)
    throw Refusal{NP_REJECTED, "a tensor has a batch and a channel axis, and 8 axes at most"};
  if (p.in_place != 0)
    throw Refusal{NP_UNSUPPORTED, "not in place"};
  if (!std::equal(p.x_strides, p.x_strides + p.ndim, p.y_strides))
    throw Refusal{NP_UNSUPPORTED, "x and y must have the same layout"};
  if (std::isnan(p.eps.value) || p.eps.value < 0)
    throw Refusal{NP_REJECTED, "eps must not be negative"};
  if (p.eps.value == 0 && p.zero_eps == NP_ZERO_EPS_REJECTED)
    throw Refusal{NP_REJECTED, "eps must be positive"};
  geometry_of(p, p.x_strides);
}

template <class T>
T* elements(const np_tensor* tensor) {
  return tensor == nullptr
             ? nullptr
             : reinterpret_cast<T*>(static_cast<std::byte*>(tensor->data) + tensor->byte_offset);
}

template <class Kernel>
struct Entry {
  static std::int32_t query(const np_problem* problem, np_capability* capability, np_message message) {
    return guarded(message, [&] {
      Kernel::check(*problem);
      Kernel::describe(*problem, *capability);
    });
  }

  static std::int32_t create(const np_problem* problem, void** state, np_message message) {
    return guarded(message, [&] {
      Kernel::check(*problem);
      *state = new np_problem(*problem);
    });
  }

  static std::int32_t run(void* state, const np_tensors* tensors, void*, np_message message) {
    return guarded(message, [&] {
      const np_problem& problem = *static_cast<const np_problem*>(state);
      if (problem.data_dtype.bits == 64)
        Kernel::template run<double>(problem, *tensors);
      else
        Kernel::template run<float>(problem, *tensors);
    });
  }

  static void destroy(void* state) { delete static_cast<np_problem*>(state); }
};

template <class Kernel>
constexpr np_kernel make_kernel(const char* name, const char* summary, const char* worst_known) {
  return {.struct_size = sizeof(np_kernel),
          .device_type = 1,
          .name = name,
          .summary = summary,
          .worst_known = worst_known,
          .query = &Entry<Kernel>::query,
          .create = &Entry<Kernel>::create,
          .run = &Entry<Kernel>::run,
          .destroy = &Entry<Kernel>::destroy};
}

}  // namespace normproof::impls::cpu
