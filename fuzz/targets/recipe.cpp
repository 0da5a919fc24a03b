// Recipe lines: what is accepted has one canonical line, and small ones have a case.
#include "normproof/properties/recipe.h"

#include <variant>

#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const auto parsed = properties::parse_recipe(fuzz::text_of(bytes, size));
  if (const auto* reason = std::get_if<std::string>(&parsed)) {
    fuzz::demand(!reason->empty(), "a recipe is refused without a reason");
    return 0;
  }
  const auto& recipe = std::get<properties::Recipe>(parsed);
  const std::string line = to_string(recipe);
  const auto again = properties::parse_recipe(line);
  const auto* same = std::get_if<properties::Recipe>(&again);
  fuzz::demand(same != nullptr && *same == recipe && to_string(*same) == line,
               "a recipe does not survive its own line: " + line);
  if (!properties::impossible(recipe).empty() || recipe.shape.elements() > 512)
    return 0;
  const Case c = properties::expand(recipe);
  fuzz::demand(properties::fingerprint(c) == properties::fingerprint(properties::expand(*same)),
               "two cases of one recipe: " + line);
  return 0;
}
