#include "failure.h"

#include <fmt/format.h>

#include "normproof/ci/words.h"
#include "normproof/properties/nearest.h"

namespace normproof::ci {

using properties::Exit;

Failure usage(const std::string& sentence) {
  return {Exit::usage, sentence};
}

Failure could_not(const std::string& sentence) {
  return {Exit::could_not_run, sentence};
}

Failure unknown(std::string_view what, std::string_view text, std::span<const std::string> choices) {
  std::string sentence = fmt::format("unknown {} '{}'", what, text);
  if (const std::string near = properties::nearest(text, choices); !near.empty())
    sentence += fmt::format("; the nearest is '{}'", near);
  if (!choices.empty() && choices.size() <= 8)
    sentence += fmt::format(" (there are {})", joined({choices.begin(), choices.end()}, ", "));
  return usage(sentence);
}

}  // namespace normproof::ci
