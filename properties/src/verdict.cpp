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

}  // namespace normproof::properties
