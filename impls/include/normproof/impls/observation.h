// An observation: all that is known of one run of one kernel on one case. Everything the judge sees of a
// kernel.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "normproof/kernel.h"
#include "normproof/spec/case.h"

namespace normproof::impls {

enum class Outcome {
  completed,    ///< run returned NP_OK; the outputs are worth judging
  unsupported,  ///< query or create said NP_UNSUPPORTED
  rejected,     ///< the kernel says that the problem is invalid
  no_device,
  failed,   ///< NP_FAILED, an unknown code, or an ABI violation
  crashed,  ///< the worker died of a signal, exited, or took more memory than it may
  timed_out
};
std::string_view to_string(Outcome outcome);

/// Claims of np_claims with zeros as "no claim".
struct Claims {
  int accumulator_bits = 0;
  std::int64_t reduction_depth = 0;
  np_family family = NP_FAMILY_UNKNOWN;
  np_affine affine = NP_AFFINE_UNKNOWN;
  double rsqrt_ulps = 0;
  bool deterministic = false;
  bool uses_reported = false;
  bool extended_domain = false;
};

/// Values as doubles, channel-major like Case::x, whatever the kernel's layout. An output that the kernel
/// does not report is empty. In inference running_mean and running_var are reported only when their bits
/// changed.
struct Observation {
  Outcome outcome = Outcome::failed;
  std::string detail;  ///< the kernel's message, the signal's name, the limit that passed
  std::array<std::vector<double>, output_count> outputs;
  std::optional<std::int64_t> num_batches_tracked;  ///< after the run
  /// Breaches of the buffers' contract, one line each: an input changed, a guard zone touched, an output
  /// element left unwritten. Not empty means CORRUPTED.
  std::vector<std::string> breaches;
  bool running_changed = false;  ///< inference only: a running statistic (or the counter) has other bits
  /// Rounding mode, FTZ/DAZ or exception masks are others after loading the library or after the call;
  /// restored by the worker. `environment` says in a few words which, and since when.
  bool environment_changed = false;
  std::string environment;
  bool repeatable = true;  ///< a repeat run, if one was asked for, gave the same bits
  Claims claims;
  double seconds = 0;  ///< wall time of run(), for reports only

  const std::vector<double>& operator[](Output output) const { return outputs[index(output)]; }
};

}  // namespace normproof::impls
