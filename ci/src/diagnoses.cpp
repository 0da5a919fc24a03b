#include "diagnoses.h"

#include <map>
#include <set>

#include "selection.h"
#include "text.h"

namespace normproof::ci {

using namespace properties;

namespace {

/// A kernel that crashed or was killed has nothing to be explained by formulas, and would do it again.
bool explicable(const Judgement& j) {
  return j.status == Status::fail || j.status == Status::corrupted || j.status == Status::consequence ||
         j.status == Status::claim_broken;
}

}  // namespace

Diagnosis diagnosed(const impls::KernelInfo& kernel, const Case& c, impls::Runner& runner, const Gate& gate,
                    const std::string& without) {
  DiagnosisOptions options;
  options.without = without;
  options.run = [&](const Case& other) {
    return runner.run(kernel, other);
  };
  const reference::Truth truth =
      reference::must_reject(c).empty() ? reference::truth_of(c) : reference::Truth{};
  return diagnose(c, truth, runner.run(kernel, c), gate, options);
}

void add_diagnoses(Report& report, const TrialOptions& options, std::size_t shown) {
  impls::Runner runner(options.run);
  for (KernelReport& kernel : report.trial.kernels) {
    std::set<std::string> origins;
    const auto collect = [&](const std::vector<Judgement>& failures) {
      for (const Judgement* j : chosen(failures, shown))
        if (explicable(*j) && !j->origin.empty())
          origins.insert(j->origin);
    };
    collect(kernel.failures);
    if (options.gate.extended)
      collect(kernel.extended_failures);
    std::map<std::string, std::string> sentences;
    for (const std::string& origin : origins)
      sentences[origin] = diagnosed(kernel.kernel, case_of(origin), runner, options.gate).sentence;
    for (auto* failures : {&kernel.failures, &kernel.extended_failures})
      for (Judgement& j : *failures)
        if (const auto found = sentences.find(j.origin); found != sentences.end() && explicable(j))
          j.diagnosis = found->second;
  }
}

}  // namespace normproof::ci
