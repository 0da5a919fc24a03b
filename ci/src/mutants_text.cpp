#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "bank.h"
#include "mutants.h"
#include "normproof/ci/words.h"

namespace normproof::ci {

using namespace properties;

namespace {

std::string short_name(const std::string& kernel) {
  return kernel.starts_with("mutant.") ? kernel.substr(7) : kernel;
}

std::string short_clause(const std::string& clause) {
  return clause.starts_with("BN-") ? clause.substr(3) : clause;
}

std::span<const MutationRow> wrong_of(const MutantReport& report) {
  return std::span(report.trial.rows).first(report.wrong_kernels);
}

std::span<const MutationRow> twins_of(const MutantReport& report) {
  return std::span(report.trial.rows).subspan(report.wrong_kernels);
}

std::string heading(const Style& style, const std::string& text) {
  return "\n" + wrapped("", text, style.width) + "\n";
}

std::string survivors_text(const MutantReport& report, const Style& style) {
  std::string out;
  for (const MutationRow& row : wrong_of(report)) {
    if (row.dead())
      continue;
    const std::string_view excuse = excuse_of(row.kernel.name);
    std::string text = fmt::format("survives {}", counted(row.tried, "case"));
    if (row.extended_killed > 0)
      text += fmt::format(", dies on {} of the extended domain", counted(row.extended_killed, "case"));
    text += excuse.empty() ? ": no reason is known" : fmt::format(": {}", excuse);
    out += wrapped(fmt::format("  {} ", paint(style, excuse.empty() ? Colour::red : Colour::yellow,
                                              pad_right(short_name(row.kernel.name), 24))),
                   text, style.width);
  }
  return out.empty() ? "  none\n" : out;
}

std::string matrix_text(const MutantReport& report, const Style& style) {
  std::string out = fmt::format("  {:<34} {:>11} {:>5} {:<11} {}\n", "wrong kernel", "failed/of", "first",
                                "smallest", "as declared");
  for (const MutationRow& row : wrong_of(report)) {
    if (!row.dead())
      continue;
    out += fmt::format("  {:<34} {:>11} {:>5} {:<11} {}\n", short_name(row.kernel.name),
                       fmt::format("{}/{}", row.killed, row.tried), row.first,
                       row.kills.empty() ? "-" : row.kills.front().shape, row.as_declared() ? "yes" : "NO");
    std::vector<std::pair<std::int64_t, std::string>> clauses;
    for (const auto& [clause, cases] : row.clauses)
      clauses.emplace_back(-cases, clause);
    std::ranges::sort(clauses);
    std::vector<std::string> parts;
    for (const auto& [cases, clause] : clauses) {
      const bool declared = std::ranges::find(row.declared, clause) != row.declared.end();
      parts.push_back(fmt::format("{}{} {}", short_clause(clause), declared ? "*" : "", -cases));
    }
    if (row.killed == 0)
      parts.emplace_back("no one class of algorithms explains all it did");
    out += wrapped("      ", joined(parts, ", "), style.width);
  }
  return out;
}

std::int64_t covered(const Refusals& r, bool usual) {
  return usual ? r.usual_covered : r.covered;
}

std::int64_t refused(const Refusals& r, bool usual) {
  return usual ? r.usual_refused : r.refused;
}

/// Who refuses how many of the wrong kernels, and how many cases of correct ones: everywhere, and on the data
/// that these suites use.
std::string peers_text(const MutantReport& report) {
  std::string out = fmt::format("  {:<10} {:>14} {:>15}   {:>14} {:>15}\n", "", "wrong kernels",
                                "correct kernels", "usual data:", "correct kernels");
  const auto line = [&](std::string_view name, const auto& covers, const auto& refuses) {
    out += fmt::format("  {:<10}", name);
    for (const bool usual : {false, true}) {
      std::int64_t of = 0, caught = 0, alarms = 0;
      for (const MutationRow& row : wrong_of(report)) {
        of += covers(row, usual) > 0 ? 1 : 0;
        caught += refuses(row, usual) > 0 ? 1 : 0;
      }
      for (const MutationRow& row : twins_of(report))
        alarms += refuses(row, usual);
      out += fmt::format("{} {:>14} {:>15}", usual ? "  " : "", fmt::format("{} of {}", caught, of),
                         alarms == 0 ? "-" : counted(alarms, "case"));
    }
    out += "\n";
  };
  line(
      "normproof", [](const MutationRow& row, bool usual) { return usual ? row.usual_tried : row.tried; },
      [](const MutationRow& row, bool usual) { return usual ? row.usual_killed : row.killed; });
  for (std::size_t p = 0; p < report.peers.size(); ++p)
    line(
        report.peers[p].name,
        [p](const MutationRow& row, bool usual) { return covered(row.peers[p], usual); },
        [p](const MutationRow& row, bool usual) { return refused(row.peers[p], usual); });
  return out;
}

/// Wrong kernels by the suites that let them pass on every case that they cover.
std::string missed_text(const MutantReport& report, bool usual, const Style& style) {
  std::string out;
  for (std::size_t p = 0; p < report.peers.size(); ++p) {
    std::vector<std::string> missed;
    for (const MutationRow& row : wrong_of(report))
      if (row.dead() && covered(row.peers[p], usual) > 0 && refused(row.peers[p], usual) == 0)
        missed.push_back(short_name(row.kernel.name));
    out += wrapped(fmt::format("  {:<10} ", report.peers[p].name),
                   missed.empty() ? "none" : fmt::format("{}: {}", missed.size(), joined(missed, ", ")),
                   style.width);
  }
  return out;
}

std::string wrong_judges_text(const MutantReport& report, const Style& style) {
  std::string out;
  for (std::size_t w = 0; w < wrong_judges().size(); ++w) {
    std::vector<std::string> survivors;
    for (const MutationRow& row : wrong_of(report))
      if (row.killed > 0 && row.wrong[w].refused == 0)
        survivors.push_back(short_name(row.kernel.name));
    out += wrapped(fmt::format("  {:<20} ", wrong_judges()[w].name),
                   survivors.empty()
                       ? "kills all that the judge kills"
                       : fmt::format("lets {} live: {}", survivors.size(), joined(survivors, ", ")),
                   style.width);
  }
  return out;
}

constexpr const char* setting_names[] = {"as found", "perturbed", "left out"};
constexpr char naming_letters[] = {'+', '~', '-', 'X'};

}  // namespace

std::vector<std::string> MutantReport::unexcused() const {
  std::vector<std::string> out;
  for (const MutationRow& row : wrong_of(*this))
    if (!row.dead() && excuse_of(row.kernel.name).empty())
      out.push_back(row.kernel.name);
  return out;
}

std::vector<std::string> MutantReport::false_alarms() const {
  std::vector<std::string> out;
  for (const MutationRow& row : twins_of(*this))
    if (row.dead())
      out.push_back(row.kernel.name);
  return out;
}

Exit MutantReport::exit() const {
  if (std::ranges::none_of(wrong_of(*this), [](const MutationRow& row) { return row.tried > 0; }))
    return Exit::inconclusive;
  return unexcused().empty() && false_alarms().empty() ? Exit::conforms : Exit::does_not_conform;
}

std::string mutants_text(const MutantReport& report, const Style& style) {
  std::int64_t judged = 0, alarms = 0, dead = 0;
  for (const MutationRow& row : twins_of(report)) {
    judged += row.tried;
    alarms += row.killed;
  }
  for (const MutationRow& row : wrong_of(report))
    dead += row.dead() ? 1 : 0;

  std::string out =
      wrapped("",
              fmt::format("{} and {} on {} ({}, seed {}), grade {}",
                          counted(static_cast<std::int64_t>(report.wrong_kernels), "wrong kernel"),
                          counted(static_cast<std::int64_t>(twins_of(report).size()), "correct one"),
                          counted(report.trial.cases_tried, "case"), report.profile, report.seed,
                          to_string(report.trial.gate.grade)),
              style.width);
  out += heading(style, "Survivors");
  out += survivors_text(report, style);
  out += heading(style,
                 "Kill matrix: cases that failed of those computed, number of the first, smallest shape, and "
                 "the clauses with the cases in which each failed (* is declared)");
  out += matrix_text(report, style);
  out += heading(
      style,
      "Wrong kernels that are refused, of those covered, and cases of correct ones that are, by other "
      "suites' tolerances with the exact value as their reference; on all data and on normal and uniform "
      "data, as those suites use. What is refused for a correct kernel too does not count against a wrong "
      "one. Sources: spec/peers.json");
  out += peers_text(report);
  out += heading(style, "Wrong kernels that they let pass on every case, on all data");
  out += missed_text(report, false, style);
  out += heading(style, "The same on usual data");
  out += missed_text(report, true, style);
  out += heading(style, "Judges that are wrong on purpose");
  out += wrong_judges_text(report, style);
  out += "\n";
  const std::vector<std::string> alive = report.unexcused();
  out += wrapped(
      paint(style, report.exit() == Exit::conforms ? Colour::green : Colour::red,
            report.exit() == Exit::conforms ? "SOUND" : "NOT SOUND") +
          ": ",
      fmt::format("{} of {} wrong kernels killed, {} without an excuse; correct kernels failed in {} of {}; "
                  "{} s",
                  dead, report.wrong_kernels, alive.size(), grouped(alarms), counted(judged, "case"),
                  static_cast<std::int64_t>(report.trial.seconds)),
      style.width);
  return out;
}

std::size_t Robustness::killed_enough() const {
  return static_cast<std::size_t>(std::ranges::count_if(rows, [](const Row& row) {
    return std::ranges::all_of(row.kills, [](std::int64_t k) { return k >= enough_kills; });
  }));
}

Exit Robustness::exit() const {
  for (const Row& row : rows)
    if (excuse_of(row.kernel).empty() &&
        std::ranges::any_of(row.kills, [](std::int64_t k) { return k == 0; }))
      return Exit::does_not_conform;
  return rows.empty() ? Exit::inconclusive : Exit::conforms;
}

std::string robustness_text(const Robustness& r, const Style& style) {
  const auto fewest = [](const Robustness::Row& row) {
    return row.kills.empty() ? 0 : *std::ranges::min_element(row.kills);
  };
  const auto slowest = [](const Robustness::Row& row) {
    return row.recipes.empty() ? 0 : *std::ranges::max_element(row.recipes);
  };
  std::vector<const Robustness::Row*> order;
  for (const Robustness::Row& row : r.rows)
    order.push_back(&row);
  std::ranges::stable_sort(order, {}, [&](const Robustness::Row* row) {
    return std::pair(std::min(fewest(*row), enough_kills), -slowest(*row));
  });
  std::string out = fmt::format("  {:<34} {:>7} {:>9}\n", "wrong kernel", "kills", "recipes");
  for (const Robustness::Row* row : order) {
    const std::string_view excuse = excuse_of(row->kernel);
    const bool enough = fewest(*row) >= enough_kills;
    out += fmt::format("  {:<34} {:>7} {:>9}{}\n", short_name(row->kernel),
                       enough ? fmt::format("{}+", enough_kills) : fmt::to_string(fewest(*row)),
                       slowest(*row), enough ? "" : (excuse.empty() ? "  too few" : "  excused"));
  }
  return out + "\n" +
         wrapped("", "kills: cases in the seed with the fewest; recipes: gone through in the slowest seed",
                 style.width) +
         wrapped("",
                 fmt::format(
                     "{} of {} wrong kernels are killed by at least {} cases in each of {} ({}, grade {}{})",
                     r.killed_enough(), r.rows.size(), enough_kills,
                     counted(static_cast<std::int64_t>(r.seeds), "seed"), r.profile, to_string(r.gate.grade),
                     r.gate.extended ? ", extended domain too" : ""),
                 style.width);
}

std::string confusion_text(const MutantReport& report, const Style& style) {
  std::string out =
      wrapped("",
              "Diagnosis of known bugs, failing case by failing case: + named, ~ named with others that fit "
              "equally, - not "
              "named, X named wrongly. Perturbed: other eps, momentum, shapes, seeds. Left out: the bug's "
              "own family is "
              "not known; then no name is right, nor is one for a bug that has none. The letter behind is "
              "that of all cases together.",
              style.width);
  out += fmt::format("\n  {:<32}", "");
  for (const char* name : setting_names)
    out += fmt::format(" {:^14}", name);
  out += fmt::format("\n  {:<32}", "wrong kernel");
  for (std::size_t s = 0; s < setting_count; ++s)
    out += fmt::format(" {:>2} {:>2} {:>2} {:>2}   ", '+', '~', '-', 'X');
  out += "\n";
  std::array<std::array<std::int64_t, naming_count>, setting_count> cases{}, kernels{};
  for (const ConfusionRow& row : report.confusion) {
    out += fmt::format("  {:<32}", short_name(row.kernel));
    for (std::size_t s = 0; s < setting_count; ++s) {
      std::int64_t all = 0;
      for (std::size_t v = 0; v < naming_count; ++v) {
        cases[s][v] += row.cases[s][v];
        all += row.cases[s][v];
        out += fmt::format(" {:>2}", row.cases[s][v]);
      }
      out += all == 0 ? "  ." : fmt::format("  {}", naming_letters[static_cast<std::size_t>(row.verdict[s])]);
      kernels[s][static_cast<std::size_t>(row.verdict[s])] += all > 0 ? 1 : 0;
    }
    out += "\n";
  }
  const auto total = [&](const char* what, const auto& counts) {
    for (std::size_t s = 0; s < setting_count; ++s) {
      std::int64_t all = 0;
      for (const std::int64_t count : counts[s])
        all += count;
      out += fmt::format("  {:<9} {:<22} {:>4}: + {:>3}, ~ {:>3}, - {:>3}, X {:>3}\n", what, setting_names[s],
                         all, counts[s][0], counts[s][1], counts[s][2], counts[s][3]);
    }
  };
  out += "\n";
  total("cases", cases);
  total("kernels", kernels);

  out += "\nNames that are not the bug\n";
  bool any = false;
  for (const ConfusionRow& row : report.confusion)
    for (std::size_t s = 0; s < setting_count; ++s)
      for (const auto& [name, count] : row.names[s]) {
        if (name.empty() || (!row.bug.empty() && name.find(row.bug) != std::string::npos))
          continue;
        any = true;
        out += wrapped("  ",
                       fmt::format("{} ({}), {}: {} x {}", short_name(row.kernel),
                                   row.bug.empty() ? "no name" : row.bug, setting_names[s], name, count),
                       style.width);
      }
  return any ? out : out + "  none\n";
}

}  // namespace normproof::ci
