// The tables that stand in JSON beside the program: peers' tolerances, the index of worst known inputs.
#include <stdexcept>

#include "normproof/fuzz/worst.h"
#include "normproof/properties/peers.h"
#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text = fuzz::text_of(bytes, size);
  try {
    properties::read_peers(text);
  } catch (const std::invalid_argument&) {
  }
  try {
    const auto entries = fuzz::parse_worst(text, "fuzzed");
    const auto again = fuzz::parse_worst(fuzz::write_worst(entries), "written");
    fuzz::demand(again.size() == entries.size(), "an index does not survive its own file");
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
