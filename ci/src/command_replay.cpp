// `normproof replay`: one case again, with the same judgement and everything that is known about it.
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "output_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

struct Options {
  std::vector<std::string> words;
  KernelSelection kernels;
  Manner manner;
  std::string dump, json;
  bool quiet = false;
};

properties::Exit replay(const Options& o) {
  const std::string origin = joined(o.words, " ");
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  const Case c = case_of(origin);
  if (!o.dump.empty())
    OutputFile(o.dump).write(properties::write_case(c));
  const Report report = tried_on(c, o.kernels, o.manner);
  if (json)
    json->write(to_json(report));
  if (o.json != "-" && o.dump != "-")
    fmt::print("{}",
               o.quiet ? summary_line(report, style_of_stdout()) : replay_text(report, style_of_stdout()));
  return report.exit();
}

}  // namespace

void add_replay(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("replay", "Run one recipe or case file again, and show every judgement");
  auto options = std::make_shared<Options>();
  command
      ->add_option("CASE", options->words,
                   "a recipe ('np1 pass=... seed=7', quotes may be left out) or a case file")
      ->required()
      ->type_name("RECIPE|FILE");
  add_options(*command, options->kernels, false);
  add_options(*command, options->manner);
  command
      ->add_option("--dump", options->dump,
                   "write the case with all of its numbers as a case file ('-': stdout)")
      ->type_name("FILE")
      ->group("Reports");
  command->add_option("--json", options->json, "write the report there ('-': stdout)")
      ->type_name("FILE")
      ->group("Reports");
  command->add_flag("--quiet", options->quiet, "only the last line")->group("Reports");
  command->footer(
      std::string("Fields of a recipe that are left out have their defaults.\n\n"
                  "Examples:\n"
                  "  normproof replay 'np1 shape=4x2x8x8 regime=offset:1000 seed=7' --impl 'cpu.*'\n"
                  "  normproof replay shrunk.json --impl ./mine.so --in-process\n"
                  "  normproof replay 'np1 regime=outlier' --dump case.json\n\n") +
      exit_codes);
  command->callback([options, &run] {
    run = [options] {
      return replay(*options);
    };
  });
}

}  // namespace normproof::ci
