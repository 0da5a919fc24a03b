// The reader of spec/dialects.json: cells in words become knobs.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/spec/semantics.h"

namespace normproof {

/// A dialect and the strings that its views look at: it may be moved, not copied.
struct DialectRow {
  std::string name;
  std::string summary;
  std::deque<std::string> names;
  std::vector<std::string_view> not_applicable;
  Semantics semantics;

  DialectRow() = default;
  DialectRow(DialectRow&&) = default;
};

/// The rows in the order of the file. Throws std::invalid_argument with the dialect, the knob and the word
/// that has no meaning.
std::deque<DialectRow> parse_dialects(std::string_view json);

}  // namespace normproof
