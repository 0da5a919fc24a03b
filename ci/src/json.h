// How numbers stand in every JSON that the program writes. Keys keep the order in which they are written.
#pragma once

#include <nlohmann/json.hpp>

namespace normproof::ci {

using Json = nlohmann::ordered_json;

/// A measure: a number, or "inf", "-inf", "nan".
Json measure(double number);
/// A value of a tensor: {"hex": ..., "decimal": ...}.
Json value(double number);

}  // namespace normproof::ci
