// The record as JUnit's XML: a suite per kernel, a test case per key and output, so that a build server shows
// which output of which pass, dtype and layout broke. What ran nothing is a skipped test case, never a
// missing one.
#include <map>
#include <set>

#include <fmt/format.h>

#include "normproof/ci/report.h"
#include "normproof/ci/words.h"
#include "text.h"

namespace normproof::ci {

using namespace properties;

namespace {

/// XML 1.0 has no way to write most control characters: they become '?', as do bytes that are no UTF-8.
std::string escaped(std::string_view text, std::string_view newline = "&#10;") {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t length = c < 0x80          ? 1
                               : (c >> 5U) == 6  ? 2
                               : (c >> 4U) == 14 ? 3
                               : (c >> 3U) == 30 ? 4
                                                 : 0;
    bool whole = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; whole && k < length; ++k)
      whole = (static_cast<unsigned char>(text[i + k]) & 0xC0U) == 0x80U;
    if (!whole) {
      out += '?';
      ++i;
      continue;
    }
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\n')
      out += newline;
    else if (c < 0x20 && c != '\t')
      out += '?';
    else
      out += text.substr(i, length);
    i += length;
  }
  return out;
}

struct TestCase {
  std::vector<Judgement> failures;
  std::string skipped;
};

std::string one_line(const Judgement& j) {
  return fmt::format("{} {} {}: got {}, want {}, {} ulps off, measured {} of permitted {}",
                     to_string(j.status), j.clause, to_string(j.output), decimal(j.got), decimal(j.want),
                     brief(j.ulps), brief(j.measured), brief(j.permitted));
}

}  // namespace

std::string to_junit(const Report& report) {
  std::string suites;
  std::size_t all = 0, all_failed = 0, all_skipped = 0;
  const Gate& gate = report.trial.gate;

  for (const KernelReport& kernel : report.trial.kernels) {
    std::map<std::string, TestCase> cases;
    for (const KeyVerdict& key : kernel.keys) {
      for (const GradeMet& met : key.grades)
        cases[name_of(key.key) + " " + std::string(to_string(met.output))];
      if (key.explained_by.empty() && !key.unexplained.empty())
        cases[name_of(key.key) + " one algorithm explains all"].failures = key.unexplained;
    }
    const auto add = [&](const std::vector<Judgement>& failures) {
      for (const Judgement& j : failures)
        cases[name_of(key_of(report, j.origin)) + " " + std::string(to_string(j.output))].failures.push_back(
            j);
    };
    add(kernel.failures);
    if (gate.extended)
      add(kernel.extended_failures);
    for (const auto& [reason, n] : kernel.skips)
      cases[fmt::format("skipped: {}", reason)].skipped = fmt::format("{}: {}", counted(n, "case"), reason);

    std::size_t failed = 0, skipped = 0;
    for (const auto& [name, test] : cases) {
      failed += test.failures.empty() ? 0U : 1U;
      skipped += test.skipped.empty() ? 0U : 1U;
    }
    // Only the first failures are kept; a suite must be red even when all kept ones lie elsewhere.
    if (failed == 0 && !kernel.conforms(gate)) {
      Judgement lost;
      lost.status = Status::fail;
      lost.note = "failed, but no failing judgement was kept; see the JSON report's counts";
      cases["kernel"].failures.push_back(lost);
      ++failed;
    }
    if (failed == 0 && kernel.inconclusive()) {
      cases["kernel"].skipped = "nothing was verified";
      ++skipped;
    }
    all += cases.size();
    all_failed += failed;
    all_skipped += skipped;

    suites +=
        fmt::format(R"( <testsuite name="{}" tests="{}" failures="{}" errors="0" skipped="{}" time="{:.3f}">)"
                    "\n",
                    escaped(kernel.kernel.name), cases.size(), failed, skipped, kernel.seconds);
    for (const auto& [name, test] : cases) {
      suites += fmt::format(R"(  <testcase classname="{}" name="{}" time="0")", escaped(kernel.kernel.name),
                            escaped(name));
      if (!test.failures.empty()) {
        const Judgement& first = test.failures.front();
        std::string message = first.clause.empty() && !first.note.empty() ? first.note : one_line(first);
        if (!first.origin.empty())
          message += "; " + replay_line(report, kernel.kernel, first.origin);
        std::string body;
        for (std::size_t i = 0; i < test.failures.size() && i < 10; ++i)
          body += judgement_text(report, kernel.kernel, test.failures[i], {});
        if (test.failures.size() > 10)
          body += fmt::format("and {} more\n", test.failures.size() - 10);
        suites += fmt::format(">\n   <failure type=\"{}\" message=\"{}\">{}</failure>\n  </testcase>\n",
                              to_string(first.status), escaped(message), escaped(body, "\n"));
      } else if (!test.skipped.empty()) {
        suites += fmt::format(">\n   <skipped message=\"{}\"/>\n  </testcase>\n", escaped(test.skipped));
      } else {
        suites += "/>\n";
      }
    }
    suites += " </testsuite>\n";
  }
  for (const Absent& absent : report.absent) {
    suites += fmt::format(R"( <testsuite name="{0}" tests="1" failures="0" errors="0" skipped="1" time="0">
  <testcase classname="{0}" name="library" time="0">
   <skipped message="{1}"/>
  </testcase>
 </testsuite>
)",
                          escaped(absent.library), escaped(absent.reason));
    ++all;
    ++all_skipped;
  }
  return fmt::format(R"(<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="normproof" tests="{}" failures="{}" errors="0" skipped="{}" time="{:.3f}">
{}</testsuites>
)",
                     all, all_failed, all_skipped, report.trial.seconds, suites);
}

}  // namespace normproof::ci
