// Mutation: wrong kernels that a judge must fail, correct ones that it must not, over one stream of cases.
//
// A judge is worth what it kills. Every kernel sees the same cases, each truth is computed once, and beside
// the judge's verdict stand those of the peers' tolerances (peers.h) and of judges that are wrong on purpose:
// a matrix that no wrong judge could spoil would prove nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/properties/peers.h"
#include "normproof/properties/trial.h"

namespace normproof::properties {

/// A judge with a fault. It kills where `kills` still says so.
struct WrongJudge {
  std::string_view name;
  bool (*kills)(const CaseVerdict& verdict);
};
/// Bounds times 4, no links, no judgement of values that are not finite, or of NaN, no BN-INF-2.
std::span<const WrongJudge> wrong_judges();

/// How often one peer, or a wrong judge, refused a kernel. Where a peer refuses a correct twin on the same
/// case too, its refusal of a wrong kernel does not count.
struct Refusals {
  std::int64_t covered = 0, refused = 0;
  std::int64_t usual_covered = 0, usual_refused = 0;  ///< of these, on data as peers use it: normal, uniform
};

/// A case of a kernel that failed.
struct Kill {
  std::string origin;
  std::int64_t elements = 0;
  std::string shape;
  std::vector<std::string> clauses;
};

struct MutationRow {
  impls::KernelInfo kernel;
  std::vector<std::string> declared;               ///< clauses that its summary says must catch it
  std::int64_t tried = 0;                          ///< cases that it computed
  std::int64_t killed = 0;                         ///< of these, failed
  std::int64_t first = 0;                          ///< number of the first one that failed, counted from 1
  std::int64_t usual_tried = 0, usual_killed = 0;  ///< on normal and uniform data
  std::map<std::string, std::int64_t> clauses;     ///< cases in which each failed, without consequences
  std::vector<Kill> kills;             ///< the smallest ones of each set of clauses, smallest first
  std::vector<std::string> sample;     ///< failing cases, evenly from all of them
  std::int64_t extended_killed = 0;    ///< failed cases of the extended domain where that does not gate
  bool unexplained = false;            ///< no one class explains all it did
  std::vector<Refusals> peers, wrong;  ///< as the options list them; wrong_judges()
  std::map<std::string, std::int64_t> skips;

  bool dead() const { return killed > 0 || unexplained; }
  /// Some clause that killed it is one that it declares (or it declares none).
  bool as_declared() const;
};

struct MutationReport {
  Gate gate;
  std::vector<MutationRow> rows;  ///< as the kernels were given
  std::int64_t cases_planned = 0, cases_tried = 0;
  double seconds = 0;
};

struct MutationOptions {
  TrialOptions trial;
  std::vector<Peer> peers;
  std::size_t wrong_kernels = 0;  ///< the first so many are wrong, the others are their correct twins
  std::size_t keep_kills = 12;
};

/// Cases in the order of the recipes, all kernels on each. The domain that counts is that of the gate.
MutationReport run_mutation(std::span<const Recipe> recipes, std::span<const impls::KernelInfo> kernels,
                            const MutationOptions& options);

/// "... caught by BN-NUM-22, -24, BN-BWD-7" -> BN-NUM-22, BN-NUM-24, BN-BWD-7.
std::vector<std::string> declared_clauses(std::string_view summary);

}  // namespace normproof::properties
