#include "normproof/suite.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <ostream>
#include <set>

#include <fmt/format.h>

#include "normproof/properties/trial.h"

namespace normproof::suite {
namespace {

using namespace properties;

constexpr std::size_t failures_shown = 5;

std::string identifier(std::string text) {
  for (char& c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0)
      c = '_';
  return text;
}

std::string text_of(const Judgement& j, const Trial& trial) {
  std::string text = fmt::format("{} {}", to_string(j.status), j.clause);
  if (j.got != 0 || j.want != 0 || j.measured != 0 || j.permitted != 0)
    text += fmt::format(" {}, channel {}, element {}: got {:a}, want {:a}, {:.4g} ulps off; measured {:.4g}, "
                        "permitted {:.4g}",
                        to_string(j.output), j.channel, j.element, j.got, j.want, j.ulps, j.measured,
                        j.permitted);
  if (!j.note.empty())
    text += "\n  " + j.note;
  return text + fmt::format("\n  normproof replay '{}' --impl {} --impl {}", j.origin, trial.kernel.name,
                            trial.kernel.library.string());
}

/// What each clause has to say: how near the kernel came to its bound, or how often it broke it.
std::map<std::string, std::string> by_clause(const KernelReport& report) {
  std::map<std::string, double> nearest;
  for (const AccuracyRow& row : report.rows)
    if (row.nearest.seen)
      nearest[row.nearest.at.clause] = std::max(nearest[row.nearest.at.clause], row.nearest.ratio);
  std::map<std::string, std::string> said;
  for (const auto& [clause, ratio] : nearest)
    said[clause] = fmt::format("PASS, at most {:.3g} of the permitted error", ratio);
  std::map<std::string, std::map<std::string_view, int>> broken;
  for (const Judgement& j : report.failures)
    ++broken[j.clause.empty() ? "run" : j.clause][to_string(j.status)];
  for (const auto& [clause, statuses] : broken) {
    said[clause].clear();
    for (const auto& [status, count] : statuses)
      said[clause] += fmt::format("{}{} {}", said[clause].empty() ? "" : ", ", count, status);
  }
  return said;
}

}  // namespace

void PrintTo(const Trial& trial, std::ostream* os) {
  *os << trial.kernel.name << ' ' << to_string(trial.pass) << ' ' << trial.options.library.string();
}

std::vector<Trial> trials(Options options, const char* worker) {
  if (worker != nullptr)
    setenv("NORMPROOF_WORKER", worker, 0);
  options.library = std::filesystem::absolute(options.library);
  impls::Catalogue catalogue;
  std::string trouble;
  try {
    catalogue = impls::discover(std::vector{options.library});
    if (!catalogue.errors.empty())
      trouble = catalogue.errors.front().reason;
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  std::vector<Trial> all;
  for (const impls::KernelInfo& kernel : catalogue.kernels)
    for (const Pass pass : all_passes)
      if (options.filter.passes.empty() || std::ranges::count(options.filter.passes, pass) > 0)
        all.push_back({options, kernel, pass, {}});
  if (!trouble.empty())
    all.push_back({options, {}, {}, options.library.string() + ": " + trouble});
  return all;
}

std::string name_of(const testing::TestParamInfo<Trial>& info) {
  if (!info.param.trouble.empty())
    return "library";
  return identifier(info.param.kernel.name + '_' + std::string(to_string(info.param.pass)));
}

TEST_P(Conformance, Conforms) {
  const Trial& trial = GetParam();
  ASSERT_EQ(trial.trouble, "");
  Filter filter = trial.options.filter;
  filter.passes = {trial.pass};
  const std::vector<Recipe> tried = recipes(trial.options.profile, trial.options.seed, filter);
  TrialOptions options;
  options.gate = trial.options.gate;
  options.run = trial.options.run;
  options.threads = trial.options.threads;
  options.keep_failures = 1000;
  const TrialReport whole = run_trial(tried, std::span(&trial.kernel, 1), options);
  const KernelReport& report = whole.kernels.front();

  RecordProperty("judgements", std::to_string(report.judgements()));
  for (const auto& [clause, words] : by_clause(report))
    RecordProperty(clause, words);
  if (report.inconclusive()) {
    std::string reasons;
    for (const auto& [reason, count] : report.skips)
      reasons += fmt::format("\n  {} cases: {}", count, reason);
    GTEST_SKIP() << "nothing was verified" << reasons;
  }
  std::set<std::string> shown;
  for (const Judgement& j : report.failures)
    if (shown.size() < failures_shown &&
        shown.insert(fmt::format("{} {}", j.clause, to_string(j.output))).second)
      ADD_FAILURE() << text_of(j, trial);
  for (const KeyVerdict& key : report.keys)
    if (key.explained_by.empty())
      for (const Judgement& j : key.unexplained)
        ADD_FAILURE() << "no single algorithm of grade " << to_string(trial.options.gate.grade)
                      << " explains it\n"
                      << text_of(j, trial);
  EXPECT_TRUE(report.conforms(trial.options.gate));
}

}  // namespace normproof::suite
