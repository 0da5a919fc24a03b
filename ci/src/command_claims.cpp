// `normproof claims`: what a kernel says of its own arithmetic, and what its errors say.
#include <map>
#include <memory>
#include <optional>
#include <variant>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "failure.h"
#include "json.h"
#include "normproof/ci/words.h"
#include "normproof/properties/inference.h"
#include "output_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  std::string kernel;
  std::vector<std::string> libraries;
  std::vector<std::string> dtypes{"f32"};
  std::string layout = "contiguous", dialect = "documented";
  int threads = 1;
  std::uint64_t seed = 1;
  bool infer = false;
  Manner manner;
  std::string json;
};

/// What a kernel says of itself for one pass and dtype; `inference` where that was asked for.
struct Section {
  Recipe like;
  std::map<std::int64_t, impls::Claims> declared;
  std::optional<Inference> inference;
};

std::string bits_text(int bits) {
  switch (bits) {
  case 0:
    return "";
  case 24:
    return "24 bits (f32)";
  case 48:
    return "48 bits (twice f32, as compensated sums)";
  case 53:
    return "53 bits (f64)";
  case 106:
    return "106 bits (twice f64, as if exact)";
  default:
    return fmt::format("{} bits", bits);
  }
}
std::string family_text(np_family family) {
  switch (family) {
  case NP_CENTRED:
    return "centred";
  case NP_MERGED:
    return "merged";
  case NP_TEXTBOOK:
    return "textbook";
  default:
    return "";
  }
}
std::string form_text(np_affine affine) {
  switch (affine) {
  case NP_AFFINE_CENTRED:
    return "centred";
  case NP_AFFINE_FOLDED:
    return "folded";
  default:
    return "";
  }
}

template <class Depths, class Depth>
std::string depth_text(const Depths& depths, Depth depth) {
  std::vector<std::string> parts;
  for (const auto& entry : depths)
    if (const std::int64_t d = depth(entry.second); d != 0)
      parts.push_back(fmt::format("{} at n = {}", grouped(d), grouped(entry.first)));
  return joined(parts, ", ");
}

std::string line(std::string_view name, const std::string& declared, const std::string& inferred, bool both,
                 const Style& style) {
  const std::string unsaid = declared.empty() ? "no claim" : declared;
  std::string out = wrapped(fmt::format("  {:<17}  declared  ", name), unsaid, style.width);
  if (both)
    out += wrapped(fmt::format("  {:<17}  inferred  ", ""), inferred, style.width);
  return out;
}

std::string section_text(const Section& s, const Options& o, const Style& style) {
  std::string out = "\n" +
                    paint(style, Colour::bold,
                          fmt::format("{} {} {} {}", to_string(s.like.pass), s.like.dtype.name,
                                      to_string(s.like.layout), s.like.dialect)) +
                    "\n";
  const impls::Claims& own = s.declared.rbegin()->second;
  const Inference* const seen = s.inference ? &*s.inference : nullptr;
  const Explanation* const best =
      seen != nullptr && !seen->explanations.empty() ? &seen->explanations.front() : nullptr;
  const bool both = best != nullptr;
  out += line("accumulator", bits_text(own.accumulator_bits),
              both ? "at most " + bits_text(seen->accumulator_bits) : "", both, style);
  if (!is_inference(s.like.pass) && !takes_saved(s.like.pass))
    out += line("variance", family_text(own.family), both ? family_text(best->family) : "", both, style);
  if (is_forward(s.like.pass))
    out += line("y", form_text(own.affine), both ? form_text(best->affine) : "", both, style);
  if (s.like.pass != Pass::forward_inference)
    out += line(
        "reduction depth", depth_text(s.declared, [](const impls::Claims& c) { return c.reduction_depth; }),
        both ? "at least " + depth_text(best->depth, [](std::int64_t d) { return d; }) : "", both, style);
  out += line("equal bits again", own.deterministic ? "yes" : "", both && !seen->repeatable ? "no" : "so far",
              both, style);
  if (seen == nullptr)
    return out;
  out += wrapped("  ",
                 fmt::format("{} judged, {} with a failure that no claim explains",
                             counted(seen->judged, "case"), grouped(seen->failed)),
                 style.width);
  if (!both)
    out += "  nothing can be inferred: no claim explains what it did\n";
  for (std::size_t i = 1; i < seen->explanations.size(); ++i) {
    const Explanation& e = seen->explanations[i];
    std::vector<std::string> parts;
    if (e.family != NP_FAMILY_UNKNOWN)
      parts.push_back("variance " + family_text(e.family));
    if (e.affine != NP_AFFINE_UNKNOWN)
      parts.push_back("y " + form_text(e.affine));
    if (!e.depth.empty())
      parts.push_back("depth at least " + depth_text(e.depth, [](std::int64_t d) { return d; }));
    out += wrapped("  or ", joined(parts, ", "), style.width);
  }
  for (const Denial& d : seen->denials) {
    out += wrapped("  not ",
                   fmt::format("{}: {} {}, {} times what that permits", d.claim, d.by.clause,
                               to_string(d.by.output), brief(d.by.ratio())),
                   style.width);
    std::string again =
        fmt::format("      normproof replay {} --impl {}", shell_word(d.by.origin), shell_word(o.kernel));
    for (const std::string& library : o.libraries)
      again += " --impl " + shell_word(library);
    out += paint(style, Colour::dim, again) + "\n";
  }
  return out;
}

Json claims_json(int bits, np_family family, np_affine affine) {
  Json out = Json::object();
  if (bits != 0)
    out["accumulator_bits"] = bits;
  if (const std::string text = family_text(family); !text.empty())
    out["variance"] = text;
  if (const std::string text = form_text(affine); !text.empty())
    out["y"] = text;
  return out;
}

Json section_json(const Section& s) {
  Json out{{"pass", to_string(s.like.pass)},
           {"dtype", s.like.dtype.name},
           {"layout", to_string(s.like.layout)},
           {"dialect", s.like.dialect}};
  out["declared"] = Json::array();
  for (const auto& [n, own] : s.declared) {
    Json entry{{"n", n}};
    entry.update(claims_json(own.accumulator_bits, own.family, own.affine));
    if (own.reduction_depth != 0)
      entry["reduction_depth"] = own.reduction_depth;
    if (own.rsqrt_ulps != 0)
      entry["rsqrt_ulps"] = own.rsqrt_ulps;
    entry["deterministic"] = own.deterministic;
    out["declared"].push_back(std::move(entry));
  }
  if (!s.inference)
    return out;
  const Inference& seen = *s.inference;
  Json inferred{{"judged", seen.judged}, {"failed", seen.failed}, {"repeatable", seen.repeatable}};
  inferred["explanations"] = Json::array();
  for (const Explanation& e : seen.explanations) {
    Json entry = claims_json(seen.accumulator_bits, e.family, e.affine);
    entry["depth_at_least"] = Json::array();
    for (const auto& [n, depth] : e.depth)
      entry["depth_at_least"].push_back({{"n", n}, {"depth", depth}});
    inferred["explanations"].push_back(std::move(entry));
  }
  inferred["denied"] = Json::array();
  for (const Denial& d : seen.denials)
    inferred["denied"].push_back({{"claim", d.claim},
                                  {"clause", d.by.clause},
                                  {"output", to_string(d.by.output)},
                                  {"ratio", measure(d.by.ratio())},
                                  {"origin", d.by.origin}});
  out["inferred"] = std::move(inferred);
  return out;
}

using Skips = std::map<std::string, std::int64_t>;

/// One small problem per n: a claim is a function of the problem.
std::map<std::int64_t, impls::Claims> declared(const impls::KernelInfo& kernel, const Recipe& like,
                                               const impls::RunOptions& run, Skips& skips) {
  std::map<std::int64_t, impls::Claims> out;
  impls::Runner runner(run);
  for (const std::int64_t side : {2, 8, 64}) {
    Recipe recipe = like;
    recipe.shape = Shape{4, 2, {side, side}};
    const impls::Observation seen = runner.run(kernel, expand(recipe));
    if (seen.outcome == impls::Outcome::completed)
      out[recipe.shape.per_channel()] = seen.claims;
    else
      ++skips[std::string(impls::to_string(seen.outcome)) + ": " + seen.detail];
  }
  return out;
}

/// With running statistics where the dialect has any.
Recipe prototype(const Options& o, const std::string& dtype, Pass pass) {
  const auto recipe = [&](bool running) {
    const auto parsed = parse_recipe(
        fmt::format("np1 pass={} dtype={} layout={} dialect={} running={} threads={} seed={}",
                    to_string(pass), dtype, o.layout, o.dialect, running ? 1 : 0, o.threads, o.seed));
    if (const std::string* wrong = std::get_if<std::string>(&parsed))
      throw usage(*wrong);
    return std::get<Recipe>(parsed);
  };
  const Recipe with = recipe(true);
  return impossible(with).empty() ? with : recipe(false);
}

Exit print_claims(const Options& o) {
  std::vector<Recipe> problems;
  for (const std::string& dtype : o.dtypes)
    for (const Pass pass : all_passes)
      problems.push_back(prototype(o, dtype, pass));
  const impls::RunOptions run = trial_options(o.manner).run;
  std::unique_ptr<OutputFile> json;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  const impls::KernelInfo kernel = chosen_kernel(o.kernel, o.libraries);

  std::vector<Section> sections;
  Skips skips;
  for (const Recipe& like : problems) {
    if (const std::string reason = impossible(like); !reason.empty()) {
      ++skips[fmt::format("{}: {}", to_string(like.pass), reason)];
      continue;
    }
    Section s{like, declared(kernel, like, run, skips), {}};
    if (s.declared.empty())
      continue;
    if (o.infer)
      s.inference = infer_claims(kernel, inference_cases(like), run);
    sections.push_back(std::move(s));
  }

  bool explained = !sections.empty();
  for (const Section& s : sections)
    explained = explained && (!s.inference || !s.inference->explanations.empty());
  if (json) {
    Json out{{"normproof_claims", 1}, {"kernel", kernel.name}, {"library", kernel.library_name}};
    out["problems"] = Json::array();
    for (const Section& s : sections)
      out["problems"].push_back(section_json(s));
    if (sections.empty())
      out["skipped"] = skips;
    json->write(out.dump(1) + "\n");
  }
  if (!json || !json->is_stdout()) {
    const Style style = style_of_stdout();
    fmt::print("{}", wrapped(paint(style, Colour::bold, kernel.name) + ": ", kernel.summary, style.width));
    for (const Section& s : sections)
      fmt::print("{}", section_text(s, o, style));
    for (const auto& [reason, count] : skips)
      if (sections.empty())
        fmt::print("{}", wrapped("  ", fmt::format("{}: {}", counted(count, "case"), reason), style.width));
    if (sections.empty())
      fmt::print("INCONCLUSIVE: it completed no case\n");
  }
  return explained ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_claims(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand(
      "claims", "What a kernel says of its arithmetic, and with --infer what its errors say of it");
  auto options = std::make_shared<Options>();
  command->add_option("KERNEL", options->kernel, "a kernel by name, or a library that holds one")
      ->required()
      ->type_name("KERNEL");
  command->add_option("--impl", options->libraries, "more libraries in which to look for the name")
      ->type_name("LIBRARY")
      ->allow_extra_args(false);
  command->add_flag("--infer", options->infer, "the strongest claims that nothing it computed contradicts");
  command->add_option("--dtype", options->dtypes, "f64, f32, f16 or bf16 (may be repeated)")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->default_str("f32")
      ->group("Problem");
  command->add_option("--layout", options->layout, "contiguous, channels-last or strided")
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Problem");
  command->add_option("--dialect", options->dialect, "reading of batch normalisation")
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Problem");
  command->add_option("--seed", options->seed, "of all random data")
      ->type_name("N")
      ->capture_default_str()
      ->group("Problem");
  command->add_option("--threads", options->threads, "that the kernel may use")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group("Problem");
  command->add_option("--timeout", options->manner.timeout, "limit for one run of the kernel")
      ->type_name("TIME")
      ->capture_default_str()
      ->group("Running");
  command->add_option("--json", options->json, "write it there instead ('-': stdout)")
      ->type_name("FILE")
      ->group("Reports");
  command->footer(
      "Claims are in force once a kernel makes them: 'check' then fails it where it breaks one, even within\n"
      "the grade. What is inferred is no proof: a stronger claim is ruled out, with the judgement that "
      "breaks\n"
      "it; a weaker one may still be the truth. Depths are at least those, accumulators at most that "
      "wide.\n\n"
      "Examples:\n"
      "  normproof claims cpu.welford_f32\n"
      "  normproof claims ./mine.so --infer --dtype f32 --layout channels-last --json claims.json\n"
      "  normproof claims libtorch.native_batch_norm --infer --dialect pytorch --layout channels-last\n\n"
      "Exit codes: 0 printed, 2 a mistake in the call, 3 something could not be read, written, loaded or\n"
      "run, 4 it completed no case, or no claim explains what it did.");
  command->callback([options, &run] {
    run = [options] {
      return print_claims(*options);
    };
  });
}

}  // namespace normproof::ci
