// A value with a running error bound, for the alternative truths of a diagnosis.
//
// Alternatives are wrong on purpose and have no derived bounds of their own, so each value carries what an
// evaluation in arithmetic of unit roundoff u may be off: to first order every operation adds u times its
// result to what its operands bring (running error analysis). `slack` counts in units of u, so that one
// evaluation serves every u.
#pragma once

#include <cmath>
#include <vector>

#include "normproof/reference/double_double.h"

namespace normproof::properties {

struct Tracked {
  reference::DoubleDouble v;
  double slack = 0;

  Tracked() = default;
  Tracked(double value) : v(value) {}  // NOLINT(google-explicit-constructor): exact, as doubles embed exactly
  Tracked(reference::DoubleDouble value, double error) : v(value), slack(error) {}

  double size() const { return std::abs(v.hi); }
};

inline Tracked operator-(const Tracked& a) {
  return {-a.v, a.slack};
}
inline Tracked operator+(const Tracked& a, const Tracked& b) {
  const reference::DoubleDouble s = a.v + b.v;
  return {s, a.slack + b.slack + std::abs(s.hi)};
}
inline Tracked operator-(const Tracked& a, const Tracked& b) {
  return a + (-b);
}
inline Tracked operator*(const Tracked& a, const Tracked& b) {
  const reference::DoubleDouble p = a.v * b.v;
  return {p, a.size() * b.slack + b.size() * a.slack + std::abs(p.hi)};
}
inline Tracked operator/(const Tracked& a, const Tracked& b) {
  const reference::DoubleDouble q = a.v / b.v;
  return {q, (a.slack + std::abs(q.hi) * b.slack) / b.size() + std::abs(q.hi)};
}
/// 2 ulps, as the grades admit of a reciprocal root.
inline Tracked sqrt(const Tracked& a) {
  const reference::DoubleDouble root = sqrt(a.v);
  return {root, a.slack / (2 * root.hi) + 2 * std::abs(root.hi)};
}

/// A sum of terms whose additions form any tree of that depth.
class TrackedSum {
public:
  explicit TrackedSum(double depth) : depth_(depth) {}
  void add(const Tracked& term) {
    sum_ = sum_ + term.v;
    brought_ += term.slack;
    magnitudes_ += term.size();
  }
  Tracked value() const { return {sum_, brought_ + depth_ * magnitudes_}; }

private:
  double depth_;
  reference::DoubleDouble sum_;
  double brought_ = 0, magnitudes_ = 0;
};

}  // namespace normproof::properties
