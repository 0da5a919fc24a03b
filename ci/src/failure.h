// Why the program ends early: one sentence for stderr and the exit code that goes with it.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "normproof/properties/verdict.h"

namespace normproof::ci {

class Failure : public std::runtime_error {
public:
  Failure(properties::Exit exit, const std::string& sentence) : std::runtime_error(sentence), exit_(exit) {}
  properties::Exit exit() const { return exit_; }

private:
  properties::Exit exit_;
};

/// What was typed is wrong: exit 2.
Failure usage(const std::string& sentence);
/// Something could not be read, written or started: exit 3.
Failure could_not(const std::string& sentence);
/// "unknown grade 'tre'; the nearest is 'tree' (there are ...)": exit 2.
Failure unknown(std::string_view what, std::string_view text, std::span<const std::string> choices);

}  // namespace normproof::ci
