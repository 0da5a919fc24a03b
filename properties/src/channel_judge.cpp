#include "channel_judge.h"

#include <algorithm>
#include <cmath>

#include "arithmetic.h"
#include "normproof/properties/bounds.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {

using reference::DoubleDouble;

bool holds_nan(const double* values, std::int64_t count) {
  return std::any_of(values, values + count, [](double v) { return std::isnan(v); });
}

std::vector<Standard> standards(const Problem& problem, std::int64_t n, const Gate& gate,
                                const impls::Claims& claims) {
  std::vector<Standard> result;
  const Format accumulator = problem.accumulator();
  const std::int64_t count = std::max<std::int64_t>(1, n);
  for (std::size_t g = static_cast<std::size_t>(Grade::wide); g < grade_count; ++g) {
    for (std::size_t k = 0; k < class_count; ++k) {
      if (!admits(all_grades[g], all_classes[k]))
        continue;
      const bool gates = all_grades[g] == gate.grade && gate.allows(all_classes[k]);
      result.push_back({g, k, gates, false, reduction(all_grades[g], count, accumulator)});
    }
  }
  if (claims.accumulator_bits == 0 && claims.reduction_depth == 0)
    return result;

  const int bits = claims.accumulator_bits == 0 ? accumulator.p : claims.accumulator_bits;
  // Twice the bits of a format that exists is a compensated sum in that format (spec/bounds/model.md).
  const bool wide = bits > f64.p || (bits == 2 * f32.p && accumulator == f32);
  const Reduction own = reduction(Grade::sequential, count, accumulator);
  Reduction sum{wide ? own.u : std::scalbn(1.0, -bits), own.eta, own.depth, wide};
  if (bits > f32.p)
    sum.eta = reduction(Grade::sequential, count, f64).eta;
  if (claims.reduction_depth > 0)
    sum.depth = std::min(own.depth, static_cast<double>(claims.reduction_depth));
  for (std::size_t k = 0; k < class_count; ++k) {
    const bool other_family = claims.family != NP_FAMILY_UNKNOWN &&
                              static_cast<int>(claims.family) != static_cast<int>(all_classes[k].family) + 1;
    const bool other_form = claims.affine != NP_AFFINE_UNKNOWN &&
                            static_cast<int>(claims.affine) != static_cast<int>(all_classes[k].form) + 1;
    if (!other_family && !other_form)
      result.push_back({0, k, false, true, sum, claims.rsqrt_ulps > 0 ? claims.rsqrt_ulps : 2});
  }
  return result;
}

bool Reading::numbers() const {
  return std::isfinite(got) && std::isfinite(rn);
}

double Reading::measured(bool finite_channel) const {
  if (std::isnan(rn))
    return std::isnan(got) ? 0 : infinity;
  if (std::isnan(got))  // behind an infinity of x a mean may be NaN: implementation-defined (BN-FWD-13)
    return !finite_channel && std::isinf(rn) ? 0 : infinity;
  if (!numbers() && !finite_channel)
    return got == rn ? 0 : infinity;
  return reference::distance_to_rounding_interval(format, got, rn, off);
}

double Reading::ulps() const {
  return std::isnan(got) || std::isnan(rn) ? infinity : reference::ulps_off(format, got, rn, off);
}

double Reading::distance_to(DoubleDouble want) const {
  const double d = std::abs(static_cast<double>(DoubleDouble(got) - want));
  const double gap = reference::spacing(format, got);
  // Below a power of two the spacing towards zero is half as wide.
  const bool inward = std::abs(want.hi) < std::abs(got);
  int e = 0;
  const bool power = std::abs(std::frexp(got, &e)) == 0.5 && std::abs(got) > smallest_normal(format);
  return std::max(0.0, d - 0.5 * (inward && power ? gap / 2 : gap));
}

ChannelJudge::ChannelJudge(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                           const Gate& gate, std::int64_t channel, CaseVerdict& verdict)
    : case_(c),
      truth_(truth),
      seen_(seen),
      gate_(gate),
      channel_(channel),
      facts_(truth.channels[static_cast<std::size_t>(channel)]),
      verdict_(verdict),
      standards_(standards(c.problem, facts_.n, gate, seen.claims)),
      arithmetic_(reduction(Grade::tree, 1, c.problem.accumulator())) {
  for (std::size_t k = 0; k < standards_.size(); ++k)
    if (standards_[k].claim || standards_[k].gates)
      counted_.push_back(k);
}

ChannelJudge::Values ChannelJudge::values(Output output, std::int64_t first) const {
  const std::int64_t start = per_element(output) ? channel_ * problem().shape.per_channel() : channel_;
  const std::int64_t at = start + first;
  return {seen_[output].data() + at, truth_[output].rn.data() + at, truth_[output].off.data() + at,
          format_of(problem(), output)};
}

Reading ChannelJudge::reading(Output output, std::int64_t i) const {
  const Values v = values(output, i);
  return {*v.got, *v.rn, *v.off, v.format};
}

Judgement ChannelJudge::judgement(const std::string& clause, Output output, std::int64_t i, const Reading& r,
                                  double measured, double permitted) const {
  Judgement j;
  j.clause = clause;
  j.output = output;
  j.channel = channel_;
  j.element = i;
  j.got = r.got;
  j.want = r.rn;
  j.ulps = r.ulps();
  j.measured = measured;
  j.permitted = permitted;
  return j;
}

Judgement ChannelJudge::linked(const char* clause, Output output, std::int64_t i, const Reading& r,
                               DoubleDouble want, double permitted) const {
  Judgement j = judgement(clause, output, i, r, r.distance_to(want), permitted);
  j.want = round_to(r.format, want.hi);
  j.ulps = std::abs(static_cast<double>(DoubleDouble(r.got) - want)) / reference::spacing(r.format, j.want);
  return j;
}

const reference::Readings& ChannelJudge::record(Output output, std::int64_t first, std::int64_t count,
                                                const double* condition_scales) {
  const Values v = values(output, first);
  reference::read(v.format, v.got, v.rn, v.off, condition_scales, count, readings_);
  Accuracy& accuracy = verdict_.accuracy[index(output)];
  accuracy.count += count;
  for (std::int64_t i = 0; i < count; ++i) {
    const double got = v.got[i];
    const double rn = v.rn[i];
    if (!std::isfinite(got) || !std::isfinite(rn)) {
      const bool agree = is_rounded(got, rn);
      agree ? ++accuracy.correctly_rounded : ++accuracy.special;
      if (agree)
        ++accuracy.faithful;
      continue;
    }
    if (got == 0) {
      if (rn != 0 && std::abs(rn) < smallest_normal(v.format))
        ++accuracy.flushed;
      if (rn == 0 && v.off[i] == 0 && std::signbit(got) != std::signbit(rn))
        ++accuracy.sign_of_zero;
    }
    accuracy.correctly_rounded += got == rn ? 1 : 0;
    accuracy.faithful += readings_.faithful[i];
    accuracy.histogram.add(readings_.ulps[i]);
    accuracy.max_raw = std::max(accuracy.max_raw, readings_.ulps[i]);
    accuracy.max_cond = std::max(accuracy.max_cond, readings_.condition_ulps[i]);
  }
  return readings_;
}

void ChannelJudge::weigh_bounds(Stage& stage, const std::string& clause, Output output, std::int64_t i,
                                const Reading& r, double measured) {
  // The correctly-rounded grade knows no tolerance: the rounded truth, or failure (ties are decided to even).
  const bool rounded = is_rounded(r.got, r.rn);
  stage.unrounded = stage.unrounded || !rounded;
  auto& evidence = verdict_.evidence[index(output)];
  for (Extreme& slot : evidence[static_cast<std::size_t>(Grade::correctly_rounded)])
    note(slot, rounded ? 0 : infinity, clause, output, i, r, measured, 0);

  const std::size_t count = standards_.size();
  ratios_.resize(count);
  for (std::size_t k = 0; k < count; ++k)
    ratios_[k] = quotient(measured, bounds_[k]);
  // The evidence, which is wide, is left alone where it cannot change.
  const auto see = [&](std::size_t k) {
    const Standard& s = standards_[k];
    return s.claim ? infinity
                   : note(evidence[s.grade][s.klass], ratios_[k], clause, output, i, r, measured, bounds_[k]);
  };
  if (stage.evident.empty()) {
    for (std::size_t k = 0; k < count; ++k)
      stage.evident.push_back(see(k));
  } else {
    for (std::size_t k = 0; k < count; ++k)
      if (ratios_[k] > stage.evident[k])
        stage.evident[k] = see(k);
  }

  double least = infinity;
  double allowed = 0;
  double claim = infinity;
  double claimed = 0;
  bool claims = false;
  for (const std::size_t k : counted_) {
    if (standards_[k].claim) {
      claims = true;
      claim = std::min(claim, ratios_[k]);
      claimed = std::max(claimed, bounds_[k]);
      continue;
    }
    stage.unprovable = stage.unprovable || std::isinf(bounds_[k]);
    least = std::min(least, ratios_[k]);
    allowed = std::max(allowed, bounds_[k]);
  }
  if (gate_.grade == Grade::correctly_rounded) {
    least = rounded ? 0 : infinity;
    allowed = 0;
  }
  if (i == 0 || least > stage.ratio) {
    stage.ratio = least;
    stage.worst = judgement(clause, output, i, r, measured, allowed);
  }
  if (claims && claim > stage.claim_ratio) {
    stage.claim_ratio = claim;
    stage.claim = judgement(clause, output, i, r, measured, claimed);
  }
}

double ChannelJudge::note(Extreme& slot, double ratio, const std::string& clause, Output output,
                          std::int64_t i, const Reading& r, double measured, double permitted) {
  if (!verdict_.gates)
    return infinity;
  if (slot.seen && ratio <= slot.ratio)
    return slot.ratio;
  slot = {ratio, true, {}};
  if (ratio > 0)
    slot.at = judgement(clause, output, i, r, measured, permitted);
  return slot.ratio;
}

void ChannelJudge::conclude(const Stage& stage, std::initializer_list<Output> depends_on) {
  const std::size_t at = index(stage.output);
  Extreme& nearest = verdict_.nearest[at];
  if (!nearest.seen || stage.ratio > nearest.ratio)
    nearest = {stage.ratio, true, stage.worst};
  Extreme& claimed = verdict_.claimed[at];
  if (stage.claim_ratio > claimed.ratio)
    claimed = {stage.claim_ratio, true, stage.claim};

  const bool follows =
      std::any_of(depends_on.begin(), depends_on.end(), [&](Output o) { return failed_[index(o)]; });
  const bool wrong = stage.ratio > 1;
  const bool link_broken = stage.link && stage.link->ratio() > 1;
  Judgement j = stage.worst;
  if (link_broken) {
    j = *stage.link;
    j.output = stage.output;
    j.status = Status::fail;
    j.note = j.clause == "BN-NUM-15" ? "no one mean and invstd explain all values of this channel"
                                     : "does not follow from the statistics that the kernel itself reports";
  } else if (wrong && stage.link && follows) {
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

}  // namespace normproof::properties
