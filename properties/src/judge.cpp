#include "normproof/properties/judge.h"

#include <algorithm>
#include <numeric>

#include "channel_judge.h"

namespace normproof::properties {
namespace {

using impls::Observation;

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

/// The clause that a kernel breaks by not returning.
const char* uncomputed(const Problem& problem) {
  if (problem.shape.per_channel() > 0)
    return "BN-FWD-5";
  switch (problem.pass) {
  case Pass::forward_training:
    return "BN-FWD-11";
  case Pass::forward_inference:
    return "BN-INF-3";
  case Pass::backward_inference:
    return "BN-BWI-5";
  case Pass::double_backward:
    return "BN-DBL-7";
  default:
    return "BN-BWD-12";
  }
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
  verdict.core = c.domain == Domain::core || observation.claims.extended_domain;
  verdict.gates = verdict.core || gate.extended;
  const reference::Admission admission = reference::admission_of(c);

  switch (observation.outcome) {
  case Outcome::unsupported:
  case Outcome::no_device:
    whole(verdict, Status::skipped, "", observation.detail);
    return verdict;
  case Outcome::crashed:
    whole(verdict, Status::crashed, uncomputed(c.problem), observation.detail);
    return verdict;
  case Outcome::timed_out:
    whole(verdict, Status::timed_out, uncomputed(c.problem), observation.detail);
    return verdict;
  case Outcome::failed:
    whole(verdict, Status::fail, "BN-FWD-5", observation.detail);
    return verdict;
  case Outcome::rejected:
    switch (admission.ruling) {
    case reference::Ruling::reject:
      whole(verdict, Status::pass, "", "");
      break;
    case reference::Ruling::either:
      whole(verdict, Status::skipped, "", "refused, as it may be: " + admission.reason);
      break;
    case reference::Ruling::accept:
      whole(verdict, Status::fail, "BN-FWD-5", "refuses a valid problem: " + observation.detail);
      break;
    }
    return verdict;
  case Outcome::completed:
    break;
  }
  if (admission.ruling == reference::Ruling::reject) {
    whole(verdict, Status::fail, "BN-FWD-12", "accepts what must be refused: " + admission.reason);
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
          observation.environment.empty() ? "the floating-point environment is another one after the call"
                                          : observation.environment);
  }
  if (!observation.repeatable) {
    whole(verdict, observation.claims.deterministic ? Status::claim_broken : Status::nondeterministic,
          "BN-FWD-16", "a repeat run gave other bits");
  }
  if (observation.running_changed) {
    whole(verdict, Status::fail, c.problem.pass == Pass::backward_inference ? "BN-BWI-4" : "BN-INF-2",
          "inference changed the running statistics");
  }
  const bool batch = c.problem.shape.per_channel() > 0;  // an empty one may be counted or not (BN-FWD-11)
  if (c.problem.pass == Pass::forward_training && c.problem.running && batch &&
      observation.num_batches_tracked && *observation.num_batches_tracked != c.num_batches_tracked + 1) {
    whole(verdict, Status::fail, "BN-RUN-4", "num_batches_tracked is not one more after the call");
  }
  const bool forward = c.problem.pass == Pass::forward_training || c.problem.pass == Pass::forward_inference;
  for (std::int64_t channel = 0; channel < c.problem.shape.channels; ++channel) {
    if (forward)
      judge_forward(c, truth, observation, gate, channel, verdict);
    else
      judge_gradients(c, truth, observation, gate, channel, verdict);
  }
  if (verdict.judgements() == 0)
    whole(verdict, Status::skipped, "", "the kernel reports no output that is defined here");
  return verdict;
}

}  // namespace normproof::properties
