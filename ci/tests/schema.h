// A validator for the part of JSON Schema 2020-12 that spec/schema uses. An unknown keyword is an error, so
// that no schema can ask for something that is not checked.
#pragma once

#include <regex>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace normproof::ci {

class Schema {
public:
  using Json = nlohmann::ordered_json;
  explicit Schema(Json schema) : root_(std::move(schema)) {}

  /// One line per breach: where, and what was wanted.
  std::vector<std::string> breaches(const Json& document) const {
    std::vector<std::string> out;
    check(root_, document, "$", out);
    return out;
  }

private:
  static bool has_type(const Json& value, const std::string& type) {
    if (type == "object")
      return value.is_object();
    if (type == "array")
      return value.is_array();
    if (type == "string")
      return value.is_string();
    if (type == "integer")
      return value.is_number_integer();
    if (type == "number")
      return value.is_number();
    if (type == "boolean")
      return value.is_boolean();
    return type == "null" && value.is_null();
  }

  void check(const Json& schema, const Json& value, const std::string& at,
             std::vector<std::string>& out) const {
    const auto wrong = [&](const std::string& what) {
      out.push_back(at + ": " + what + ", found " + value.dump().substr(0, 60));
    };
    for (const auto& [keyword, wanted] : schema.items()) {
      if (keyword == "$schema" || keyword == "$id" || keyword == "title" || keyword == "description" ||
          keyword == "$defs")
        continue;
      if (keyword == "$ref") {
        check(root_.at(Json::json_pointer(wanted.get<std::string>().substr(1))), value, at, out);
      } else if (keyword == "type") {
        if (!has_type(value, wanted))
          wrong("is no " + wanted.get<std::string>());
      } else if (keyword == "const") {
        if (value != wanted)
          wrong("is not " + wanted.dump());
      } else if (keyword == "enum") {
        if (std::ranges::find(wanted, value) == wanted.end())
          wrong("is none of " + wanted.dump());
      } else if (keyword == "pattern") {
        if (value.is_string() &&
            !std::regex_search(value.get<std::string>(), std::regex(wanted.get<std::string>())))
          wrong("does not match " + wanted.dump());
      } else if (keyword == "minLength") {
        if (value.is_string() && value.get<std::string>().size() < wanted.get<std::size_t>())
          wrong("is too short");
      } else if (keyword == "minimum") {
        if (value.is_number() && value.get<double>() < wanted.get<double>())
          wrong("is below " + wanted.dump());
      } else if (keyword == "required") {
        for (const auto& name : wanted)
          if (value.is_object() && !value.contains(name.get<std::string>()))
            wrong("lacks " + name.dump());
      } else if (keyword == "properties" || keyword == "additionalProperties") {
        if (keyword == "properties" && value.is_object())
          for (const auto& [name, child] : wanted.items())
            if (value.contains(name))
              check(child, value.at(name), at + "." + name, out);
        if (keyword == "additionalProperties" && value.is_object())
          for (const auto& [name, child] : value.items()) {
            if (schema.contains("properties") && schema.at("properties").contains(name))
              continue;
            if (wanted.is_object())
              check(wanted, child, at + "." + name, out);
            else if (!wanted.get<bool>())
              wrong("has an unknown field " + name);
          }
      } else if (keyword == "items") {
        if (value.is_array())
          for (std::size_t i = 0; i < value.size(); ++i)
            check(wanted, value[i], at + "[" + std::to_string(i) + "]", out);
      } else if (keyword == "oneOf") {
        std::size_t holds = 0;
        for (const auto& choice : wanted) {
          std::vector<std::string> ignored;
          check(choice, value, at, ignored);
          holds += ignored.empty() ? 1U : 0U;
        }
        if (holds != 1)
          wrong("fits " + std::to_string(holds) + " of the choices");
      } else {
        out.push_back(at + ": the schema's keyword '" + keyword + "' is not understood here");
      }
    }
  }

  Json root_;
};

}  // namespace normproof::ci
