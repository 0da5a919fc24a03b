#include "normproof/properties/finding.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "json_object.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/nearest.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 16> fields{"normproof_finding",
                                                  "id",
                                                  "title",
                                                  "library",
                                                  "version",
                                                  "build",
                                                  "kernel",
                                                  "recipe",
                                                  "case",
                                                  "grade",
                                                  "status",
                                                  "clause",
                                                  "output",
                                                  "measured",
                                                  "permitted",
                                                  "explanation"};
/// What a kernel can be found guilty of; the other words say that nothing was found.
constexpr std::array findable{Status::fail,    Status::claim_broken, Status::consequence,
                              Status::crashed, Status::timed_out,    Status::corrupted};

[[noreturn]] void refuse(std::string_view field, std::string_view text, std::string_view why) {
  throw std::invalid_argument(fmt::format("field '{}' is '{}', {}", field, text.substr(0, 60), why));
}

const std::string& text_of(const json& entry, const char* field) {
  return entry.at(field).get_ref<const std::string&>();
}

double number(const json& entry, const char* field) {
  const std::string& text = text_of(entry, field);
  const auto value = parse_hex_float(text);
  if (!value)
    refuse(field, text, "which is no hex float");
  return *value;
}

template <class List>
auto word(const json& entry, const char* field, const List& choices) {
  const std::string& text = text_of(entry, field);
  std::vector<std::string_view> names;
  for (const auto choice : choices) {
    names.push_back(to_string(choice));
    if (names.back() == text)
      return choice;
  }
  refuse(field, text, fmt::format("which is none; the nearest is '{}'", nearest(text, names)));
}

void read_recipe(const json& entry, Finding& f) {
  f.recipe = text_of(entry, "recipe");
  const auto parsed = parse_recipe(f.recipe);
  if (const auto* reason = std::get_if<std::string>(&parsed))
    throw std::invalid_argument("field 'recipe': " + *reason);
  if (const std::string reason = impossible(std::get<Recipe>(parsed)); !reason.empty())
    throw std::invalid_argument("field 'recipe': " + reason);
}

Finding read(const json& entry) {
  if (entry.at("normproof_finding") != 1)
    refuse("normproof_finding", entry.at("normproof_finding").dump(), "and this program reads version 1");
  for (const auto& [key, value] : entry.items())
    if (std::ranges::find(fields, key) == fields.end())
      throw std::invalid_argument(
          fmt::format("unknown field '{}'; the nearest is '{}'", key.substr(0, 60), nearest(key, fields)));
  Finding f{.id = entry.at("id"),
            .title = entry.at("title"),
            .library = entry.at("library"),
            .version = entry.at("version"),
            .build = entry.at("build"),
            .kernel = entry.at("kernel"),
            .clause = entry.at("clause"),
            .explanation = entry.at("explanation"),
            .grade = word(entry, "grade", all_grades),
            .status = word(entry, "status", findable),
            .output = word(entry, "output", all_outputs),
            .measured = number(entry, "measured"),
            .permitted = number(entry, "permitted")};
  if (entry.contains("recipe") == entry.contains("case"))
    throw std::invalid_argument("one of the fields 'recipe' and 'case' is wanted");
  if (entry.contains("recipe"))
    read_recipe(entry, f);
  else
    (f.given = parse_case(entry.at("case").dump(), "case"))->origin = f.id;
  return f;
}

}  // namespace

Finding parse_finding(std::string_view text, const std::string& origin) {
  try {
    return read(parse_object(text, "the file"));
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("'{}' is no finding: {}", origin, error.what()));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(fmt::format("'{}' is no finding: {}", origin, error.what()));
  }
}

}  // namespace normproof::properties
