// `normproof truth`: the oracle as a tool. Prints what the specification says a case's outputs are.
#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "failure.h"
#include "json.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/safetensors.h"
#include "normproof/reference/truth.h"
#include "output_file.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Options {
  std::vector<std::string> words;
  std::string json, safetensors;
  int threads = 1;
};

Json truth_json(const Case& c, const std::string& refused, const reference::Truth& truth) {
  Json out{{"normproof_truth", 1}, {"origin", c.origin}};
  if (!refused.empty()) {
    out["refused"] = refused;
    return out;
  }
  out["outputs"] = Json::object();
  for (const Output output : all_outputs) {
    const reference::Values& values = truth[output];
    if (values.empty())
      continue;
    Json hex = Json::array(), decimals = Json::array(), off = Json::array();
    for (std::size_t i = 0; i < values.rn.size(); ++i) {
      hex.push_back(hex_float(values.rn[i]));
      decimals.push_back(decimal(values.rn[i]));
      off.push_back(values.off[i]);
    }
    out["outputs"][std::string(to_string(output))] = {{"format", format_of(c.problem, output).name},
                                                      {"hex", std::move(hex)},
                                                      {"decimal", std::move(decimals)},
                                                      {"off", std::move(off)}};
  }
  return out;
}

std::string truth_text(const Case& c, const std::string& refused, const reference::Truth& truth) {
  if (!refused.empty())
    return fmt::format("refused: {}\n", refused);
  std::string out;
  const std::int64_t n = c.problem.shape.per_channel();
  for (const Output output : all_outputs) {
    const reference::Values& values = truth[output];
    for (std::size_t i = 0; i < values.rn.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::string place = per_element(output)
                                    ? fmt::format("{}[{}][{}]", to_string(output), at / n, at % n)
                                    : fmt::format("{}[{}]", to_string(output), at);
      const double off = values.off[i];
      const std::string rest = off == 0               ? "exact"
                               : std::abs(off) == 0.5 ? fmt::format("{:+} tie", off)
                                                      : fmt::format("{:+.6f}", off);
      out += fmt::format("{:<20} {:<24} {:<24} {}\n", place, hex_float(values.rn[i]), decimal(values.rn[i]),
                         rest);
    }
  }
  return out;
}

/// Each output as the tensor that a kernel would write, and `NAME.off` beside it.
std::string truth_safetensors(const Case& c, const reference::Truth& truth) {
  Safetensors content;
  content.metadata = {{"normproof_truth", "1"}, {"origin", c.origin}};
  const Shape& s = c.problem.shape;
  std::vector<std::int64_t> shape{s.batch, s.channels};
  shape.insert(shape.end(), s.spatial.begin(), s.spatial.end());
  const std::int64_t n = s.per_channel(), spatial = s.batch > 0 ? n / s.batch : 0;
  const auto in_order = [&](const std::vector<double>& values) {  // batch before channel
    std::vector<double> out;
    out.reserve(values.size());
    for (std::int64_t b = 0; b < s.batch; ++b)
      for (std::int64_t k = 0; k < s.channels; ++k) {
        const auto first = values.begin() + (k * n + b * spatial);
        out.insert(out.end(), first, first + spatial);
      }
    return out;
  };
  for (const Output output : all_outputs) {
    const reference::Values& values = truth[output];
    if (!is_defined(c.problem, output))
      continue;
    const std::string name(to_string(output));
    const bool element = per_element(output);
    const std::vector<std::int64_t> extents = element ? shape : std::vector{s.channels};
    content.tensors[name] = {format_of(c.problem, output), extents,
                             element ? in_order(values.rn) : values.rn};
    content.tensors[name + ".off"] = {f64, extents, element ? in_order(values.off) : values.off};
  }
  return write_safetensors(content);
}

Exit print_truth(const Options& o) {
  std::unique_ptr<OutputFile> json, safetensors;
  if (!o.json.empty())
    json = std::make_unique<OutputFile>(o.json);
  if (!o.safetensors.empty())
    safetensors = std::make_unique<OutputFile>(o.safetensors);
  const Case c = case_of(joined(o.words, " "));
  const std::string refused = reference::must_reject(c);
  reference::Truth truth;
  if (refused.empty())
    truth = reference::truth_of(c, o.threads);
  if (safetensors && !refused.empty())
    throw could_not(fmt::format("no tensors for '{}': the case must be refused: {}", o.safetensors, refused));
  if (json)
    json->write(truth_json(c, refused, truth).dump(1) + "\n");
  if (safetensors)
    safetensors->write(truth_safetensors(c, truth));
  else if (o.json != "-")
    OutputFile("-").write(truth_text(c, refused, truth));
  return Exit::conforms;
}

}  // namespace

void add_truth(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("truth", "Print the exact answer, correctly rounded, of a case");
  auto options = std::make_shared<Options>();
  command->add_option("CASE", options->words, "a case file (JSON or .safetensors), or a recipe")
      ->required()
      ->type_name("FILE|RECIPE");
  command
      ->add_option("--json", options->json,
                   "write it as JSON ('-': stdout); schema: spec/schema/truth-1.json")
      ->type_name("FILE");
  command
      ->add_option("--safetensors", options->safetensors,
                   "write tensors there instead of the table: each output in its format, of the shape of the "
                   "tensor it is, and NAME.off")
      ->type_name("FILE");
  command->add_option("--threads", options->threads, "threads for the channels")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->footer(
      "Each line has an output (per channel; y per channel and element), its correctly rounded value as a\n"
      "hex float and as the shortest decimal that reads back, and how far the exact value lies beyond it\n"
      "in units of the spacing of the format there: 'exact', '+0.5 tie', or a fraction.\n\n"
      "A case file is JSON with hex floats (all fields: spec/vectors/README.md); x is channel-major, all\n"
      "values of channel 0 before those of channel 1, whatever the layout:\n"
      "  {\"normproof_case\": 1, \"pass\": \"forward-training\", \"dtype\": \"f32\",\n"
      "   \"shape\": [2, 1], \"layout\": \"contiguous\", \"dialect\": \"documented\",\n"
      "   \"eps\": \"0x1.4f8b58p-17\", \"x\": [\"0x1p+0\", \"0x1.8p+1\"]}\n"
      "A .safetensors file holds the tensors as arrays, x of shape [batch, channels, ...], and the other\n"
      "fields as JSON in its metadata, under 'normproof_case'.\n\n"
      "Examples:\n"
      "  normproof truth case.json --json -\n"
      "  normproof truth layer.safetensors --safetensors exact.safetensors\n"
      "  normproof truth 'np1 shape=2x1 regime=normal seed=3'\n\n"
      "Exit codes: 0 printed (a case that must be refused prints 'refused' and why), 2 a mistake in the\n"
      "call, 3 something could not be read or written.");
  command->callback([options, &run] {
    run = [options] {
      return print_truth(*options);
    };
  });
}

}  // namespace normproof::ci
