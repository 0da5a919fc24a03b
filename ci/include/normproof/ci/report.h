// The report: one record of a run, and the views of it.
//
// The terminal, JSON, JUnit and the accuracy table are pure functions of this record, so that no two of them
// can disagree. Whatever differs between two runs of the same thing (times, threads, the machine, the command
// line) has fields of its own; the rest is equal bit for bit.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "normproof/properties/trial.h"

namespace normproof::ci {

/// What the run happened on; never part of a verdict.
struct Machine {
  std::string compiler;   ///< that built the program
  std::string processor;  ///< as the operating system names it, empty if it does not
  int threads = 1;        ///< cases in flight
};

/// A library that is not there, and why: its kernels are skipped, and counted as one.
struct Absent {
  std::string library;
  std::string reason;
};

struct Report {
  std::string version;               ///< of normproof, with the commit where it is known
  std::vector<std::string> command;  ///< as typed
  std::string profile;               ///< name of the profile, or "cases" for explicit ones
  std::uint64_t seed = 0;
  Machine machine;
  std::vector<Absent> absent;
  std::vector<std::string> libraries;           ///< paths given by hand: a replay line has to name them
  std::map<std::string, std::string> clauses;   ///< id -> title
  std::map<std::string, properties::Key> keys;  ///< of origins that are case files; a recipe says its own
  properties::TrialReport trial;

  /// The trial's exit, but nothing verified is inconclusive whatever the reason.
  properties::Exit exit() const;
};

/// How a text is to look. `width` holds for everything but replay lines, which stay whole to be pasted.
struct Style {
  bool colour = false;
  bool replay_lines = true;
  int width = 80;
};

/// One word for a kernel: PASS, FAIL, or INCONCLUSIVE when nothing was verified.
std::string verdict_word(const properties::KernelReport& kernel, const properties::Gate& gate);
/// The command that shows a judgement of that origin again, under the same gate.
std::string replay_line(const Report& report, const impls::KernelInfo& kernel, const std::string& origin);
/// The key that an origin was judged under; "case" files are looked up in the report.
properties::Key key_of(const Report& report, const std::string& origin);

/// How many failures per kernel the texts show, each with its diagnosis.
inline constexpr std::size_t shown_by_check = 4, shown_by_replay = 16;

/// The verdicts, for people: one line per kernel, what failed and how to see it again, the best grades met.
/// `shown` limits the failures that are printed per kernel.
std::string check_text(const Report& report, const Style& style, std::size_t shown = shown_by_check);
/// A single case: every failing judgement of every kernel, and the worst judgement of each output.
std::string replay_text(const Report& report, const Style& style);
/// The last line of both, which says it all.
std::string summary_line(const Report& report, const Style& style);

/// What the rows of the accuracy table are.
enum class Rows { by_output, by_regime, all };
std::string accuracy_text(const Report& report, const Style& style, Rows rows = Rows::by_output);

/// The record in JSON (schema: spec/schema/report-1.json), and in JUnit's XML for build servers.
std::string to_json(const Report& report);
std::string to_junit(const Report& report);

}  // namespace normproof::ci
