#include "diagnoses.h"

#include <map>
#include <set>
#include <vector>

#include "data.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "selection.h"
#include "smallest.h"
#include "text.h"

namespace normproof::ci {

using namespace properties;

namespace {

/// A kernel that crashed or was killed has nothing to be explained by formulas, and would do it again.
bool explicable(const Judgement& j) {
  return j.status == Status::fail || j.status == Status::corrupted || j.status == Status::consequence ||
         j.status == Status::claim_broken;
}

/// A case and what the kernel does on it.
struct Seen {
  const Case& c;
  reference::Truth truth;
  impls::Observation observation;

  Seen(const impls::KernelInfo& kernel, const Case& of, impls::Runner& runner)
      : c(of),
        observation(runner.run(kernel, of)) {
    if (reference::must_reject(c).empty())
      truth = reference::truth_of(c);
  }
};

Diagnosis diagnosed(const impls::KernelInfo& kernel, const Seen& seen, impls::Runner& runner,
                    const Gate& gate, const std::string& without) {
  DiagnosisOptions options;
  options.without = without;
  options.run = [&](const Case& other) {
    return runner.run(kernel, other);
  };
  return diagnose(seen.c, seen.truth, seen.observation, gate, options);
}

/// None when they cannot be read: a report without them is better than none.
std::vector<Peer> known_peers() {
  try {
    return bundled_peers();
  } catch (const Failure&) {
    return {};
  }
}

/// A report is the same on a slow machine: runs and values are counted, not seconds.
constexpr std::int64_t shrinking_runs = 400, shrunk_elements = 1 << 16;

/// The first failure that a text shows, if a smaller case can be looked for.
Judgement* first_shown(KernelReport& kernel, const Gate& gate, std::size_t shown) {
  for (auto* failures : {&kernel.failures, &kernel.extended_failures}) {
    if (failures == &kernel.extended_failures && !gate.extended)
      continue;
    for (const Judgement* j : chosen(*failures, shown))
      if (j->status == Status::fail && !j->origin.empty())
        return &(*failures)[static_cast<std::size_t>(j - failures->data())];
  }
  return nullptr;
}

std::vector<const Peer*> accepting(const Seen& seen, const std::vector<Peer>& peers) {
  std::vector<const Peer*> out;
  for (const Peer& peer : peers)
    if (!seen.truth.channels.empty() &&
        verdict_of(peer, seen.c, seen.truth, seen.observation) == PeerVerdict::accepts)
      out.push_back(&peer);
  return out;
}

}  // namespace

Diagnosis diagnosed(const impls::KernelInfo& kernel, const Case& c, impls::Runner& runner, const Gate& gate,
                    const std::string& without) {
  return diagnosed(kernel, Seen(kernel, c, runner), runner, gate, without);
}

void add_diagnoses(Report& report, const TrialOptions& options, std::size_t shown) {
  impls::Runner runner(options.run);
  std::vector<Peer> peers;
  for (KernelReport& kernel : report.trial.kernels) {
    std::map<std::string, std::vector<Judgement*>> failing;
    const auto collect = [&](std::vector<Judgement>& failures) {
      std::set<std::string> origins;
      for (const Judgement* j : chosen(failures, shown))
        if (explicable(*j) && !j->origin.empty())
          origins.insert(j->origin);
      for (Judgement& j : failures)
        if (origins.contains(j.origin) && explicable(j))
          failing[j.origin].push_back(&j);
    };
    collect(kernel.failures);
    if (options.gate.extended)
      collect(kernel.extended_failures);
    if (!failing.empty() && peers.empty())
      peers = known_peers();
    if (Judgement* first = first_shown(kernel, options.gate, shown)) {
      const Case c = case_of(first->origin);
      if (c.problem.shape.elements() <= shrunk_elements)
        first->smallest =
            input_text(smallest(kernel.kernel, c, *first, runner, options.gate, shrinking_runs));
    }
    for (const auto& [origin, judgements] : failing) {
      const Case c = case_of(origin);
      const Seen seen(kernel.kernel, c, runner);
      const std::string sentence = diagnosed(kernel.kernel, seen, runner, options.gate, {}).sentence;
      const std::vector<const Peer*> content = accepting(seen, peers);
      for (Judgement* j : judgements) {
        std::vector<std::string> names;
        for (const Peer* peer : content)
          if (covers(*peer, c.problem, j->output))
            names.push_back(peer->name);
        j->diagnosis = sentence;
        j->let_pass_by = joined(names, ", ");
      }
    }
  }
}

}  // namespace normproof::ci
