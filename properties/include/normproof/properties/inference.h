// Claims for those who do not know theirs: the strongest ones that nothing which was seen contradicts.
//
// The judge decides: the same observations are judged again under claims made up for the purpose, from the
// strongest down. What comes out is no proof. A wider accumulator that is ruled out is ruled out; a depth is
// a lower bound of the true one, since data at hand seldom make a sum's errors add up.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"
#include "normproof/properties/recipe.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

/// A way of computing, and for each n the least depth under which no claim is broken. What the pass does not
/// do is unknown: a variance where statistics are given, y in a backward pass, sums in inference.
struct Explanation {
  np_family family = NP_FAMILY_UNKNOWN;
  np_affine affine = NP_AFFINE_UNKNOWN;
  std::map<std::int64_t, std::int64_t> depth;  ///< n -> additions on the way of an input, at least
};

/// A stronger claim than the inferred one, and the judgement that breaks it most.
struct Denial {
  std::string claim;  ///< "106 bits", "variance centred", "y centred", "depth 7 at n = 256"
  Judgement by;       ///< permitted is what that claim would permit
};

struct Inference {
  std::int64_t judged = 0;                      ///< cases that the kernel completed without a failure
  std::int64_t failed = 0;                      ///< cases with a failure: no claim can explain those
  std::map<std::string, std::int64_t> skipped;  ///< outcome -> cases
  int accumulator_bits = 0;                     ///< the most that is not ruled out; 0: nothing explains all
  std::vector<Explanation> explanations;        ///< with those bits, the least depths first
  std::vector<Denial> denials;                  ///< of what is next to the first explanation
  std::map<std::int64_t, impls::Claims> own;    ///< n -> what the kernel says of itself there
  bool repeatable = true;                       ///< a second run of each case gave the same bits
};

/// Several n on data that show errors; pass, dtype, statistics' dtype, layout, dialect, threads, eps and seed
/// are those of `like`. Throws std::invalid_argument where that is no problem at all.
std::vector<Case> inference_cases(const Recipe& like);
/// All cases are of one pass. Runs each twice. Throws what Runner::run throws.
Inference infer_claims(const impls::KernelInfo& kernel, std::span<const Case> cases, impls::RunOptions run);

}  // namespace normproof::properties
