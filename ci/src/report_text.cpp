// The verdicts, for people: what each kernel did, what failed and how to see it again, the best grades met.
#include <algorithm>
#include <array>
#include <map>
#include <span>

#include <fmt/format.h>

#include "normproof/ci/report.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "text.h"

namespace normproof::ci {

using namespace properties;

namespace {

/// Outputs that one algorithm decides together: a grade is named per group.
struct OutputGroup {
  std::string_view name;
  std::vector<Output> outputs;
};
const std::array output_groups{OutputGroup{"statistics", {Output::mean, Output::var, Output::invstd}},
                               OutputGroup{"y", {Output::y}},
                               OutputGroup{"running", {Output::running_mean, Output::running_var}},
                               OutputGroup{"gradients", {Output::dbeta, Output::dgamma, Output::dx}},
                               OutputGroup{"second", {Output::grad_dy, Output::grad_x, Output::grad_gamma}}};

/// 0 for the strongest grade, past the end for none at all.
std::size_t rank(const GradeMet& met) {
  return met.best ? static_cast<std::size_t>(*met.best) : grade_count;
}

/// The weakest grade of the group over all keys, and of those the one that was denied most clearly.
const GradeMet* weakest(const KernelReport& kernel, const OutputGroup& group, const KeyVerdict** where) {
  const GradeMet* found = nullptr;
  for (const KeyVerdict& key : kernel.keys)
    for (const GradeMet& met : key.grades) {
      if (std::ranges::find(group.outputs, met.output) == group.outputs.end())
        continue;
      const bool weaker = !found || rank(met) > rank(*found) ||
                          (rank(met) == rank(*found) && met.witness.ratio() > found->witness.ratio());
      if (weaker) {
        found = &met;
        *where = &key;
      }
    }
  return found;
}

std::string times_permitted(const Judgement& j) {
  if (j.permitted > 0)
    return fmt::format("{} x permitted", brief(j.ratio()));
  return fmt::format("{} where no error is permitted", brief(j.measured));
}

std::string grade_lines(const Report& report, const KernelReport& kernel, const Style& style) {
  std::string out;
  for (const OutputGroup& group : output_groups) {
    const KeyVerdict* key = nullptr;
    const GradeMet* met = weakest(kernel, group, &key);
    if (!met)
      continue;
    std::string text = met->best ? std::string(to_string(*met->best)) : std::string("no grade");
    if (met->best)
      text += fmt::format(" ({})", to_string(met->by));
    if (met->denied)
      text += fmt::format("; {} denied by {} of {}: {}", to_string(*met->denied),
                          to_string(met->witness.output), name_of(key->key), times_permitted(met->witness));
    out += wrapped(fmt::format("     {:<12}", group.name), text, style.width);
    if (met->denied && style.replay_lines)
      out +=
          paint(style, Colour::dim,
                fmt::format("     {:<12}{}", "", replay_line(report, kernel.kernel, met->witness.origin))) +
          "\n";
  }
  return out;
}

std::string counts_text(const std::array<std::int64_t, status_count>& counts) {
  std::vector<std::string> parts;
  for (const Status status : all_statuses) {
    const std::int64_t n = counts[static_cast<std::size_t>(status)];
    if (n > 0 && status != Status::pass && status != Status::skipped)
      parts.push_back(fmt::format("{} {}", grouped(n), to_string(status)));
  }
  return joined(parts, ", ");
}

/// Why one class of algorithms cannot be what the kernel does.
std::string denial_text(const Report& report, const impls::KernelInfo& kernel, const Judgement& j,
                        const Style& style) {
  std::string place = fmt::format("{} of channel {}", to_string(j.output), j.channel);
  if (per_element(j.output))
    place += fmt::format(", element {}", j.element);
  std::string out = wrapped("       ",
                            fmt::format("{}: {}, {}: got {}, want {}, {}", j.note, place, j.clause,
                                        hex_float(j.got), hex_float(j.want), times_permitted(j)),
                            style.width);
  if (style.replay_lines)
    out += fmt::format("       {}\n", paint(style, Colour::dim, replay_line(report, kernel, j.origin)));
  return out;
}

/// One value often denies several classes: it is shown once, for all of them.
std::vector<Judgement> merged_denials(std::vector<Judgement> denials) {
  std::vector<Judgement> out;
  for (Judgement& j : denials) {
    const auto same = std::ranges::find_if(out, [&](const Judgement& other) {
      return other.origin == j.origin && other.output == j.output && other.channel == j.channel &&
             other.element == j.element && other.clause == j.clause;
    });
    if (same == out.end())
      out.push_back(std::move(j));
    else
      same->note += "; " + j.note;
  }
  return out;
}

std::string failure_lines(const Report& report, const KernelReport& kernel, const Style& style,
                          std::span<const Judgement> failures, std::int64_t total, std::size_t shown) {
  std::string out;
  const auto some = chosen(failures, shown);
  for (const Judgement* j : some)
    out += judgement_text(report, kernel.kernel, *j, style);
  const std::int64_t rest = total - static_cast<std::int64_t>(some.size());
  if (rest > 0)
    out += fmt::format("     and {} more\n", grouped(rest));
  return out;
}

std::int64_t failing(const std::array<std::int64_t, status_count>& counts) {
  std::int64_t sum = 0;
  for (const Status status : all_statuses)
    if (is_failure(status))
      sum += counts[static_cast<std::size_t>(status)];
  return sum;
}

std::string kernel_text(const Report& report, const KernelReport& kernel, const Style& style,
                        std::size_t shown) {
  const Gate& gate = report.trial.gate;
  const std::string word = verdict_word(kernel, gate);
  const Colour colour = word == "PASS" ? Colour::green : word == "FAIL" ? Colour::red : Colour::yellow;
  std::string out = fmt::format("{} {}\n", paint(style, colour, pad_right(word, 4)),
                                paint(style, Colour::bold, kernel.kernel.name));

  std::int64_t skipped = 0;
  for (const auto& [reason, n] : kernel.skips)
    skipped += n;
  std::string line = fmt::format("{} on {}", counted(kernel.judgements(), "judgement"),
                                 counted(kernel.cases - skipped, "case"));
  if (const std::string counts = counts_text(kernel.counts); !counts.empty())
    line += ": " + counts;
  out += wrapped("     ", line, style.width);
  for (const auto& [reason, n] : kernel.skips)
    out +=
        wrapped("     ", fmt::format("skipped {}: {}", counted(n, "case"), reason_text(reason)), style.width);

  out += failure_lines(report, kernel, style, kernel.failures, failing(kernel.counts), shown);
  for (const KeyVerdict& key : kernel.keys) {
    if (!key.explained_by.empty() || key.unexplained.empty())
      continue;
    out += wrapped("     ",
                   fmt::format("no single algorithm of grade {} explains {}; one witness against each class:",
                               to_string(gate.grade), name_of(key.key)),
                   style.width);
    for (const Judgement& j : merged_denials(key.unexplained))
      out += denial_text(report, kernel.kernel, j, style);
  }
  out += grade_lines(report, kernel, style);

  std::int64_t extended = 0;
  for (const std::int64_t n : kernel.extended_counts)
    extended += n;
  extended -= kernel.extended_counts[static_cast<std::size_t>(Status::skipped)];
  if (extended > 0) {
    const std::string counts = counts_text(kernel.extended_counts);
    out += wrapped("     ",
                   fmt::format("extended domain{}: {}{}{}", gate.extended ? "" : " (reported, does not gate)",
                               counted(extended, "judgement"), counts.empty() ? "" : ": ", counts),
                   style.width);
    if (gate.extended)
      out += failure_lines(report, kernel, style, kernel.extended_failures, failing(kernel.extended_counts),
                           shown);
  }
  return out;
}

std::string oracle_line(const Report& report, const Style& style) {
  const TrialReport& trial = report.trial;
  if (trial.audit.disagreeing > 0)
    return wrapped(
        paint(style, Colour::red, "ORACLE IN DOUBT: "),
        fmt::format("{} of {} disagree with the multiprecision oracle, first {}; no verdict holds: "
                    "please report this",
                    grouped(trial.audit.disagreeing), counted(trial.audit.audited, "audited value"),
                    trial.audit.first),
        style.width);
  return wrapped("oracle: ",
                 fmt::format("{} correctly rounded; {} of them decided again in multiprecision, all alike",
                             counted(trial.effort.elements, "value"), grouped(trial.audit.audited)),
                 style.width);
}

}  // namespace

std::string reason_text(const std::string& reason) {
  return reason.empty() ? "no reason given" : reason;
}

std::string name_of(const Key& key) {
  return fmt::format("{} {} {}", normproof::to_string(key.pass), key.dtype, normproof::to_string(key.layout));
}

std::vector<const Judgement*> chosen(std::span<const Judgement> failures, std::size_t limit) {
  std::vector<const Judgement*> out;
  std::map<std::pair<std::string, Output>, std::size_t> seen;
  std::vector<std::pair<std::size_t, std::size_t>> order;  // how many of its kind came before, position
  for (std::size_t i = 0; i < failures.size(); ++i)
    order.emplace_back(seen[{failures[i].clause, failures[i].output}]++, i);
  std::ranges::sort(order);
  for (const auto& [before, i] : order)
    if (out.size() < limit)
      out.push_back(&failures[i]);
  return out;
}

std::string judgement_text(const Report& report, const impls::KernelInfo& kernel, const Judgement& j,
                           const Style& style) {
  constexpr std::string_view indent = "       ";
  const auto title = report.clauses.find(j.clause);
  const std::string head = fmt::format(
      "  {} {} ", paint(style, is_failure(j.status) ? Colour::red : Colour::yellow, to_string(j.status)),
      j.clause);
  // A crash or a broken contract concerns the case, not a value.
  const bool valued = j.got != 0 || j.want != 0 || j.measured != 0 || j.permitted != 0;
  std::string what = name_of(key_of(report, j.origin));
  if (valued)
    what = fmt::format("{} of {}, channel {}", to_string(j.output), what, j.channel);
  if (valued && per_element(j.output))
    what += fmt::format(", element {}", j.element);
  if (title != report.clauses.end())
    what += ": " + title->second;
  std::string out = wrapped(head, what, style.width);
  if (valued) {
    out += fmt::format("{}got   {:<24}{}\n", indent, decimal(j.got), hex_float(j.got));
    out += fmt::format("{}want  {:<24}{}\n", indent, decimal(j.want), hex_float(j.want));
    out +=
        wrapped(indent,
                fmt::format("{} ulps off; measured {}, permitted {}{}", brief(j.ulps), brief(j.measured),
                            brief(j.permitted),
                            j.permitted > 0 ? fmt::format(" (ratio {})", brief(j.ratio())) : std::string()),
                style.width);
  }
  if (!j.note.empty())
    out += wrapped(indent, j.note, style.width);
  if (is_failure(j.status)) {
    std::string weight(to_string(severity(j)));
    if (!j.let_pass_by.empty())
      weight += "; the tolerances of " + j.let_pass_by + " let this case pass";
    out += wrapped(std::string(indent) + "severity: ", weight, style.width);
  }
  if (!j.diagnosis.empty())
    out += wrapped(std::string(indent) + "diagnosis: ", j.diagnosis, style.width);
  if (!j.smallest.empty())
    out += wrapped(std::string(indent) + "smallest: ", j.smallest, style.width);
  if (!j.origin.empty() && style.replay_lines)
    out += fmt::format("{}{}\n", indent, paint(style, Colour::dim, replay_line(report, kernel, j.origin)));
  return out;
}

std::string check_text(const Report& report, const Style& style, std::size_t shown) {
  std::string out;
  for (const KernelReport& kernel : report.trial.kernels)
    out += kernel_text(report, kernel, style, shown) + "\n";
  for (const Absent& absent : report.absent)
    out += fmt::format("{} {}\n", paint(style, Colour::yellow, "SKIPPED"),
                       paint(style, Colour::bold, absent.library)) +
           wrapped("     ", absent.reason, style.width) + "\n";
  return out + oracle_line(report, style) + summary_line(report, style);
}

std::string replay_text(const Report& report, const Style& style) {
  constexpr std::size_t shown = shown_by_replay;
  Style plain = style;
  plain.replay_lines = false;  // the line that was typed would stand behind every judgement
  std::string out;
  for (const KernelReport& kernel : report.trial.kernels) {
    out += kernel_text(report, kernel, plain, shown);
    std::vector<AccuracyRow> rows = kernel.rows;
    std::ranges::sort(rows, {},
                      [](const AccuracyRow& row) { return std::ranges::find(all_outputs, row.output); });
    for (const AccuracyRow& row : rows) {
      if (!row.nearest.seen)
        continue;
      const Judgement& j = row.nearest.at;
      std::string text = fmt::format(
          "worst at channel {}, element {}: got {}, want {}, {} ulps off; {} of the permitted error ({}); "
          "{} of {} correctly rounded",
          j.channel, j.element, hex_float(j.got), hex_float(j.want), brief(j.ulps), brief(row.nearest.ratio),
          j.clause, row.accuracy.correctly_rounded, row.accuracy.count);
      out += wrapped(fmt::format("     {:<13}", to_string(row.output)), text, style.width);
    }
    out += "\n";
  }
  for (const Absent& absent : report.absent)
    out += wrapped("SKIPPED ", absent.library + ": " + absent.reason, style.width);
  return out + oracle_line(report, style) + summary_line(report, style);
}

std::string summary_line(const Report& report, const Style& style) {
  const TrialReport& trial = report.trial;
  std::int64_t judgements = 0, passed = 0, failed = 0;
  for (const KernelReport& kernel : trial.kernels) {
    judgements += kernel.judgements();
    const std::string word = verdict_word(kernel, trial.gate);
    passed += word == "PASS" ? 1 : 0;
    failed += word == "FAIL" ? 1 : 0;
  }
  const auto kernels = static_cast<std::int64_t>(trial.kernels.size());
  const Exit exit = report.exit();
  const std::string word = trial.audit.disagreeing > 0      ? "ORACLE IN DOUBT"
                           : exit == Exit::conforms         ? "CONFORMS"
                           : exit == Exit::does_not_conform ? "DOES NOT CONFORM"
                                                            : "INCONCLUSIVE";
  const Colour colour = exit == Exit::conforms       ? Colour::green
                        : exit == Exit::inconclusive ? Colour::yellow
                                                     : Colour::red;

  std::vector<std::string> parts;
  parts.push_back(fmt::format("{} of {} at grade {}", grouped(passed),
                              counted(kernels, "kernel conforms", "kernels conform"),
                              to_string(trial.gate.grade)));
  if (failed > 0)
    parts.push_back(fmt::format("{} not", failed));
  if (kernels > passed + failed)
    parts.push_back(fmt::format("{} with nothing verified", kernels - passed - failed));
  if (!report.absent.empty())
    parts.push_back(
        counted(static_cast<std::int64_t>(report.absent.size()), "library skipped", "libraries skipped"));
  std::string cases = counted(trial.cases_tried, "case");
  if (trial.cases_tried < trial.cases_planned)
    cases += fmt::format(" of {} (the budget ended)", grouped(trial.cases_planned));
  parts.push_back(
      fmt::format("{} on {} in {}", counted(judgements, "judgement"), cases, seconds_text(trial.seconds)));
  return wrapped(paint(style, colour, word) + ": ", joined(parts, ", "), style.width);
}

}  // namespace normproof::ci
