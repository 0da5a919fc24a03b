// A JSON object from a file that anybody may have written.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace normproof::properties {

/// Throws std::invalid_argument with the origin and the place: text that is no JSON or no object, a field
/// that is given twice (of which a parser keeps the last in silence), a number that no double holds, and more
/// levels than any format here has (what walks a value walks it recursively).
nlohmann::json parse_object(std::string_view text, const std::string& origin);

}  // namespace normproof::properties
