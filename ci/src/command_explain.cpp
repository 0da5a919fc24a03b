// `normproof explain`: what a failing kernel most probably does wrong, with all alternatives in their order.
#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "diagnoses.h"
#include "failure.h"
#include "json.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "output_file.h"
#include "selection.h"
#include "smallest.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  std::vector<std::string> words;
  KernelSelection kernels;
  Manner manner;
  std::string json, smallest;
  std::size_t shown = 12;
};

std::string misfit_text(const Candidate& candidate) {
  return candidate.misfit > 8 ? "> 8" : brief(candidate.misfit);
}

std::string diagnosis_text(const KernelReport& kernel, const Diagnosis& d, const Options& o,
                           const Style& style) {
  std::string out = fmt::format("{}\n", paint(style, Colour::bold, kernel.kernel.name));
  if (d.sentence.empty())
    return out + "     nothing to explain: no value that was computed is judged wrong\n";
  out += wrapped("     ", d.sentence, style.width);
  if (d.ranking.empty())
    return out;
  out += fmt::format("     {:>8} {:>8}  alternative ({} tried; off: in its own roundings)\n", "off", "ulps",
                     d.ranking.size());
  out += fmt::format("     {:>8} {:>8}  as specified\n", brief(d.spec_misfit), brief(d.spec_ulps));
  for (std::size_t i = 0; i < std::min(o.shown, d.ranking.size()); ++i) {
    const Candidate& c = d.ranking[i];
    out += wrapped(fmt::format("   {} {:>8} {:>8}  ", c.fits ? "*" : " ", misfit_text(c), brief(c.ulps)),
                   fmt::format("{}: {} ({})", c.family, c.text, c.clause), style.width);
  }
  if (d.ranking.size() > o.shown)
    out += fmt::format("     and {} more (--top)\n", d.ranking.size() - o.shown);
  return out;
}

Json diagnosis_json(const KernelReport& kernel, const Gate& gate, const Diagnosis& d) {
  Json ranking = Json::array();
  for (const Candidate& c : d.ranking)
    ranking.push_back({{"family", c.family},
                       {"text", c.text},
                       {"clause", c.clause},
                       {"misfit", measure(c.misfit)},
                       {"misfit_is_lower_limit", c.misfit > 8},
                       {"output", normproof::to_string(c.output)},
                       {"ulps", measure(c.ulps)},
                       {"fits", c.fits}});
  return {{"kernel", kernel.kernel.name},
          {"verdict", verdict_word(kernel, gate)},
          {"names", d.names},
          {"clause", d.clause},
          {"sentence", d.sentence},
          {"specification", {{"misfit", measure(d.spec_misfit)}, {"ulps", measure(d.spec_ulps)}}},
          {"ranking", std::move(ranking)}};
}

/// Shrinks the case for the kernel that fails on it, and writes it.
std::string smallest_text(const Report& report, const Case& c, const Options& o, impls::Runner& runner,
                          const Gate& gate) {
  constexpr std::int64_t runs = 4000;
  if (report.trial.kernels.size() != 1)
    throw usage("--smallest: one kernel at a time");
  const KernelReport& kernel = report.trial.kernels.front();
  const auto& failures = kernel.failures.empty() ? kernel.extended_failures : kernel.failures;
  if (failures.empty())
    throw usage(fmt::format("--smallest: {} does not fail on this case", kernel.kernel.name));
  const Judgement& failure = failures.front();
  const Case small = smallest(kernel.kernel, c, failure, runner, gate, runs);
  OutputFile(o.smallest).write(write_case(small));
  return wrapped("smallest: ",
                 fmt::format("{}, where {} breaks {} too, as a case file in {}", input_text(small),
                             normproof::to_string(failure.output), failure.clause, o.smallest),
                 style_of_stdout().width);
}

Exit explain(const Options& o) {
  const std::string origin = joined(o.words, " ");
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  const TrialOptions options = trial_options(o.manner);
  const Case c = case_of(origin);
  const Report report = tried_on(c, o.kernels, o.manner, false);

  impls::Runner runner(options.run);
  Json kernels = Json::array();
  std::string text;
  for (const KernelReport& kernel : report.trial.kernels) {
    const bool failed = !kernel.failures.empty() || !kernel.extended_failures.empty();
    const Diagnosis d = failed ? diagnosed(kernel.kernel, c, runner, options.gate) : Diagnosis{};
    kernels.push_back(diagnosis_json(kernel, options.gate, d));
    text += diagnosis_text(kernel, d, o, style_of_stdout());
  }
  if (!o.smallest.empty())
    text += "\n" + smallest_text(report, c, o, runner, options.gate);
  if (json)
    json->write(Json{{"normproof_explanation", 1}, {"case", origin}, {"kernels", std::move(kernels)}}.dump(
                    1, ' ', false, Json::error_handler_t::replace) +
                "\n");
  if (o.json != "-")
    fmt::print("{}{}", text, summary_line(report, style_of_stdout()));
  return report.exit();
}

}  // namespace

void add_explain(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("explain", "Say what a failing kernel most probably does wrong on one case");
  auto options = std::make_shared<Options>();
  command
      ->add_option("CASE", options->words,
                   "a recipe (quotes may be left out) or a case file that it fails on")
      ->required()
      ->type_name("RECIPE|FILE");
  add_options(*command, options->kernels, false);
  add_options(*command, options->manner);
  command->add_option("--top", options->shown, "how many alternatives to print")
      ->type_name("N")
      ->capture_default_str()
      ->group("Reports");
  command
      ->add_option("--smallest", options->smallest,
                   "shrink the case while the same output breaks the same clause; write it as a case file")
      ->type_name("FILE")
      ->group("Reports");
  command
      ->add_option("--json", options->json,
                   "write it as JSON ('-': stdout); schema: spec/schema/explanation-1.json")
      ->type_name("FILE")
      ->group("Reports");
  command->footer(
      std::string(
          "The algorithm is evaluated with one knob turned after the other: eps elsewhere, another\n"
          "variance, a term dropped, values missing from a sum. What agrees with the kernel where the\n"
          "specification does not is named; what cannot be told apart is named together or not at all.\n"
          "A star marks what fits. How far to trust it: normproof mutants --diagnosis.\n\n"
          "Examples:\n"
          "  normproof explain 'np1 regime=variance:-20 seed=7' --impl mutant.eps_outside_root\n"
          "  normproof explain 'np1 ...' --impl ./mine.so --smallest small.json\n"
          "  normproof explain failing.json --impl ./mine.so --top 40\n\n") +
      exit_codes);
  command->callback([options, &run] {
    run = [options] {
      return explain(*options);
    };
  });
}

}  // namespace normproof::ci
