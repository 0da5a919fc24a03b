// A complete kernel in CUDA C++, to be copied: forward training of f32 tensors [batch, channel, space...] on
// the device. First the kernel as it would stand in any library, then the glue that puts it on trial.
#include <cstdint>

constexpr int block_threads = 256;

/// The sum over the block, for every thread of it.
__device__ double block_sum(double value) {
  __shared__ double parts[block_threads];
  __syncthreads();
  parts[threadIdx.x] = value;
  for (int half = block_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
      parts[threadIdx.x] += parts[threadIdx.x + half];
  }
  __syncthreads();
  return parts[0];
}

/// One block per channel: two passes, sums in double.
__global__ void batch_norm_train(const float* x, const float* gamma, const float* beta, float* running_mean,
                                 float* running_var, float* y, float* saved_mean, float* saved_invstd,
                                 std::int64_t n, std::int64_t plane, double eps, double weight,
                                 double divisor) {
  const std::int64_t c = blockIdx.x;
  const auto place = [=](std::int64_t i) {
    return (i / plane * gridDim.x + c) * plane + i % plane;
  };
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += block_threads)
    sum += x[place(i)];
  const double mean = block_sum(sum) / n;
  double squares = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += block_threads)
    squares += (x[place(i)] - mean) * (x[place(i)] - mean);
  squares = block_sum(squares);
  const double invstd = 1 / sqrt(squares / n + eps);
  const double scale = gamma != nullptr ? gamma[c] : 1;
  const double offset = beta != nullptr ? beta[c] : 0;
  for (std::int64_t i = threadIdx.x; i < n; i += block_threads)
    y[place(i)] = static_cast<float>((x[place(i)] - mean) * invstd * scale + offset);
  if (threadIdx.x != 0)
    return;
  saved_mean[c] = static_cast<float>(mean);
  saved_invstd[c] = static_cast<float>(invstd);
  if (running_mean != nullptr) {
    running_mean[c] = static_cast<float>((1 - weight) * running_mean[c] + weight * mean);
    running_var[c] = static_cast<float>((1 - weight) * running_var[c] + weight * (squares / divisor));
  }
}

// glue
#include "normproof/simple.h"

static float* at(const void* p) {
  return static_cast<float*>(const_cast<void*>(p));
}
static std::int32_t run(const np_simple_call* a) {
  batch_norm_train<<<a->channels, block_threads, 0, static_cast<cudaStream_t>(a->stream)>>>(
      at(a->x), at(a->gamma), at(a->beta), at(a->running_mean), at(a->running_var), at(a->y), at(a->mean),
      at(a->invstd), a->batch * a->plane, a->plane, a->eps, a->weight, a->divisor);
  return cudaGetLastError() == cudaSuccess ? NP_OK : NP_FAILED;
}
static const np_simple table = {.name = "template.cuda",
                                .summary = "one block per channel, sums in double",
                                .pass = NP_FORWARD_TRAINING,
                                .dtype = NP_F32,
                                .outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_INVSTD | NP_OUT_RUNNING_MEAN |
                                           NP_OUT_RUNNING_VAR,
                                .device = 2 /* CUDA */,
                                .run = run};
NP_SIMPLE_KERNEL(kernel, table)
NP_LIBRARY("template in CUDA", "1", kernel())
