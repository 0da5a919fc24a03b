// Judging a forward pass: mean, variance, invstd, y, running statistics, each against its bound and against
// the kernel's own report of the stage before (spec/bounds/links.md).
#include <algorithm>
#include <array>
#include <cmath>

#include "arithmetic.h"
#include "channel_judge.h"
#include "normproof/properties/affine.h"
#include "normproof/properties/bounds.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

class ForwardJudge : public ChannelJudge {
public:
  ForwardJudge(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
               std::int64_t channel, CaseVerdict& verdict)
      : ChannelJudge(c, truth, seen, gate, channel, verdict),
        set_(channel_problem(c, facts_, channel)),
        behind_infinity_(set_.training && !facts_.finite && !holds_nan(c.channel(channel), facts_.n)) {
    for (const Standard& s : standards_)
      permitted_.push_back(permitted(set_, s.sum, all_classes[s.klass], s.rsqrt_ulps));
  }

  void judge() {
    judge_statistic(Output::mean, {});
    judge_statistic(Output::var, {});
    judge_statistic(Output::invstd, {Output::var});
    if (judged(Output::y))
      conclude(judge_y(), {Output::mean, Output::var, Output::invstd});
    judge_statistic(Output::running_mean, {Output::mean});
    judge_statistic(Output::running_var, {Output::var});
  }

private:
  std::string clause(Output output) const {
    const reference::Exactness& exact = facts_.exact;
    // Both families are exact, whatever the order (spec/bounds/exact.md).
    const bool constant = exact.constant && exact.mean && exact.variance;
    switch (output) {
    case Output::mean:
    case Output::var:
      if (constant)
        return "BN-NUM-11";
      if (exact.pair)
        return "BN-NUM-10";
      if (exact.variance)
        return "BN-NUM-9";
      return output == Output::mean ? "BN-NUM-1" : "BN-NUM-2";
    case Output::invstd:
      return "BN-NUM-3";
    case Output::y:
      if (set_.training && constant && set_.eps > 0 && (!gate_.folded || facts_.mean_hi == 0))
        return "BN-NUM-11";
      if (set_.training)
        return gate_.folded ? "BN-NUM-5" : "BN-NUM-4";
      return gate_.folded ? "BN-NUM-7" : "BN-NUM-6";
    default:
      return "BN-NUM-8";
    }
  }

  void judge_statistic(Output output, std::initializer_list<Output> depends_on) {
    if (!judged(output))
      return;
    Stage stage;
    stage.output = output;
    const Reading r = reading(output, 0);
    record(output, condition_scale(output));
    const double measured = behind_infinity(output, r) ? 0 : r.measured(facts_.finite);
    weigh(stage, clause(output), output, 0, measured, is_rounded(r.got, r.rn), [&](std::size_t k) {
      const Permitted& p = permitted_[k];
      if (output == Output::invstd && root_of_roundings(p))
        return infinity;
      if (!facts_.finite || !std::isfinite(r.rn))
        return 0.0;
      switch (output) {
      case Output::mean:
        return p.mean;
      case Output::var:
        return p.variance;
      case Output::invstd:
        return r.above() ? p.invstd_above : p.invstd_below;
      case Output::running_mean:
        return p.running_mean;
      default:
        return p.running_var;
      }
    });
    if (output == Output::var)
      stage.vacuous = facts_.finite && facts_.variance > 0 && stage.worst.permitted >= facts_.variance;
    if (facts_.finite && std::isfinite(r.got))
      stage.link = link(output, r);
    conclude(stage, depends_on);
  }

  /// v + eps = 0 is the dialect's business (BN-FWD-9) where the kernel's variance must be 0 as well. Where it
  /// may be roundings, their root is anything: no bound (spec/bounds/invstd.md).
  bool root_of_roundings(const Permitted& p) const {
    return set_.training && facts_.finite && facts_.variance + set_.eps == 0 && p.variance > 0;
  }

  /// The statistics that infinities without a NaN leave open besides NaN (BN-FWD-13): a merge of partial
  /// means squares an infinite difference.
  bool behind_infinity(Output output, const Reading& r) const {
    if (!behind_infinity_ || !std::isnan(r.rn))
      return false;
    return output == Output::invstd
               ? r.got == 0
               : (output == Output::var || output == Output::running_var) && r.got == infinity;
  }

  double condition_scale(Output output) const {
    const double w = std::abs(set_.weight);
    const double kept = std::abs(1 - set_.weight);
    switch (output) {
    case Output::mean:
      return facts_.mean_abs;
    case Output::var:
      return facts_.deviation * facts_.rms;
    case Output::running_mean:
      return kept * std::abs(set_.running_mean) + w * facts_.mean_abs;
    case Output::running_var:
      return kept * std::abs(set_.running_var) + w * set_.running_stat_factor * facts_.deviation * facts_.rms;
    default:
      return facts_.invstd * (1 + variance_share());
    }
  }

  /// |dr / r| for a relative error 1 of the scale that the variance is conditioned by.
  double variance_share() const {
    return set_.training ? 0.5 * facts_.invstd * facts_.invstd * facts_.deviation * facts_.rms : 0;
  }

  std::optional<Reported> reported(Output output) const {
    if (seen_[output].empty())
      return std::nullopt;
    const double value = seen_[output][static_cast<std::size_t>(channel_)];
    if (!std::isfinite(value))
      return std::nullopt;
    return Reported{value, 0.5 * reference::spacing(format_of(problem(), output), value)};
  }

  /// Links of the per-channel outputs (BN-NUM-12, BN-NUM-14).
  std::optional<Judgement> link(Output output, const Reading& r) const {
    if (output == Output::invstd) {
      const auto var = reported(Output::var);
      if (!var || !(var->value + set_.eps > 0))
        return std::nullopt;
      const DoubleDouble want = DoubleDouble(1) / sqrt(reference::two_sum(var->value, set_.eps));
      return linked("BN-NUM-12", output, 0, r, want, permitted_invstd_link(set_, *var, arithmetic_));
    }
    if (output != Output::running_mean && output != Output::running_var)
      return std::nullopt;
    const bool is_mean = output == Output::running_mean;
    const auto statistic = reported(is_mean ? Output::mean : Output::var);
    if (!statistic)
      return std::nullopt;
    const auto n = static_cast<double>(facts_.n);
    const double factor = is_mean ? 1 : set_.running_stat_factor;
    const double old = is_mean ? set_.running_mean : set_.running_var;
    const DoubleDouble fed = factor == 1 ? DoubleDouble(statistic->value)
                                         : reference::two_product(statistic->value, n) / DoubleDouble(n - 1);
    const DoubleDouble given =
        problem().momentum
            ? DoubleDouble(*problem().momentum)
            : DoubleDouble(1) / DoubleDouble(static_cast<double>(case_.num_batches_tracked) + 1);
    const bool of_old = problem().semantics.momentum == MomentumSense::weight_of_old;
    const DoubleDouble w = of_old ? DoubleDouble(1) - given : given;
    const DoubleDouble want = (DoubleDouble(1) - w) * DoubleDouble(old) + w * fed;
    return linked("BN-NUM-14", output, 0, r, want,
                  permitted_running_link(set_, old, *statistic, factor, arithmetic_));
  }

  /// As at_most_apart() of deviation slope + beta: three roundings of the product, one of the sum.
  static double at_most_apart(double got, double deviation, double slope, double beta, double least_reach) {
    const double product = deviation * slope;
    const double want = product + beta;
    const double roundings = 4 * 0x1p-53 * (std::abs(product) + std::abs(want));
    return properties::at_most_apart(got, want, roundings, least_reach);
  }

  /// E of the gate where it is no distance.
  double measured_special(const Reading& r, bool finite) const {
    return folds_to_nan(r) ? 0 : r.measured(finite);
  }

  /// x a + b with infinite a and b is NaN also where the formula is an infinity (BN-INF-6).
  bool folds_to_nan(const Reading& r) const {
    return !set_.training && gate_.folded && std::isinf(facts_.invstd) && std::isinf(r.rn) &&
           std::isnan(r.got);
  }

  Stage judge_y() {
    Stage stage;
    stage.output = Output::y;
    const std::string id = clause(Output::y);
    const double* x = case_.channel(channel_);
    const double scale = std::abs(set_.gamma) * facts_.invstd;
    const double mean_scale = set_.training ? facts_.mean_abs : std::abs(facts_.mean_hi);
    const double share = variance_share();
    const auto mean = reported(Output::mean);
    const auto invstd = reported(Output::invstd);
    const bool links = set_.training && facts_.finite && mean && invstd;
    const double slope = links ? invstd->value * set_.gamma : 0;
    LinearBound link_bound;
    if (links)
      link_bound =
          permitted_y_link(set_, *mean, *invstd, arithmetic_, gate_.folded ? Form::folded : Form::centred);

    // Every element meets all standards: their bounds lie close together.
    std::vector<LinearBound> of_y;
    std::vector<char> open;
    for (const Permitted& p : permitted_) {
      of_y.push_back(p.y);
      open.push_back(static_cast<char>(root_of_roundings(p)));
    }

    bool informative = false;
    bool trivial_is_true = true;
    double link_ratio = -1;
    std::array<double, reference::Readings::block> deviations{};
    std::array<double, reference::Readings::block> scales{};
    for (std::int64_t first = 0; first < facts_.n; first += reference::Readings::block) {
      const std::int64_t count = std::min(reference::Readings::block, facts_.n - first);
      for (std::int64_t k = 0; k < count; ++k) {
        const double deviation = std::abs((x[first + k] - facts_.mean_hi) - facts_.mean_lo);
        const auto at = static_cast<std::size_t>(k);
        deviations[at] = deviation;
        scales[at] = scale * (std::abs(x[first + k]) + mean_scale + share * deviation) + std::abs(set_.beta);
      }
      const reference::Readings& readings = record(Output::y, first, count, scales.data());
      const Values y = values(Output::y, first);
      for (std::int64_t k = 0; k < count; ++k) {
        const std::int64_t i = first + k;
        const double deviation = deviations[static_cast<std::size_t>(k)];
        const double value = std::abs(x[i]);
        const double got = y.got[k];
        const double rn = y.rn[k];
        const bool numbers = std::isfinite(got) && std::isfinite(rn);
        // In inference an infinite x concerns its own element alone (BN-INF-4).
        const bool finite = set_.training ? facts_.finite : std::isfinite(x[i]);
        const bool bounded = finite && std::isfinite(rn);
        const auto bound = [&](std::size_t standard) {
          if (open[standard] != 0)
            return infinity;
          return bounded ? of_y[standard].at(deviation, value) : 0.0;
        };
        const double measured =
            numbers ? readings.beyond[k] : measured_special(reading(Output::y, i), finite);
        if (measured > 0 || i == 0 || got != rn)
          weigh(stage, id, Output::y, i, measured, is_rounded(got, rn), bound);
        if (!informative && facts_.finite) {
          trivial_is_true = trivial_is_true && deviation == 0;
          double allowed = 0;
          for (std::size_t standard = 0; standard < standards_.size(); ++standard)
            if (standards_[standard].gates)
              allowed = std::max(allowed, bound(standard));
          informative = scale * deviation > allowed;
        }
        if (links && std::isfinite(got)) {
          const double allowed = link_bound.at(std::abs(x[i] - mean->value), value);
          if (in_doubles() && link_ratio >= 0 &&
              at_most_apart(got, x[i] - mean->value, slope, set_.beta, readings.least_reach[k]) <
                  link_ratio * allowed)
            continue;
          const DoubleDouble want = (DoubleDouble(x[i]) - DoubleDouble(mean->value)) *
                                        reference::two_product(invstd->value, set_.gamma) +
                                    DoubleDouble(set_.beta);
          const double ratio = quotient(reading(Output::y, i).distance_to(want), allowed);
          if (ratio > link_ratio) {
            link_ratio = ratio;
            stage.link = linked("BN-NUM-13", Output::y, i, reading(Output::y, i), want, allowed);
          }
        }
      }
    }
    if (set_.training && facts_.finite && !links)
      stage.link = consistency();
    stage.vacuous = facts_.finite && facts_.n > 0 && !informative && !trivial_is_true &&
                    gate_.grade != Grade::correctly_rounded;
    return stage;
  }

  /// BN-NUM-15: one (mean, invstd) explains the whole channel under some class of the gate. For kernels that
  /// report too little for BN-NUM-13.
  std::optional<Judgement> consistency() const {
    const double* x = case_.channel(channel_);
    const double scale = std::abs(set_.gamma) * facts_.invstd;
    std::vector<Strip> strips(static_cast<std::size_t>(facts_.n));
    for (std::int64_t i = 0; i < facts_.n; ++i) {
      const Reading r = reading(Output::y, i);
      if (!r.numbers())
        return std::nullopt;  // judged as the wrong kind of value
      const double off = (r.above() ? 1 : -1) * reference::distance(r.format, r.got, r.rn, r.off);
      const double signed_off = r.got == r.rn ? -r.off * reference::spacing(r.format, r.rn) : off;
      const double half = 0.5 * reference::spacing(r.format, r.got);
      strips[static_cast<std::size_t>(i)] = {set_.gamma * facts_.invstd *
                                                 ((x[i] - facts_.mean_hi) - facts_.mean_lo),
                                             signed_off - half, signed_off + half, 0};
    }
    std::optional<Judgement> worst;
    for (std::size_t k = 0; k < standards_.size(); ++k) {
      if (!standards_[k].gates)
        continue;
      const Permitted& p = permitted_[k];
      for (std::int64_t i = 0; i < facts_.n; ++i) {
        strips[static_cast<std::size_t>(i)].roundings =
            p.y_roundings.at(std::abs((x[i] - facts_.mean_hi) - facts_.mean_lo), std::abs(x[i]));
      }
      const double q_limit = scale * (1 + p.rho) * p.mean_used;
      if (!std::isfinite(p.rho) || !std::isfinite(q_limit))
        return std::nullopt;
      const auto at = contradiction(strips, p.rho, q_limit);
      if (!at) {
        Judgement fine;
        fine.clause = "BN-NUM-15";
        return fine;
      }
      const double factor = contradiction_factor(strips, p.rho, q_limit);
      if (worst && factor >= worst->ratio())
        continue;
      const auto i = static_cast<std::int64_t>(*at);
      const double F = strips[*at].roundings;
      worst = judgement("BN-NUM-15", Output::y, i, reading(Output::y, i), factor * F, F);
    }
    return worst;
  }

  ChannelProblem set_;
  bool behind_infinity_;              ///< training on infinities without a NaN
  std::vector<Permitted> permitted_;  ///< by standard
};

}  // namespace

ChannelProblem channel_problem(const Case& c, const reference::ChannelFacts& facts, std::int64_t channel) {
  const Problem& problem = c.problem;
  const auto at = static_cast<std::size_t>(channel);
  ChannelProblem set;
  set.facts = facts;
  set.training = problem.pass == Pass::forward_training || problem.pass == Pass::gradient;
  set.stats = problem.stats;
  set.data = problem.data;
  set.eps = problem.eps;
  if (!c.gamma.empty())
    set.gamma = c.gamma[at];
  if (!c.beta.empty())
    set.beta = c.beta[at];
  if (problem.pass == Pass::forward_training && problem.running) {
    set.running_mean = c.running_mean[at];
    set.running_var = c.running_var[at];
    const double given =
        problem.momentum ? *problem.momentum : 1 / (static_cast<double>(c.num_batches_tracked) + 1);
    set.weight = problem.semantics.momentum == MomentumSense::weight_of_old ? 1 - given : given;
    const auto n = static_cast<double>(facts.n);
    if (problem.semantics.running == VarianceKind::unbiased && n > 1)
      set.running_stat_factor = n / (n - 1);
  }
  return set;
}

void judge_forward(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                   const Gate& gate, std::int64_t channel, CaseVerdict& verdict) {
  ForwardJudge(c, truth, seen, gate, channel, verdict).judge();
}

}  // namespace normproof::properties
