// `normproof list`: what there is to choose from.
#include <array>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "data.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/profile.h"
#include "normproof/properties/shapes.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;

std::string entry(std::string_view name, std::string_view text, const Style& style) {
  const std::string head = paint(style, Colour::bold, fmt::format("  {:<24}  ", name));
  if (name.size() > 24)
    return head + "\n" + wrapped(std::string(28, ' '), text, style.width);
  return wrapped(head, text, style.width);
}

std::string kernels(const Style& style) {
  std::string out;
  const Chosen chosen = choose({.patterns = {}, .mutants = true});
  for (const impls::KernelInfo& kernel : chosen.kernels) {
    const char* device = kernel.device_type == 1 ? "" : kernel.device_type == 2 ? ", CUDA" : ", other device";
    out += entry(
        kernel.name,
        fmt::format("{} ({} {}{})", kernel.summary, kernel.library_name, kernel.library_version, device),
        style);
    if (!kernel.worst_known.empty())
      out += wrapped(std::string(28, ' '), "worst known: " + kernel.worst_known, style.width);
  }
  for (const Absent& absent : chosen.absent)
    out += entry(absent.library, "not there: " + absent.reason, style);
  return out;
}

std::string dialect_list(const Style& style) {
  std::string out;
  for (const Dialect& dialect : dialects())
    out += entry(dialect.name, fmt::format("{} [{}]", dialect.summary, dialect.source), style);
  return out;
}

std::string grades(const Style& style) {
  const auto meaning = [](Grade grade) -> std::string_view {
    switch (grade) {
    case Grade::correctly_rounded:
      return "every output is the exact value, rounded once";
    case Grade::wide:
      return "as if sums were kept with twice the bits, or compensated";
    case Grade::tree:
      return "sums of depth at most min(n - 1, 2 ceil(log2 n) + 64): pairwise, cascades";
    case Grade::blocked:
      return "sums of depth at most min(n - 1, 16 ceil(sqrt n)): partial sums of lanes or blocks. The "
             "default";
    case Grade::sequential:
      return "sums of depth at most n - 1: any order at all. The only grade with a textbook variance in it";
    }
    return "";
  };
  std::string out;
  for (const Grade grade : all_grades)
    out += entry(to_string(grade), meaning(grade), style);
  return out;
}

std::string regime_list(const Style& style) {
  std::string out;
  for (const RegimeInfo& info : regimes()) {
    std::string text(info.summary);
    if (!info.parameter.empty())
      text += fmt::format("; {}:N, N = {}, from {} to {}, {} if left out", info.name, info.parameter,
                          info.lowest, info.highest, info.standard);
    if (info.domain == Domain::extended)
      text += " (extended domain)";
    out += entry(info.name, text, style);
  }
  return out;
}

std::string clause_list(const Style& style) {
  std::string out;
  for (const Clause& clause : clauses())
    out += entry(clause.id,
                 fmt::format("{} ({}; {})", clause.title, clause.kind, joined(clause.passes, ", ")), style);
  return out;
}

std::string profiles(const Style& style) {
  std::string out;
  for (const Profile profile : {Profile::quick, Profile::standard, Profile::deep})
    out += entry(to_string(profile), counted(static_cast<std::int64_t>(recipes(profile, 1).size()), "case"),
                 style);
  return out;
}

std::string shapes(const Style& style) {
  std::string out;
  for (const ShapeListInfo& info : shape_lists())
    out +=
        entry(info.name,
              fmt::format("{}; {}",
                          counted(static_cast<std::int64_t>(shape_list(info.name, 1).shapes.size()), "shape"),
                          info.source),
              style);
  return out;
}

struct Section {
  std::string name;
  std::string (*text)(const Style&);
};
const std::array sections{Section{"kernels", kernels},     Section{"dialects", dialect_list},
                          Section{"grades", grades},       Section{"regimes", regime_list},
                          Section{"clauses", clause_list}, Section{"profiles", profiles},
                          Section{"shapes", shapes}};

Exit list(const std::vector<std::string>& wanted) {
  std::vector<std::string> names;
  for (const Section& section : sections)
    names.push_back(section.name);
  for (const std::string& name : wanted)
    if (std::ranges::find(names, name) == names.end())
      throw unknown("list", name, names);
  const Style style = style_of_stdout();
  std::string out;
  for (const Section& section : sections) {
    if (!wanted.empty() && std::ranges::find(wanted, section.name) == wanted.end())
      continue;
    if (wanted.size() != 1)
      out += (out.empty() ? "" : "\n") + paint(style, Colour::bold, section.name) + "\n";
    out += section.text(style);
  }
  fmt::print("{}", out);
  return Exit::conforms;
}

}  // namespace

void add_list(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("list", "Show the kernels, dialects, grades, regimes, clauses, profiles, shapes");
  auto wanted = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("WHAT", *wanted,
                   "kernels, dialects, grades, regimes, clauses, profiles, shapes; all if left out")
      ->type_name("WHAT");
  command->footer("Examples:\n  normproof list kernels\n  normproof list regimes\n\n"
                  "Exit codes: 0 listed, 2 a mistake in the call, 3 something could not be read.");
  command->callback([wanted, &run] {
    run = [wanted] {
      return list(*wanted);
    };
  });
}

}  // namespace normproof::ci
