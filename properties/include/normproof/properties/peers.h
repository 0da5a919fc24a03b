// Peers: what the tolerances of other test suites would say of the same observation. Figures and sources are
// data (spec/peers.json). They are shown beside the judge's verdict and never gate.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

enum class PeerMetric {
  elementwise,           ///< |d| <= atol + rtol |want|
  either,                ///< |d| <= atol or |d| <= rtol |want|: a mismatch has to be both
  relative_or_absolute,  ///< |d| <= rtol |want| where |want| > atol, else |d| <= rtol
  rms,                   ///< sqrt(sum d^2) / (sqrt(n) max) <= rtol over the tensor
  l2,                    ///< ||d|| <= rtol ||want|| over the tensor
  ulps                   ///< steps between floats <= rtol
};

struct PeerTolerance {
  double rtol = 0, atol = 0;
};

struct PeerRule {
  std::vector<Pass> passes;
  std::vector<Output> outputs;
  PeerMetric metric = PeerMetric::elementwise;
  std::map<std::string, PeerTolerance, std::less<>> by_format;  ///< of the output
};

struct Peer {
  std::string name, title, source;
  bool finite_only = false;  ///< has no cases whose answer is not finite
  std::vector<PeerRule> rules;
};

/// The table of spec/peers.json. Throws std::invalid_argument with the offending entry.
std::vector<Peer> read_peers(std::string_view json);

enum class PeerVerdict { not_covered, accepts, refuses };

/// Whether it looks at that output of such a problem at all.
bool covers(const Peer& peer, const Problem& problem, Output output);

/// The reference of every peer is the rounded truth, which is better than its own. A crash, an error and an
/// output that is NaN where a number belongs are refused by all who cover the pass; changed inputs are seen
/// by none.
PeerVerdict verdict_of(const Peer& peer, const Case& c, const reference::Truth& truth,
                       const impls::Observation& seen);

}  // namespace normproof::properties
