// By which of the two oracles a truth is found.
#pragma once

#include <cstdint>

namespace normproof::reference {

/// multiprecision: the definition, balls and the arbiter alone. certified: double-doubles with a proven bound
/// and a rounding test first (enclosure.h, lanes.h), the definition where these cannot decide.
enum class Route : std::uint8_t { multiprecision, certified };

}  // namespace normproof::reference
