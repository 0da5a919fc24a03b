// The certified oracle on raw buffers: correctly rounded batch normalisation, written into the caller's
// storage at the speed of a kernel.
//
// Every value is the correctly rounded one of spec/batch_norm.md, the same that truth_of() gives. A value is
// first computed in double (f64: double-double) with a proven bound and stored where every real within the
// bound rounds to the same bits; the rest goes to double-doubles, and what these leave open to truth_of's own
// route. Bounds: spec/bounds/certified.md.
#pragma once

#include <cstdint>

#include "normproof/spec/problem.h"

namespace normproof::reference {

/// A forward pass on buffers that the caller owns; x and y do not overlap. x and y are of format `data`,
/// placed as said (normproof/spec/shape.h); per-channel tensors are dense, of format `stats`, and null where
/// absent.
struct ForwardBuffers {
  Shape shape;
  Format data = f32;
  Format stats = f32;
  Placement x_placement;
  Placement y_placement;
  const void* x = nullptr;
  void* y = nullptr;
  const void* gamma = nullptr;
  const void* beta = nullptr;
  double eps = 0x1.4f8b58p-17;
  /// Inference: both are given. Training: both are null.
  const void* given_mean = nullptr;
  const void* given_variance = nullptr;
  /// Written where not null (training): mean, biased variance, invstd.
  void* mean = nullptr;
  void* variance = nullptr;
  void* invstd = nullptr;
  /// Running statistics before the batch and, where not null, after it (training; the two do not overlap):
  /// (1 - momentum) before + momentum of the batch's, whose variance is of the kind said
  /// (BN-RUN-1, BN-RUN-2); an empty batch changes nothing (BN-FWD-11).
  const void* running_mean = nullptr;
  const void* running_variance = nullptr;
  void* new_running_mean = nullptr;
  void* new_running_variance = nullptr;
  double momentum = 0x1.99999ap-4;
  VarianceKind running_kind = Semantics{}.running;
  int threads = 1;
};

/// A backward pass in training at given statistics (truth A), on the same terms.
struct BackwardBuffers {
  Shape shape;
  Format data = f32;
  Format stats = f32;
  Placement x_placement;
  Placement dy_placement;
  Placement dx_placement;
  const void* x = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  const void* gamma = nullptr;
  const void* saved_mean = nullptr;
  const void* saved_invstd = nullptr;
  void* dgamma = nullptr;
  void* dbeta = nullptr;
  int threads = 1;
};

/// How many values each stage decided.
struct CertifiedEffort {
  std::int64_t elements = 0;       ///< values of y or dx
  std::int64_t retested = 0;       ///< of these, failed the first test (f64: of double-doubles)
  std::int64_t double_double = 0;  ///< of these, needed the channel's sums in double-double
  std::int64_t exact = 0;          ///< of these, left to truth_of's route
  std::int64_t channels = 0;
  std::int64_t exact_channels = 0;  ///< of these, left to it as a whole: special values, extreme ranges

  CertifiedEffort& operator+=(const CertifiedEffort& b);
};

/// Throw std::invalid_argument for buffers that make no sense, std::runtime_error in a thread that does not
/// round to nearest or flushes subnormals. Thread-safe.
CertifiedEffort certified_forward(const ForwardBuffers& buffers);
CertifiedEffort certified_backward(const BackwardBuffers& buffers);

/// How far n stored values are from rounded truths, in steps from float to float (0 between the two zeros).
struct Steps {
  std::int64_t compared = 0;        ///< values of one kind: finite both, or the same infinity, or NaN both
  std::int64_t differing = 0;       ///< of these, at least one step off: not correctly rounded
  std::int64_t differing_kind = 0;  ///< values of another kind than the truth
  std::int64_t most = 0;            ///< the largest distance of finite values
  double mean = 0;                  ///< the mean distance of finite values
};
/// Dense values of a format that the library stores. Thread-safe.
Steps steps_between(const Format& format, const void* truth, const void* got, std::int64_t n);

}  // namespace normproof::reference
