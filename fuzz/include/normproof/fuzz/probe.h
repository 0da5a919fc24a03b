// A probe: one case in, one number out, for one output of one kernel.
//
// The number is what a search makes large. It comes from the judge, with the truth of the certified oracle
// and the kernel in its worker, so that what a search calls an error is what `check` would.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"

namespace normproof::fuzz {

enum class Objective {
  ratio,  ///< measured / permitted at the gate
  claim,  ///< measured / permitted under the kernel's own claims
  raw,    ///< E_raw, ulps of the exact value: without bound where it is 0
  cond    ///< E_cond, ulps of the condition scale; in training up to a condition number of 2^(p/2)
};
inline constexpr std::array all_objectives{Objective::ratio, Objective::claim, Objective::raw,
                                           Objective::cond};
std::string_view to_string(Objective objective);
std::optional<Objective> parse_objective(std::string_view text);

struct Target {
  Output output = Output::y;
  Objective objective = Objective::ratio;
  properties::Gate gate;
};

/// What one evaluation gave. Cases at which the judge proves nothing (unprovable, mistrusted, extended,
/// skipped) have no value: `reason` says why.
struct Score {
  double value = -1;  ///< of the objective; negative: none
  double ratio = 0, claim = 0, raw = 0, cond = 0;
  properties::Judgement at;  ///< where measured/permitted is largest at the gate
  bool failed = false;       ///< some judgement of the case fails, of this output or another
  std::string reason;

  bool counts() const { return value >= 0; }
};

/// Not thread-safe: one per thread.
class Probe {
public:
  Probe(impls::KernelInfo kernel, const Target& target, const impls::RunOptions& run = {});

  /// Never throws for what the kernel does: a crash, a hang or a corrupted buffer is an infinite value.
  Score operator()(const Case& c);

  std::int64_t evaluations() const { return evaluations_; }
  const Target& target() const { return target_; }
  const impls::KernelInfo& kernel() const { return kernel_; }

private:
  impls::KernelInfo kernel_;
  Target target_;
  impls::Runner runner_;
  std::int64_t evaluations_ = 0;
};

}  // namespace normproof::fuzz
