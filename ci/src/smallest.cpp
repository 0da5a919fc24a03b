#include "smallest.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "normproof/ci/words.h"
#include "normproof/fuzz/shrink.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/domain.h"
#include "normproof/properties/judge.h"
#include "normproof/reference/truth.h"

namespace normproof::ci {

using namespace properties;

Case smallest(const impls::KernelInfo& kernel, const Case& c, const Judgement& failure, impls::Runner& runner,
              const Gate& gate, std::int64_t evaluations) {
  const auto fails = [&](const Case& smaller) {
    if (domain_of(smaller) != c.domain ||
        reference::admission_of(smaller).ruling != reference::Ruling::accept)
      return false;
    const reference::Truth truth = reference::truth_of(smaller);
    const CaseVerdict verdict = judge(smaller, truth, runner.run(kernel, smaller), gate);
    return std::ranges::any_of(verdict.notable, [&](const Judgement& j) {
      return j.status == failure.status && j.output == failure.output && j.clause == failure.clause;
    });
  };
  return fuzz::shrink(c, fails, evaluations);
}

std::string input_text(const Case& c) {
  constexpr std::size_t shown = 8;
  std::vector<std::string> parts;
  const auto add = [&](std::string_view name, const std::vector<double>& values,
                       std::optional<double> plain) {
    if (values.empty() || (plain && std::ranges::all_of(values, [&](double v) { return v == *plain; })))
      return;
    std::string text = fmt::format("{} =", name);
    for (std::size_t i = 0; i < std::min(shown, values.size()); ++i)
      text += " " + hex_float(values[i]);
    if (values.size() > shown)
      text += fmt::format(" ... ({} values)", values.size());
    parts.push_back(std::move(text));
  };
  add("x", c.x, {});
  add("dy", c.dy, {});
  add("gamma", c.gamma, 1);
  add("beta", c.beta, 0);
  add("running mean", c.running_mean, 0);
  add("running var", c.running_var, 1);
  add("saved mean", c.saved_mean, 0);
  add("saved invstd", c.saved_invstd, 1);
  add("v_x", c.v_x, {});
  add("v_gamma", c.v_gamma, {});
  add("v_beta", c.v_beta, {});
  parts.push_back("eps = " + hex_float(c.problem.eps));
  return fmt::format("{}: {}", normproof::to_string(c.problem.shape), joined(parts, "; "));
}

}  // namespace normproof::ci
