/* A complete kernel in C, to be copied: forward training of f32 tensors [batch, channel, space...]. First the
 * kernel as it would stand in any library, then the glue that puts it on trial. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Two passes, sums in double. plane is the product of the spatial extents; gamma and beta may be NULL
 * together, so may the running statistics. */
static void batch_norm_train(const float* x, const float* gamma, const float* beta, float* running_mean,
                             float* running_var, float* y, float* saved_mean, float* saved_invstd,
                             int64_t batch, int64_t channels, int64_t plane, double eps, double weight,
                             double divisor) {
  const double n = (double)(batch * plane);
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    double squares = 0;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t s = 0; s < plane; ++s)
        sum += (double)x[(b * channels + c) * plane + s];
    const double mean = sum / n;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t s = 0; s < plane; ++s) {
        const double d = (double)x[(b * channels + c) * plane + s] - mean;
        squares += d * d;
      }
    const double invstd = 1 / sqrt(squares / n + eps);
    const double scale = gamma != NULL ? (double)gamma[c] : 1;
    const double offset = beta != NULL ? (double)beta[c] : 0;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t s = 0; s < plane; ++s) {
        const int64_t at = (b * channels + c) * plane + s;
        y[at] = (float)(((double)x[at] - mean) * invstd * scale + offset);
      }
    saved_mean[c] = (float)mean;
    saved_invstd[c] = (float)invstd;
    if (running_mean != NULL) {
      running_mean[c] = (float)((1 - weight) * (double)running_mean[c] + weight * mean);
      running_var[c] = (float)((1 - weight) * (double)running_var[c] + weight * (squares / divisor));
    }
  }
}

/* glue */
#include "normproof/simple.h"

static int32_t run(const np_simple_call* a) {
  batch_norm_train(a->x, a->gamma, a->beta, a->running_mean, a->running_var, a->y, a->mean, a->invstd,
                   a->batch, a->channels, a->plane, a->eps, a->weight, a->divisor);
  return NP_OK;
}
static const np_simple table = {.name = "template.c",
                                .summary = "two passes, sums in double",
                                .pass = NP_FORWARD_TRAINING,
                                .dtype = NP_F32,
                                .outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_INVSTD | NP_OUT_RUNNING_MEAN |
                                           NP_OUT_RUNNING_VAR,
                                .run = run};
NP_SIMPLE_KERNEL(kernel, table)
NP_LIBRARY("template in C", "1", kernel())
