// `normproof vectors`: the conformance vectors of spec/vectors, against the oracle and against the judge.
//
// Valid values must be the oracle's, bit for bit, and pass the judge; invalid ones, published mistakes among
// them, must fail it; what a vector calls acceptable must not. The clause that a vector names is the
// requirement behind it; the judge names the bound that it measured, so the two are not compared.
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "data.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/judge.h"
#include "normproof/reference/truth.h"

namespace normproof::ci {
namespace {

using namespace properties;

struct Vector {
  std::string id, comment, result, outcome;
  Case problem;
  impls::Observation seen;  ///< a kernel that reports just the listed outputs
};

Vector read_vector(const nlohmann::json& entry, const std::string& file) {
  Vector v{.id = entry.at("id"),
           .comment = entry.at("comment"),
           .result = entry.at("result"),
           .outcome = entry.at("outcome"),
           .problem = {},
           .seen = {}};
  // A backward pass without saved statistics is that of the pair: truth B.
  nlohmann::json given = entry.at("case");
  if (given.at("pass") == "backward-training" && !given.contains("saved_mean"))
    given["pass"] = "gradient";
  v.problem = parse_case(given.dump(), fmt::format("{} of {}", v.id, file));
  v.seen.outcome = v.outcome == "refused" ? impls::Outcome::rejected : impls::Outcome::completed;
  for (const auto& [name, list] : entry.at("expected").items()) {
    const auto output = parse_output(name);
    if (!output)
      throw std::invalid_argument(fmt::format("{}: unknown output '{}'", v.id, name));
    for (const auto& text : list) {
      const auto number = parse_hex_float(text.get<std::string>());
      if (!number)
        throw std::invalid_argument(
            fmt::format("{}: {} holds '{}', which is no hex float", v.id, name, text.get<std::string>()));
      v.seen.outputs[index(*output)].push_back(*number);
    }
  }
  if (v.seen[Output::running_mean].empty() && v.seen[Output::running_var].empty())
    v.seen.num_batches_tracked.reset();
  return v;
}

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// Empty, or how the oracle's values differ from the expected ones.
std::string differs(const Vector& v, const reference::Truth& truth) {
  for (const Output output : all_outputs) {
    const std::vector<double>& expected = v.seen[output];
    const std::vector<double>& computed = truth[output].rn;
    if (expected.empty())
      continue;
    if (expected.size() != computed.size())
      return fmt::format("{} has {} values, the oracle gives {}", to_string(output), expected.size(),
                         computed.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (!same(expected[i], computed[i]))
        return fmt::format("{}[{}]: the vector has {}, the oracle {}", to_string(output), i,
                           hex_float(expected[i]), hex_float(computed[i]));
  }
  return {};
}

/// One class has to explain all outputs together, as in a trial.
bool explained(const CaseVerdict& verdict, const Gate& gate) {
  for (std::size_t k = 0; k < class_count; ++k) {
    if (!gate.allows(all_classes[k]))
      continue;
    bool holds = true;
    for (std::size_t o = 0; o < output_count; ++o) {
      const Extreme& e = verdict.evidence[o][static_cast<std::size_t>(gate.grade)][k];
      holds = holds && !(e.seen && e.ratio > 1);
    }
    if (holds)
      return true;
  }
  return false;
}

std::string failures_of(const CaseVerdict& verdict) {
  std::vector<std::string> parts;
  for (const Judgement& j : verdict.notable)
    if (is_failure(j.status))
      parts.push_back(fmt::format("{} {} {}", to_string(j.status), j.clause, to_string(j.output)));
  return joined(parts, ", ");
}

/// Empty, or what is wrong: of the vector, the oracle or the judge.
std::string trouble_with(const Vector& v) {
  const Gate gate;
  const std::string refused = reference::must_reject(v.problem);
  if (v.outcome == "refused" && v.result == "valid" && refused.empty())
    return "the specification does not refuse it";
  if (v.outcome == "outputs" && v.result == "valid" && !refused.empty())
    return "the specification refuses it: " + refused;
  reference::Truth truth;
  if (refused.empty())
    truth = reference::truth_of(v.problem);
  if (v.result == "valid" && v.outcome == "outputs")
    if (std::string difference = differs(v, truth); !difference.empty())
      return difference;

  const CaseVerdict verdict = judge(v.problem, truth, v.seen, gate);
  const bool fails = verdict.failed() || !explained(verdict, gate);
  if (v.result != "invalid")
    return fails ? "the judge fails it: " + failures_of(verdict) : std::string();
  // Where the variance leaves binary64 the judge has no bound, and says so instead of failing.
  return fails || verdict.count(Status::unprovable) > 0 ? std::string() : "the judge does not fail it";
}

Exit vectors(const std::string& place) {
  const std::filesystem::path folder =
      place.empty() ? data_folder() / "vectors" : std::filesystem::path(place);
  if (!std::filesystem::is_directory(folder))
    throw could_not(fmt::format("cannot read '{}': there is no such folder", folder.string()));
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json" && !entry.path().filename().string().ends_with(".schema.json"))
      files.push_back(entry.path());
  std::ranges::sort(files);

  const Style style = style_of_stdout();
  std::int64_t valid = 0, invalid = 0, acceptable = 0, wrong = 0;
  std::map<std::string, std::int64_t> skipped;  // reason -> vectors
  for (const auto& file : files) {
    try {
      const nlohmann::json content = nlohmann::json::parse(read_text(file));
      if (content.at("normproof_vectors") != 1)
        throw std::invalid_argument("normproof_vectors is not 1");
      for (const auto& entry : content.at("vectors")) {
        if (entry.at("case").at("pass") == "double-backward" && !entry.at("case").contains("saved_mean")) {
          ++skipped["double backward is judged at given statistics only"];
          continue;
        }
        if (const std::string pass = entry.at("case").at("pass"); !parse_pass(pass)) {
          ++skipped[fmt::format("pass {} is not judged yet", pass)];
          continue;
        }
        const Vector v = read_vector(entry, file.filename().string());
        (v.result == "valid" ? valid : v.result == "invalid" ? invalid : acceptable) += 1;
        const std::string trouble = trouble_with(v);
        if (trouble.empty())
          continue;
        ++wrong;
        fmt::print("{}", wrapped(paint(style, Colour::red, "FAIL ") + v.id + "  ",
                                 fmt::format("({}) {}; {}", v.result, trouble, v.comment), style.width));
      }
    } catch (const nlohmann::json::exception& error) {
      throw could_not(fmt::format("'{}' holds no vectors: {}", file.string(), error.what()));
    } catch (const std::invalid_argument& error) {
      throw could_not(fmt::format("'{}' holds no vectors: {}", file.string(), error.what()));
    }
  }
  for (const auto& [reason, n] : skipped)
    fmt::print("{}", wrapped(paint(style, Colour::yellow, "SKIPPED") + " ",
                             fmt::format("{}: {}", counted(n, "vector"), reason), style.width));
  fmt::print("{} in {}: {} valid, {} invalid, {} acceptable; {}\n",
             counted(valid + invalid + acceptable, "vector"),
             counted(static_cast<std::int64_t>(files.size()), "file"), valid, invalid, acceptable,
             wrong == 0 ? std::string("all as they say") : fmt::format("{} not as they say", wrong));
  if (wrong > 0)
    return Exit::does_not_conform;
  return valid + invalid + acceptable > 0 ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_vectors(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("vectors", "Check the conformance vectors against oracle and judge");
  auto folder = std::make_shared<std::string>();
  command->add_option("FOLDER", *folder, "where the vectors are; those that come along if left out")
      ->type_name("FOLDER");
  command->footer(
      "Valid values must be the oracle's bit for bit and pass the judge; invalid ones must fail it,\n"
      "acceptable ones must not. The format: spec/vectors/README.md.\n\n"
      "Exit codes: 0 all are as they say, 1 some are not, 2 a mistake in the call, 3 something could\n"
      "not be read, 4 there were none.");
  command->callback([folder, &run] {
    run = [folder] {
      return vectors(*folder);
    };
  });
}

}  // namespace normproof::ci
