// Verdicts: the statuses of a judgement and the words for them. A *judgement* is one output of one channel of
// one case.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "normproof/spec/case.h"

namespace normproof::properties {

enum class Status {
  pass,           ///< measured <= permitted, and a trivial answer would not have passed
  fail,           ///< breaks the clause that is named
  claim_broken,   ///< the grade is met, the kernel's own claim is not
  consequence,    ///< wrong, but exactly as an earlier stage's error explains
  unprovable,     ///< the bound is infinite: nothing can be said
  mistrusted,     ///< it passed, but so would a trivial answer
  expected_fail,  ///< in the baseline
  skipped,        ///< not run, with a reason
  crashed,
  timed_out,
  nondeterministic,  ///< other bits on a repeat run of a kernel that claims determinism
  corrupted          ///< an input changed, a guard zone was touched, an output was left unwritten
};
inline constexpr std::array all_statuses{
    Status::pass,       Status::fail,       Status::claim_broken,     Status::consequence,
    Status::unprovable, Status::mistrusted, Status::expected_fail,    Status::skipped,
    Status::crashed,    Status::timed_out,  Status::nondeterministic, Status::corrupted};
inline constexpr std::size_t status_count = all_statuses.size();

/// "PASS", "FAIL", "CLAIM_BROKEN", ...
std::string_view to_string(Status status);
/// Whether one such judgement makes a run not conform (exit 1).
bool is_failure(Status status);

/// The exit codes of the program.
enum class Exit { conforms = 0, does_not_conform = 1, usage = 2, could_not_run = 3, inconclusive = 4 };

/// One judgement that is worth showing: at the element with the largest measured/permitted.
struct Judgement {
  Status status = Status::pass;
  std::string clause;  ///< "BN-NUM-2"
  Output output = Output::y;
  std::int64_t channel = 0;
  std::int64_t element = 0;  ///< index within the channel; 0 for per-channel outputs
  double got = 0;
  double want = 0;      ///< correctly rounded truth (of the link's closed form when a link failed)
  double ulps = 0;      ///< E_raw of `got`
  double measured = 0;  ///< distance from the truth to the reals that round to `got`
  double permitted = 0;
  std::string note;    ///< one line: what it means
  std::string origin;  ///< the recipe or case file it was made on: what `replay` takes

  /// Only of failures that are shown: what the bug most probably is (diagnosis.h), the suites whose tolerance
  /// would let the case pass (peers.h; "pytorch, onnx"), and the smallest input that still fails so.
  std::string diagnosis, let_pass_by, smallest;

  /// measured / permitted; 0 under an infinite bound, which says nothing, infinity above a bound of 0.
  double ratio() const {
    if (measured == 0 || permitted == HUGE_VAL)
      return 0;
    return permitted > 0 ? measured / permitted : HUGE_VAL;
  }
};

/// What a failure costs its user. A convention, for the order in which failures are mended: it gates nothing.
enum class Severity {
  minor,    ///< most of the digits that the bound leaves are right
  major,    ///< half of them are lost, or other bits on every run
  critical  ///< no digit is right, a number is none (or the reverse), memory is corrupted, a crash, a hang
};
std::string_view to_string(Severity severity);

/// By bits: the bound leaves log2(|want| / permitted) of them, the error keeps log2(|want| / measured). An
/// error within 16 times its bound is minor, whatever is left.
Severity severity(const Judgement& failure);

}  // namespace normproof::properties
