// Findings: one output of one library that breaks one clause, as a file of spec/findings holds it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "normproof/properties/grade.h"
#include "normproof/properties/verdict.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

/// The fields of spec/schema/finding-1.json. What shows it is a recipe's line, or a case where no recipe
/// does.
struct Finding {
  std::string id, title, library, version, build, kernel, clause, explanation;
  std::string recipe;         ///< empty where `given` is there
  std::optional<Case> given;  ///< its origin is the id
  Grade grade = Grade::blocked;
  Status status = Status::fail;
  Output output = Output::y;
  double measured = 0, permitted = 0;
};

/// Throws std::invalid_argument with one sentence that names the origin and the offending field. Every field
/// must be there, no other, and mean something: the recipe is one that expands.
Finding parse_finding(std::string_view json, const std::string& origin);

}  // namespace normproof::properties
