// The names that a text may give a dialect: every entry point, and the family that stands for its first one.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "normproof/spec/semantics.h"

namespace normproof::properties {

inline std::vector<std::string> dialect_names() {
  std::vector<std::string> names;
  for (const Dialect& dialect : dialects()) {
    names.emplace_back(dialect.name);
    std::string family(dialect.name.substr(0, dialect.name.find('/')));
    if (std::ranges::find(names, family) == names.end())
      names.push_back(std::move(family));
  }
  return names;
}

}  // namespace normproof::properties
