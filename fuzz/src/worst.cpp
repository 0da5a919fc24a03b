#include "normproof/fuzz/worst.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "normproof/properties/case_file.h"

namespace normproof::fuzz {
namespace {

using nlohmann::json;

constexpr const char* index_name = "worst.json";

double number(const json& entry, const char* field) {
  const std::string text = entry.at(field);
  const auto value = properties::parse_hex_float(text);
  if (!value)
    throw std::invalid_argument(fmt::format("'{}' is '{}', which is no hex float", field, text));
  return *value;
}

Worst entry_of(const json& e) {
  Worst w{.file = e.at("case"), .kernel = e.at("kernel"), .label = e.at("label")};
  if (w.file.find('/') != std::string::npos)
    throw std::invalid_argument(fmt::format("'case' is '{}': a file beside the index is wanted", w.file));
  const std::string output = e.at("output"), objective = e.at("objective");
  const auto o = parse_output(output);
  const auto by = parse_objective(objective);
  if (!o)
    throw std::invalid_argument(fmt::format("'output' is '{}', which is none", output));
  if (!by)
    throw std::invalid_argument(fmt::format("'objective' is '{}', which is none", objective));
  w.output = *o;
  w.objective = *by;
  w.value = number(e, "value");
  w.ratio = number(e, "ratio");
  return w;
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out)
    throw std::runtime_error(path.string() + " cannot be written");
}

}  // namespace

std::vector<Worst> parse_worst(std::string_view text, const std::string& origin) {
  try {
    const json whole = json::parse(text);
    if (whole.at("normproof_worst") != 1)
      throw std::invalid_argument("'normproof_worst' is not 1");
    std::vector<Worst> entries;
    for (const json& e : whole.at("entries"))
      entries.push_back(entry_of(e));
    return entries;
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("{}: {}", origin, error.what()));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(fmt::format("{}: {}", origin, error.what()));
  }
}

std::vector<Worst> read_worst(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / index_name;
  std::ifstream in(path, std::ios::binary);
  if (!in)
    throw std::invalid_argument(path.string() + " cannot be read");
  return parse_worst(std::string{std::istreambuf_iterator<char>(in), {}}, path.string());
}

std::string write_worst(const std::vector<Worst>& entries) {
  std::string text = "{\n \"normproof_worst\": 1,\n \"entries\": [\n";
  for (const Worst& w : entries) {
    nlohmann::ordered_json e;
    e["case"] = w.file;
    e["kernel"] = w.kernel;
    e["output"] = normproof::to_string(w.output);
    e["objective"] = to_string(w.objective);
    e["value"] = properties::hex_float(w.value);
    e["ratio"] = properties::hex_float(w.ratio);
    e["label"] = w.label;
    text += "  " + e.dump() + (&w == &entries.back() ? "\n" : ",\n");
  }
  return text + " ]\n}\n";
}

bool keep_worst(const std::filesystem::path& folder, Worst entry, const Case& c) {
  std::vector<Worst> entries;
  if (std::filesystem::exists(folder / index_name))
    entries = read_worst(folder);
  entry.file = worst_file_name(entry.kernel, c.problem, entry.output, entry.objective);
  const auto old = std::ranges::find(entries, entry.file, &Worst::file);
  if (old != entries.end() && old->value >= entry.value)
    return false;
  std::filesystem::create_directories(folder);
  write_file(folder / entry.file, properties::write_case(c));
  if (old != entries.end())
    *old = std::move(entry);
  else
    entries.push_back(std::move(entry));
  std::ranges::sort(entries, {}, &Worst::file);
  write_file(folder / index_name, write_worst(entries));
  return true;
}

std::string complaint(const Worst& entry, const Score& now) {
  if (!now.counts())
    return "it proves nothing any more: " + now.reason;
  if (now.ratio > 1)
    return fmt::format("measured/permitted is {:.6g}: the kernel breaks its bound", now.ratio);
  if (!(std::abs(now.value - entry.value) <= 1e-6 * entry.value))
    return fmt::format("its {} is {:.9g}, and {:.9g} is recorded", to_string(entry.objective), now.value,
                       entry.value);
  return {};
}

std::string worst_file_name(const std::string& kernel, const Problem& problem, Output output,
                            Objective objective) {
  std::string dtype(problem.data.name);
  if (problem.layout != Layout::contiguous)
    dtype += "." + std::string(normproof::to_string(problem.layout));
  return fmt::format("{}.{}.{}.{}.{}.json", kernel, normproof::to_string(problem.pass), dtype,
                     normproof::to_string(output), to_string(objective));
}

}  // namespace normproof::fuzz
