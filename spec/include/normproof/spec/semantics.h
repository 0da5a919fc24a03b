// What a batch normalisation means: orthogonal knobs, and the dialects as points in that space.
//
// The knobs hold wrong values too (eps outside the root, momentum inverted): a wrong kernel is then a
// neighbour of the point that was asked for, which is how a diagnosis can name it. Numerical bugs have no
// knob.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace normproof {

/// Where eps enters invstd r, with v the normalising variance.
enum class EpsPlacement {
  inside_root,         ///< r = 1/sqrt(v + eps): the documented algorithm
  outside_root,        ///< r = 1/sqrt(v) + eps
  added_to_deviation,  ///< r = 1/(sqrt(v) + eps)
  omitted,             ///< r = 1/sqrt(v)
  doubled,             ///< r = 1/sqrt(v + 2 eps)
  clamped              ///< r = 1/sqrt(max(v, eps))
};

/// biased divides by n, unbiased (Bessel) by n - 1.
enum class VarianceKind { biased, unbiased };

/// weight_of_new: running = (1 - momentum) running + momentum batch. weight_of_old: the two weights
/// exchanged.
enum class MomentumSense { weight_of_new, weight_of_old };

/// What training with one value per channel (n = 1) means. The batch variance is 0 and y = beta in all of
/// them.
enum class SingleValue {
  defined,          ///< a valid problem (the running variance must be biased for that to make sense)
  unbiased_is_nan,  ///< accepted; the unbiased running variance is 0/0 = NaN
  rejected          ///< the entry point must refuse the problem
};

/// What eps = 0 means.
enum class ZeroEps {
  formula,      ///< what IEEE arithmetic makes of the formula: at v = 0 invstd is 1/0 and y is NaN
  zero_invstd,  ///< in training v = eps = 0 gives invstd 0 and y = beta; the formula elsewhere
  rejected      ///< the entry point must refuse the problem in training
};

/// What training with no value per channel (n = 0) means: BN-FWD-11.
enum class EmptyBatch {
  rejected,  ///< the entry point must refuse it
  accepted,  ///< y has no element, the running statistics stay as they are
  either     ///< implementation-defined
};

/// What inference with running_var + eps < 0 means: BN-INF-5.
enum class NegativeVariance { nan, rejected, either };

/// What the forward pass hands to the backward pass beside the mean.
enum class SavedStatistic { invstd, variance, none };

struct Semantics {
  EpsPlacement eps = EpsPlacement::inside_root;
  VarianceKind normalising = VarianceKind::biased;
  VarianceKind running = VarianceKind::biased;
  MomentumSense momentum = MomentumSense::weight_of_new;
  bool cumulative_average = true;  ///< momentum may be absent: BN-RUN-3
  SavedStatistic saved = SavedStatistic::invstd;
  SingleValue single_value = SingleValue::defined;
  bool may_refuse_single_value = false;  ///< accepted as single_value says, or refused
  EmptyBatch empty_batch = EmptyBatch::either;
  ZeroEps zero_eps = ZeroEps::formula;
  NegativeVariance negative_variance = NegativeVariance::either;
  bool inference_gradient = true;  ///< a backward pass with the given statistics as constants exists

  friend bool operator==(const Semantics&, const Semantics&) = default;
};

/// A library's documented point, by entry point where entry points differ: a row of spec/dialects.json, which
/// holds the source of every cell.
struct Dialect {
  std::string_view name;
  Semantics semantics;
  std::string_view summary;
  std::string_view source;  ///< the page that names each cell's source
  /// Knobs that the dialect has no such thing for ("running-variance"); `semantics` then holds the documented
  /// value.
  std::span<const std::string_view> not_applicable;
};

/// All dialects in force; the first one is `documented`. They live as long as the program.
std::span<const Dialect> dialects();
/// The dialect of that name ("pytorch" alone means "pytorch/native_batch_norm"), or nothing.
std::optional<Dialect> dialect_named(std::string_view name);

}  // namespace normproof
