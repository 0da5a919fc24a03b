// What the tests of single clauses share: the bundled kernels run in process on a case, the rounded truth as
// an observation, and the comparisons that the clauses speak of. A clause about one kernel's runs
// (independence, negation) is a predicate on observations: the tests show it the kernels, then an observation
// that breaks it.
#pragma once

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"
#include "normproof/properties/recipe.h"
#include "normproof/reference/truth.h"

namespace normproof::properties {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double inf_value = std::numeric_limits<double>::infinity();

inline const std::vector<impls::KernelInfo>& bundled_kernels() {
  static const std::vector<impls::KernelInfo> kernels = [] {
    std::vector<impls::KernelInfo> found;
    for (const auto& library : impls::bundled_libraries())
      if (library.filename().string().find("cpu") != std::string::npos)
        found = impls::discover(std::vector{library}).kernels;
    return found;
  }();
  return kernels;
}

/// f(name, run) for every bundled kernel that computes the case, where run(c) is that kernel on another case
/// of the same kind; returns how many there were, so that no test is vacuous.
template <class F>
int each_kernel(const Case& c, F f) {
  impls::Runner runner({.in_process = true});
  int count = 0;
  for (const impls::KernelInfo& kernel : bundled_kernels()) {
    if (runner.run(kernel, c).outcome == impls::Outcome::unsupported)
      continue;
    ++count;
    f(kernel.name, [&](const Case& other) { return runner.run(kernel, other); });
  }
  return count;
}

/// Plain data of a few values per channel: what n - 1, eps or a single value make of it is seen.
inline Case small_case(Pass pass = Pass::forward_training, Shape shape = {3, 4, {2}}) {
  Recipe r;
  r.pass = pass;
  r.shape = std::move(shape);
  r.eps = 0x1p-2;
  r.momentum = 0x1p-3;
  r.running = pass == Pass::forward_training || is_inference(pass);
  r.seed = 7;
  return expand(r);
}

/// The kernel that makes no error at all.
inline impls::Observation perfect(const Case& c) {
  const reference::Truth truth = reference::truth_of(c);
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  for (const Output o : all_outputs)
    seen.outputs[index(o)] = truth[o].rn;
  if (c.problem.pass == Pass::forward_training && c.problem.running)
    seen.num_batches_tracked = c.num_batches_tracked + 1;
  return seen;
}

inline CaseVerdict verdict(const Case& c, const impls::Observation& seen, const Gate& gate = {}) {
  const bool refused = !reference::must_reject(c).empty();
  return judge(c, refused ? reference::Truth{} : reference::truth_of(c), seen, gate);
}

/// Clauses that the failures name.
inline std::set<std::string> broken(const CaseVerdict& v) {
  std::set<std::string> out;
  for (const Judgement& j : v.notable)
    if (is_failure(j.status))
      out.insert(j.clause);
  return out;
}
inline std::set<std::string> broken(const Case& c, const impls::Observation& seen, const Gate& gate = {}) {
  return broken(verdict(c, seen, gate));
}

/// Whether the perfect answer to another case, or to the same one under another meaning, would pass as one to
/// `c`.
inline bool passes_as(const Case& c, const Case& other) {
  return !verdict(c, perfect(other)).failed();
}
template <class Change>
bool passes_when(const Case& c, Change change) {
  Case other = c;
  change(other);
  return passes_as(c, other);
}

/// The same bits, where every NaN is like every other.
inline bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
inline bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i]))
      return false;
  return true;
}
inline bool same_outputs(const impls::Observation& a, const impls::Observation& b) {
  for (const Output o : all_outputs)
    if (!same(a[o], b[o]))
      return false;
  return true;
}

inline std::size_t channel_of(const Case& c, Output o, std::size_t i) {
  return per_element(o) ? i / static_cast<std::size_t>(c.problem.shape.per_channel()) : i;
}

/// The channels in which some output has other bits.
inline std::set<std::size_t> differing_channels(const Case& c, const impls::Observation& a,
                                                const impls::Observation& b) {
  std::set<std::size_t> out;
  for (const Output o : all_outputs) {
    EXPECT_EQ(a[o].size(), b[o].size());
    for (std::size_t i = 0; i < a[o].size(); ++i)
      if (!same(a[o][i], b[o][i]))
        out.insert(channel_of(c, o, i));
  }
  return out;
}

/// The elements of one output that have other bits.
inline std::set<std::size_t> differing_elements(const std::vector<double>& a, const std::vector<double>& b) {
  std::set<std::size_t> out;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i]))
      out.insert(i);
  return out;
}

inline void negate(std::vector<double>& values) {
  for (double& v : values)
    v = -v;
}

/// b is -a, +0 and -0 taken as equal.
inline bool negated(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != -b[i])
      return false;
  return true;
}

/// Moves one value by a count of steps of its format, away from zero.
inline double stepped(const Format& format, double value, double steps) {
  int e = 0;
  std::frexp(value, &e);
  const double spacing = std::ldexp(1.0, std::max(e - format.p, format.emin - format.p + 1));
  return round_to(format, value + std::copysign(steps * spacing, value));
}

/// What the judge says of an output that is wrong by ever more steps: the clause that is broken first. Half
/// of that error still passed, so the clause has a bound and the bound is what was crossed. Only `reported`
/// is reported.
inline std::string first_broken(const Case& c, Output wrong, const std::set<Output>& reported,
                                const Gate& gate = {}) {
  const reference::Truth truth = reference::truth_of(c);
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  for (const Output o : reported)
    seen.outputs[index(o)] = truth[o].rn;
  const std::size_t at = seen[wrong].size() / 2;
  if (judge(c, truth, seen, gate).failed())
    return "the truth fails";
  for (double steps = 1; steps < 0x1p30; steps *= 2) {
    seen.outputs[index(wrong)][at] = stepped(format_of(c.problem, wrong), truth[wrong].rn[at], steps);
    const std::set<std::string> clauses = broken(judge(c, truth, seen, gate));
    if (!clauses.empty())
      return clauses.size() == 1 ? *clauses.begin() : "several";
  }
  return "nothing";
}

}  // namespace normproof::properties
