// The glue between a kernel written in C++ and the C interface: state, dtype dispatch, refusals and
// exceptions turned into codes with text. A kernel is a type with
//   static void check(const np_problem&);                    throws Refusal
//   static void describe(const np_problem&, np_capability&);
//   template <class Data, class Stat> static void run(const np_problem&, const np_tensors&);
// Data is the type of activations and their gradients, Stat that of all that is per channel.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <string_view>

#include "cpu/geometry.h"
#include "cpu/half.h"

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
inline bool is_bfloat(np_dtype dtype) {
  return dtype.code == 4 && dtype.bits == 16 && dtype.lanes == 1;
}
inline bool is_half(np_dtype dtype) {
  return is_float(dtype, 16) || is_bfloat(dtype);
}
inline bool is_same(np_dtype a, np_dtype b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

/// A type as a value, for calls that choose one.
template <class T>
struct Type {
  using type = T;
};

/// use(Type<Data>, Type<Stat>) for the pairs of formats that are a problem at all (spec/bounds/formats.md).
template <class Use>
void with_formats(const np_problem& p, Use&& use) {
  const bool uniform = is_same(p.data_dtype, p.stats_dtype);
  const bool mixed = is_float(p.stats_dtype, 32);
  if (is_float(p.data_dtype, 64) && uniform)
    use(Type<double>{}, Type<double>{});
  else if (is_float(p.data_dtype, 32) && uniform)
    use(Type<float>{}, Type<float>{});
  else if (is_float(p.data_dtype, 16) && mixed)
    use(Type<F16>{}, Type<float>{});
  else if (is_float(p.data_dtype, 16) && uniform)
    use(Type<F16>{}, Type<F16>{});
  else if (is_bfloat(p.data_dtype) && mixed)
    use(Type<BF16>{}, Type<float>{});
  else if (is_bfloat(p.data_dtype) && uniform)
    use(Type<BF16>{}, Type<BF16>{});
  else
    throw Refusal{NP_REJECTED, "statistics have the format of the data, or f32 where the data have 16 bits"};
}

/// What every kernel refuses; `device_type` is where its tensors live.
inline void check_common(const np_problem& p, std::initializer_list<np_pass> passes, int device_type = 1) {
  if (std::find(passes.begin(), passes.end(), p.pass) == passes.end())
    throw Refusal{NP_UNSUPPORTED, "not this kernel's pass"};
  if (p.device.type != device_type)
    throw Refusal{NP_NO_DEVICE, device_type == 1 ? "a CPU kernel" : "a kernel for CUDA devices"};
  with_formats(p, [](auto, auto) {});
  if (p.ndim < 2 || p.ndim > NP_MAX_RANK)
    throw Refusal{NP_REJECTED, "a tensor has a batch and a channel axis, and 8 axes at most"};
  if (p.in_place != 0)
    throw Refusal{NP_UNSUPPORTED, "not in place"};
  if (std::isnan(p.eps.value) || p.eps.value < 0)
    throw Refusal{NP_REJECTED, "eps must not be negative"};
  if (p.eps.value == 0 && p.zero_eps == NP_ZERO_EPS_REJECTED)
    throw Refusal{NP_REJECTED, "eps must be positive"};
}

/// The first element of an activation, or nullptr.
template <class T>
T* elements(const np_tensor* tensor) {
  return tensor == nullptr
             ? nullptr
             : reinterpret_cast<T*>(static_cast<std::byte*>(tensor->data) + tensor->byte_offset);
}

/// One value per channel, as far apart as the tensor says.
template <class T>
struct PerChannel {
  T* first;
  std::int64_t step;

  explicit operator bool() const { return first != nullptr; }
  T& operator[](std::int64_t channel) const { return first[channel * step]; }
};

template <class T>
PerChannel<T> channels_of(const np_tensor* tensor) {
  return {elements<T>(tensor), tensor == nullptr ? 0 : tensor->strides[0]};
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
      *state = new np_problem{*problem};
    });
  }

  static std::int32_t run(void* state, const np_tensors* tensors, void*, np_message message) {
    return guarded(message, [&] {
      const np_problem& problem = *static_cast<const np_problem*>(state);
      with_formats(problem, [&]<class Data, class Stat>(Type<Data>, Type<Stat>) {
        Kernel::template run<Data, Stat>(problem, *tensors);
      });
    });
  }

  static void destroy(void* state) { delete static_cast<np_problem*>(state); }
};

/// `Enter` has the four functions of the interface; `device_type` is where the kernel's tensors live.
template <class Kernel, class Enter = Entry<Kernel>>
constexpr np_kernel make_kernel(const char* name, const char* summary, const char* worst_known,
                                std::int32_t device_type = 1) {
  return {.struct_size = sizeof(np_kernel),
          .device_type = device_type,
          .name = name,
          .summary = summary,
          .worst_known = worst_known,
          .query = &Enter::query,
          .create = &Enter::create,
          .run = &Enter::run,
          .destroy = &Enter::destroy};
}

}  // namespace normproof::impls::cpu
