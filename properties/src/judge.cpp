#include "normproof/properties/judge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "normproof/properties/affine.h"
#include "normproof/properties/bounds.h"
#include "normproof/reference/double_double.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using impls::Observation;
using reference::DoubleDouble;

constexpr double infinity = std::numeric_limits<double>::infinity();

double quotient(double measured, double permitted) {
  if (measured == 0)
    return 0;
  return permitted > 0 ? measured / permitted : infinity;
}

/// One combination of grade and class that exists, with the bounds of the channel at hand.
struct Standard {
  std::size_t grade;
  std::size_t klass;
  bool gates;
  Permitted permitted;
};

/// A stored value against its truth.
struct Reading {
  double got, rn, off;
  Format format;

  bool numbers() const { return std::isfinite(got) && std::isfinite(rn); }
  /// Infinity for a wrong kind of value, where no distance exists.
  double measured(bool finite_channel) const {
    if (std::isnan(rn))
      return std::isnan(got) ? 0 : infinity;
    if (std::isnan(got))
      return infinity;
    if (!numbers() && !finite_channel)
      return got == rn ? 0 : infinity;
    return reference::distance_to_rounding_interval(format, got, rn, off);
  }
  double ulps() const {
    return std::isnan(got) || std::isnan(rn) ? infinity : reference::ulps_off(format, got, rn, off);
  }
  bool above() const { return got > rn; }
};

void record(Accuracy& accuracy, const Reading& r, double condition_scale) {
  ++accuracy.count;
  if (!r.numbers()) {
    const bool agree = std::isnan(r.rn) ? std::isnan(r.got) : r.got == r.rn;
    agree ? ++accuracy.correctly_rounded : ++accuracy.special;
    if (agree)
      ++accuracy.faithful;
    return;
  }
  if (r.got == 0 && r.rn != 0 && std::abs(r.rn) < smallest_normal(r.format))
    ++accuracy.flushed;
  if (r.got == 0 && r.rn == 0 && r.off == 0 && std::signbit(r.got) != std::signbit(r.rn))
    ++accuracy.sign_of_zero;
  const double raw = r.ulps();
  accuracy.histogram.add(raw);
  accuracy.max_raw = std::max(accuracy.max_raw, raw);
  if (r.got == r.rn) {
    ++accuracy.correctly_rounded;
    ++accuracy.faithful;
  } else if (reference::is_faithful(r.format, r.got, r.rn, r.off)) {
    ++accuracy.faithful;
  }
  const double scale = round_to(r.format, condition_scale);
  if (scale > 0 && std::isfinite(scale)) {
    accuracy.max_cond = std::max(accuracy.max_cond, reference::distance(r.format, r.got, r.rn, r.off) /
                                                        reference::ulp(r.format, scale, 0));
  }
}

/// Judges one channel of one case.
class ChannelJudge {
public:
  ChannelJudge(const Case& c, const reference::Truth& truth, const Observation& seen, const Gate& gate,
               std::int64_t channel, CaseVerdict& verdict)
      : case_(c),
        problem_(c.problem),
        truth_(truth),
        seen_(seen),
        gate_(gate),
        channel_(channel),
        verdict_(verdict) {
    const auto at = static_cast<std::size_t>(channel);
    set_.facts = truth.channels[at];
    set_.training = problem_.pass == Pass::forward_training;
    set_.stats = problem_.stats;
    set_.data = problem_.data;
    set_.eps = problem_.eps;
    if (problem_.affine) {
      set_.gamma = c.gamma[at];
      set_.beta = c.beta[at];
    }
    if (set_.training && problem_.running) {
      set_.running_mean = c.running_mean[at];
      set_.running_var = c.running_var[at];
      const double given =
          problem_.momentum ? *problem_.momentum : 1 / (static_cast<double>(c.num_batches_tracked) + 1);
      set_.weight = problem_.semantics.momentum == MomentumSense::weight_of_old ? 1 - given : given;
      const auto n = static_cast<double>(set_.facts.n);
      if (problem_.semantics.running == VarianceKind::unbiased && n > 1)
        set_.running_stat_factor = n / (n - 1);
    }
    for (std::size_t g = index_of(Grade::wide); g < grade_count; ++g) {
      const Reduction sum =
          reduction(all_grades[g], std::max<std::int64_t>(1, set_.facts.n), problem_.accumulator());
      for (std::size_t k = 0; k < class_count; ++k) {
        if (!admits(all_grades[g], all_classes[k]))
          continue;
        const bool gates = all_grades[g] == gate.grade && gate.allows(all_classes[k]);
        standards_.push_back({g, k, gates, permitted(set_, sum, all_classes[k])});
      }
    }
    arithmetic_ = reduction(Grade::tree, 1, problem_.accumulator());  // links have no depth
    prepare_claims();
  }

  void judge() {
    for (const Output output : all_outputs) {
      if (seen_[output].empty() || truth_[output].empty())
        continue;
      if (problem_.pass == Pass::forward_inference && output != Output::y)
        continue;  // nothing else is an output there
      Stage stage = output == Output::y ? judge_y() : judge_statistic(output);
      stage.output = output;
      conclude(stage);
    }
  }

private:
  /// What was found of one output of this channel.
  struct Stage {
    Output output = Output::y;
    Judgement worst;  ///< at the gate
    double ratio = 0;
    bool unprovable = false;
    bool vacuous = false;
    std::optional<Judgement> link;  ///< the link's worst judgement; absent when there is nothing to link to
    double claim_ratio = 0;
    Judgement claim;
  };

  static constexpr std::size_t index_of(Grade grade) { return static_cast<std::size_t>(grade); }

  void prepare_claims() {
    const impls::Claims& claims = seen_.claims;
    if (claims.accumulator_bits == 0 && claims.reduction_depth == 0)
      return;
    const double n = static_cast<double>(set_.facts.n);
    const int bits = claims.accumulator_bits == 0 ? problem_.accumulator().p : claims.accumulator_bits;
    // Twice the bits of a format that exists is a compensated sum in that format (spec/bounds/model.md).
    const bool wide = bits > f64.p || (bits == 2 * f32.p && problem_.accumulator() == f32);
    const double u = wide ? arithmetic_.u : std::scalbn(1.0, -bits);
    const double eta = bits > f32.p ? reduction(Grade::tree, 1, f64).eta : arithmetic_.eta;
    const double any = std::max(0.0, n - 1);
    const double D =
        claims.reduction_depth == 0 ? any : std::min(any, static_cast<double>(claims.reduction_depth));
    const Reduction sum{u, eta, D, wide};
    const double rsqrt_ulps = claims.rsqrt_ulps > 0 ? claims.rsqrt_ulps : 2;
    for (const Class& k : all_classes) {
      if (claims.family != NP_FAMILY_UNKNOWN &&
          static_cast<int>(claims.family) != static_cast<int>(k.family) + 1)
        continue;
      if (claims.affine != NP_AFFINE_UNKNOWN &&
          static_cast<int>(claims.affine) != static_cast<int>(k.form) + 1)
        continue;
      claimed_.push_back(permitted(set_, sum, k, rsqrt_ulps));
    }
  }

  const Format& format(Output output) const { return format_of(problem_, output); }

  Reading reading(Output output, std::int64_t i) const {
    const std::size_t at = output == Output::y
                               ? static_cast<std::size_t>(channel_ * problem_.shape.per_channel() + i)
                               : static_cast<std::size_t>(channel_);
    return {seen_[output][at], truth_[output].rn[at], truth_[output].off[at], format(output)};
  }

  Judgement judgement(Output output, std::int64_t i, const Reading& r, double measured,
                      double allowed) const {
    Judgement j;
    j.output = output;
    j.channel = channel_;
    j.element = i;
    j.got = r.got;
    j.want = r.rn;
    j.ulps = r.ulps();
    j.measured = measured;
    j.permitted = allowed;
    j.clause = clause(output);
    return j;
  }

  std::string clause(Output output) const {
    const bool exact = set_.facts.exact.variance && set_.training;
    switch (output) {
    case Output::mean:
      return set_.facts.exact.pair ? "BN-NUM-10" : (exact ? "BN-NUM-9" : "BN-NUM-1");
    case Output::var:
      return set_.facts.exact.pair ? "BN-NUM-10" : (exact ? "BN-NUM-9" : "BN-NUM-2");
    case Output::invstd:
      return "BN-NUM-3";
    case Output::y:
      if (set_.training)
        return gate_.folded ? "BN-NUM-5" : "BN-NUM-4";
      return gate_.folded ? "BN-NUM-7" : "BN-NUM-6";
    case Output::running_mean:
    case Output::running_var:
      return "BN-NUM-8";
    default:
      break;
    }
    return "";
  }

  /// Feeds one element to every standard: evidence, gate and claim.
  template <class Bound>  // double(const Permitted&)
  void weigh(Stage& stage, Output output, std::int64_t i, const Reading& r, double measured,
             const Bound& bound) {
    auto& evidence = verdict_.evidence[index(output)];
    for (auto& slot : evidence[index_of(Grade::correctly_rounded)]) {
      note(slot, measured > 0 || r.got != r.rn ? rounding_ratio(r) : 0, output, i, r, measured, 0);
    }
    double least = infinity;
    double allowed = 0;
    bool unprovable = false;
    for (const Standard& s : standards_) {
      const double b = bound(s.permitted);
      const double ratio = quotient(measured, b);
      note(evidence[s.grade][s.klass], ratio, output, i, r, measured, b);
      if (!s.gates)
        continue;
      unprovable = unprovable || std::isinf(b);
      least = std::min(least, ratio);
      allowed = std::max(allowed, b);
    }
    if (gate_.grade == Grade::correctly_rounded) {
      least = rounding_ratio(r);
      allowed = 0;
    }
    stage.unprovable = stage.unprovable || unprovable;
    if (i == 0 || least > stage.ratio) {
      stage.ratio = least;
      stage.worst = judgement(output, i, r, measured, allowed);
    }
    if (!claimed_.empty()) {
      double claim = infinity;
      double claim_bound = 0;
      for (const Permitted& p : claimed_) {
        const double b = bound(p);
        claim = std::min(claim, quotient(measured, b));
        claim_bound = std::max(claim_bound, b);
      }
      if (claim > stage.claim_ratio) {
        stage.claim_ratio = claim;
        stage.claim = judgement(output, i, r, measured, claim_bound);
      }
    }
  }

  /// The correctly-rounded grade knows no tolerance: the rounded truth, or failure (ties are decided to
  /// even).
  static double rounding_ratio(const Reading& r) {
    const bool same = std::isnan(r.rn) ? std::isnan(r.got) : r.got == r.rn;
    return same ? 0 : infinity;
  }

  void note(Extreme& slot, double ratio, Output output, std::int64_t i, const Reading& r, double measured,
            double b) {
    if (verdict_.domain == Domain::extended && !gate_.extended)
      return;
    if (slot.seen && ratio <= slot.ratio)
      return;
    slot = {ratio, true, {}};
    if (ratio > 0)
      slot.at = judgement(output, i, r, measured, b);
  }

  Stage judge_statistic(Output output) {
    Stage stage;
    const Reading r = reading(output, 0);
    const reference::ChannelFacts& f = set_.facts;
    record(verdict_.accuracy[index(output)], r, condition_scale(output));
    const double measured = r.measured(f.finite);
    weigh(stage, output, 0, r, measured, [&](const Permitted& p) {
      if (!f.finite || !std::isfinite(r.rn))
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
      stage.vacuous = f.finite && f.variance > 0 && stage.worst.permitted >= f.variance;
    if (f.finite)
      stage.link = link(output, r);
    return stage;
  }

  double condition_scale(Output output) const {
    const reference::ChannelFacts& f = set_.facts;
    const double w = set_.weight;
    switch (output) {
    case Output::mean:
      return f.mean_abs;
    case Output::var:
      return f.deviation * f.rms;
    case Output::invstd:
      return f.invstd;
    case Output::running_mean:
      return std::abs(1 - w) * std::abs(set_.running_mean) + std::abs(w) * f.mean_abs;
    case Output::running_var:
      return std::abs(1 - w) * std::abs(set_.running_var) +
             std::abs(w) * set_.running_stat_factor * f.deviation * f.rms;
    default:
      break;
    }
    return 0;
  }

  std::optional<Reported> reported(Output output) const {
    if (seen_[output].empty())
      return std::nullopt;
    const double value = seen_[output][static_cast<std::size_t>(channel_)];
    if (!std::isfinite(value))
      return std::nullopt;
    return Reported{value, 0.5 * reference::spacing(format(output), value)};
  }

  /// Links of the per-channel outputs (BN-NUM-12, BN-NUM-14).
  std::optional<Judgement> link(Output output, const Reading& r) const {
    if (!std::isfinite(r.got))
      return std::nullopt;
    if (output == Output::invstd) {
      const auto var = reported(Output::var);
      if (!var || !(var->value + set_.eps > 0))
        return std::nullopt;
      const DoubleDouble want = DoubleDouble(1) / sqrt(reference::two_sum(var->value, set_.eps));
      return linked("BN-NUM-12", r, want, permitted_invstd_link(set_, *var, arithmetic_));
    }
    if (output == Output::running_mean || output == Output::running_var) {
      const bool is_mean = output == Output::running_mean;
      const auto statistic = reported(is_mean ? Output::mean : Output::var);
      if (!statistic)
        return std::nullopt;
      const auto n = static_cast<double>(set_.facts.n);
      const bool unbiased = !is_mean && set_.running_stat_factor != 1;
      const double old = is_mean ? set_.running_mean : set_.running_var;
      const DoubleDouble fed = unbiased ? reference::two_product(statistic->value, n) / DoubleDouble(n - 1)
                                        : DoubleDouble(statistic->value);
      const DoubleDouble w =
          problem_.momentum
              ? DoubleDouble(*problem_.momentum)
              : DoubleDouble(1) / DoubleDouble(static_cast<double>(case_.num_batches_tracked) + 1);
      const DoubleDouble of_new =
          problem_.semantics.momentum == MomentumSense::weight_of_old ? DoubleDouble(1) - w : w;
      const DoubleDouble want = (DoubleDouble(1) - of_new) * DoubleDouble(old) + of_new * fed;
      return linked("BN-NUM-14", r, want,
                    permitted_running_link(set_, old, *statistic, unbiased ? set_.running_stat_factor : 1,
                                           arithmetic_));
    }
    return std::nullopt;
  }

  Judgement linked(const char* id, const Reading& r, DoubleDouble want, double allowed) const {
    Judgement j = judgement(Output::y, 0, r, link_distance(r, want), allowed);
    j.clause = id;
    j.want = round_to(r.format, want.hi);
    j.ulps = std::abs(static_cast<double>(DoubleDouble(r.got) - want)) / reference::spacing(r.format, j.want);
    return j;
  }

  /// Distance from a closed form to the reals that round to `got`.
  static double link_distance(const Reading& r, DoubleDouble want) {
    const double d = std::abs(static_cast<double>(DoubleDouble(r.got) - want));
    const double gap = reference::spacing(r.format, r.got);
    // Below a power of two the spacing towards zero is half as wide; the wide half is kept only on the far
    // side.
    const bool inward = std::abs(want.hi) < std::abs(r.got);
    int e = 0;
    const bool power = std::abs(std::frexp(r.got, &e)) == 0.5 && std::abs(r.got) > smallest_normal(r.format);
    return std::max(0.0, d - 0.5 * (inward && power ? gap / 2 : gap));
  }

  Stage judge_y() {
    Stage stage;
    const reference::ChannelFacts& f = set_.facts;
    const double* x = case_.channel(channel_);
    const double scale = std::abs(set_.gamma) * f.invstd;
    Accuracy& accuracy = verdict_.accuracy[index(Output::y)];

    const auto mean = reported(Output::mean);
    const auto invstd = reported(Output::invstd);
    const bool links = set_.training && f.finite && mean && invstd;
    LinearBound link_bound;
    if (links)
      link_bound =
          permitted_y_link(set_, *mean, *invstd, arithmetic_, gate_.folded ? Form::folded : Form::centred);

    bool informative = false;
    bool trivial_is_true = true;
    double link_ratio = -1;
    for (std::int64_t i = 0; i < f.n; ++i) {
      const Reading r = reading(Output::y, i);
      const double deviation = std::abs((x[i] - f.mean_hi) - f.mean_lo);
      const double value = std::abs(x[i]);
      record(accuracy, r, scale * (value + std::abs(f.mean_hi)) + std::abs(set_.beta));

      const double measured = r.measured(f.finite);
      const auto bound = [&](const Permitted& p) {
        return f.finite && std::isfinite(r.rn) ? p.y.at(deviation, value) : 0.0;
      };
      if (measured > 0 || i == 0 || r.got != r.rn)
        weigh(stage, Output::y, i, r, measured, bound);

      if (!informative && f.finite) {
        trivial_is_true = trivial_is_true && deviation == 0;
        double allowed = 0;
        for (const Standard& s : standards_) {
          if (s.gates)
            allowed = std::max(allowed, bound(s.permitted));
        }
        informative = scale * deviation > allowed;
      }
      if (links && std::isfinite(r.got)) {
        const DoubleDouble want = (DoubleDouble(x[i]) - DoubleDouble(mean->value)) *
                                      reference::two_product(invstd->value, set_.gamma) +
                                  DoubleDouble(set_.beta);
        const double allowed = link_bound.at(std::abs(x[i] - mean->value), value);
        const double ratio = quotient(link_distance(r, want), allowed);
        if (ratio > link_ratio) {
          link_ratio = ratio;
          stage.link = linked("BN-NUM-13", r, want, allowed);
          stage.link->output = Output::y;
          stage.link->element = i;
        }
      }
    }
    if (set_.training && f.finite && !links)
      stage.link = consistency();
    stage.vacuous =
        f.finite && f.n > 0 && !informative && !trivial_is_true && gate_.grade != Grade::correctly_rounded;
    return stage;
  }

  /// BN-NUM-15: one (mean, invstd) explains the whole channel under some class of the gate. For kernels that
  /// report too little for BN-NUM-13.
  std::optional<Judgement> consistency() const {
    const reference::ChannelFacts& f = set_.facts;
    const double* x = case_.channel(channel_);
    const double scale = std::abs(set_.gamma) * f.invstd;
    std::vector<Strip> strips(static_cast<std::size_t>(f.n));
    for (std::int64_t i = 0; i < f.n; ++i) {
      const Reading r = reading(Output::y, i);
      if (!r.numbers())
        return std::nullopt;  // judged as the wrong kind of value
      const double off = (r.above() ? 1 : -1) * reference::distance(r.format, r.got, r.rn, r.off);
      const double signed_off = r.got == r.rn ? -r.off * reference::spacing(r.format, r.rn) : off;
      const double half = 0.5 * reference::spacing(r.format, r.got);
      strips[static_cast<std::size_t>(i)] = {set_.gamma * f.invstd * ((x[i] - f.mean_hi) - f.mean_lo),
                                             signed_off - half, signed_off + half, 0};
    }
    std::optional<Judgement> worst;
    for (const Standard& s : standards_) {
      if (!s.gates)
        continue;
      const Permitted& p = s.permitted;
      for (std::int64_t i = 0; i < f.n; ++i) {
        strips[static_cast<std::size_t>(i)].roundings =
            p.y_roundings.at(std::abs((x[i] - f.mean_hi) - f.mean_lo), std::abs(x[i]));
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
      const auto i = static_cast<std::int64_t>(*at);
      if (worst && factor >= worst->ratio())
        continue;
      const double F = strips[*at].roundings;
      worst = judgement(Output::y, i, reading(Output::y, i), factor * F, F);
      worst->clause = "BN-NUM-15";
    }
    return worst;
  }

  /// Blame and status of one stage, in the order of the algorithm.
  void conclude(Stage& stage) {
    const std::size_t at = index(stage.output);
    Extreme& nearest = verdict_.nearest[at];
    if (!nearest.seen || stage.ratio > nearest.ratio)
      nearest = {stage.ratio, true, stage.worst};

    const bool wrong = stage.ratio > 1;
    const bool link_broken = stage.link && stage.link->ratio() > 1;
    Judgement j = stage.worst;
    if (link_broken) {
      j = *stage.link;
      j.output = stage.output;
      j.status = Status::fail;
      j.note = j.clause == "BN-NUM-15" ? "no one mean and invstd explain all values of this channel"
                                       : "does not follow from the statistics that the kernel itself reports";
    } else if (wrong && stage.link && depends_on_failed(stage.output)) {
      j.status = Status::consequence;
      j.note = "follows from an earlier wrong statistic of this channel";
    } else if (wrong) {
      j.status = Status::fail;
      j.note = std::isinf(stage.ratio) && j.permitted == 0
                   ? "no error at all is possible for correct kernels here"
                   : "more than any algorithm of the grade can be off";
      if (!std::isfinite(j.got) || !std::isfinite(j.want))
        j.note = "the wrong kind of value";
    } else if (stage.unprovable) {
      j.status = Status::unprovable;
      j.note = "the bound is infinite here";
    } else if (stage.claim_ratio > 1) {
      j = stage.claim;
      j.status = Status::claim_broken;
      j.note = "within the grade, beyond the kernel's own claim";
    } else if (stage.vacuous) {
      j.status = Status::mistrusted;
      j.note = "a trivial answer would pass here";
    } else {
      j.status = Status::pass;
    }
    failed_[at] = wrong || link_broken;
    ++verdict_.counts[static_cast<std::size_t>(j.status)];
    if (j.status != Status::pass && verdict_.notable.size() < notable_limit)
      verdict_.notable.push_back(j);
  }

  bool depends_on_failed(Output output) const {
    switch (output) {
    case Output::invstd:
      return failed_[index(Output::var)];
    case Output::y:
      return failed_[index(Output::mean)] || failed_[index(Output::var)] || failed_[index(Output::invstd)];
    case Output::running_mean:
      return failed_[index(Output::mean)];
    case Output::running_var:
      return failed_[index(Output::var)];
    default:
      return false;
    }
  }

  const Case& case_;
  const Problem& problem_;
  const reference::Truth& truth_;
  const Observation& seen_;
  const Gate& gate_;
  std::int64_t channel_;
  CaseVerdict& verdict_;
  ChannelProblem set_;
  Reduction arithmetic_;
  std::vector<Standard> standards_;
  std::vector<Permitted> claimed_;
  std::array<bool, output_count> failed_{};
};

/// A verdict on the case as a whole: one judgement.
void whole(CaseVerdict& verdict, Status status, std::string clause, std::string note) {
  Judgement j;
  j.status = status;
  j.clause = std::move(clause);
  j.note = std::move(note);
  ++verdict.counts[static_cast<std::size_t>(status)];
  if (status == Status::skipped)
    verdict.reason = j.note;
  if (status != Status::pass)
    verdict.notable.push_back(std::move(j));
}

}  // namespace

std::int64_t CaseVerdict::judgements() const {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

bool CaseVerdict::failed() const {
  return std::any_of(all_statuses.begin(), all_statuses.end(),
                     [&](Status s) { return is_failure(s) && count(s) > 0; });
}

CaseVerdict judge(const Case& c, const reference::Truth& truth, const Observation& observation,
                  const Gate& gate) {
  using impls::Outcome;
  CaseVerdict verdict;
  verdict.domain = c.domain;
  const std::string rejection = reference::must_reject(c);

  switch (observation.outcome) {
  case Outcome::unsupported:
  case Outcome::no_device:
    whole(verdict, Status::skipped, "", observation.detail);
    return verdict;
  case Outcome::crashed:
    whole(verdict, Status::crashed, "", observation.detail);
    return verdict;
  case Outcome::timed_out:
    whole(verdict, Status::timed_out, "", observation.detail);
    return verdict;
  case Outcome::failed:
    whole(verdict, Status::fail, "BN-FWD-5", observation.detail);
    return verdict;
  case Outcome::rejected:
    if (!rejection.empty()) {
      whole(verdict, Status::pass, "", "");
    } else {
      whole(verdict, Status::fail, "BN-FWD-5", "refuses a valid problem: " + observation.detail);
    }
    return verdict;
  case Outcome::completed:
    break;
  }
  if (!rejection.empty()) {
    whole(verdict, Status::fail, "BN-FWD-12", "accepts what must be refused: " + rejection);
    return verdict;
  }
  if (!observation.breaches.empty()) {
    for (const std::string& breach : observation.breaches)
      whole(verdict, Status::corrupted, breach.find("input") != std::string::npos ? "BN-FWD-7" : "BN-FWD-6",
            breach);
    return verdict;
  }
  if (observation.environment_changed) {
    whole(verdict, Status::corrupted, "BN-FWD-8",
          "the floating-point environment is another one after the call");
  }
  if (!observation.repeatable) {
    whole(verdict, observation.claims.deterministic ? Status::claim_broken : Status::nondeterministic,
          "BN-FWD-16", "a repeat run gave other bits");
  }
  if (observation.running_changed) {
    whole(verdict, Status::fail, "BN-INF-2", "inference changed the running statistics");
  }
  if (c.problem.pass == Pass::forward_training && c.problem.running && observation.num_batches_tracked &&
      *observation.num_batches_tracked != c.num_batches_tracked + 1) {
    whole(verdict, Status::fail, "BN-RUN-4", "num_batches_tracked is not one more after the call");
  }
  for (std::int64_t channel = 0; channel < c.problem.shape.channels; ++channel) {
    ChannelJudge(c, truth, observation, gate, channel, verdict).judge();
  }
  if (verdict.judgements() == 0)
    whole(verdict, Status::skipped, "", "the kernel reports no output that is defined here");
  return verdict;
}

}  // namespace normproof::properties
