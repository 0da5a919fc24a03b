#include "normproof/fuzz/probe.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "normproof/properties/domain.h"
#include "normproof/reference/truth.h"

namespace normproof::fuzz {

using properties::Status;

std::string_view to_string(Objective objective) {
  switch (objective) {
  case Objective::ratio:
    return "ratio";
  case Objective::claim:
    return "claim";
  case Objective::raw:
    return "raw";
  case Objective::cond:
    return "cond";
  }
  return "?";
}

std::optional<Objective> parse_objective(std::string_view text) {
  for (const Objective objective : all_objectives)
    if (to_string(objective) == text)
      return objective;
  return std::nullopt;
}

Probe::Probe(impls::KernelInfo kernel, const Target& target, const impls::RunOptions& run)
    : kernel_(std::move(kernel)),
      target_(target),
      runner_(run) {}

namespace {

/// What the kernel did to the whole case, where there is no output to measure.
std::optional<Score> without_outputs(const properties::CaseVerdict& verdict) {
  Score score;
  if (verdict.count(Status::skipped) > 0) {
    score.reason = verdict.reason;
    return score;
  }
  for (const properties::Judgement& j : verdict.notable)
    if (j.status == Status::crashed || j.status == Status::timed_out || j.status == Status::corrupted ||
        j.status == Status::nondeterministic) {
      score.value = HUGE_VAL;
      score.failed = true;
      score.at = j;
      return score;
    }
  return std::nullopt;
}

/// Beyond a condition number of 2^(p/2) the error of a mean that is only rounded shows in the variance of two
/// passes: the condition scale, which knows no second order, says nothing there.
bool well_scaled(const Case& c, const reference::Truth& truth) {
  if (c.problem.pass != Pass::forward_training && c.problem.pass != Pass::gradient)
    return true;
  const double most = std::scalbn(1.0, c.problem.accumulator().p / 2);
  return std::ranges::all_of(truth.channels,
                             [&](const reference::ChannelFacts& f) { return f.rms <= most * f.deviation; });
}

}  // namespace

Score Probe::operator()(const Case& c) {
  Score none;
  if (properties::domain_of(c) != Domain::core) {
    none.reason = "outside the core domain";
    return none;
  }
  if (reference::admission_of(c).ruling != reference::Ruling::accept) {
    none.reason = "no case that must be computed";
    return none;
  }
  ++evaluations_;
  const reference::Truth truth = reference::truth_of(c);
  if (target_.objective == Objective::cond && !well_scaled(c, truth)) {
    none.reason = "a condition number beyond that of E_cond";
    return none;
  }
  const impls::Observation seen = runner_.run(kernel_, c);
  const properties::CaseVerdict verdict = properties::judge(c, truth, seen, target_.gate);
  if (auto score = without_outputs(verdict))
    return *score;

  const std::size_t o = index(target_.output);
  if (!verdict.nearest[o].seen) {
    none.reason = "the kernel does not report " + std::string(to_string(target_.output));
    return none;
  }
  if (verdict.count(Status::unprovable) + verdict.count(Status::mistrusted) > 0) {
    none.reason = "the bounds prove nothing there";
    return none;
  }
  Score score;
  score.ratio = verdict.nearest[o].ratio;
  score.claim = verdict.claimed[o].ratio;
  score.raw = verdict.accuracy[o].max_raw;
  score.cond = verdict.accuracy[o].max_cond;
  score.at = verdict.nearest[o].at;
  score.failed = verdict.failed();
  switch (target_.objective) {
  case Objective::ratio:
    score.value = score.ratio;
    break;
  case Objective::claim:
    score.value = score.claim;
    break;
  case Objective::raw:
    score.value = score.raw;
    break;
  case Objective::cond:
    score.value = score.cond;
    break;
  }
  if (verdict.accuracy[o].special > 0)
    score.value = HUGE_VAL;  // the wrong kind of value is beyond any number of ulps
  return score;
}

}  // namespace normproof::fuzz
