// What every fuzz target is: a function of bytes that returns, or dies.
//
// A reader may refuse its input with std::invalid_argument and nothing else; what it accepts must survive its
// own writer. libFuzzer links these with its own main(), replay.cpp with one that needs no clang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

namespace normproof::fuzz {

inline std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

/// A finding: says what and ends the process.
inline void demand(bool holds, const std::string& what) {
  if (holds)
    return;
  std::fprintf(stderr, "FINDING: %s\n", what.c_str());
  std::abort();
}

}  // namespace normproof::fuzz
