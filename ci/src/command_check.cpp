// `normproof check`: the verdict on every chosen kernel.
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
  std::string json, junit;
  bool quiet = false;
};

properties::Exit check(const Options& o) {
  if (o.json == "-" && o.junit == "-")
    throw usage("--json - and --junit - both claim stdout");
  std::unique_ptr<OutputFile> json, junit;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  if (!o.junit.empty())
    junit = std::make_unique<OutputFile>(o.junit);

  const Report report = tried(o.kernels, o.manner, o.cases, true, o.quiet);
  if (json)
    json->write(to_json(report));
  if (junit)
    junit->write(to_junit(report));

  const bool taken = o.json == "-" || o.junit == "-";  // stdout carries a report, people read stderr
  std::FILE* const stream = taken ? stderr : stdout;
  const Style style = taken ? style_of_stderr() : style_of_stdout();
  if (!o.quiet)
    fmt::print(stream, "{}", check_text(report, style));
  else if (!taken)
    fmt::print(stream, "{}", summary_line(report, style));
  return report.exit();
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("check", "Judge kernels: does every output keep its bound?");
  auto options = std::make_shared<Options>();
  add_options(*command, options->kernels, true);
  add_options(*command, options->cases);
  add_options(*command, options->manner);
  command->add_option("--json", options->json, "write the whole report there ('-': stdout)")
      ->type_name("FILE")
      ->group("Reports");
  command->add_option("--junit", options->junit, "write JUnit's XML there, for build servers")
      ->type_name("FILE")
      ->group("Reports");
  command->add_flag("--quiet", options->quiet, "no progress, and only the last line of the text")
      ->group("Reports");
  command->footer(
      std::string("A kernel passes when one algorithm of the asked grade explains all that it did. Every\n"
                  "failure names its clause and the command that shows it again.\n\n"
                  "Examples:\n"
                  "  normproof check --impl 'cpu.*' --grade tree --profile standard --budget 5m\n"
                  "  normproof check ./mine.so --dtype f32 --json report.json --junit report.xml\n"
                  "  normproof check cpu.welford_f32 --case shrunk.json\n\n") +
      exit_codes);
  command->callback([options, &run] {
    run = [options] {
      return check(*options);
    };
  });
}

}  // namespace normproof::ci
