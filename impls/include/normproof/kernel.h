/* The kernel interface: how a batch-normalisation kernel is put on trial.
 *
 * A shared library exports one function, `normproof_library`, that returns a table of kernels. The bundled
 * kernels have no other way in. C11 and C++, no dependency. Versioning: struct_size stands first in every
 * struct and the reader takes only what it covers; `abi_major` changes when the meaning of a field changes,
 * and a library says the *minimum* that it needs.
 *
 * Rules. Every size, stride and offset is int64. A tensor that is absent is a NULL pointer and is never read.
 * Inputs are read-only. No exception crosses: errors are codes with text. Buffers do not alias unless the
 * problem says so. Per kernel the order of calls is query, create, run (any number of times), destroy, from
 * one thread at a time.
 */
#ifndef NORMPROOF_KERNEL_H
#define NORMPROOF_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NP_ABI_MAJOR 1u
#define NP_MAX_RANK 8

#if defined(_WIN32)
#define NP_EXPORT __declspec(dllexport)
#else
#define NP_EXPORT __attribute__((visibility("default")))
#endif

/* --- tensors: layout-identical to DLPack's DLDevice, DLDataType and DLTensor --- */

typedef struct np_device {
  int32_t type; /* DLDeviceType: 1 CPU, 2 CUDA */
  int32_t id;
} np_device;

typedef struct np_dtype {
  uint8_t code; /* DLDataTypeCode: 2 float, 4 bfloat */
  uint8_t bits;
  uint16_t lanes;
} np_dtype;

/* Axes in the order batch, channel, spatial...; strides in elements. data + byte_offset is the first element
 * and may be less aligned than the dtype's natural vector width (never less than the dtype itself). */
typedef struct np_tensor {
  void* data;
  np_device device;
  int32_t ndim;
  np_dtype dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
} np_tensor;

/* A number with the type in which the interface under test receives it. `value` is exact in that type. */
typedef struct np_scalar {
  double value;
  np_dtype dtype;
} np_scalar;

/* --- problems --- */

typedef enum np_pass {
  NP_FORWARD_TRAINING = 1,
  NP_FORWARD_INFERENCE = 2,
  NP_BACKWARD_TRAINING = 3,
  NP_BACKWARD_INFERENCE = 4,
  NP_DOUBLE_BACKWARD = 5, /* at saved_mean and saved_invstd */
  NP_GRADIENT =
      6, /* forward training, then the backward with whatever the forward saved: reports dx, dgamma, dbeta */
  NP_DOUBLE_BACKWARD_INFERENCE = 7 /* at running_mean and running_var, which are constants */
} np_pass;

/* The documented semantics are the zeros. A kernel answers `query` with NP_UNSUPPORTED for a point that it
 * does not implement. */
typedef enum np_variance { NP_VARIANCE_BIASED = 0, NP_VARIANCE_UNBIASED = 1 } np_variance;
typedef enum np_momentum { NP_WEIGHT_OF_NEW = 0, NP_WEIGHT_OF_OLD = 1 } np_momentum;
typedef enum np_single_value {
  NP_SINGLE_DEFINED = 0,
  NP_SINGLE_NAN = 1,
  NP_SINGLE_REJECTED = 2
} np_single_value;
/* eps = 0: as the formula gives it; in training invstd 0 where the variance is 0 too; or refused. */
typedef enum np_zero_eps {
  NP_ZERO_EPS_FORMULA = 0,
  NP_ZERO_EPS_ZERO_INVSTD = 1,
  NP_ZERO_EPS_REJECTED = 2
} np_zero_eps;

typedef struct np_problem {
  uint32_t struct_size;
  int32_t pass;        /* np_pass */
  const char* dialect; /* "documented", "pytorch/native_batch_norm", ... */
  np_device device;
  np_dtype data_dtype;            /* x, y (and their gradients) */
  np_dtype stats_dtype;           /* gamma, beta, mean, var, invstd, running statistics */
  int32_t ndim;                   /* 2 + number of spatial axes */
  int32_t threads;                /* threads the kernel may use, at least 1 */
  int64_t shape[NP_MAX_RANK];     /* batch, channel, spatial... */
  int64_t x_strides[NP_MAX_RANK]; /* elements; for planning: every tensor of run() carries its own */
  int64_t y_strides[NP_MAX_RANK]; /* of y, in the backward passes of dy */
  np_scalar eps;
  np_scalar momentum; /* read only if has_momentum; otherwise cumulative average */
  int32_t has_momentum;
  int32_t has_affine;       /* gamma and beta are given */
  int32_t has_running;      /* running statistics are given and, in training, updated */
  int32_t running_variance; /* np_variance: what feeds the running variance */
  int32_t momentum_sense;   /* np_momentum */
  int32_t single_value;     /* np_single_value: one value per channel in training */
  int32_t zero_eps;         /* np_zero_eps */
  int32_t in_place;         /* y and x are the same buffer */
} np_problem;

/* --- capabilities and claims --- */

enum {
  NP_OUT_Y = 1u << 0,
  NP_OUT_MEAN = 1u << 1,
  NP_OUT_VAR = 1u << 2,
  NP_OUT_INVSTD = 1u << 3,
  NP_OUT_RUNNING_MEAN = 1u << 4,
  NP_OUT_RUNNING_VAR = 1u << 5,
  NP_OUT_DBETA = 1u << 6,
  NP_OUT_DGAMMA = 1u << 7,
  NP_OUT_DX = 1u << 8,
  NP_OUT_GRAD_DY = 1u << 9,
  NP_OUT_GRAD_X = 1u << 10,
  NP_OUT_GRAD_GAMMA = 1u << 11
};

typedef enum np_family { NP_FAMILY_UNKNOWN = 0, NP_CENTRED = 1, NP_MERGED = 2, NP_TEXTBOOK = 3 } np_family;
typedef enum np_affine { NP_AFFINE_UNKNOWN = 0, NP_AFFINE_CENTRED = 1, NP_AFFINE_FOLDED = 2 } np_affine;

/* What the kernel says of itself on this problem (launch geometry and layout change the depth, hence a
 * function of the problem, never a constant). Zero means: no claim. A claim is checked; it never loosens the
 * grade that was asked for. Definitions: spec/bounds/model.md. */
typedef struct np_claims {
  uint32_t struct_size;
  int32_t accumulator_bits; /* p of sums, statistics and elementwise arithmetic: 24, 53, 106 (compensated) */
  int64_t reduction_depth;  /* additions that any input passes through on its way into a sum */
  int32_t variance_family;  /* np_family */
  int32_t affine_form;      /* np_affine */
  double rsqrt_ulps;        /* error of 1/sqrt in ulps of the accumulator; 1 for a correctly rounded root and
                               quotient */
  int32_t deterministic;    /* equal inputs give equal bits */
  int32_t uses_reported;    /* y is a function of the *reported* statistics */
  int32_t extended_domain;  /* accurate where intermediate squares leave the format's range */
} np_claims;

typedef struct np_capability {
  uint32_t struct_size;
  uint32_t outputs;         /* NP_OUT_* that run() will write for this problem */
  uint64_t workspace_bytes; /* scratch that the caller provides, 64-byte aligned */
  uint64_t reserve_bytes;   /* opaque bytes handed from forward to backward */
  np_claims claims;
} np_capability;

/* --- running --- */

/* In training running_mean, running_var and num_batches_tracked are updated in place. In inference
 * running_mean and running_var are the statistics used, and nothing is updated. */
typedef struct np_tensors {
  uint32_t struct_size;
  const np_tensor* x;
  const np_tensor* gamma;
  const np_tensor* beta;
  np_tensor* running_mean;
  np_tensor* running_var;
  int64_t* num_batches_tracked; /* in host memory, also where the tensors are not */
  np_tensor* y;
  np_tensor* mean;
  np_tensor* var;
  np_tensor* invstd;
  void* workspace; /* both on the tensors' device */
  void* reserve;
  /* Backward passes: dy (like y), the statistics that the forward saved (training) or running_mean and
   * running_var (inference), and the gradients. NP_GRADIENT has no saved statistics: the kernel's forward
   * makes them. */
  const np_tensor* dy;
  const np_tensor* saved_mean;
  const np_tensor* saved_invstd;
  np_tensor* dx;
  np_tensor* dgamma;
  np_tensor* dbeta;
  /* Double backward: the cotangents of dx, dgamma and dbeta, each of which may be absent (then it is zero),
   * and the gradients of <v_x, dx> + <v_gamma, dgamma> + <v_beta, dbeta> with respect to dy, x and gamma. */
  const np_tensor* v_x;
  const np_tensor* v_gamma;
  const np_tensor* v_beta;
  np_tensor* grad_dy;
  np_tensor* grad_x;
  np_tensor* grad_gamma;
} np_tensors;

typedef enum np_status {
  NP_OK = 0,
  NP_UNSUPPORTED = 1, /* this kernel does not do that: a skip, with the reason given */
  NP_REJECTED = 2, /* the problem itself is invalid (eps < 0, one value per channel where that is refused) */
  NP_NO_DEVICE = 3,
  NP_FAILED = 4
} np_status;

/* The receiver of error texts: `size` bytes, always terminated. */
typedef struct np_message {
  char* text;
  size_t size;
} np_message;

typedef struct np_kernel {
  uint32_t struct_size;
  int32_t device_type; /* DLDeviceType on which its tensors live */
  const char* name;    /* "cpu.welford_f32": letters, digits, '.', '_' and '-' */
  const char* summary; /* one line: the algorithm as it is */
  const char*
      worst_known; /* worst known input in hex floats, with the ratio it reaches; "" if none was searched */
  int32_t (*query)(const np_problem* problem, np_capability* capability, np_message message);
  int32_t (*create)(const np_problem* problem, void** state, np_message message);
  /* `stream` is the device's stream (a CUstream, which is a cudaStream_t; it does not wait for the default
   * stream), NULL on the CPU. All writes are complete when the stream is synchronised (at return on the CPU).
   * The device's primary context is current in the calling thread, from create to destroy. */
  int32_t (*run)(void* state, const np_tensors* tensors, void* stream, np_message message);
  void (*destroy)(void* state);
} np_kernel;

typedef struct np_library {
  uint32_t struct_size;
  uint32_t abi_major_minimum; /* the oldest NP_ABI_MAJOR that the library can live with */
  const char* name;
  const char* version; /* of the code on trial, e.g. "2.13.0+cpu" */
  int32_t kernel_count;
  const np_kernel* const* kernels;
} np_library;

/* The one exported symbol. Returns NULL when the host's ABI is too old; the table lives as long as the
 * library. */
NP_EXPORT const np_library* normproof_library(uint32_t host_abi_major);

#ifdef __cplusplus
}
#endif

#endif
