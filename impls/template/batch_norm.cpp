// A complete kernel in C++, to be copied: forward inference of f32 and f64 tensors [batch, channel,
// space...]. First the kernel as it would stand in any library, then the glue that puts it on trial.
#include <cmath>
#include <cstdint>

/// y = (x - mean) gamma / sqrt(var + eps) + beta, in the type of the tensors. gamma and beta may be null
/// together.
template <class T>
void batch_norm_inference(const T* x, const T* gamma, const T* beta, const T* mean, const T* var, T* y,
                          std::int64_t batch, std::int64_t channels, std::int64_t plane, T eps) {
  for (std::int64_t b = 0; b < batch; ++b)
    for (std::int64_t c = 0; c < channels; ++c) {
      const T invstd = T{1} / std::sqrt(var[c] + eps);
      const T scale = gamma != nullptr ? gamma[c] : T{1};
      const T offset = beta != nullptr ? beta[c] : T{0};
      for (std::int64_t s = 0; s < plane; ++s) {
        const std::int64_t at = (b * channels + c) * plane + s;
        y[at] = (x[at] - mean[c]) * invstd * scale + offset;
      }
    }
}

// glue
#include "normproof/simple.h"

template <class T>
std::int32_t run(const np_simple_call* a) {
  const auto in = [](const void* p) {
    return static_cast<const T*>(p);
  };
  batch_norm_inference<T>(in(a->x), in(a->gamma), in(a->beta), in(a->running_mean), in(a->running_var),
                          static_cast<T*>(a->y), a->batch, a->channels, a->plane, static_cast<T>(a->eps));
  return NP_OK;
}
template <class T>
constexpr np_simple table(const char* name, np_dtype dtype) {
  return {.name = name, .pass = NP_FORWARD_INFERENCE, .dtype = dtype, .outputs = NP_OUT_Y, .run = run<T>};
}
constexpr np_simple f32_table = table<float>("template.cpp_f32", NP_F32);
constexpr np_simple f64_table = table<double>("template.cpp_f64", NP_F64);
NP_SIMPLE_KERNEL(f32_kernel, f32_table)
NP_SIMPLE_KERNEL(f64_kernel, f64_table)
NP_LIBRARY("template in C++", "1", f32_kernel(), f64_kernel())
