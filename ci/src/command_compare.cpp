// `normproof compare`: two kernels on the same cases, side by side.
#include <algorithm>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/comparison.h"
#include "selection.h"
#include "text.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  std::string first, second;
  std::vector<std::string> libraries;
  Manner manner;
  CaseSelection cases;
  bool quiet = false;
};

std::string contestant_text(const Contestant& c, std::int64_t cases, const Style& style) {
  std::string out = wrapped(paint(style, Colour::bold, c.kernel.name) + ": ",
                            fmt::format("{} of {} completed, {} with a failing judgement",
                                        grouped(c.completed), counted(cases, "case"), grouped(c.failed)),
                            style.width);
  for (const auto& [reason, count] : c.other)
    out += wrapped("     ", fmt::format("{}: {}", counted(count, "case"), reason_text(reason)), style.width);
  return out;
}

/// `kernels`: the --impl words that name both again.
std::string row_text(const ComparisonRow& row, const std::string& kernels, const Style& style) {
  std::string out = fmt::format("  {:<13} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", to_string(row.output),
                                brief_count(row.elements), brief_count(row.same),
                                brief_count(row.first_nearer), brief_count(row.second_nearer),
                                brief_count(row.equally_near), brief(row.first_max), brief(row.second_max));
  if (!row.largest)
    return out;
  const Difference& d = *row.largest;
  const std::string apart =
      d.steps < 0 ? std::string("one is not a number") : counted(d.steps, "step") + " apart";
  out += wrapped("      ",
                 fmt::format("largest: {} at channel {}, element {}: {} ({} ulps off) and {} ({} ulps off), "
                             "want {}",
                             apart, d.channel, d.element, hex_float(d.first), brief(d.first_ulps),
                             hex_float(d.second), brief(d.second_ulps), hex_float(d.want)),
                 style.width);
  const std::string line = fmt::format("      normproof replay {}{}", shell_word(d.origin), kernels);
  return out + paint(style, Colour::dim, line) + "\n";
}

std::string comparison_text(const Comparison& comparison, const std::vector<std::string>& libraries,
                            const Style& style) {
  std::string kernels;
  for (const Contestant* c : {&comparison.first, &comparison.second})
    kernels += " --impl " + shell_word(c->kernel.name);
  for (const std::string& library : libraries)
    kernels += " --impl " + shell_word(library);
  std::string out = contestant_text(comparison.first, comparison.cases, style) +
                    contestant_text(comparison.second, comparison.cases, style);
  const Key* key = nullptr;
  std::int64_t elements = 0, same = 0, first = 0, second = 0;
  for (const ComparisonRow& row : comparison.rows) {
    if (key == nullptr || *key != row.key)
      out += fmt::format("\n{}\n  {:<13} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
                         paint(style, Colour::bold, name_of(row.key)), "output", "elements", "same",
                         "1st near", "2nd near", "equal", "1st max", "2nd max");
    key = &row.key;
    out += row_text(row, kernels, style);
    elements += row.elements;
    same += row.same;
    first += row.first_nearer;
    second += row.second_nearer;
  }
  out += "\n";
  if (!comparison.compared())
    return out + "INCONCLUSIVE: no case was completed by both\n";
  return out + wrapped(comparison.differ() ? "DIFFERENT: " : "THE SAME: ",
                       fmt::format(
                           "{} of {} elements equal bit for bit; nearer to the truth: {} in {}, {} in {}; {}",
                           grouped(same), grouped(elements), comparison.first.kernel.name, grouped(first),
                           comparison.second.kernel.name, grouped(second), counted(comparison.both, "case")),
                       style.width);
}

Exit compare_both(const Options& o) {
  TrialOptions options = trial_options(o.manner, o.cases);
  const CaseList cases = chosen_cases(o.cases, o.manner.extended || !o.cases.regimes.empty());
  const impls::KernelInfo first = chosen_kernel(o.first, o.libraries);
  const impls::KernelInfo second = chosen_kernel(o.second, o.libraries);
  ProgressLine progress(!o.quiet);
  options.progress = [&](const Progress& p) {
    progress.show(p);
  };
  const Comparison comparison = compare(cases.count, cases.make, first, second, options);
  progress.wipe();
  std::vector<std::string> libraries = o.libraries;
  for (const std::string& word : {o.first, o.second})
    if (std::filesystem::exists(word) && std::ranges::find(libraries, word) == libraries.end())
      libraries.push_back(word);
  fmt::print("{}", comparison_text(comparison, libraries, style_of_stdout()));
  return comparison.compared() ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_compare(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("compare", "Two kernels side by side: where do they differ, and which is nearer?");
  auto options = std::make_shared<Options>();
  command->add_option("FIRST", options->first, "a kernel by name, or a library that holds one")
      ->required()
      ->type_name("KERNEL");
  command->add_option("SECOND", options->second, "the other one")->required()->type_name("KERNEL");
  command->add_option("--impl", options->libraries, "more libraries in which to look for the names")
      ->type_name("LIBRARY")
      ->allow_extra_args(false);
  add_options(*command, options->cases);
  add_options(*command, options->manner);
  command->add_flag("--quiet", options->quiet, "no progress")->group("Reports");
  command->footer("For each output that both report: how many elements have equal bits; of the others, how\n"
                  "often each is nearer to the exact value; their largest errors in ulps; the largest\n"
                  "difference, in numbers of the format that lie between. One case at a time.\n\n"
                  "Examples:\n"
                  "  normproof compare cpu.welford_f32 cpu.pairwise_f32 --dtype f32\n"
                  "  normproof compare ./mine.so libtorch.batch_norm --dialect pytorch --profile standard\n\n"
                  "Exit codes: 0 compared, 2 a mistake in the call, 3 something could not be read, written,\n"
                  "loaded or run, 4 nothing was compared. Verdicts are the business of 'check'.");
  command->callback([options, &run] {
    run = [options] {
      return compare_both(*options);
    };
  });
}

}  // namespace normproof::ci
