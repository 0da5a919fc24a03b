// Diagnosis: what the bug most probably is.
//
// The neighbours of the specified algorithm, each with one knob turned, are evaluated as alternative truths
// on the case at hand. One that the observation agrees with to within roundings, where the specification is
// off by more, is named with its evidence; several that agree equally are all named or, if many, none; what
// no alternative explains is looked at for signatures of numerical bugs. A diagnosis explains a failure, it
// never gates. How far it can be trusted is measured over the wrong kernels (normproof mutants --diagnosis).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/properties/grade.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

/// An alternative truth and how the observation agrees with it.
struct Candidate {
  std::string family;  ///< the bug's name: "eps outside the root"
  std::string text;    ///< what the kernel then computes: "invstd = 1/sqrt(var) + eps"
  std::string clause;  ///< that forbids it
  double misfit =
      0;  ///< largest |got - predicted| / roundings over all values (the first ones beyond 8 only)
  Output output = Output::y;  ///< where that is
  double ulps = 0;            ///< off at the value where the specification is worst
  bool fits = false;          ///< misfit <= 1, and roundings alone would not explain that value
};

struct Diagnosis {
  /// Bugs that the observation cannot tell apart; one is a name, none an abstention.
  std::vector<std::string> names;
  std::string clause;              ///< of the name
  std::string sentence;            ///< one line for people; empty when there is nothing to diagnose
  std::vector<Candidate> ranking;  ///< all alternatives that differ here, best first
  double spec_misfit = 0, spec_ulps = 0;

  bool named() const { return names.size() == 1; }
};

struct DiagnosisOptions {
  std::string without;  ///< a family that is not known (for measurements: leave one out)
  /// Runs the kernel on another case, for questions such as whether the layout matters; may be absent.
  std::function<impls::Observation(const Case&)> run;
};

/// Cases of more values than this are not diagnosed: smaller ones that fail say as much.
inline constexpr std::int64_t diagnosis_limit = 1 << 20;

/// Of an observation that the judge failed; the truth is the judge's (empty where there is none). Thread-safe
/// as far as options.run is.
Diagnosis diagnose(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                   const Gate& gate, const DiagnosisOptions& options = {});

/// What several failing cases of one kernel have in common: a family is named when two thirds of them allow
/// it and more than allow any other.
Diagnosis combined(std::span<const Diagnosis> cases);

/// Every family that can be named, for the passes of the specification.
std::vector<std::string> families();

}  // namespace normproof::properties
