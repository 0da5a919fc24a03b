// Whether an entry point must compute a case, must refuse it, or may do either: the knobs of its dialect.
#include <cmath>

#include <fmt/format.h>

#include "normproof/reference/truth.h"

namespace normproof::reference {
namespace {

bool takes_statistics(Pass pass) {
  return pass == Pass::forward_training || pass == Pass::gradient;
}

/// eps < 0 or NaN; eps = 0.
Admission by_eps(const Problem& p) {
  if (!(p.eps >= 0)) {
    const bool refused =
        p.dialect == "documented" || (p.semantics.zero_eps == ZeroEps::rejected && takes_statistics(p.pass));
    if (refused)
      return {Ruling::reject, fmt::format("{} refuses eps = {}", p.dialect, p.eps)};
    return {Ruling::either, fmt::format("eps = {} is implementation-defined for {}", p.eps, p.dialect)};
  }
  if (p.eps == 0 && p.semantics.zero_eps == ZeroEps::rejected && takes_statistics(p.pass))
    return {Ruling::reject, fmt::format("{} refuses eps = 0 in training", p.dialect)};
  return {};
}

/// n = 0 (BN-FWD-11, BN-INF-3, BN-BWD-12).
Admission by_emptiness(const Problem& p) {
  const std::string shape = to_string(p.shape);
  if (p.pass == Pass::forward_inference) {
    if (p.semantics.empty_batch == EmptyBatch::either && p.dialect != "documented")
      return {Ruling::either,
              fmt::format("an empty batch (shape {}) is implementation-defined for {}", shape, p.dialect)};
    return {};
  }
  if (p.pass != Pass::forward_training && p.pass != Pass::gradient)
    return {Ruling::either,
            fmt::format("the gradient of an empty batch (shape {}) is implementation-defined", shape)};
  switch (p.semantics.empty_batch) {
  case EmptyBatch::rejected:
    return {Ruling::reject,
            fmt::format("{} refuses a shape without values in training (shape {})", p.dialect, shape)};
  case EmptyBatch::accepted:
    break;
  case EmptyBatch::either:
    return {Ruling::either, fmt::format("a shape without values (shape {}) is implementation-defined for {}",
                                        shape, p.dialect)};
  }
  return {};
}

/// n = 1.
Admission by_single_value(const Problem& p) {
  const std::string shape = to_string(p.shape);
  if (p.semantics.single_value == SingleValue::rejected)
    return {Ruling::reject,
            fmt::format("{} refuses one value per channel in training (shape {})", p.dialect, shape)};
  if (p.semantics.may_refuse_single_value)
    return {Ruling::either, fmt::format("one value per channel (shape {}) is implementation-defined for {}",
                                        shape, p.dialect)};
  return {};
}

/// running_var + eps < 0 in some channel (BN-INF-5).
Admission by_given_variance(const Case& c) {
  const Problem& p = c.problem;
  if (p.semantics.negative_variance == NegativeVariance::nan)
    return {};
  for (const double v : c.running_var)
    if (v < 0 && v < -p.eps) {
      const bool refused = p.semantics.negative_variance == NegativeVariance::rejected;
      return {refused ? Ruling::reject : Ruling::either,
              fmt::format("running_var = {} with eps = {} is {} {}", v, p.eps,
                          refused ? "refused by" : "implementation-defined for", p.dialect)};
    }
  return {};
}

}  // namespace

/// The first knob that refuses decides; then the first that leaves a choice.
Admission admission_of(const Case& c) {
  const Problem& p = c.problem;
  Admission result;
  const auto consider = [&](Admission next) {
    if (next.ruling == Ruling::reject ? result.ruling != Ruling::reject
                                      : next.ruling == Ruling::either && result.ruling == Ruling::accept)
      result = std::move(next);
  };
  consider(by_eps(p));
  if (p.shape.per_channel() == 0)
    consider(by_emptiness(p));
  if (p.shape.per_channel() == 1 && takes_statistics(p.pass))
    consider(by_single_value(p));
  if (is_inference(p.pass))
    consider(by_given_variance(c));
  if (!has_pass(p.semantics, p.pass))
    consider({Ruling::either, fmt::format("{} has no backward pass with given statistics", p.dialect)});
  if (p.pass == Pass::forward_training && p.running && !p.momentum && !p.semantics.cumulative_average)
    consider({Ruling::either, fmt::format("{} has no cumulative average: momentum is required", p.dialect)});
  return result;
}

std::string must_reject(const Case& c) {
  const Admission admission = admission_of(c);
  return admission.ruling == Ruling::reject ? admission.reason : std::string();
}

}  // namespace normproof::reference
