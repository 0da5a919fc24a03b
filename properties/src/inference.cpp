#include "normproof/properties/inference.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <tuple>

namespace normproof::properties {
namespace {

struct Seen {
  Case c;
  reference::Truth truth;
  impls::Observation observation;
};

/// The loosest gate: what is beyond it is a failure, everything within is left to the claims.
constexpr Gate loosest{.grade = Grade::sequential};

/// The judgement that breaks the claims most, if any does.
std::optional<Judgement> broken(const Seen& seen, const impls::Claims& claims) {
  impls::Observation other = seen.observation;
  other.claims = claims;
  const CaseVerdict verdict = judge(seen.c, seen.truth, other, loosest);
  if (!verdict.failed())
    return {};
  Judgement worst;
  for (const Judgement& j : verdict.notable)
    if (is_failure(j.status) && (worst.clause.empty() || j.ratio() > worst.ratio()))
      worst = j;
  worst.origin = seen.c.origin;
  return worst;
}

/// Whether the claims hold on all cases of one n. A case that denies them goes to the front, where the next
/// search meets it first.
bool hold(std::vector<const Seen*>& cases, const impls::Claims& claims) {
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (broken(*cases[i], claims)) {
      std::swap(cases[0], cases[i]);
      return false;
    }
  return true;
}

/// A bound grows with the depth, so the least one is found by halving; 0: not even n - 1 explains it.
std::int64_t least_depth(std::vector<const Seen*>& cases, impls::Claims claims, std::int64_t n) {
  const auto holds = [&](std::int64_t depth) {
    claims.reduction_depth = depth;
    return hold(cases, claims);
  };
  std::int64_t high = std::max<std::int64_t>(n - 1, 1);
  if (!holds(high))
    return 0;
  std::int64_t low = 1;
  while (low < high) {
    const std::int64_t middle = std::midpoint(low, high);
    if (holds(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return high;
}

bool has_sums(Pass pass) {
  return pass != Pass::forward_inference;
}

using ByN = std::map<std::int64_t, std::vector<const Seen*>>;

impls::Claims claims_of(int bits, np_family family, np_affine affine) {
  impls::Claims claims;
  claims.accumulator_bits = bits;
  claims.family = family;
  claims.affine = affine;
  claims.rsqrt_ulps = 1;
  claims.reduction_depth = 1;
  return claims;
}

/// Families from the strongest down, those of one step all at once. What a textbook variance may be off
/// leaves room for any accumulator: it is asked where nothing else will do.
std::vector<std::vector<np_family>> families_of(Pass pass) {
  if (is_inference(pass) || takes_saved(pass))
    return {{NP_FAMILY_UNKNOWN}};
  return {{NP_CENTRED, NP_MERGED}, {NP_TEXTBOOK}};
}

std::vector<np_affine> forms_of(Pass pass) {
  if (!is_forward(pass))
    return {NP_AFFINE_UNKNOWN};
  return {NP_AFFINE_CENTRED, NP_AFFINE_FOLDED};
}

std::optional<Explanation> explanation(ByN& by_n, Pass pass, int bits, np_family family, np_affine affine) {
  Explanation e{family, affine, {}};
  for (auto& [n, cases] : by_n) {
    if (!has_sums(pass)) {
      if (!hold(cases, claims_of(bits, family, affine)))
        return {};
      continue;
    }
    const std::int64_t depth = least_depth(cases, claims_of(bits, family, affine), n);
    if (depth == 0)
      return {};
    e.depth[n] = depth;
  }
  return e;
}

/// The least depths first, then the stronger class.
auto order(const Explanation& e) {
  std::int64_t sum = 0;
  for (const auto& [n, depth] : e.depth)
    sum += depth;
  return std::tuple(sum, e.affine, e.family);
}

/// Accumulators from the widest down; twice the digits of a format is a compensated sum in it, which says
/// nothing where there are no sums.
std::vector<int> widths(const Format& accumulator, bool sums) {
  if (!sums)
    return accumulator == f64 ? std::vector{f64.p} : std::vector{f64.p, f32.p};
  return accumulator == f64 ? std::vector{2 * f64.p, f64.p} : std::vector{2 * f64.p, f64.p, 2 * f32.p, f32.p};
}

/// What denies a claim, over the cases of every n or of one; nothing, where the claim is not denied.
void deny(std::vector<Denial>& denials, const ByN& by_n, const std::string& claim,
          const impls::Claims& claims, std::int64_t only_n = 0) {
  std::optional<Judgement> worst;
  for (const auto& [n, cases] : by_n)
    for (const Seen* seen : cases)
      if (only_n == 0 || n == only_n)
        if (const auto by = broken(*seen, claims); by && (!worst || by->ratio() > worst->ratio()))
          worst = by;
  if (worst)
    denials.push_back({claim, *worst});
}

std::vector<Denial> denials_of(const ByN& by_n, const std::vector<int>& bits, int found,
                               const Explanation& e) {
  std::vector<Denial> denials;
  if (const auto at = std::ranges::find(bits, found); at != bits.begin())
    deny(denials, by_n, std::to_string(*std::prev(at)) + " bits",
         claims_of(*std::prev(at), e.family, e.affine));
  if (e.family != NP_CENTRED && e.family != NP_FAMILY_UNKNOWN)
    deny(denials, by_n, "variance centred", claims_of(found, NP_CENTRED, e.affine));
  if (e.affine == NP_AFFINE_FOLDED)
    deny(denials, by_n, "y centred", claims_of(found, e.family, NP_AFFINE_CENTRED));
  for (const auto& [n, depth] : e.depth) {
    impls::Claims shallower = claims_of(found, e.family, e.affine);
    shallower.reduction_depth = depth - 1;
    if (depth > 1)
      deny(denials, by_n, "depth " + std::to_string(depth - 1) + " at n = " + std::to_string(n), shallower,
           n);
  }
  return denials;
}

}  // namespace

std::vector<Case> inference_cases(const Recipe& like) {
  std::vector<Case> cases;
  for (const std::int64_t side : {2, 8, 64})  // n = 16, 256 and 16384; two channels, so that layouts differ
    for (const Regime& regime :
         {Regime{"witness_mean", 0}, Regime{"witness_var", 0}, Regime{"offset", 1000}, Regime{"normal", 0},
          Regime{"mixture", 0}, Regime{"paired", 1000}, Regime{"cancelling_dy", 0}}) {
      Recipe recipe = like;
      recipe.shape = Shape{4, 2, {side, side}};
      recipe.regime = regime;
      if (impossible(recipe).empty())
        cases.push_back(expand(recipe));
    }
  if (cases.empty())
    throw std::invalid_argument("nothing to infer claims from: " + impossible(like));
  return cases;
}

Inference infer_claims(const impls::KernelInfo& kernel, std::span<const Case> cases, impls::RunOptions run) {
  Inference result;
  std::vector<Seen> all;
  run.repeats = std::max(run.repeats, 2);
  impls::Runner runner(run);
  for (const Case& c : cases) {
    Seen seen{c, {}, runner.run(kernel, c)};
    if (seen.observation.outcome != impls::Outcome::completed) {
      ++result.skipped[std::string(impls::to_string(seen.observation.outcome)) + ": " +
                       seen.observation.detail];
      continue;
    }
    result.own[c.problem.shape.per_channel()] = seen.observation.claims;
    result.repeatable = result.repeatable && seen.observation.repeatable;
    seen.observation.repeatable = true;  // a claim of its own, and reported so
    seen.truth = reference::truth_of(c);
    if (broken(seen, {})) {
      ++result.failed;
      continue;
    }
    ++result.judged;
    all.push_back(std::move(seen));
  }
  if (all.empty())
    return result;

  ByN by_n;
  for (const Seen& seen : all)
    by_n[seen.c.problem.shape.per_channel()].push_back(&seen);
  const Problem& problem = all.front().c.problem;
  const Pass pass = problem.pass;
  const std::vector<int> bits = widths(problem.accumulator(), has_sums(pass));
  for (const auto& families : families_of(pass))
    for (const int width : bits) {
      for (const np_family family : families)
        for (const np_affine affine : forms_of(pass))
          if (auto e = explanation(by_n, pass, width, family, affine))
            result.explanations.push_back(std::move(*e));
      if (result.explanations.empty())
        continue;
      std::ranges::sort(result.explanations, {}, order);
      result.accumulator_bits = width;
      result.denials = denials_of(by_n, bits, width, result.explanations.front());
      return result;
    }
  return result;
}

}  // namespace normproof::properties
