// Hex floats: a number survives its one spelling, whatever it was read from.
#include <bit>
#include <cmath>

#include "normproof/properties/case_file.h"
#include "target.h"

using namespace normproof;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text = fuzz::text_of(bytes, size);
  if (const auto value = properties::parse_hex_float(text)) {
    const std::string spelling = properties::hex_float(*value);
    const auto again = properties::parse_hex_float(spelling);
    fuzz::demand(again && (std::isnan(*value) ? std::isnan(*again)
                                              : std::bit_cast<std::uint64_t>(*again) ==
                                                    std::bit_cast<std::uint64_t>(*value)),
                 "a number does not survive its spelling: " + std::string(text));
  }
  return 0;
}
