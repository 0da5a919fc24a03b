// Case files: what is accepted is written back as the same case.
#include "normproof/properties/case_file.h"

#include <stdexcept>

#include "normproof/properties/recipe.h"
#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Case c;
  try {
    c = properties::parse_case(fuzz::text_of(bytes, size), "fuzzed");
  } catch (const std::invalid_argument&) {
    return 0;
  }
  const std::string text = properties::write_case(c);
  const Case again = properties::parse_case(text, "written");
  fuzz::demand(properties::fingerprint(c) == properties::fingerprint(again) && c.domain == again.domain,
               "a case does not survive its own file");
  return 0;
}
