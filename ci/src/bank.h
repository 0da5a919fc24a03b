// The bank of bundled wrong kernels as the program knows it: the bug of each in the words of the diagnosis,
// and those that a run is excused for not killing, with the reason.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

namespace normproof::ci {

struct Bug {
  std::string_view kernel;
  std::string_view family;  ///< properties::families(); empty where none is to be named
  std::string_view excuse;  ///< why it may survive; empty for most
};
std::span<const Bug> bank();

/// kernel -> family; empty for a bug that has no name, of which the right diagnosis is none.
std::map<std::string, std::string> bugs_by_kernel();
/// Why that kernel may survive, or nothing.
std::string_view excuse_of(std::string_view kernel);

}  // namespace normproof::ci
