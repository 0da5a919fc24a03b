// Judging one channel: what forward and backward have in common.
//
// A standard is something an output is held to: a grade with a class, or the kernel's own claim. Its bounds
// are the business of the pass (forward_judge, gradient_judge); here every reading is weighed against all
// standards at once, and the stages are concluded with blame in the order of the algorithm.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "normproof/properties/judge.h"
#include "normproof/reference/double_double.h"
#include "normproof/reference/readings.h"

namespace normproof::properties {

inline double quotient(double measured, double permitted) {
  if (measured == 0 || std::isinf(permitted))  // an infinite bound says nothing, not even of a NaN
    return 0;
  return permitted > 0 ? measured / permitted : std::numeric_limits<double>::infinity();
}

/// Whether a stored value is the rounded truth, or NaN like it.
inline bool is_rounded(double got, double rn) {
  return std::isnan(rn) ? std::isnan(got) : got == rn;
}

/// An upper bound of the distance from a closed form to the reals that round to `got`: `want` is the form in
/// doubles, off by at most `roundings` (spec/bounds/certified.md, the judge's screens).
inline double at_most_apart(double got, double want, double roundings, double least_reach) {
  return (std::abs(got - want) + roundings) * (1 + 0x1p-40) - least_reach;
}

/// A grade and class that exist, or a class that the kernel's claims admit.
struct Standard {
  std::size_t grade = 0;
  std::size_t klass = 0;
  bool gates = false;
  bool claim = false;
  Reduction sum;
  double rsqrt_ulps = 2;  ///< what the grades admit
};

/// The standards of one channel of n values: all grades and classes, then those of the claims.
std::vector<Standard> standards(const Problem& problem, std::int64_t n, const Gate& gate,
                                const impls::Claims& claims);

/// A stored value against its truth.
struct Reading {
  double got, rn, off;
  Format format;

  bool numbers() const;
  bool above() const { return got > rn; }
  /// E of the gate; infinity for a wrong kind of value, where no distance exists.
  double measured(bool finite_channel) const;
  double ulps() const;
  /// Distance from a closed form to the reals that round to `got`.
  double distance_to(reference::DoubleDouble want) const;
};

/// What was found of one output of a channel.
struct Stage {
  Output output = Output::y;
  Judgement worst;  ///< at the gate
  double ratio = 0;
  bool unprovable = false;
  bool vacuous = false;
  std::optional<Judgement> link;  ///< the link's worst judgement; absent when there is nothing to link to
  double claim_ratio = 0;
  Judgement claim;
  std::vector<double> evident;  ///< by standard, the ratio that the evidence holds already; empty at first
  bool unrounded = false;       ///< some value is not the rounded truth
};

class ChannelJudge {
protected:
  ChannelJudge(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
               std::int64_t channel, CaseVerdict& verdict);
  ~ChannelJudge() = default;

  const Problem& problem() const { return case_.problem; }
  /// Whether links may be told in doubles: nothing of the narrower formats underflows there, and in f64 the
  /// roundings would be as large as what is permitted.
  bool in_doubles() const { return problem().data.p < f64.p && problem().stats.p < f64.p; }
  bool judged(Output output) const { return !seen_[output].empty() && !truth_[output].empty(); }
  /// What was seen and what is true of an output of this channel, from an element on.
  struct Values {
    const double *got, *rn, *off;
    const Format& format;
  };
  Values values(Output output, std::int64_t first) const;
  Reading reading(Output output, std::int64_t i) const;
  Judgement judgement(const std::string& clause, Output output, std::int64_t i, const Reading& r,
                      double measured, double permitted) const;
  Judgement linked(const char* clause, Output output, std::int64_t i, const Reading& r,
                   reference::DoubleDouble want, double permitted) const;
  /// Takes `count` <= Readings::block values from the first on into the accuracy of an output. The readings
  /// stand until the next call.
  const reference::Readings& record(Output output, std::int64_t first, std::int64_t count,
                                    const double* condition_scales);
  void record(Output output, double condition_scale) { record(output, 0, 1, &condition_scale); }

  /// Feeds the reading of element i to every standard: evidence, gate and claim. bound(k) is that of
  /// standards_[k]. Most readings are worse than none before them, and are told by their products.
  template <class Bound>
  void weigh(Stage& stage, const std::string& clause, Output output, std::int64_t i, double measured,
             bool rounded, const Bound& bound) {
    bounds_.resize(standards_.size());
    for (std::size_t k = 0; k < standards_.size(); ++k)
      bounds_[k] = bound(k);
    if (is_remarkable(stage, measured, rounded))
      weigh_bounds(stage, clause, output, i, reading(output, i), measured);
  }

  /// Blame and status of a stage. `depends_on` are the outputs whose failure explains this one.
  void conclude(const Stage& stage, std::initializer_list<Output> depends_on);

  const Case& case_;
  const reference::Truth& truth_;
  const impls::Observation& seen_;
  const Gate& gate_;
  const std::int64_t channel_;
  const reference::ChannelFacts& facts_;
  CaseVerdict& verdict_;
  const std::vector<Standard> standards_;
  const Reduction arithmetic_;  ///< of links, which have no depth

private:
  /// Whether a reading may be the worst yet in any respect. (A quotient beyond q has measured > q bound, but
  /// for their roundings; whatever is no number is remarkable.)
  bool is_remarkable(const Stage& stage, double measured, bool rounded) const {
    if (stage.evident.empty() || gate_.grade == Grade::correctly_rounded || (!rounded && !stage.unrounded))
      return true;
    const double at_most = measured * (1 + 0x1p-40);
    bool beaten = true;
    for (std::size_t k = 0; k < bounds_.size(); ++k)
      beaten = beaten && at_most < stage.evident[k] * bounds_[k];
    double allowed = 0;
    double claimed = 0;
    bool claims = false;
    for (const std::size_t k : counted_) {
      claims = claims || standards_[k].claim;
      double& most = standards_[k].claim ? claimed : allowed;
      most = std::max(most, bounds_[k]);
    }
    return !beaten || !(at_most < stage.ratio * allowed) || (std::isinf(allowed) && !stage.unprovable) ||
           (claims && !(at_most < stage.claim_ratio * claimed));
  }
  void weigh_bounds(Stage& stage, const std::string& clause, Output output, std::int64_t i, const Reading& r,
                    double measured);
  /// The evidence of one grade and class after one more ratio, and what it holds then.
  double note(Extreme& slot, double ratio, const std::string& clause, Output output, std::int64_t i,
              const Reading& r, double measured, double permitted);

  std::vector<double> bounds_, ratios_;  ///< of the reading at hand, by standard
  std::vector<std::size_t> counted_;     ///< the standards of gate and claims
  reference::Readings readings_;
  std::array<bool, output_count> failed_{};
};

/// Whether one of `count` values is a NaN: what only infinities leave open, a NaN does not (BN-FWD-13,
/// BN-BWD-11).
bool holds_nan(const double* values, std::int64_t count);

/// Judges one channel of a forward pass, of first-order gradients, of the second order.
void judge_forward(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                   const Gate& gate, std::int64_t channel, CaseVerdict& verdict);
void judge_gradients(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                     const Gate& gate, std::int64_t channel, CaseVerdict& verdict);

/// The bounds of the forward pass of one channel, for those passes that have it inside.
struct ChannelProblem;
ChannelProblem channel_problem(const Case& c, const reference::ChannelFacts& facts, std::int64_t channel);

}  // namespace normproof::properties
