#include "normproof/properties/inference.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <variant>

#include "normproof/properties/judge.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {
namespace {

struct Seen {
  Case c;
  reference::Truth truth;
  impls::Observation observation;
};

/// The loosest gate: what is beyond it is a failure, everything within is left to the claims.
constexpr Gate loosest{.grade = Grade::sequential};

bool kept(const Seen& seen, const impls::Claims& claims) {
  impls::Observation other = seen.observation;
  other.claims = claims;
  return !judge(seen.c, seen.truth, other, loosest).failed();
}

/// Whether the claims hold on all cases with that n; `from` is where the search begins, and ends at the case
/// that denies them, so that the next search meets it first.
bool hold(std::vector<const Seen*>& cases, const impls::Claims& claims) {
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (!kept(*cases[i], claims)) {
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

std::int64_t total(const Explanation& e) {
  std::int64_t sum = 0;
  for (const auto& [n, depth] : e.depth)
    sum += depth;
  return sum;
}

/// Accumulators from the widest down; twice the digits of a format is a compensated sum in it.
std::vector<int> widths(const Format& accumulator) {
  return accumulator == f64 ? std::vector{2 * f64.p, f64.p} : std::vector{2 * f64.p, f64.p, 2 * f32.p, f32.p};
}

}  // namespace

std::vector<Case> inference_cases(const std::string& dtype, std::uint64_t seed) {
  std::vector<Case> cases;
  for (const char* const shape : {"4x2x4", "4x2x64", "4x2x1024", "4x2x16384"})
    for (const char* const regime :
         {"witness_mean", "witness_var", "offset:1000", "normal", "mixture", "paired:1000"}) {
      const std::string line =
          "np1 dtype=" + dtype + " shape=" + shape + " regime=" + regime + " seed=" + std::to_string(seed);
      const auto recipe = parse_recipe(line);
      if (const std::string* wrong = std::get_if<std::string>(&recipe))
        throw std::invalid_argument(*wrong);
      if (impossible(std::get<Recipe>(recipe)).empty())
        cases.push_back(expand(std::get<Recipe>(recipe)));
    }
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
    result.own = seen.observation.claims;
    result.repeatable = result.repeatable && seen.observation.repeatable;
    seen.observation.repeatable = true;  // a claim of its own, and reported so
    seen.truth = reference::truth_of(c);
    if (!kept(seen, {})) {
      ++result.failed;
      continue;
    }
    ++result.judged;
    all.push_back(std::move(seen));
  }
  if (all.empty())
    return result;

  std::map<std::int64_t, std::vector<const Seen*>> by_n;
  for (const Seen& seen : all)
    by_n[seen.c.problem.shape.per_channel()].push_back(&seen);
  for (const int bits : widths(all.front().c.problem.accumulator())) {
    for (const np_family family : {NP_CENTRED, NP_MERGED})
      for (const np_affine affine : {NP_AFFINE_CENTRED, NP_AFFINE_FOLDED}) {
        impls::Claims claims;
        claims.accumulator_bits = bits;
        claims.family = family;
        claims.affine = affine;
        claims.rsqrt_ulps = 1;
        Explanation e{family, affine, {}};
        for (auto& [n, some] : by_n) {
          const std::int64_t depth = least_depth(some, claims, n);
          if (depth == 0)
            break;
          e.depth[n] = depth;
        }
        if (e.depth.size() == by_n.size())
          result.explanations.push_back(std::move(e));
      }
    if (!result.explanations.empty()) {
      result.accumulator_bits = bits;
      break;
    }
  }
  std::ranges::stable_sort(result.explanations, {}, total);
  return result;
}

}  // namespace normproof::properties
