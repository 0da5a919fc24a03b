#include "normproof/properties/confusion.h"

#include <algorithm>

#include "normproof/impls/kernels.h"

namespace normproof::properties {
namespace {

/// A failing case with all that a diagnosis starts from.
struct Failing {
  Case c;
  reference::Truth truth;
  impls::Observation seen;
};

std::optional<Failing> failing(const impls::KernelInfo& kernel, const Recipe& recipe, const Gate& gate,
                               impls::Runner& runner) {
  if (!impossible(recipe).empty() || recipe.shape.elements() > diagnosis_limit)
    return std::nullopt;
  Failing f{expand(recipe), {}, {}};
  if (!reference::must_reject(f.c).empty())
    return std::nullopt;
  f.truth = reference::truth_of(f.c);
  f.seen = runner.run(kernel, f.c);
  const CaseVerdict verdict = judge(f.c, f.truth, f.seen, gate);
  if (!verdict.failed() || f.seen.outcome != impls::Outcome::completed)
    return std::nullopt;
  return f;
}

std::string said(const Diagnosis& d) {
  std::string out;
  for (const std::string& name : d.names)
    out += (out.empty() ? "" : " or ") + name;
  return out;
}

}  // namespace

Naming naming(const Diagnosis& d, const std::string& bug, bool left_out) {
  if (d.names.empty())
    return left_out || bug.empty() ? Naming::right : Naming::abstained;
  if (std::ranges::find(d.names, bug) == d.names.end())
    return Naming::wrong;
  return d.named() ? Naming::right : Naming::among;
}

Recipe perturbed(const Recipe& recipe, std::size_t variant) {
  const Shape shapes[] = {{5, 3, {7}}, {3, 5, {2, 3}}, {11, 2, {3, 3}}, {6, 2, {5, 5}}};
  constexpr double eps[] = {0x1.38p-7, 0x1.a36e2ep-14, 0x1.4p-2, 0x1.0c6f7ap-20};
  constexpr double momentum[] = {0x1.333334p-2, 0x1.8p-1, 0x1.99999ap-6, 0x1.cp-1};
  Recipe r = recipe;
  r.seed = recipe.seed + 1000003 * (variant + 1);
  if (recipe.shape.elements() > 1)
    r.shape = shapes[variant % std::size(shapes)];
  r.eps = eps[variant % std::size(eps)];
  if (recipe.regime.name == "exact")
    r.eps = recipe.eps;  // its data are made for that one
  if (recipe.momentum)
    r.momentum = momentum[variant % std::size(momentum)];
  if (!impossible(r).empty())
    r.shape = recipe.shape;
  return r;
}

std::vector<ConfusionRow> run_confusion(const MutationReport& report,
                                        const std::map<std::string, std::string>& bugs,
                                        const impls::RunOptions& run, std::size_t cases) {
  constexpr std::size_t variants = 2;
  impls::Runner runner(run);
  std::vector<ConfusionRow> rows;
  for (const MutationRow& mutant : report.rows) {
    const auto bug = bugs.find(mutant.kernel.name);
    if (bug == bugs.end() || mutant.sample.empty())
      continue;
    ConfusionRow row;
    row.kernel = mutant.kernel.name;
    row.bug = bug->second;
    std::array<std::vector<Diagnosis>, setting_count> diagnoses;
    DiagnosisOptions known;
    known.run = [&](const Case& other) {
      return runner.run(mutant.kernel, other);
    };
    DiagnosisOptions unknown = known;
    unknown.without = row.bug;
    const auto add = [&](Setting setting, const Failing& f, const DiagnosisOptions& options) {
      const auto at = static_cast<std::size_t>(setting);
      Diagnosis d = diagnose(f.c, f.truth, f.seen, report.gate, options);
      ++row.cases[at][static_cast<std::size_t>(naming(d, row.bug, setting == Setting::left_out))];
      ++row.names[at][said(d)];
      d.ranking.clear();
      diagnoses[at].push_back(std::move(d));
    };
    for (std::size_t i = 0; i < std::min(cases, mutant.sample.size()); ++i) {
      const auto parsed = parse_recipe(mutant.sample[i]);
      const Recipe* recipe = std::get_if<Recipe>(&parsed);
      if (recipe == nullptr)
        continue;
      if (const auto f = failing(mutant.kernel, *recipe, report.gate, runner)) {
        add(Setting::as_found, *f, known);
        if (!row.bug.empty())
          add(Setting::left_out, *f, unknown);
      }
      for (std::size_t v = 0; v < variants; ++v)
        if (const auto f = failing(mutant.kernel, perturbed(*recipe, 2 * i + v), report.gate, runner))
          add(Setting::perturbed, *f, known);
    }
    for (std::size_t s = 0; s < setting_count; ++s) {
      row.combined[s] = combined(diagnoses[s]);
      row.verdict[s] = naming(row.combined[s], row.bug, static_cast<Setting>(s) == Setting::left_out);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace normproof::properties
