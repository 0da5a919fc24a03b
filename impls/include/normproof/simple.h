/* The short way to put a kernel on trial: a kernel that works on dense arrays of one dtype needs a table and
 * a function, and this header makes the interface of kernel.h of them. C11 and C++, CUDA C++ too; no
 * dependency.
 *
 *   static int32_t run(const np_simple_call* a) { batch_norm(a->x, a->y, a->batch, ...); return NP_OK; }
 *   static const np_simple mine = {.name = "mine.batch_norm", .pass = NP_FORWARD_TRAINING, .dtype = NP_F32,
 *                                  .outputs = NP_OUT_Y, .run = run};
 *   NP_SIMPLE_KERNEL(kernel, mine)
 *   NP_LIBRARY("mine", "1.0", kernel())
 *
 * What the table does not say that it can do is answered with NP_UNSUPPORTED and a reason: a skip, which is
 * counted. Only one source file of a library may hold NP_LIBRARY.
 */
#ifndef NORMPROOF_SIMPLE_H
#define NORMPROOF_SIMPLE_H

#include <stdlib.h>
#include <string.h>

#include "normproof/kernel.h"

#ifdef __cplusplus
#include <exception>
extern "C" {
#endif

#define NP_F16 {2, 16, 1}
#define NP_BF16 {4, 16, 1}
#define NP_F32 {2, 32, 1}
#define NP_F64 {2, 64, 1}

/* What run() gets: dense arrays, the sizes, the numbers. x[(b * channels + c) * plane + s], or
 * x[(b * plane + s) * channels + c] for a kernel of channels-last tensors; per-channel arrays have `channels`
 * values. What the problem does not give or the kernel does not report is NULL. n is batch * plane. */
typedef struct np_simple_call {
  const np_problem* problem; /* all the rest of it */
  int64_t batch, channels, plane;
  double eps;
  /* running = (1 - weight) * running + weight * new, with the weight of this call whatever the dialect means
   * by momentum; the variance that feeds it is the sum of squared deviations / divisor. The helper counts
   * num_batches_tracked. */
  double weight, divisor;
  const void *x, *gamma, *beta, *dy, *saved_mean, *saved_invstd;
  void *y, *mean, *var, *invstd, *running_mean, *running_var, *dx, *dgamma, *dbeta;
  void *workspace, *stream;
} np_simple_call;

/* One kernel. Zeros are the defaults: CPU, contiguous, statistics in the dtype of the data, no claims. */
typedef struct np_simple {
  const char* name;    /* letters, digits, '.', '_' and '-' */
  const char* summary; /* one line */
  int32_t pass;        /* np_pass */
  np_dtype dtype;      /* of x and y */
  np_dtype stats;      /* of all that is per channel; zeros: as dtype */
  uint32_t outputs;    /* NP_OUT_*; the running statistics are left out where there are none */
  int32_t channels_last;
  int32_t needs_affine;  /* cannot go without gamma and beta */
  int32_t needs_running; /* cannot go without running statistics (training) */
  int32_t device;        /* DLDeviceType; 0: CPU */
  np_claims claims;      /* struct_size is not read */
  /* May be NULL. Refuses more, with a text, or sets workspace_bytes and claims that depend on the problem. */
  int32_t (*query)(const np_problem* problem, np_capability* capability, np_message message);
  int32_t (*run)(const np_simple_call* call); /* np_status */
} np_simple;

static inline int32_t np_tell(np_message message, int32_t status, const char* text) {
  if (message.text != NULL && message.size > 0) {
    const size_t length = strlen(text) < message.size ? strlen(text) : message.size - 1;
    memcpy(message.text, text, length);
    message.text[length] = '\0';
  }
  return status;
}

static inline int np_same_dtype(np_dtype a, np_dtype b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

/* Dense in the order that the kernel wants. The stride of an axis with one value means nothing. */
static inline int np_is_dense(const np_problem* p, const int64_t* strides, int channels_last) {
  int64_t expected = 1;
  for (int step = 0; step < p->ndim; ++step) {
    /* From the innermost axis outwards: contiguous S..., C, N; channels-last C, S..., N. */
    const int spatial = p->ndim - 2;
    const int axis = step == p->ndim - 1 ? 0
                     : channels_last     ? (step == 0 ? 1 : p->ndim - step)
                     : step < spatial    ? p->ndim - 1 - step
                                         : 1;
    if (p->shape[axis] != 1 && strides[axis] != expected)
      return 0;
    expected *= p->shape[axis];
  }
  return 1;
}

static inline int64_t np_plane(const np_problem* p) {
  int64_t plane = 1;
  for (int axis = 2; axis < p->ndim; ++axis)
    plane *= p->shape[axis];
  return plane;
}

static inline int32_t np_simple_query(const np_simple* k, const np_problem* p, np_capability* capability,
                                      np_message message) {
  const np_dtype stats = k->stats.bits != 0 ? k->stats : k->dtype;
  const int64_t n = p->shape[0] * np_plane(p);
  const int training = p->pass == NP_FORWARD_TRAINING || p->pass == NP_GRADIENT;
  const int forward = p->pass == NP_FORWARD_TRAINING || p->pass == NP_FORWARD_INFERENCE;
  if (p->pass != k->pass)
    return np_tell(message, NP_UNSUPPORTED, "not this kernel's pass");
  if (!np_same_dtype(p->data_dtype, k->dtype) || !np_same_dtype(p->stats_dtype, stats))
    return np_tell(message, NP_UNSUPPORTED, "not this kernel's dtypes");
  if (!(p->eps.value >= 0) || (p->eps.value == 0 && p->zero_eps == NP_ZERO_EPS_REJECTED))
    return np_tell(message, NP_REJECTED, "eps is too small");
  if (training && n == 1 && p->single_value == NP_SINGLE_REJECTED)
    return np_tell(message, NP_REJECTED, "one value per channel");
  if (p->eps.value == 0 && p->zero_eps != NP_ZERO_EPS_FORMULA)
    return np_tell(message, NP_UNSUPPORTED, "eps is 0");
  if (n == 0 || p->shape[1] == 0)
    return np_tell(message, NP_UNSUPPORTED, "an empty tensor");
  if (p->in_place)
    return np_tell(message, NP_UNSUPPORTED, "not in place");
  if (!np_is_dense(p, p->x_strides, k->channels_last) || !np_is_dense(p, p->y_strides, k->channels_last))
    return np_tell(message, NP_UNSUPPORTED, "not this kernel's layout");
  if (k->needs_affine && !p->has_affine)
    return np_tell(message, NP_UNSUPPORTED, "no gamma and beta");
  if (k->needs_running && !p->has_running)
    return np_tell(message, NP_UNSUPPORTED, "no running statistics");
  capability->outputs = k->outputs;
  if (!p->has_running || !forward)
    capability->outputs &= ~(uint32_t)(NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR);
  {
    const uint32_t size = capability->claims.struct_size;
    capability->claims = k->claims;
    capability->claims.struct_size = size;
  }
  return k->query != NULL ? k->query(p, capability, message) : NP_OK;
}

static inline int32_t np_simple_create(const np_problem* problem, void** state, np_message message) {
  np_problem* const copy = (np_problem*)malloc(sizeof *copy);
  if (copy == NULL)
    return np_tell(message, NP_FAILED, "no memory");
  *copy = *problem;
  *state = copy;
  return NP_OK;
}

/* The first element, or NULL; `strided` is set where a per-channel tensor is not dense. */
static inline void* np_first(const np_tensor* t, int* strided) {
  if (t == NULL)
    return NULL;
  if (t->ndim == 1 && t->shape[0] != 1 && t->strides[0] != 1)
    *strided = 1;
  return (char*)t->data + t->byte_offset;
}

static inline int32_t np_simple_run(const np_simple* k, const np_problem* p, const np_tensors* t,
                                    void* stream, np_message message) {
  np_simple_call call;
  int strided = 0;
  memset(&call, 0, sizeof call);
  call.problem = p;
  call.batch = p->shape[0];
  call.channels = p->shape[1];
  call.plane = np_plane(p);
  call.eps = p->eps.value;
  call.x = np_first(t->x, &strided);
  call.gamma = np_first(t->gamma, &strided);
  call.beta = np_first(t->beta, &strided);
  call.dy = np_first(t->dy, &strided);
  call.saved_mean = np_first(t->saved_mean, &strided);
  call.saved_invstd = np_first(t->saved_invstd, &strided);
  call.y = np_first(t->y, &strided);
  call.mean = np_first(t->mean, &strided);
  call.var = np_first(t->var, &strided);
  call.invstd = np_first(t->invstd, &strided);
  call.running_mean = np_first(t->running_mean, &strided);
  call.running_var = np_first(t->running_var, &strided);
  call.dx = np_first(t->dx, &strided);
  call.dgamma = np_first(t->dgamma, &strided);
  call.dbeta = np_first(t->dbeta, &strided);
  call.workspace = t->workspace;
  call.stream = stream;
  if (strided)
    return np_tell(message, NP_FAILED, "a per-channel tensor with gaps");
  {
    const double n = (double)(call.batch * call.plane);
    call.divisor = p->running_variance == NP_VARIANCE_UNBIASED ? n - 1 : n;
  }
  if (p->has_momentum)
    call.weight = p->momentum_sense == NP_WEIGHT_OF_OLD ? 1 - p->momentum.value : p->momentum.value;
  if (p->pass == NP_FORWARD_TRAINING && t->num_batches_tracked != NULL) {
    ++*t->num_batches_tracked;
    if (!p->has_momentum)
      call.weight = 1.0 / (double)*t->num_batches_tracked;
  }
#if defined(__cpp_exceptions)
  try {
    return k->run(&call);
  } catch (const std::exception& error) {
    return np_tell(message, NP_FAILED, error.what());
  } catch (...) {
    return np_tell(message, NP_FAILED, "an exception that is no std::exception");
  }
#else
  return k->run(&call);
#endif
}

/* A function id() that gives the np_kernel made of the np_simple `table`. */
#define NP_SIMPLE_KERNEL(id, table)                                                       \
  static int32_t id##_query(const np_problem* p, np_capability* c, np_message m) {        \
    return np_simple_query(&(table), p, c, m);                                            \
  }                                                                                       \
  static int32_t id##_run(void* state, const np_tensors* t, void* stream, np_message m) { \
    return np_simple_run(&(table), (const np_problem*)state, t, stream, m);               \
  }                                                                                       \
  static const np_kernel* id(void) {                                                      \
    static np_kernel kernel;                                                              \
    kernel.struct_size = sizeof kernel;                                                   \
    kernel.device_type = (table).device != 0 ? (table).device : 1;                        \
    kernel.name = (table).name;                                                           \
    kernel.summary = (table).summary != NULL ? (table).summary : "";                      \
    kernel.worst_known = "";                                                              \
    kernel.query = id##_query;                                                            \
    kernel.create = np_simple_create;                                                     \
    kernel.run = id##_run;                                                                \
    kernel.destroy = free;                                                                \
    return &kernel;                                                                       \
  }

/* The exported symbol: NP_LIBRARY("mine", "1.0", first(), second()). */
#define NP_LIBRARY(library_name, library_version, ...)                                                  \
  NP_EXPORT const np_library* normproof_library(uint32_t host_abi_major) {                              \
    const np_kernel* const given[] = {__VA_ARGS__};                                                     \
    static const np_kernel* kernels[sizeof given / sizeof given[0]];                                    \
    static const np_library library = {                                                                 \
        sizeof(np_library), 1, library_name, library_version, sizeof given / sizeof given[0], kernels}; \
    memcpy(kernels, given, sizeof given);                                                               \
    return host_abi_major >= library.abi_major_minimum ? &library : NULL;                               \
  }

#ifdef __cplusplus
}
#endif

#endif
