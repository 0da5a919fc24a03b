// `normproof exhaustive`: every input of a small space, as a table of maxima that are maxima.
#include <algorithm>
#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/fuzz/exhaustive.h"
#include "normproof/properties/case_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  std::string table;
  KernelSelection kernels;
  Manner manner;
  std::string dtype = "f16", budget;
  double eps = 0;
};

const std::vector<std::string> table_names{"inference", "invstd", "pairs"};

std::string input_of(const Case& c) {
  std::string text = "x =";
  for (const double x : c.x)
    text += " " + hex_float(x);
  if (!c.running_var.empty())
    text += fmt::format(", mean {}, var {}, gamma {}, beta {}", hex_float(c.running_mean[0]),
                        hex_float(c.running_var[0]), hex_float(c.gamma[0]), hex_float(c.beta[0]));
  return text;
}

Exit tabulate(const Options& o) {
  if (std::ranges::find(table_names, o.table) == table_names.end())
    throw unknown("table", o.table, table_names);
  const auto dtype = format_named(o.dtype);
  if (!dtype || (o.table != "invstd" && dtype->bytes != 2))
    throw usage(fmt::format("--dtype is '{}': f16 or bf16 is wanted", o.dtype));
  fuzz::TableOptions options{trial_options(o.manner).run, {}};
  if (!o.budget.empty())
    options.budget = parse_duration(o.budget, "--budget");
  fmt::print("{:<26} {:<6} {:>13} {:>7} {:>9} {:>6} {:>7}\n", "kernel", "output", "inputs", "covered",
             "rounded", "steps", "E_raw");
  bool broken = false, any = false;
  for (const impls::KernelInfo& kernel : choose(o.kernels).kernels) {
    std::vector<fuzz::Exhausted> tables;
    if (o.table == "inference")
      tables = {fuzz::every_x(kernel, *dtype, options)};
    else if (o.table == "invstd")
      tables = {fuzz::every_variance(kernel, o.eps, options)};
    else
      tables = fuzz::every_pair(kernel, *dtype, options);
    for (const fuzz::Exhausted& t : tables) {
      const std::string output(o.table == "invstd" ? "invstd" : to_string(t.output));
      if (t.covered == 0) {
        fmt::print("{:<26} {:<6} SKIPPED: {}\n", kernel.name, output, t.reason);
        continue;
      }
      any = true;
      broken = broken || t.ratio > 1;
      const double part = 100.0 * static_cast<double>(t.covered) / static_cast<double>(t.total);
      // Cut off, not rounded: 100 means all.
      const double rounded =
          std::floor(1e6 * static_cast<double>(t.correctly_rounded) / static_cast<double>(t.covered)) / 1e4;
      fmt::print("{:<26} {:<6} {:>13} {:>7} {:>8.4f}% {:>6} {:>7}\n{}", kernel.name, output,
                 grouped(t.covered), t.exhaustive() ? "all" : fmt::format("{:.3g}%", part), rounded,
                 brief_count(t.most_steps), brief(t.ulps),
                 wrapped("  ",
                         fmt::format("measured/permitted {}; {:.1f} s{}", brief(t.ratio), t.seconds,
                                     t.worst.x.empty() ? "" : "; worst input " + input_of(t.worst)),
                         style_of_stdout().width));
      std::fflush(stdout);
    }
  }
  return broken ? Exit::does_not_conform : any ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_exhaustive(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("exhaustive", "Every input of a small space, and its largest error");
  auto o = std::make_shared<Options>();
  command->add_option("table", o->table, "inference, invstd or pairs")->required()->type_name("TABLE");
  add_options(*command, o->kernels, false);
  add_options(*command, o->manner);
  command->add_option("--dtype", o->dtype, "of x and y: f16 or bf16")->capture_default_str()->group("Table");
  command->add_option("--eps", o->eps, "of the table invstd")->capture_default_str()->group("Table");
  command->add_option("--budget", o->budget, "stop there; what is left out is said")
      ->type_name("TIME")
      ->group("Table");
  command->footer(
      "  inference  y for every x of the core domain, eight settings of the rest\n"
      "  invstd     1/sqrt(var + eps) for all 2,130,706,432 normal f32 variances\n"
      "  pairs      mean, var, invstd and y in training for all pairs (n = 2) of\n"
      "             16-bit values with x[0] >= 0\n\n"
      "'covered all' is exhaustive: the maximum is one. 'steps' counts numbers of the format between\n"
      "the output and the rounded truth; E_raw and measured/permitted are those of the worst input.\n\n"
      "Exit codes: 0 no bound is broken, 1 one is, 2 a mistake in the call, 3 something could not be\n"
      "loaded or run, 4 nothing was tried.");
  command->callback([o, &run] {
    run = [o] {
      return tabulate(*o);
    };
  });
}

}  // namespace normproof::ci
