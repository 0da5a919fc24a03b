// The dialects in force, read from spec/dialects.json, which the build embeds: there is one table.
#include "normproof/spec/semantics.h"

#include <deque>
#include <vector>

#include "dialect_table.h"
#include "dialects.json.h"

namespace normproof {
namespace {

/// Parsed once; never moved, since the dialects look into it.
const std::vector<Dialect>& table() {
  static const std::deque<DialectRow> rows = parse_dialects(dialects_json);
  static const std::vector<Dialect> dialects = [] {
    std::vector<Dialect> result;
    for (const DialectRow& row : rows)
      result.push_back({row.name, row.semantics, row.summary, "spec/dialects.md", row.not_applicable});
    return result;
  }();
  return dialects;
}

}  // namespace

std::span<const Dialect> dialects() {
  return table();
}

std::optional<Dialect> dialect_named(std::string_view name) {
  if (name == "pytorch")
    name = "pytorch/native_batch_norm";
  for (const Dialect& dialect : table())
    if (dialect.name == name)
      return dialect;
  return std::nullopt;
}

}  // namespace normproof
