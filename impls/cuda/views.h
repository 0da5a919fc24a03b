// Tensors as a kernel on a device sees them: raw pointers, strides by value, and 16 bytes of values that lie
// side by side.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/backward.h"
#include "cuda/rules.h"

namespace normproof::impls::cuda {

using cpu::BF16;
using cpu::F16;
using cpu::Geometry;

/// A result in the format of its tensor: one rounding.
template <class T, class Acc>
NP_DEVICE T stored(Acc value) {
  return static_cast<T>(value);
}

/// An activation. Empty where the tensor is absent.
template <class T>
struct Values {
  T* first = nullptr;
  Geometry g;

  template <class Rules = Sound>
  NP_DEVICE T& at(Index channel, Index i) const {
    return first[Rules::offset(g, channel, i)];
  }
};
template <class T>
Values<T> values_of(const np_tensor* tensor) {
  if (tensor == nullptr)
    return {};
  return {cpu::elements<T>(tensor), cpu::geometry_of(*tensor)};
}

/// One value per channel in a format that is known only when the kernel runs: there are few of them, and a
/// kernel for each pair of formats would cost the compiler more than the device.
struct PerChannel {
  enum class Stored : std::int32_t { f64, f32, f16, bf16 };

  void* first = nullptr;
  Index step = 0;
  Stored format = Stored::f32;

  NP_DEVICE explicit operator bool() const { return first != nullptr; }

  template <class Acc>
  NP_DEVICE Acc load(Index channel) const {
    switch (format) {
    case Stored::f64:
      return static_cast<Acc>(at<double>(channel));
    case Stored::f32:
      return static_cast<Acc>(at<float>(channel));
    case Stored::f16:
      return static_cast<Acc>(static_cast<float>(at<F16>(channel)));
    default:
      return static_cast<Acc>(static_cast<float>(at<BF16>(channel)));
    }
  }
  template <class Acc>
  NP_DEVICE Acc load_or(Index channel, Acc otherwise) const {
    return first != nullptr ? load<Acc>(channel) : otherwise;
  }
  template <class Acc>
  NP_DEVICE void store(Index channel, Acc value) const {
    switch (format) {
    case Stored::f64:
      at<double>(channel) = stored<double>(value);
      return;
    case Stored::f32:
      at<float>(channel) = stored<float>(value);
      return;
    case Stored::f16:
      at<F16>(channel) = stored<F16>(value);
      return;
    default:
      at<BF16>(channel) = stored<BF16>(value);
    }
  }
  /// `value` as it comes back from being stored.
  template <class Acc>
  NP_DEVICE Acc through(Acc value) const {
    switch (format) {
    case Stored::f64:
      return static_cast<Acc>(stored<double>(value));
    case Stored::f32:
      return static_cast<Acc>(stored<float>(value));
    case Stored::f16:
      return static_cast<Acc>(static_cast<float>(stored<F16>(value)));
    default:
      return static_cast<Acc>(static_cast<float>(stored<BF16>(value)));
    }
  }

private:
  template <class T>
  NP_DEVICE T& at(Index channel) const {
    return static_cast<T*>(first)[channel * step];
  }
};
/// Absent, but with the format of the statistics.
inline PerChannel absent(np_dtype dtype) {
  using enum PerChannel::Stored;
  return {.format = dtype.bits == 64 ? f64 : dtype.bits == 32 ? f32 : cpu::is_bfloat(dtype) ? bf16 : f16};
}
inline PerChannel per_channel(const np_tensor* tensor, np_dtype dtype) {
  PerChannel view = absent(dtype);
  if (tensor != nullptr) {
    view.first = static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
    view.step = tensor->strides[0];
  }
  return view;
}

// --- 16 bytes at a time ---

template <class T>
struct alignas(16) Pack {
  static constexpr Index size = 16 / static_cast<Index>(sizeof(T));
  T value[static_cast<std::size_t>(size)];
};

/// The elements begin .. end - 1 of a run: those that it has in one aligned stretch of 16 bytes.
struct Window {
  Index begin;
  Index end;
};
/// Windows that a run of `count` elements has at most, however it is aligned.
template <class T>
constexpr Index windows(Index count) {
  return (count + 2 * Pack<T>::size - 2) / Pack<T>::size;
}
/// The w-th; it may be empty.
template <class T, class Rules>
NP_DEVICE Window window(const T* run, Index count, Index w) {
  const auto address = reinterpret_cast<std::uintptr_t>(run);
  const Index before = Rules::misaligned(static_cast<Index>(address % 16 / sizeof(T)));
  const Index begin = w * Pack<T>::size - before;
  return {begin < 0 ? 0 : begin, smaller(begin + Pack<T>::size, count)};
}
template <class T>
NP_DEVICE bool is_aligned(const T* element) {
  return reinterpret_cast<std::uintptr_t>(element) % 16 == 0;
}

}  // namespace normproof::impls::cuda
