// Judging gradients: dbeta, dgamma and dx at the statistics given (truth A) or of the pair forward and
// backward (truth B), dx also against the kernel's own dbeta and dgamma, and the second order
// (spec/bounds/backward.md, double_backward.md).
#include <algorithm>
#include <array>
#include <cmath>

#include "arithmetic.h"
#include "channel_judge.h"
#include "normproof/properties/bounds.h"
#include "normproof/properties/gradient_bounds.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

class GradientJudge : public ChannelJudge {
public:
  GradientJudge(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                const Gate& gate, std::int64_t channel, CaseVerdict& verdict)
      : ChannelJudge(c, truth, seen, gate, channel, verdict),
        gradient_(facts_.gradient) {
    set_.facts = gradient_;
    set_.n = facts_.n;
    set_.gamma = c.gamma.empty() ? 1 : c.gamma[static_cast<std::size_t>(channel)];
    set_.inference = is_inference(problem().pass);
    set_.data = problem().data;
    set_.accumulator = problem().accumulator();
    open_ = !set_.inference && without_nan(true);
    grad_dy_open_ = !set_.inference && without_nan(false);
    const bool second = is_second_order(problem().pass);
    const SecondOrderSums sums = second ? second_order_sums() : SecondOrderSums{};
    // Given statistics are used as they are (spec/bounds/backward.md, the table of uses). Of the pair e and
    // rho are those of the class, in inference rho is that of the root of the given variance.
    const bool given = takes_saved(problem().pass);
    const ChannelProblem statistics = given ? ChannelProblem{} : channel_problem(case_, facts_, channel_);
    for (const Standard& s : standards_) {
      const Permitted p =
          given ? Permitted{} : permitted(statistics, s.sum, all_classes[s.klass], s.rsqrt_ulps);
      const StatisticsUsed used{p.mean_used, p.rho};
      if (second)
        second_.emplace_back(set_, sums, s.sum, used);
      else
        first_.emplace_back(set_, s.sum, used);
      undecided_.push_back(problem().pass == Pass::gradient && facts_.finite &&
                           facts_.variance + problem().eps == 0 && p.variance > 0);
    }
  }

  void judge() {
    if (is_second_order(problem().pass)) {
      judge_elements(Output::grad_dy, set_.inference ? "BN-NUM-32" : "BN-NUM-29", {});
      judge_elements(Output::grad_x, set_.inference ? "BN-NUM-34" : "BN-NUM-31", {});
      judge_scalar(Output::grad_gamma, set_.inference ? "BN-NUM-33" : "BN-NUM-30");
      return;
    }
    judge_scalar(Output::dbeta, gradient_.exact_dbeta ? "BN-NUM-26" : "BN-NUM-20");
    judge_scalar(Output::dgamma,
                 exact(gradient_.exact_dgamma) ? "BN-NUM-26" : pick("BN-NUM-21", "BN-NUM-23", "BN-NUM-28"));
    judge_elements(Output::dx,
                   exact(gradient_.exact_dx) ? "BN-NUM-26" : pick("BN-NUM-22", "BN-NUM-24", "BN-NUM-27"),
                   {Output::dbeta, Output::dgamma});
  }

private:
  bool exact(bool flag) const { return flag && problem().pass == Pass::backward_training; }
  const char* pick(const char* given, const char* pair, const char* inference) const {
    if (problem().pass == Pass::gradient)
      return pair;
    return set_.inference ? inference : given;
  }

  double deviation(std::int64_t i) const {
    return std::abs((case_.channel(channel_)[i] - gradient_.mean_hi) - gradient_.mean_lo);
  }
  double dy(std::int64_t i) const { return case_.channel(case_.dy, channel_)[i]; }
  double v(std::int64_t i) const { return case_.v_x.empty() ? 0 : case_.channel(case_.v_x, channel_)[i]; }

  SecondOrderSums second_order_sums() const {
    SecondOrderSums sums;
    DoubleDouble V1;
    DoubleDouble W1;
    DoubleDouble Z1;
    for (std::int64_t i = 0; i < set_.n; ++i) {
      const double size = std::abs(v(i));
      const double gradient = std::abs(dy(i));
      V1 = V1 + DoubleDouble(size);
      W1 = W1 + DoubleDouble(size * deviation(i) * gradient_.invstd);
      Z1 = Z1 + DoubleDouble(size * gradient);
      sums.max_v = std::max(sums.max_v, size);
      sums.max_dy = std::max(sums.max_dy, gradient);
    }
    sums.V1 = V1.hi;
    sums.W1 = W1.hi;
    sums.Z1 = Z1.hi;
    const auto at = static_cast<std::size_t>(channel_);
    sums.a = case_.v_gamma.empty() ? 0 : std::abs(case_.v_gamma[at]);
    sums.b = case_.v_beta.empty() ? 0 : std::abs(case_.v_beta[at]);
    return sums;
  }

  /// In training a NaN of the truth that stems from infinities alone stands for "not finite" (BN-BWD-11).
  double measured(Output output, const Reading& r) const {
    if (std::isnan(r.rn) && std::isinf(r.got) && (output == Output::grad_dy ? grad_dy_open_ : open_))
      return 0;
    return r.measured(facts_.finite && gradient_.finite);
  }

  /// Whether no NaN is given to this channel, so that which of NaN and infinity comes out is open.
  bool without_nan(bool in_dy_too) const {
    const auto at = static_cast<std::size_t>(channel_);
    for (const auto* values : {&case_.x, &case_.dy, &case_.v_x})
      if (!values->empty() && (in_dy_too || values != &case_.dy) &&
          holds_nan(case_.channel(*values, channel_), facts_.n))
        return false;
    for (const auto* values :
         {&case_.gamma, &case_.saved_mean, &case_.saved_invstd, &case_.v_gamma, &case_.v_beta})
      if (!values->empty() && std::isnan((*values)[at]))
        return false;
    return true;
  }

  void judge_scalar(Output output, const char* clause) {
    if (!judged(output))
      return;
    Stage stage;
    stage.output = output;
    const Reading r = reading(output, 0);
    record(output, output == Output::dbeta ? gradient_.G1 : gradient_.H1);
    weigh(stage, clause, output, 0, measured(output, r), is_rounded(r.got, r.rn), [&](std::size_t k) {
      if (output == Output::dgamma && undecided_[k])
        return infinity;
      if (!std::isfinite(r.rn))
        return 0.0;
      if (output == Output::grad_gamma)
        return second_[k].grad_gamma();
      return output == Output::dbeta ? first_[k].dbeta() : first_[k].dgamma();
    });
    conclude(stage, {});
  }

  double bound(Output output, std::size_t k, std::int64_t i) const {
    switch (output) {
    case Output::dx:
      return first_[k].dx(dy(i), deviation(i));
    case Output::grad_dy:
      return second_[k].grad_dy(v(i), deviation(i));
    default:
      return second_[k].grad_x(v(i), dy(i), deviation(i));
    }
  }

  void judge_elements(Output output, const char* clause_id, std::initializer_list<Output> depends_on) {
    if (!judged(output))
      return;
    const std::string clause = clause_id;
    Stage stage;
    stage.output = output;
    const double n = static_cast<double>(set_.n);
    const double r_scale = std::abs(set_.gamma) * gradient_.invstd;
    const std::optional<ReportedGradients> reported =
        output == Output::dx ? reported_gradients() : std::nullopt;

    bool informative = false;
    bool trivial_is_true = true;
    double link_ratio = -1;
    const double invstd = gradient_.invstd;
    std::array<double, reference::Readings::block> scales{};
    for (std::int64_t first = 0; first < set_.n; first += reference::Readings::block) {
      const std::int64_t count = std::min(reference::Readings::block, set_.n - first);
      for (std::int64_t k = 0; k < count; ++k)
        scales[static_cast<std::size_t>(k)] = r_scale * (std::abs(dy(first + k)) + gradient_.G1 / n +
                                                         deviation(first + k) * invstd * gradient_.H1 / n);
      const reference::Readings& readings = record(output, first, count, scales.data());
      const Values seen = values(output, first);
      for (std::int64_t k = 0; k < count; ++k) {
        const std::int64_t i = first + k;
        const double got = seen.got[k];
        const double rn = seen.rn[k];
        const bool bounded = std::isfinite(rn);
        const bool numbers = bounded && std::isfinite(got);
        const double error = numbers ? readings.beyond[k] : measured(output, reading(output, i));
        if (error > 0 || i == 0 || got != rn)
          weigh(stage, clause, output, i, error, is_rounded(got, rn), [&](std::size_t standard) {
            if (output == Output::dx && undecided_[standard])
              return infinity;
            return bounded ? bound(output, standard, i) : 0.0;
          });
        if (!informative && bounded) {
          trivial_is_true = trivial_is_true && rn == 0;
          double allowed = 0;
          for (std::size_t standard = 0; standard < standards_.size(); ++standard)
            if (standards_[standard].gates)
              allowed = std::max(allowed, bound(output, standard, i));
          informative = std::abs(rn) > allowed;
        }
        if (reported && numbers) {
          const double allowed = permitted_dx_link(set_, *reported, arithmetic_, dy(i), deviation(i));
          if (in_doubles() && link_ratio >= 0 &&
              at_most_apart(got, *reported, i, readings.least_reach[k]) < link_ratio * allowed)
            continue;
          const DoubleDouble want = dx_at(*reported, i);
          const double ratio = quotient(reading(output, i).distance_to(want), allowed);
          if (ratio > link_ratio) {
            link_ratio = ratio;
            stage.link = linked("BN-NUM-25", output, i, reading(output, i), want, allowed);
          }
        }
      }
    }
    stage.vacuous = facts_.finite && set_.n > 0 && !informative && !trivial_is_true &&
                    gate_.grade != Grade::correctly_rounded;
    conclude(stage, depends_on);
  }

  /// What BN-NUM-25 links to: the sums that the kernel reported, at the statistics that it was given.
  std::optional<ReportedGradients> reported_gradients() const {
    if (problem().pass != Pass::backward_training || seen_[Output::dbeta].empty() ||
        seen_[Output::dgamma].empty())
      return std::nullopt;
    const auto at = static_cast<std::size_t>(channel_);
    const double dbeta = seen_[Output::dbeta][at];
    const double dgamma = seen_[Output::dgamma][at];
    if (!std::isfinite(dbeta) || !std::isfinite(dgamma))
      return std::nullopt;
    const Format& format = format_of(problem(), Output::dgamma);
    return ReportedGradients{dbeta, 0.5 * reference::spacing(format, dbeta), dgamma,
                             0.5 * reference::spacing(format, dgamma)};
  }

  DoubleDouble dx_at(const ReportedGradients& reported, std::int64_t i) const {
    const auto at = static_cast<std::size_t>(channel_);
    const double m = case_.saved_mean[at];
    const double r = case_.saved_invstd[at];
    const DoubleDouble n(static_cast<double>(set_.n));
    const DoubleDouble xhat = reference::two_sum(case_.channel(channel_)[i], -m) * DoubleDouble(r);
    const DoubleDouble rest =
        DoubleDouble(dy(i)) - DoubleDouble(reported.dbeta) / n - xhat * DoubleDouble(reported.dgamma) / n;
    return reference::two_product(set_.gamma, r) * rest;
  }

  /// As at_most_apart() of dx_at(): its terms have at most eight roundings in doubles.
  double at_most_apart(double got, const ReportedGradients& reported, std::int64_t i,
                       double least_reach) const {
    const auto at = static_cast<std::size_t>(channel_);
    const double n = static_cast<double>(set_.n);
    const double r = case_.saved_invstd[at];
    const double scale = set_.gamma * r;
    const double mean = reported.dbeta / n;
    const double along = (case_.channel(channel_)[i] - case_.saved_mean[at]) * r * (reported.dgamma / n);
    const double want = scale * (dy(i) - mean - along);
    const double sizes = std::abs(scale) * (std::abs(dy(i)) + std::abs(mean) + std::abs(along));
    const double roundings = 12 * 0x1p-53 * sizes;
    return properties::at_most_apart(got, want, roundings, least_reach);
  }

  const reference::GradientFacts& gradient_;
  GradientProblem set_;
  bool open_ = false;                  ///< NaN and infinity are one: see measured()
  bool grad_dy_open_ = false;          ///< the same for what does not read dy
  std::vector<GradientBounds> first_;  ///< by standard
  /// By standard: the pair's var + eps is 0 and a kernel's may be roundings, whose root is anything
  /// (BN-BWD-10 leaves the rest to the dialect).
  std::vector<bool> undecided_;
  std::vector<SecondOrderBounds> second_;  ///< by standard
};

}  // namespace

void judge_gradients(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                     const Gate& gate, std::int64_t channel, CaseVerdict& verdict) {
  GradientJudge(c, truth, seen, gate, channel, verdict).judge();
}

}  // namespace normproof::properties
