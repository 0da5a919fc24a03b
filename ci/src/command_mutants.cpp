// `normproof mutants`: is the judge worth anything? Every bundled wrong kernel over one stream of cases, the
// correct ones beside them, and what other suites' tolerances would have said.
#include <memory>

#include <fmt/format.h>

#include "bank.h"
#include "command.h"
#include "console.h"
#include "data.h"
#include "failure.h"
#include "mutants.h"
#include "output_file.h"
#include "selection.h"
#include "version.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  Manner manner;
  CaseSelection cases;
  std::vector<std::string> impls{"mutant.*"}, twins{"cpu.*"};
  std::string json;
  std::uint64_t seeds = 1;
  bool diagnosis = false, quiet = false;
};

/// The wrong kernels alone, once for each seed. One that has died often enough leaves its seed.
Exit robustness(const Options& o) {
  constexpr std::size_t step = 64;
  Robustness r;
  r.profile = o.cases.profile;
  const std::vector<impls::KernelInfo> kernels = choose({o.impls, true}).kernels;
  for (const impls::KernelInfo& kernel : kernels)
    r.rows.push_back({kernel.name, {}, {}});
  MutationOptions options;
  options.trial = trial_options(o.manner);
  r.gate = options.trial.gate;
  CaseSelection cases = o.cases;
  const auto start = std::chrono::steady_clock::now();
  const std::chrono::nanoseconds budget =
      o.cases.budget.empty() ? std::chrono::hours(24) : parse_duration(o.cases.budget, "--budget");
  ProgressLine progress(!o.quiet);
  for (std::uint64_t s = 0; s < o.seeds; ++s) {
    if (s > 0 && std::chrono::steady_clock::now() - start > budget)  // whole seeds only
      break;
    cases.seed = o.cases.seed + s;
    const std::vector<Recipe> recipes = recipes_of(cases, true);
    for (Robustness::Row& row : r.rows) {
      row.kills.push_back(0);
      row.recipes.push_back(0);
    }
    for (std::size_t first = 0; first < recipes.size(); first += step) {
      std::vector<impls::KernelInfo> alive;
      std::vector<Robustness::Row*> rows;
      for (std::size_t k = 0; k < kernels.size(); ++k)
        if (r.rows[k].kills.back() < enough_kills) {
          alive.push_back(kernels[k]);
          rows.push_back(&r.rows[k]);
        }
      if (alive.empty())
        break;
      options.wrong_kernels = alive.size();
      const std::span part = std::span(recipes).subspan(first, std::min(step, recipes.size() - first));
      const MutationReport report = run_mutation(part, alive, options);
      for (std::size_t k = 0; k < alive.size(); ++k) {
        rows[k]->kills.back() += report.rows[k].killed;
        rows[k]->recipes.back() += static_cast<std::int64_t>(part.size());
      }
      progress.show({.done = static_cast<std::int64_t>(s * recipes.size() + first + part.size()),
                     .planned = static_cast<std::int64_t>(o.seeds * recipes.size()),
                     .judgements = 0,
                     .failures = 0,
                     .seconds = 0});
    }
    ++r.seeds;
  }
  progress.wipe();
  fmt::print("{}", robustness_text(r, style_of_stdout()));
  return r.exit();
}

Exit mutants(const Options& o) {
  if (!o.cases.files.empty())
    throw usage("--case: the bank is tried on profiles alone");
  if (o.seeds > 1 && (!o.json.empty() || o.diagnosis))
    throw usage("--seeds: gives a table of kills by seed alone, neither --json nor --diagnosis");
  if (o.seeds > 1)
    return robustness(o);
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);

  MutantReport report;
  report.version = version_text();
  report.command = command_line();
  report.profile = o.cases.profile;
  report.seed = o.cases.seed;
  report.peers = bundled_peers();
  std::vector<impls::KernelInfo> kernels = choose({o.impls, true}).kernels;
  report.wrong_kernels = kernels.size();
  if (!o.twins.empty() && o.twins != std::vector<std::string>{"none"})
    for (const impls::KernelInfo& kernel : choose({o.twins, false}).kernels)
      kernels.push_back(kernel);

  MutationOptions options;
  options.trial = trial_options(o.manner, o.cases);
  options.peers = report.peers;
  options.wrong_kernels = report.wrong_kernels;
  ProgressLine progress(!o.quiet);
  options.trial.progress = [&](const Progress& p) {
    progress.show(p);
  };
  const std::vector<Recipe> recipes = recipes_of(o.cases, true);
  report.trial = run_mutation(recipes, kernels, options);
  progress.wipe();
  if (o.diagnosis) {
    report.diagnosed = true;
    report.confusion = run_confusion(report.trial, bugs_by_kernel(), options.trial.run);
  }
  if (json)
    json->write(to_json(report));
  if (o.json != "-") {
    const Style style = style_of_stdout();
    fmt::print("{}{}", o.quiet ? "" : mutants_text(report, style) + (o.diagnosis ? "\n" : ""),
               o.diagnosis ? confusion_text(report, style) : "");
  }
  return report.exit();
}

}  // namespace

void add_mutants(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "mutants", "Try the judge on kernels that are wrong on purpose: does it kill them all?");
  auto options = std::make_shared<Options>();
  command->add_option("--impl", options->impls, "wrong kernels: names, patterns, libraries of your own")
      ->type_name("KERNEL")
      ->allow_extra_args(false)
      ->capture_default_str();
  command
      ->add_option("--twins", options->twins, "correct kernels beside them, which nothing may fail; 'none'")
      ->type_name("KERNEL")
      ->allow_extra_args(false)
      ->capture_default_str();
  add_options(*command, options->cases);
  add_options(*command, options->manner);
  command
      ->add_option(
          "--seeds", options->seeds,
          "so many seeds from --seed on: is each wrong kernel killed by 7 cases in every one of them?")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_flag("--diagnosis", options->diagnosis,
                 "diagnose each wrong kernel, and print how often it gets its own name, none or another")
      ->group("Reports");
  command
      ->add_option("--json", options->json,
                   "write it as JSON ('-': stdout); schema: spec/schema/mutants-1.json")
      ->type_name("FILE")
      ->group("Reports");
  command->add_flag("--quiet", options->quiet, "no progress, and no kill matrix")->group("Reports");
  command->footer(
      std::string("Exit 1 when a wrong kernel survives without an excuse, or a correct one is failed.\n\n"
                  "Examples:\n"
                  "  normproof mutants --profile standard --json kills.json\n"
                  "  normproof mutants --diagnosis --quiet\n"
                  "  normproof mutants --seeds 20 --budget 30m\n"
                  "  normproof mutants --impl 'mutant.eps*' --twins none --regime variance\n\n") +
      exit_codes);
  command->callback([options, &run] {
    run = [options] {
      return mutants(*options);
    };
  });
}

}  // namespace normproof::ci
