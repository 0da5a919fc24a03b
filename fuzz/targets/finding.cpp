// Files of findings: what is accepted can be replayed.
#include "normproof/properties/finding.h"

#include <stdexcept>

#include "normproof/properties/recipe.h"
#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const properties::Finding f = properties::parse_finding(fuzz::text_of(bytes, size), "fuzzed");
    fuzz::demand(f.given.has_value() == f.recipe.empty(), "a finding has a recipe or a case");
    fuzz::demand(f.given || std::holds_alternative<properties::Recipe>(properties::parse_recipe(f.recipe)),
                 "a finding's recipe is none: " + f.recipe);
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
