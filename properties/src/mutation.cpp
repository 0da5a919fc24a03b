#include "normproof/properties/mutation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <mutex>
#include <set>

namespace normproof::properties {
namespace {

bool is_numeric(const std::string& clause) {
  return clause.starts_with("BN-NUM-");
}

/// A failing judgement that `sees` does not overlook.
template <class Sees>
bool any_failure(const CaseVerdict& verdict, const Sees& sees) {
  return std::ranges::any_of(verdict.notable,
                             [&](const Judgement& j) { return is_failure(j.status) && sees(j); });
}

/// The composite alone, whatever the links say: what is left above 1 against exact statistics.
bool beyond(const CaseVerdict& verdict, double limit) {
  return std::ranges::any_of(verdict.nearest, [&](const Extreme& e) { return e.seen && e.ratio > limit; });
}

constexpr WrongJudge judges[] = {
    {"bounds times 4",
     [](const CaseVerdict& v) {
       return beyond(v, 4) ||
              any_failure(v, [](const Judgement& j) { return !is_numeric(j.clause) || j.ratio() > 4; });
     }},
    {"no links",
     [](const CaseVerdict& v) {
       return beyond(v, 1) || any_failure(v, [](const Judgement& j) { return !is_numeric(j.clause); });
     }},
    {"finite values only",
     [](const CaseVerdict& v) {
       return any_failure(v,
                          [](const Judgement& j) { return std::isfinite(j.got) && std::isfinite(j.want); });
     }},
    {"NaN equals all",
     [](const CaseVerdict& v) {
       return any_failure(v, [](const Judgement& j) { return !std::isnan(j.got) && !std::isnan(j.want); });
     }},
    {"without BN-INF-2",
     [](const CaseVerdict& v) {
       return any_failure(v, [](const Judgement& j) { return j.clause != "BN-INF-2"; });
     }},
    {"links alone", [](const CaseVerdict& v) {
       return any_failure(v, [](const Judgement& j) {
         return j.clause == "BN-NUM-12" || j.clause == "BN-NUM-13" || j.clause == "BN-NUM-14" ||
                j.clause == "BN-NUM-15" || j.clause == "BN-NUM-25";
       });
     }}};

/// What one kernel did on one case.
struct Record {
  bool tried = false, killed = false, extended_killed = false;
  std::vector<std::string> clauses;
  std::uint32_t peers_covered = 0, peers_refused = 0, wrong_killed = 0;
};

std::vector<std::string> clauses_of(const CaseVerdict& verdict) {
  std::set<std::string> clauses;
  for (const Judgement& j : verdict.notable) {
    if (!is_failure(j.status) || j.status == Status::consequence)
      continue;
    clauses.insert(!j.clause.empty() ? j.clause : std::string(to_string(j.status)));
  }
  return {clauses.begin(), clauses.end()};
}

bool is_usual(const Recipe& recipe) {
  return recipe.regime.name == "normal" || recipe.regime.name == "uniform";
}

}  // namespace

std::span<const WrongJudge> wrong_judges() {
  return judges;
}

bool MutationRow::as_declared() const {
  return declared.empty() ||
         std::ranges::any_of(declared, [&](const std::string& c) { return clauses.contains(c); });
}

std::vector<std::string> declared_clauses(std::string_view summary) {
  std::vector<std::string> out;
  std::string family;
  for (std::size_t i = 0; i < summary.size();) {
    const auto digits = [&](std::size_t from) {
      std::size_t end = from;
      while (end < summary.size() && std::isdigit(static_cast<unsigned char>(summary[end])) != 0)
        ++end;
      return end;
    };
    if (summary.substr(i).starts_with("BN-")) {
      const std::size_t dash = summary.find('-', i + 3);
      if (dash == std::string_view::npos)
        break;
      const std::size_t end = digits(dash + 1);
      family = std::string(summary.substr(i, dash + 1 - i));
      out.emplace_back(summary.substr(i, end - i));
      i = std::max(end, i + 1);
      continue;
    }
    // "-24" behind a clause of the same family.
    if (!family.empty() && summary[i] == '-' && i >= 2 && summary.substr(i - 2, 2) == ", ") {
      const std::size_t end = digits(i + 1);
      if (end > i + 1)
        out.push_back(family + std::string(summary.substr(i + 1, end - i - 1)));
      i = end;
      continue;
    }
    ++i;
  }
  return out;
}

MutationReport run_mutation(std::span<const Recipe> recipes, std::span<const impls::KernelInfo> kernels,
                            const MutationOptions& options) {
  std::vector<std::vector<Record>> records(recipes.size());
  TrialOptions trial = options.trial;
  const bool extended = trial.gate.extended;
  // Each record is written once, by the thread that tried it.
  trial.observe = [&](std::size_t i, std::size_t k, const Case& c, const reference::Truth& truth,
                      const impls::Observation& seen, const CaseVerdict& verdict) {
    if (records[i].empty())
      records[i].resize(kernels.size());
    Record& record = records[i][k];
    if (verdict.count(Status::skipped) > 0)
      return;
    if (c.domain == Domain::extended && !extended) {
      record.extended_killed = verdict.failed();
      return;
    }
    record.killed = verdict.failed();
    record.tried =
        record.killed || seen.outcome == impls::Outcome::completed;  // a due refusal computes nothing
    if (record.killed)
      record.clauses = clauses_of(verdict);
    for (std::size_t p = 0; p < options.peers.size(); ++p) {
      const PeerVerdict said =
          truth.channels.empty() ? PeerVerdict::not_covered : verdict_of(options.peers[p], c, truth, seen);
      record.peers_covered |= (said != PeerVerdict::not_covered ? 1U : 0U) << p;
      record.peers_refused |= (said == PeerVerdict::refuses ? 1U : 0U) << p;
    }
    for (std::size_t w = 0; w < std::size(judges); ++w)
      record.wrong_killed |= (record.killed && judges[w].kills(verdict) ? 1U : 0U) << w;
  };
  const TrialReport tried = run_trial(recipes, kernels, trial);

  MutationReport report;
  report.gate = trial.gate;
  report.cases_planned = tried.cases_planned;
  report.cases_tried = tried.cases_tried;
  report.seconds = tried.seconds;
  // A refusal says something only where the peer accepts all correct kernels.
  std::vector<std::uint32_t> alarms(records.size());
  for (std::size_t i = 0; i < records.size(); ++i)
    for (std::size_t k = options.wrong_kernels; k < records[i].size(); ++k)
      alarms[i] |= records[i][k].peers_refused;

  for (std::size_t k = 0; k < kernels.size(); ++k) {
    MutationRow row;
    row.kernel = kernels[k];
    row.declared = declared_clauses(kernels[k].summary);
    row.unexplained = tried.kernels[k].unexplained;
    row.skips = tried.kernels[k].skips;
    row.peers.resize(options.peers.size());
    row.wrong.resize(std::size(judges));
    std::map<std::vector<std::string>, Kill> smallest;
    std::vector<std::size_t> failed;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (records[i].empty())
        continue;
      row.extended_killed += records[i][k].extended_killed ? 1 : 0;
      if (!records[i][k].tried)
        continue;
      const Record& record = records[i][k];
      const bool usual = is_usual(recipes[i]);
      ++row.tried;
      row.usual_tried += usual ? 1 : 0;
      const auto count = [&](Refusals& r, bool covered, bool refused) {
        r.covered += covered ? 1 : 0;
        r.refused += refused ? 1 : 0;
        r.usual_covered += usual && covered ? 1 : 0;
        r.usual_refused += usual && refused ? 1 : 0;
      };
      const std::uint32_t sound = k < options.wrong_kernels ? ~alarms[i] : ~0U;
      for (std::size_t p = 0; p < row.peers.size(); ++p)
        count(row.peers[p], (record.peers_covered >> p & 1U) != 0, (record.peers_refused & sound) >> p & 1U);
      for (std::size_t w = 0; w < row.wrong.size(); ++w)
        count(row.wrong[w], true, (record.wrong_killed >> w & 1U) != 0);
      if (!record.killed)
        continue;
      ++row.killed;
      failed.push_back(i);
      row.usual_killed += usual ? 1 : 0;
      if (row.first == 0)
        row.first = row.tried;
      for (const std::string& clause : record.clauses)
        ++row.clauses[clause];
      const std::int64_t elements = recipes[i].shape.elements();
      Kill& kill = smallest[record.clauses];
      if (kill.origin.empty() || elements < kill.elements)
        kill = {to_string(recipes[i]), elements, normproof::to_string(recipes[i].shape), record.clauses};
    }
    for (auto& [clauses, kill] : smallest)
      row.kills.push_back(std::move(kill));
    std::ranges::stable_sort(row.kills, {}, &Kill::elements);
    if (row.kills.size() > options.keep_kills)
      row.kills.resize(options.keep_kills);
    const std::size_t sampled = std::min(failed.size(), options.keep_kills);
    for (std::size_t s = 0; s < sampled; ++s)
      row.sample.push_back(to_string(recipes[failed[s * failed.size() / sampled]]));
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace normproof::properties
