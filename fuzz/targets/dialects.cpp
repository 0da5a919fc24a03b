// The table of dialects, which the build embeds: the views of a row look into its own strings.
#include <algorithm>
#include <stdexcept>

#include "dialect_table.h"
#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    for (const DialectRow& row : parse_dialects(fuzz::text_of(bytes, size)))
      fuzz::demand(std::ranges::equal(row.names, row.not_applicable),
                   "knobs without a meaning in " + row.name);
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
