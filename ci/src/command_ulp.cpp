// `normproof ulp`: the accuracy table. It measures; only `check` judges, so its exit code knows no failure.
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "failure.h"
#include "output_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

struct Options {
  KernelSelection kernels;
  Manner manner;
  CaseSelection cases;
  std::string by = "output", json;
  bool full = false, quiet = false;
};

properties::Exit measure_all(const Options& o) {
  if (o.by != "output" && o.by != "regime")
    throw unknown("row", o.by, std::vector<std::string>{"output", "regime"});
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  const Report report = tried(o.kernels, o.manner, o.cases, !o.cases.regimes.empty(), o.quiet);
  if (json)
    json->write(to_json(report));
  if (o.json != "-") {
    const Rows rows = o.full ? Rows::all : o.by == "regime" ? Rows::by_regime : Rows::by_output;
    fmt::print("{}", accuracy_text(report, style_of_stdout(), rows));
  }
  for (const properties::KernelReport& kernel : report.trial.kernels)
    if (!kernel.rows.empty())
      return properties::Exit::conforms;
  return properties::Exit::inconclusive;
}

}  // namespace

void add_ulp(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("ulp", "Measure kernels: how many ulps is each output off?");
  auto options = std::make_shared<Options>();
  add_options(*command, options->kernels, true);
  add_options(*command, options->cases);
  add_options(*command, options->manner);
  command->add_option("--by", options->by, "one row for each 'output', or for each 'regime' (kind of data)")
      ->type_name("ROW")
      ->capture_default_str()
      ->group("Reports");
  command->add_flag("--full", options->full, "one row for each output and regime")->group("Reports");
  command->add_option("--json", options->json, "write the whole report there ('-': stdout)")
      ->type_name("FILE")
      ->group("Reports");
  command->add_flag("--quiet", options->quiet, "no progress")->group("Reports");
  command->footer(
      "For each kernel, pass, dtype and layout: the largest error that was found (a lower bound of\n"
      "the true maximum) in ulps of the exact value (E_raw) and of its condition scale (E_cond),\n"
      "quantiles, the share that is correctly rounded, the largest measured/permitted, the best\n"
      "grade met; then a histogram and the inputs that came nearest to their bounds.\n\n"
      "Examples:\n"
      "  normproof ulp 'cpu.*' --dtype f32 --layout contiguous\n"
      "  normproof ulp cpu.welford_f32 --by regime\n\n"
      "Exit codes: 0 measured, 2 a mistake in the call, 3 something could not be read, written,\n"
      "loaded or run, 4 nothing was measured. Verdicts are the business of 'check'.");
  command->callback([options, &run] {
    run = [options] {
      return measure_all(*options);
    };
  });
}

}  // namespace normproof::ci
