// Relations between several runs of one kernel: what the families of properties share.
//
// A relation says in a few words how a kernel broke it on a case, or nothing. It gates bit for bit where
// mathematics makes it exact (powers of two, exactly summable data), or through the judge; it has no
// tolerance of its own. Inputs are integers turned into cases, each with the classes that it is of, so that a
// test can assert that every class is reached.
#pragma once

#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <numeric>
#include <optional>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "clauses.h"

namespace normproof::properties {

using Kernel = std::function<impls::Observation(const Case&)>;
using Relation = std::function<std::string(const Case&, const Kernel&)>;

struct Input {
  Case c;
  std::set<std::string> classes;
  std::uint32_t draw = 0;  ///< for what a relation chooses: a permutation, a channel, a power of two
};
inline void showValue(const Input& in, std::ostream& out) {
  out << in.c.origin << " draw=" << in.draw;
}

/// A stream of small numbers from a draw: linear congruence, high bits.
class Numbers {
public:
  explicit Numbers(std::uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
  std::size_t below(std::size_t bound) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % bound;
  }
  double between(int low, int high) {
    return low + static_cast<double>(below(static_cast<std::size_t>(high - low + 1)));
  }

private:
  std::uint32_t state_;
};

// --- inputs ---

/// An integer from low to below high, each as likely from the first case on (RapidCheck's own ranges grow
/// with the size); it shrinks towards low.
template <class T>
T pick(T low, T high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(low, high));
}
template <class Range>
auto pick_of(const Range& range) {
  return range[pick<std::size_t>(0, std::size(range))];
}

inline Shape any_shape() {
  Shape shape{pick<std::int64_t>(1, 12), pick<std::int64_t>(1, 6), {}};
  if (pick(0, 5) == 4)
    shape.channels += 15;  // more than the lanes of a vector
  const int axes = pick(0, 3);
  for (int a = 0; a < axes; ++a)
    shape.spatial.push_back(pick<std::int64_t>(1, 7));
  return shape;
}

inline void place(Recipe& r) {
  r.layout = pick_of(all_layouts);
  r.layout_seed = r.layout == Layout::strided ? pick<std::uint64_t>(1, 1000) : 0;
}

inline std::set<std::string> classes_of(const Recipe& r) {
  std::set<std::string> out{"pass " + std::string(to_string(r.pass)), "data " + std::string(r.dtype.name),
                            "layout " + std::string(to_string(r.layout))};
  const std::int64_t n = r.shape.per_channel();
  out.insert(n == 1 ? "one value" : n <= 4 ? "a few values" : n % 8 != 0 ? "an odd tail" : "whole vectors");
  if (r.shape.channels > 16)
    out.insert("more channels than lanes");
  if (!r.affine)
    out.insert("without gamma and beta");
  return out;
}

/// Core data of many kinds in f32, f64 and bf16: what a relation that holds for all of them is tried on.
inline rc::Gen<Input> any_input(std::vector<Pass> passes) {
  return rc::gen::exec([passes] {
    static const std::vector<Regime> regimes_tried{
        {"normal", 0},   {"uniform", 0},   {"offset", 10},       {"offset", 1000}, {"variance", -6},
        {"variance", 8}, {"pixels", 0},    {"near_constant", 4}, {"sparse", 4},    {"outlier", 3},
        {"graded", 6},   {"paired", 1000}, {"constant", 0}};
    constexpr std::array formats{f32, f64, bf16};
    constexpr std::array eps{0x1.4f8b58p-17, 0x1p-10, 0.5};
    Recipe r;
    r.pass = pick_of(passes);
    r.dtype = pick_of(formats);
    r.shape = any_shape();
    place(r);
    r.regime = pick_of(regimes_tried);
    r.eps = pick_of(eps);
    r.affine = pick(0, 4) != 0;
    r.running = r.pass == Pass::forward_training || is_inference(r.pass);
    r.seed = pick<std::uint64_t>(1, 1 << 20);
    if (!impossible(r).empty())  // too few values, or too few bits
      r.regime = Regime{};
    return Input{expand(r), classes_of(r), pick<std::uint32_t>(0, 1 << 16)};
  });
}

/// Exactly summable data of any n from 3 on: x = K + d with sum d = 0 and sum d^2 = 2 n, eps = 2, gamma and
/// beta powers of two and integers; dy = a + b d + e with sum e = sum e d = 0. Then mean = K, var = 2,
/// invstd = 1/2, dbeta = n a, dgamma = n b, dx = gamma / 2 (b d / 2 + e), and every step on the way is a
/// short binary fraction, in any order of additions.
inline Case exactly_summable(const Recipe& r, std::uint32_t draw) {
  struct Value {
    double d, e;
  };
  static const std::array<std::vector<Value>, 3> blocks{{{{1, 0}, {1, 0}, {-2, 0}},
                                                         {{2, 0}, {-2, 0}, {0, 1}, {0, -1}},
                                                         {{2, 1}, {-2, 1}, {1, -1}, {-1, -1}, {0, 0}}}};
  Case c = expand(r);
  c.problem.eps = 2;
  c.origin += " (exactly summable)";
  const auto n = static_cast<std::size_t>(r.shape.per_channel());
  Numbers next(draw);
  for (std::size_t k = 0; k < static_cast<std::size_t>(r.shape.channels); ++k) {
    std::vector<Value> values;
    while (values.size() < n) {
      std::size_t block = next.below(3);
      const auto fits = [&] {  // what is then left can be filled
        const std::size_t filled = values.size() + blocks[block].size();
        return filled == n || filled + 3 <= n;
      };
      while (!fits())
        block = (block + 1) % 3;
      values.insert(values.end(), blocks[block].begin(), blocks[block].end());
    }
    for (std::size_t i = n - 1; i > 0; --i)
      std::swap(values[i], values[next.below(i + 1)]);
    const double mean = next.between(-16, 16), a = next.between(-2, 2), b = next.between(-2, 2);
    for (std::size_t i = 0; i < n; ++i) {
      c.x[k * n + i] = mean + values[i].d;
      if (!c.dy.empty())
        c.dy[k * n + i] = a + b * values[i].d + values[i].e;
    }
    if (r.affine) {
      c.gamma[k] = std::ldexp(next.below(2) == 0 ? 1 : -1, static_cast<int>(next.below(4)) - 1);
      c.beta[k] = next.between(-8, 8);
    }
    if (is_inference(r.pass)) {
      c.running_mean[k] = mean;
      c.running_var[k] = 2;
    }
    if (!c.saved_mean.empty()) {
      c.saved_mean[k] = mean;
      c.saved_invstd[k] = 0.5;
    }
  }
  return c;
}

inline rc::Gen<Input> exact_input(std::vector<Pass> passes) {
  return rc::gen::exec([passes] {
    constexpr std::array formats{f32, f64, f16, bf16};
    Recipe r;
    r.pass = pick_of(passes);
    r.dtype = pick_of(formats);
    do {
      r.shape = any_shape();
    } while (r.shape.per_channel() < 3);
    place(r);
    r.affine = pick(0, 4) != 0;
    r.running = is_inference(r.pass);
    r.seed = pick<std::uint64_t>(1, 1 << 20);
    const auto draw = pick<std::uint32_t>(0, 1 << 16);
    return Input{exactly_summable(r, draw), classes_of(r), draw};
  });
}

/// Inputs that any run draws alike.
inline std::vector<Input> sample(const rc::Gen<Input>& inputs, int count) {
  std::vector<Input> out;
  for (int i = 0; i < count; ++i)
    out.push_back(inputs(rc::Random(static_cast<std::uint64_t>(i + 1)), 50).value());
  return out;
}

/// Every one of `classes` is among 300 inputs, and not as a rarity: 1 % of them at least.
inline void expect_reached(const rc::Gen<Input>& inputs, const std::set<std::string>& classes) {
  std::map<std::string, int> count;
  for (const Input& in : sample(inputs, 300))
    for (const std::string& name : in.classes)
      ++count[name];
  for (const std::string& name : classes)
    EXPECT_GE(count[name], 3) << name;
}

// --- kernels ---

/// Bounds RapidCheck's shrinking: the first failure of a test is printed as it is, and some seconds later
/// every smaller one counts as passed.
inline bool worth_failing(const Input& in, const std::string& what) {
  using Clock = std::chrono::steady_clock;
  static std::map<std::string, Clock::time_point> since;
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  const auto [entry, first] = since.emplace(test == nullptr ? "" : test->name(), Clock::now());
  if (first)
    std::cerr << "before shrinking: " << in.c.origin << " draw=" << in.draw << ": " << what << '\n';
  return Clock::now() - entry->second < std::chrono::seconds(3);
}

/// The relation, for every bundled kernel that computes the case and that `which` takes in.
inline void keep(const Input& in, const Relation& relation, int at_least,
                 const std::function<bool(const impls::Observation&)>& which = {}) {
  for (const std::string& name : in.classes)
    RC_CLASSIFY(true, name);
  impls::Runner runner({.in_process = true});
  int count = 0;
  for (const impls::KernelInfo& kernel : bundled_kernels()) {
    const impls::Observation first = runner.run(kernel, in.c);
    if (first.outcome != impls::Outcome::completed || (which && !which(first)))
      continue;
    ++count;
    const std::string broken_by = relation(in.c, [&](const Case& c) { return runner.run(kernel, c); });
    if (!broken_by.empty() && worth_failing(in, kernel.name + ": " + broken_by))
      RC_FAIL(kernel.name + ": " + broken_by);
  }
  RC_ASSERT(count >= at_least);
}

/// Its sums are exact where those of the data are (spec/bounds/exact.md): two passes, or no variance at all.
inline bool two_pass(const impls::Observation& seen) {
  return seen.claims.family == NP_CENTRED || seen.claims.family == NP_FAMILY_UNKNOWN;
}

/// A bundled wrong kernel, in a worker: it may crash.
inline Kernel mutant(const std::string& name) {
  static impls::Runner runner;
  static const auto kernels = impls::discover(std::vector{impls::mutant_library()}).kernels;
  for (const impls::KernelInfo& kernel : kernels)
    if (kernel.name == "mutant." + name)
      return [&kernel](const Case& c) {
        return runner.run(kernel, c);
      };
  throw std::invalid_argument("no mutant " + name);
}

/// Whether the relation finds the kernel out on some of the inputs.
inline bool breaks(const Kernel& kernel, const std::function<Relation(const Input&)>& relation,
                   const rc::Gen<Input>& inputs, int tries = 100) {
  for (const Input& in : sample(inputs, tries))
    if (kernel(in.c).outcome == impls::Outcome::completed && !relation(in)(in.c, kernel).empty())
      return true;
  return false;
}

// --- comparisons ---

/// The first output in which two observations differ by more than the sign of a zero; NaN is like NaN.
inline std::string difference(const impls::Observation& want, const impls::Observation& got) {
  if (got.outcome != impls::Outcome::completed)
    return "not computed: " + got.detail;
  for (const Output o : all_outputs) {
    if (want[o].size() != got[o].size())
      return std::string(to_string(o)) + " is reported once only";
    for (std::size_t i = 0; i < want[o].size(); ++i)
      if (want[o][i] != got[o][i] && !(std::isnan(want[o][i]) && std::isnan(got[o][i])))
        return std::string(to_string(o)) + '[' + std::to_string(i) + "] is " + std::to_string(got[o][i]) +
               ", not " + std::to_string(want[o][i]);
  }
  return {};
}

/// want(o, value) for every value.
inline impls::Observation each_value(impls::Observation seen,
                                     const std::function<double(Output, double)>& want) {
  for (const Output o : all_outputs)
    for (double& value : seen.outputs[index(o)])
      value = want(o, value);
  return seen;
}

/// The judge's word.
inline std::string judged(const Case& c, const impls::Observation& seen) {
  const std::set<std::string> clauses = broken(c, seen);
  return clauses.empty() ? "" : "breaks " + *clauses.begin();
}

}  // namespace normproof::properties
