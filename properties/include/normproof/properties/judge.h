// The judge: one case, its truth, one observation -> a verdict per output and channel.
//
// The judge is the only gate with a bound. Per channel it measures the distance from the truth to the reals
// that round to each output, divides by what the asked grade permits, judges each stage by the kernel's own
// report of the stage before (links), and assigns blame: one bug, one blame. What it learns about each class
// of algorithms is evidence for the verdict over the whole run (docket.h): one class must explain everything
// that a kernel did.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/properties/accuracy.h"
#include "normproof/properties/grade.h"
#include "normproof/properties/verdict.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

/// The judgement with the largest measured/permitted seen so far, or none yet.
struct Extreme {
  double ratio = 0;
  bool seen = false;
  Judgement at;
};

/// Worst measured/permitted of every output under every class at every grade. Combinations that do not exist
/// (textbook above `sequential`) stay unseen.
using Evidence = std::array<std::array<std::array<Extreme, class_count>, grade_count>, output_count>;

struct CaseVerdict {
  bool core = true;   ///< a case of the core domain, or of the extended one for a kernel that claims it
  bool gates = true;  ///< core, or the run asks for the extended domain
  std::array<std::int64_t, status_count> counts{};  ///< judgements by status
  std::vector<Judgement> notable;  ///< those that are not PASS, the first `notable_limit` of them
  std::string reason;              ///< why the case was skipped, crashed, ...
  std::array<Accuracy, output_count> accuracy;
  std::array<Extreme, output_count> nearest;  ///< largest measured/permitted at the gate
  std::array<Extreme, output_count> claimed;  ///< and under the kernel's own claims, where it has any
  Evidence evidence;

  std::int64_t count(Status status) const { return counts[static_cast<std::size_t>(status)]; }
  std::int64_t judgements() const;
  bool failed() const;  ///< some judgement is a failure
};

inline constexpr std::size_t notable_limit = 32;

/// Judges an observation. `truth` may be empty (outputs and channels) when the case must be rejected or the
/// kernel did not complete. Thread-safe.
CaseVerdict judge(const Case& c, const reference::Truth& truth, const impls::Observation& observation,
                  const Gate& gate);

}  // namespace normproof::properties
