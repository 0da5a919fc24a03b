#include "json_object.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

namespace normproof::properties {

using nlohmann::json;

namespace {
constexpr int most_levels = 16;
}

json parse_object(std::string_view text, const std::string& origin) {
  std::string doubled;
  std::vector<std::set<std::string>> seen;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > most_levels)
      throw std::invalid_argument(fmt::format("{}: more than {} levels of brackets", origin, most_levels));
    if (event == json::parse_event_t::object_start)
      seen.emplace_back();
    else if (event == json::parse_event_t::object_end)
      seen.pop_back();
    else if (event == json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second)
      doubled = value.get<std::string>();
    return true;
  };
  json object;
  try {
    object = json::parse(text, watch);
  } catch (const json::parse_error& error) {
    const std::size_t at = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    throw std::invalid_argument(fmt::format("{}: no JSON: line {}, byte {}, at '{}'", origin, line, at,
                                            std::string(text.substr(at, 12))));
  } catch (const json::out_of_range&) {
    throw std::invalid_argument(fmt::format("{}: a number in it is larger than any double", origin));
  }
  if (!doubled.empty())
    throw std::invalid_argument(fmt::format("{}: field '{}' is given twice", origin, doubled));
  if (!object.is_object())
    throw std::invalid_argument(fmt::format("{}: no JSON object but of type {}", origin, object.type_name()));
  return object;
}

}  // namespace normproof::properties
