#include "normproof/properties/trial.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <tuple>

namespace normproof::properties {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What the report needs of a case once its tensors are gone.
struct CaseLabel {
  Key key;
  std::string regime;
  std::string origin;
};

/// A verdict is large, and most cases are not of a kernel's passes: of those the reason is kept alone.
struct KernelOnCase {
  std::unique_ptr<CaseVerdict> verdict;  ///< none where the case was skipped
  bool core = true;
  std::string reason;
  double seconds = 0;

  KernelOnCase(CaseVerdict&& of, double took) : core(of.core), reason(of.reason), seconds(took) {
    if (of.judgements() != of.count(Status::skipped))
      verdict = std::make_unique<CaseVerdict>(std::move(of));
  }
  CaseVerdict take() {
    if (verdict)
      return std::move(*verdict);
    CaseVerdict skipped;
    skipped.core = core;
    skipped.reason = reason;
    skipped.counts[static_cast<std::size_t>(Status::skipped)] = 1;
    return skipped;
  }
};

struct CaseResult {
  CaseLabel label;
  std::vector<KernelOnCase> kernels;
  reference::Effort effort;
  reference::Audit audit;
  double truth_seconds = 0;
};

constexpr std::int64_t audited_per_case = 16;

/// How many cases may be finished beside one that is not: what waits takes half a GB at most.
std::size_t most_waiting(std::size_t kernels, std::size_t threads) {
  constexpr std::size_t bytes = std::size_t{1} << 29;
  return std::max(4 * threads, bytes / (sizeof(CaseVerdict) * std::max<std::size_t>(kernels, 1)));
}

/// Everything one kernel did, as it is added up case by case in case order.
class Docket {
public:
  explicit Docket(const impls::KernelInfo& kernel, std::size_t keep) : keep_(keep) {
    report_.kernel = kernel;
  }

  void add(const CaseLabel& label, CaseVerdict&& verdict, double seconds) {
    ++report_.cases;
    report_.seconds += seconds;
    if (verdict.count(Status::skipped) > 0)
      ++report_.skips[verdict.reason];
    auto& counts = verdict.core ? report_.counts : report_.extended_counts;
    for (std::size_t s = 0; s < status_count; ++s)
      counts[s] += verdict.counts[s];

    auto& failures = verdict.core ? report_.failures : report_.extended_failures;
    for (Judgement& j : verdict.notable) {
      if (!is_failure(j.status) || failures.size() >= keep_)
        continue;
      j.origin = label.origin;
      failures.push_back(j);
    }
    KeyTally& tally = keys_[label.key];
    tally.judgements += verdict.judgements() - verdict.count(Status::skipped);
    for (std::size_t o = 0; o < output_count; ++o) {
      for (std::size_t g = 0; g < grade_count; ++g) {
        for (std::size_t k = 0; k < class_count; ++k) {
          keep_larger(tally.evidence[o][g][k], verdict.evidence[o][g][k], label);
        }
      }
      if (verdict.accuracy[o].count == 0)
        continue;
      AccuracyRow& row = rows_[{label.key, o, label.regime}];
      row.accuracy.merge(verdict.accuracy[o]);
      keep_larger(row.nearest, verdict.nearest[o], label);
    }
  }

  KernelReport report(const Gate& gate) {
    for (auto& [key, tally] : keys_) {
      if (tally.judgements == 0)
        continue;
      report_.keys.push_back(conclude(key, tally, gate));
      const KeyVerdict& verdict = report_.keys.back();
      if (verdict.explained_by.empty() && !verdict.unexplained.empty())
        report_.unexplained = true;
    }
    for (auto& [id, row] : rows_) {
      const auto& [key, output, regime] = id;
      row.pass = key.pass;
      row.output = static_cast<Output>(output);
      row.dtype = key.dtype;
      row.layout = key.layout;
      row.regime = regime;
      report_.rows.push_back(std::move(row));
    }
    return std::move(report_);
  }

private:
  struct KeyTally {
    std::int64_t judgements = 0;
    Evidence evidence;
  };

  static void keep_larger(Extreme& slot, const Extreme& other, const CaseLabel& label) {
    if (!other.seen || (slot.seen && other.ratio <= slot.ratio))
      return;
    slot = other;
    slot.at.origin = label.origin;
  }

  static KeyVerdict conclude(const Key& key, const KeyTally& tally, const Gate& gate) {
    KeyVerdict verdict;
    verdict.key = key;
    verdict.judgements = tally.judgements;

    const auto asked = static_cast<std::size_t>(gate.grade);
    for (std::size_t k = 0; k < class_count; ++k) {
      if (!gate.allows(all_classes[k]))
        continue;
      const Extreme* worst = nullptr;
      for (std::size_t o = 0; o < output_count; ++o) {
        const Extreme& e = tally.evidence[o][asked][k];
        if (e.seen && (worst == nullptr || e.ratio > worst->ratio))
          worst = &e;
      }
      if (worst == nullptr)
        continue;
      if (worst->ratio <= 1) {
        verdict.explained_by.push_back(all_classes[k]);
      } else {
        verdict.unexplained.push_back(worst->at);
        verdict.unexplained.back().note = "denies " + to_string(all_classes[k]);
      }
    }
    if (!verdict.explained_by.empty())
      verdict.unexplained.clear();

    for (std::size_t o = 0; o < output_count; ++o) {
      if (auto met = grade_met(tally, static_cast<Output>(o)))
        verdict.grades.push_back(std::move(*met));
    }
    return verdict;
  }

  /// Strongest grade under which some class leaves nothing of this output above 1.
  static std::optional<GradeMet> grade_met(const KeyTally& tally, Output output) {
    const auto& evidence = tally.evidence[index(output)];
    GradeMet met;
    met.output = output;
    bool seen = false;
    for (std::size_t g = 0; g < grade_count; ++g) {
      const Extreme* best = nullptr;
      Class by;
      for (std::size_t k = 0; k < class_count; ++k) {
        const Extreme& e = evidence[g][k];
        if (!e.seen || !admits(all_grades[g], all_classes[k]))
          continue;
        if (best == nullptr || e.ratio < best->ratio) {
          best = &e;
          by = all_classes[k];
        }
      }
      if (best == nullptr)
        continue;
      seen = true;
      if (best->ratio <= 1) {
        met.best = all_grades[g];
        met.by = by;
        met.ratio = best->ratio;
        return met;
      }
      met.denied = all_grades[g];
      met.witness = best->at;
    }
    return seen ? std::optional(met) : std::nullopt;
  }

  std::size_t keep_;
  KernelReport report_;
  std::map<Key, KeyTally> keys_;
  std::map<std::tuple<Key, std::size_t, std::string>, AccuracyRow> rows_;
};

/// Cases by number, made when they are needed: a campaign's tensors do not fit into memory at once.
struct CaseSource {
  std::size_t count;
  std::function<Case(std::size_t)> make;
  std::function<std::string(std::size_t)> regime;
};

/// "f32", or "f16/f32" where the statistics have a format of their own.
std::string dtype_of(const Problem& problem) {
  std::string name(problem.data.name);
  if (!(problem.stats == problem.data))
    name += "/" + std::string(problem.stats.name);
  return name;
}

CaseResult try_case(std::size_t number, const Case& c, std::string regime,
                    std::span<const impls::KernelInfo> kernels, impls::Runner& runner,
                    const TrialOptions& options) {
  CaseResult result;
  result.label = {{c.problem.pass, dtype_of(c.problem), c.problem.layout}, std::move(regime), c.origin};
  reference::Truth truth;
  const auto start = Clock::now();
  if (reference::must_reject(c).empty()) {
    truth = reference::truth_of(c);
    result.audit = reference::audit(c, truth, audited_per_case, number);
    if (result.audit.disagreeing > 0)
      result.audit.first += " of " + c.origin;
  }
  result.truth_seconds = seconds_since(start);
  result.effort = truth.effort;
  result.kernels.reserve(kernels.size());
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    const impls::Observation seen = runner.run(kernels[k], c);
    CaseVerdict verdict = judge(c, truth, seen, options.gate);
    if (options.observe)
      options.observe(number, k, c, truth, seen, verdict);
    result.kernels.emplace_back(std::move(verdict), seen.seconds);
  }
  return result;
}

TrialReport run(const CaseSource& source, std::span<const impls::KernelInfo> kernels,
                const TrialOptions& options) {
  TrialReport report;
  report.gate = options.gate;
  report.cases_planned = static_cast<std::int64_t>(source.count);
  std::vector<Docket> dockets;
  for (const impls::KernelInfo& kernel : kernels)
    dockets.emplace_back(kernel, options.keep_failures);

  const auto start = Clock::now();
  const auto in_time = [&] {
    return !options.budget || Clock::now() - start < *options.budget;
  };
  const std::size_t threads = static_cast<std::size_t>(std::max(1, options.threads));

  std::mutex mutex;
  std::condition_variable room;
  const std::size_t most = most_waiting(kernels.size(), threads);
  std::map<std::size_t, CaseResult> waiting;  // finished out of order
  std::size_t taken = 0;
  std::size_t added = 0;
  std::exception_ptr trouble;
  Progress progress{0, report.cases_planned, 0, 0, 0};

  // Results are added in case order whatever thread finished them, so that the report does not depend on the
  // threads.
  const auto add_in_order = [&] {
    for (auto next = waiting.find(added); next != waiting.end(); next = waiting.find(added)) {
      CaseResult result = std::move(next->second);
      waiting.erase(next);
      report.effort += result.effort;
      report.audit.audited += result.audit.audited;
      report.audit.disagreeing += result.audit.disagreeing;
      if (report.audit.first.empty())
        report.audit.first = result.audit.first;
      report.truth_seconds += result.truth_seconds;
      for (std::size_t k = 0; k < dockets.size(); ++k) {
        CaseVerdict verdict = result.kernels[k].take();
        progress.judgements += verdict.judgements();
        progress.failures += verdict.failed() ? 1 : 0;
        dockets[k].add(result.label, std::move(verdict), result.kernels[k].seconds);
      }
      progress.done = static_cast<std::int64_t>(++added);
      progress.seconds = seconds_since(start);
      if (options.progress)
        options.progress(progress);
    }
    room.notify_all();
  };

  const auto work = [&] {
    try {
      impls::Runner runner(options.run);
      std::unique_lock lock(mutex);
      while (!trouble && taken < source.count && in_time()) {
        if (taken - added >= most) {  // whoever has the first of these is at work on it
          room.wait(lock);
          continue;
        }
        const std::size_t i = taken++;
        lock.unlock();
        CaseResult result = try_case(i, source.make(i), source.regime(i), kernels, runner, options);
        lock.lock();
        waiting.emplace(i, std::move(result));
        add_in_order();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!trouble)
        trouble = std::current_exception();
      room.notify_all();
    }
  };

  std::vector<std::thread> pool;
  for (std::size_t t = 1; t < threads; ++t)
    pool.emplace_back(work);
  work();
  for (std::thread& thread : pool)
    thread.join();
  if (trouble)
    std::rethrow_exception(trouble);

  report.cases_tried = static_cast<std::int64_t>(added);
  for (Docket& docket : dockets)
    report.kernels.push_back(docket.report(options.gate));
  report.seconds = seconds_since(start);
  return report;
}

std::int64_t failure_count(const std::array<std::int64_t, status_count>& counts) {
  std::int64_t sum = 0;
  for (const Status s : all_statuses) {
    if (is_failure(s))
      sum += counts[static_cast<std::size_t>(s)];
  }
  return sum;
}

}  // namespace

std::int64_t KernelReport::judgements() const {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) - count(Status::skipped);
}

bool KernelReport::conforms(const Gate& gate) const {
  return failure_count(counts) == 0 && !unexplained &&
         (!gate.extended || failure_count(extended_counts) == 0);
}

bool KernelReport::inconclusive() const {
  return count(Status::pass) == 0 && failure_count(counts) == 0 && !unexplained;
}

Exit TrialReport::exit() const {
  if (audit.disagreeing > 0)
    return Exit::could_not_run;
  bool verified = false;
  for (const KernelReport& kernel : kernels) {
    if (!kernel.conforms(gate))
      return Exit::does_not_conform;
    verified = verified || !kernel.inconclusive();
  }
  return verified ? Exit::conforms : Exit::inconclusive;
}

TrialReport run_trial(std::span<const Recipe> recipes, std::span<const impls::KernelInfo> kernels,
                      const TrialOptions& options) {
  for (const Recipe& recipe : recipes) {
    if (const std::string reason = impossible(recipe); !reason.empty())
      throw std::invalid_argument(reason);
  }
  return run({recipes.size(), [&](std::size_t i) { return expand(recipes[i]); },
              [&](std::size_t i) {
                return to_string(recipes[i].regime);
              }},
             kernels, options);
}

TrialReport run_trial(std::span<const Case> cases, std::span<const impls::KernelInfo> kernels,
                      const TrialOptions& options) {
  return run({cases.size(), [&](std::size_t i) { return cases[i]; },
              [](std::size_t) {
                return std::string("case");
              }},
             kernels, options);
}

}  // namespace normproof::properties
