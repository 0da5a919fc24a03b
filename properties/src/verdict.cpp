#include "normproof/properties/verdict.h"

namespace normproof::properties {

std::string_view to_string(Status status) {
  switch (status) {
  case Status::pass:
    return "PASS";
  case Status::fail:
    return "FAIL";
  case Status::claim_broken:
    return "CLAIM_BROKEN";
  case Status::consequence:
    return "CONSEQUENCE";
  case Status::unprovable:
    return "UNPROVABLE";
  case Status::mistrusted:
    return "MISTRUSTED";
  case Status::expected_fail:
    return "EXPECTED_FAIL";
  case Status::skipped:
    return "SKIPPED";
  case Status::crashed:
    return "CRASHED";
  case Status::timed_out:
    return "TIMED_OUT";
  case Status::nondeterministic:
    return "NONDETERMINISTIC";
  case Status::corrupted:
    return "CORRUPTED";
  }
  return "";
}

bool is_failure(Status status) {
  switch (status) {
  case Status::fail:
  case Status::claim_broken:
  case Status::consequence:
  case Status::crashed:
  case Status::timed_out:
  case Status::corrupted:
    return true;
  default:
    return false;
  }
}

std::string_view to_string(Severity severity) {
  switch (severity) {
  case Severity::minor:
    return "minor";
  case Severity::major:
    return "major";
  case Severity::critical:
    return "critical";
  }
  return "";
}

Severity severity(const Judgement& j) {
  switch (j.status) {
  case Status::crashed:
  case Status::timed_out:
  case Status::corrupted:
    return Severity::critical;
  case Status::nondeterministic:
    return Severity::major;
  case Status::claim_broken:
    return Severity::minor;
  default:
    break;
  }
  if (!std::isfinite(j.got) || !std::isfinite(j.want))
    return Severity::critical;
  // Where no error is permitted, half an ulp stands for the bound.
  const double permitted =
      j.permitted > 0 ? j.permitted : (j.ulps > 0 ? j.measured / (2 * j.ulps) : j.measured);
  const double lost = std::log2(j.measured / permitted);
  if (!(lost > 4))
    return Severity::minor;
  const double left = std::log2(std::abs(j.want) / permitted);
  if (left - lost < 1)
    return Severity::critical;
  return 2 * lost >= left ? Severity::major : Severity::minor;
}

}  // namespace normproof::properties
