// What every view of the report says in the same words.
#include "normproof/ci/report.h"

#include <algorithm>

#include "normproof/ci/words.h"

namespace normproof::ci {

using namespace properties;

Exit Report::exit() const {
  return trial.exit();
}

std::string verdict_word(const KernelReport& kernel, const Gate& gate) {
  if (!kernel.conforms(gate))
    return "FAIL";
  return kernel.inconclusive() ? "INCONCLUSIVE" : "PASS";
}

std::string replay_line(const Report& report, const impls::KernelInfo& kernel, const std::string& origin) {
  std::string line = "normproof replay " + shell_word(origin) + " --impl " + shell_word(kernel.name);
  for (const std::string& path : report.libraries)
    if (std::filesystem::path(path).filename() == kernel.library.filename())
      line += " --impl " + shell_word(path);
  const Gate& gate = report.trial.gate;
  if (gate.grade != Gate{}.grade)
    line += " --grade " + std::string(to_string(gate.grade));
  if (!gate.merged)
    line += " --no-merged";
  if (!gate.folded)
    line += " --no-folded";
  return line;
}

Key key_of(const Report& report, const std::string& origin) {
  if (const auto found = report.keys.find(origin); found != report.keys.end())
    return found->second;
  const auto parsed = parse_recipe(origin);
  if (const Recipe* recipe = std::get_if<Recipe>(&parsed))
    return {recipe->pass, std::string(recipe->dtype.name), recipe->layout};
  return {};
}

}  // namespace normproof::ci
