// `normproof hunt`: searches for the input on which an output is worst, shrinks it and writes it down.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "failure.h"
#include "json.h"
#include "normproof/ci/words.h"
#include "normproof/fuzz/hunt.h"
#include "normproof/fuzz/shrink.h"
#include "normproof/fuzz/worst.h"
#include "normproof/properties/case_file.h"
#include "normproof/reference/truth.h"
#include "output_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;
namespace fs = std::filesystem;

struct Options {
  KernelSelection kernels;
  Manner manner;
  std::vector<std::string> outputs, from;
  std::string objective = "ratio", pass, dtype = "f32", stats, layout = "contiguous", dialect = "documented";
  std::int64_t values = 64, evaluations = 0;
  std::string budget;
  std::uint64_t seed = 1;
  double share = 0.95;
  std::string save, keep_in, replay, json;
  bool compare_random = false, quiet = false;
};

template <class Value, class Range, class Parse>
Value word(const std::string& text, std::string_view what, const Range& range, Parse parse) {
  if (const auto value = parse(text))
    return *value;
  std::vector<std::string> choices;
  choices.reserve(std::size(range));
  for (const auto& one : range)
    choices.emplace_back(to_string(one));
  throw unknown(what, text, choices);
}

Format format_of_name(const std::string& text) {
  if (const auto format = format_named(text))
    return *format;
  std::vector<std::string> choices;
  for (const Format& one : formats())
    choices.emplace_back(one.name);
  throw unknown("dtype", text, choices);
}

/// The pass that reports an output, where none is named.
Pass usual_pass(Output output) {
  switch (output) {
  case Output::dbeta:
  case Output::dgamma:
  case Output::dx:
    return Pass::backward_training;
  case Output::grad_dy:
  case Output::grad_x:
  case Output::grad_gamma:
    return Pass::double_backward;
  default:
    return Pass::forward_training;
  }
}

struct Row {
  std::string kernel;
  Output output = Output::y;
  Pass pass = Pass::forward_training;
  fuzz::Objective objective = fuzz::Objective::ratio;
  fuzz::Found found;
  fuzz::Shrunk shrunk;
  std::optional<fuzz::Found> random;
  std::string saved;
};

fuzz::HuntOptions hunt_options(const Options& o, Output output) {
  fuzz::HuntOptions h;
  h.space.pass = o.pass.empty()
                     ? usual_pass(output)
                     : word<Pass>(o.pass, "pass", all_passes, [](const auto& t) { return parse_pass(t); });
  h.space.dtype = format_of_name(o.dtype);
  if (!o.stats.empty())
    h.space.stats = format_of_name(o.stats);
  h.space.layout =
      word<Layout>(o.layout, "layout", all_layouts, [](const auto& t) { return parse_layout(t); });
  if (!dialect_named(o.dialect)) {
    std::vector<std::string> choices;
    for (const Dialect& one : dialects())
      choices.emplace_back(one.name);
    throw unknown("dialect", o.dialect, choices);
  }
  h.space.dialect = o.dialect;
  if (o.values < 2 || o.values > 1 << 16)
    throw usage(fmt::format("--values is {}: 2 to 65536 are wanted", o.values));
  h.space.values = o.values;
  h.seed = o.seed;
  if (o.evaluations > 0)
    h.effort.evaluations = o.evaluations;
  if (!o.budget.empty() || o.evaluations <= 0)
    h.effort.budget = parse_duration(o.budget.empty() ? "60s" : o.budget, "--budget");
  for (const std::string& origin : o.from)
    h.starts.push_back(case_of(origin));
  return h;
}

std::string objective_name(fuzz::Objective objective) {
  switch (objective) {
  case fuzz::Objective::ratio:
    return "measured/permitted";
  case fuzz::Objective::claim:
    return "measured/claimed";
  case fuzz::Objective::raw:
    return "E_raw";
  case fuzz::Objective::cond:
    return "E_cond";
  }
  return "";
}

/// The oracle by its definition, on the case that a search ended at: no error that is found may be its own.
void audit(const Case& c) {
  const reference::Truth fast = reference::truth_of(c), slow = reference::multiprecision_truth_of(c);
  for (const Output output : all_outputs)
    for (std::size_t i = 0; i < fast[output].rn.size(); ++i) {
      const double a = fast[output].rn[i], b = slow[output].rn[i];
      if (a != b && !(std::isnan(a) && std::isnan(b)))
        throw could_not(fmt::format("the two oracles disagree on {} of the worst input: {} and {}",
                                    to_string(output), hex_float(a), hex_float(b)));
    }
}

std::string found_text(const Row& row, const Style& style) {
  const fuzz::Score& s = row.shrunk.score;
  const Case& c = row.shrunk.smallest;
  const bool broken = s.ratio > 1 || !std::isfinite(s.value);
  std::string out = fmt::format("{} {} {} {}\n", paint(style, Colour::bold, row.kernel),
                                to_string(c.problem.pass), c.problem.data.name, to_string(row.output));
  out += fmt::format("  worst {} {} ({}{})\n", objective_name(row.objective), brief(row.found.score.value),
                     fuzz::label(row.found), broken ? "; it breaks the bound" : "");
  std::string shrunk =
      fmt::format("shrunk to {} of {} values per channel, {} {}: E_raw {}, E_cond {}, permitted part {}",
                  to_string(c.problem.shape), c.problem.shape.per_channel(), objective_name(row.objective),
                  brief(s.value), brief(s.raw), brief(s.cond), brief(s.ratio));
  if (s.claim > 0)
    shrunk += fmt::format(", claimed part {}", brief(s.claim));
  out += wrapped("  ", shrunk, style.width);
  out += fmt::format("  got {}, truth rounds to {} ({})\n", hex_float(s.at.got), hex_float(s.at.want),
                     s.at.clause);
  if (row.random)
    out +=
        fmt::format("  random alone, {} evaluations: {}, hunt gains {}x\n", grouped(row.random->evaluations),
                    brief(row.random->score.value), brief(row.found.score.value / row.random->score.value));
  out += fmt::format("  climbed from: {}\n", row.found.from);
  if (!row.saved.empty())
    out += fmt::format("  worst known input: {}\n", row.saved);
  return out;
}

Row hunted(const Options& o, const impls::KernelInfo& kernel, Output output) {
  Row row;
  row.kernel = kernel.name;
  row.output = output;
  row.objective = word<fuzz::Objective>(o.objective, "objective", fuzz::all_objectives,
                                        [](const auto& t) { return fuzz::parse_objective(t); });
  fuzz::HuntOptions h = hunt_options(o, output);
  row.pass = h.space.pass;
  const TrialOptions trial = trial_options(o.manner);
  const fuzz::Target target{output, row.objective, trial.gate};
  ProgressLine line(!o.quiet);
  h.progress = [&](const fuzz::Progress& p) {
    line.show(fmt::format("{:3.0f} %  {} {}: {} evaluations, worst {} {}", 100 * p.part, kernel.name,
                          to_string(output), grouped(p.evaluations), objective_name(row.objective),
                          brief(p.best)));
  };
  fuzz::Probe probe(kernel, target, trial.run);
  row.found = fuzz::hunt(probe, h);
  if (!row.found.any())
    return row;
  if (o.compare_random) {
    h.starts.clear();
    h.effort = {row.found.evaluations, {}};
    fuzz::Probe again(kernel, target, trial.run);
    row.random = fuzz::random_search(again, h);
  }
  row.shrunk = fuzz::shrink(probe, row.found.worst, {.keep = o.share});
  audit(row.shrunk.smallest);
  const fuzz::Worst entry{.kernel = kernel.name,
                          .output = output,
                          .objective = row.objective,
                          .value = row.shrunk.score.value,
                          .ratio = row.shrunk.score.ratio,
                          .label = fuzz::label(row.found)};
  if (!o.save.empty()) {
    OutputFile(o.save).write(write_case(row.shrunk.smallest));
    row.saved = o.save;
  }
  if (!o.keep_in.empty()) {
    const bool kept = fuzz::keep_worst(o.keep_in, entry, row.shrunk.smallest);
    const std::string file =
        fuzz::worst_file_name(kernel.name, row.shrunk.smallest.problem, output, row.objective);
    row.saved = fmt::format("{} ({})", (fs::path(o.keep_in) / file).string(),
                            kept ? "kept" : "a worse one was there and stays");
  }
  return row;
}

std::string comparison_text(const std::vector<Row>& rows) {
  std::string out = fmt::format("{:<26} {:<12} {:>7} {:>7} {:>5} {:>9} {:>7}\n", "kernel", "output", "random",
                                "hunt", "gain", "permitted", "claimed");
  for (const Row& row : rows) {
    if (!row.random)
      continue;
    const double gain = row.found.score.value / row.random->score.value;
    out += fmt::format("{:<26} {:<12} {:>7} {:>7} {:>5} {:>9} {:>7}\n", row.kernel, to_string(row.output),
                       brief(row.random->score.value), brief(row.found.score.value), brief(gain),
                       brief(row.found.score.ratio),
                       row.found.score.claim > 0 ? brief(row.found.score.claim) : "");
  }
  return out;
}

Json record(const Row& row) {
  Json j{{"kernel", row.kernel},
         {"pass", to_string(row.pass)},
         {"output", to_string(row.output)},
         {"objective", fuzz::to_string(row.objective)}};
  if (!row.found.any()) {
    j["nothing_found"] = row.found.reason;
    return j;
  }
  const auto score = [](const fuzz::Score& s) {
    return Json{{"value", hex_float(s.value)}, {"ratio", hex_float(s.ratio)}, {"claim", hex_float(s.claim)},
                {"raw", hex_float(s.raw)},     {"cond", hex_float(s.cond)},   {"clause", s.at.clause}};
  };
  j["label"] = fuzz::label(row.found);
  j["found"] = score(row.found.score);
  j["shrunk"] = score(row.shrunk.score);
  j["climbed_from"] = row.found.from;
  if (row.random)
    j["random"] = score(row.random->score);
  j["case"] = Json::parse(write_case(row.shrunk.smallest));
  j["seconds"] = row.found.seconds;
  return j;
}

/// The corpus of worst known inputs again, one line each.
Exit replay(const Options& o) {
  const TrialOptions trial = trial_options(o.manner);
  std::int64_t wrong = 0, skipped = 0, fine = 0;
  std::map<std::string, Chosen> known;  // libraries are loaded once
  for (const fuzz::Worst& entry : fuzz::read_worst(o.replay)) {
    const auto [place, is_new] = known.try_emplace(entry.kernel);
    Chosen& chosen = place->second;
    if (is_new) {
      KernelSelection selection = o.kernels;
      selection.patterns = {entry.kernel};
      chosen = choose(selection);
    }
    if (chosen.kernels.empty()) {
      fmt::print("SKIPPED  {}: {}\n", entry.file, chosen.absent.front().reason);
      ++skipped;
      continue;
    }
    fuzz::Probe probe(chosen.kernels.front(), {entry.output, entry.objective, trial.gate}, trial.run);
    const fuzz::Score now = probe(read_case_file(fs::path(o.replay) / entry.file));
    const std::string trouble = fuzz::complaint(entry, now);
    trouble.empty() ? ++fine : ++wrong;
    fmt::print("{}  {}: {} {}, permitted part {}{}\n", trouble.empty() ? "AS KNOWN" : "OTHER   ", entry.file,
               objective_name(entry.objective), brief(now.value), brief(now.ratio),
               trouble.empty() ? "" : "; " + trouble);
  }
  fmt::print("{} as known, {} other, {} skipped\n", fine, wrong, skipped);
  return wrong > 0 ? Exit::does_not_conform : fine > 0 ? Exit::conforms : Exit::inconclusive;
}

Exit hunt_all(const Options& o) {
  if (!o.replay.empty())
    return replay(o);
  if (o.outputs.empty())
    throw usage("--output is missing: which output is to be worst?");
  std::vector<Output> outputs;
  outputs.reserve(o.outputs.size());
  for (const std::string& text : o.outputs)
    outputs.push_back(
        word<Output>(text, "output", all_outputs, [](const auto& t) { return parse_output(t); }));
  const Chosen chosen = choose(o.kernels);
  if (!o.save.empty() && chosen.kernels.size() * outputs.size() != 1)
    throw usage("--save takes one case: name one kernel and one output, or use --keep-in FOLDER");
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  std::vector<Row> rows;
  bool any = false, broken = false;
  for (const impls::KernelInfo& kernel : chosen.kernels)
    for (const Output output : outputs) {
      rows.push_back(hunted(o, kernel, output));
      const Row& row = rows.back();
      const bool found = row.found.any();
      any = any || found;
      broken = broken || (found && (row.found.score.ratio > 1 || !std::isfinite(row.found.score.value)));
      if (o.json == "-")
        continue;
      if (found)
        fmt::print("{}", found_text(row, style_of_stdout()));
      else
        fmt::print("{} {}: nothing found ({})\n", kernel.name, to_string(output), row.found.reason);
      std::fflush(stdout);
    }
  for (const Absent& absent : chosen.absent)
    fmt::print(stderr, "SKIPPED  {}: {}\n", absent.library, absent.reason);
  if (o.compare_random && o.json != "-")
    fmt::print("\n{} by seed {}, at most {} values per channel; random: all core regimes;\n"
               "permitted, claimed: parts of these bounds\n{}",
               o.objective, o.seed, o.values, comparison_text(rows));
  if (json) {
    Json out{{"normproof_hunt", 1}, {"rows", Json::array()}};
    for (const Row& row : rows)
      out["rows"].push_back(record(row));
    json->write(out.dump(1) + "\n");
  }
  return broken ? Exit::does_not_conform : any ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_hunt(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("hunt", "Search for the input on which an output is worst");
  auto o = std::make_shared<Options>();
  add_options(*command, o->kernels, true);
  add_options(*command, o->manner);
  const auto option = [&](const char* name, auto& value, const char* text, const char* type,
                          const char* group) {
    command->add_option(name, value, text)->type_name(type)->group(group);
  };
  option("--output", o->outputs,
         "y, mean, var, invstd, running_mean, dx, dgamma, ... (several: one hunt each)", "OUTPUT", "Hunt");
  option("--objective", o->objective,
         "what is made large: ratio (measured/permitted at the gate), claim (under the kernel's own claims), "
         "raw (ulps), cond (ulps of the condition scale)",
         "NAME", "Hunt");
  option("--pass", o->pass, "where several report the output", "PASS", "Hunt");
  option("--dtype", o->dtype, "of x and y [f32]", "NAME", "Hunt");
  option("--stats", o->stats, "of parameters and statistics, where it is not the usual one", "NAME", "Hunt");
  option("--layout", o->layout, "[contiguous]", "NAME", "Hunt");
  option("--dialect", o->dialect, "[documented]", "NAME", "Hunt");
  option("--values", o->values, "most values per channel [64]", "N", "Hunt");
  option("--from", o->from, "a case file or recipe to climb from too: the worst of another kernel", "CASE",
         "Hunt");
  option("--budget", o->budget, "time for each hunt [60s]", "TIME", "Effort");
  option("--evaluations", o->evaluations, "number of cases tried, instead of the time: repeats to the bit",
         "N", "Effort");
  option("--seed", o->seed, "[1]", "N", "Effort");
  option("--share", o->share, "part of the objective that shrinking must leave [0.95]", "X", "Effort");
  option("--save", o->save, "write the shrunk case there", "FILE", "Reports");
  option("--keep-in", o->keep_in, "keep it in a folder of worst inputs, if it is worse than the one there",
         "FOLDER", "Reports");
  option("--replay", o->replay, "no hunt: try a folder of worst inputs again", "FOLDER", "Reports");
  option("--json", o->json, "write all of it there ('-': stdout)", "FILE", "Reports");
  command->add_flag("--compare-random", o->compare_random, "random cases beside it, as many evaluations")
      ->group("Reports");
  command->add_flag("--quiet", o->quiet, "no progress")->group("Reports");
  command->footer(std::string(
      "A tenth of the effort draws random cases; the best of them climb, by steps in the last places,\n"
      "signs, exponents, near-cancelling pairs, other shapes, eps and threads. What is found is a\n"
      "lower bound of the true maximum. It is audited by the multiprecision oracle and shrunk.\n\n"
      "Examples:\n"
      "  normproof hunt cpu.welford_f32 --output var --budget 60s --save worst.json\n"
      "  normproof check cpu.welford_f32 --case worst.json\n"
      "  normproof hunt 'cpu.*' --output y --pass forward-inference --objective claim \\\n"
      "      --evaluations 20000 --compare-random\n\n"
      "Exit codes: 0 no input breaks a bound, 1 one does, 2 a mistake in the call, 3 something\n"
      "could not be read, written, loaded or run, 4 nothing was found."));
  command->callback([o, &run] {
    run = [o] {
      return hunt_all(*o);
    };
  });
}

}  // namespace normproof::ci
