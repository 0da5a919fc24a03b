// Kernels simulated inside the tests: a few lines each, in the arithmetic of T, with the sums in the order
// that the bounds' witnesses are built for. What the judge sees of them is an Observation like any other.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/properties/grade.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

struct Simulation {
  Family family = Family::centred;
  Form form = Form::centred;
  bool corrected = false;  ///< two passes with the correction term
  bool reports = true;     ///< mean, var and invstd are reported
};

template <class T>
struct Statistics {
  T mean, var;
};

/// Sequential sums in T: depth n - 1.
template <class T>
Statistics<T> statistics(const std::vector<T>& x, const Simulation& how) {
  const T n = static_cast<T>(x.size());
  T mean = 0;
  T m2 = 0;
  if (how.family == Family::merged) {
    T k = 0;
    for (const T value : x) {
      k += 1;
      const T delta = value - mean;
      mean += delta / k;
      m2 += delta * (value - mean);
    }
    return {mean, m2 / n};
  }
  T sum = 0;
  for (const T value : x)
    sum += value;
  mean = sum / n;
  if (how.family == Family::textbook) {
    for (const T value : x)
      m2 += value * value;
    return {mean, m2 / n - mean * mean};
  }
  T rest = 0;
  for (const T value : x) {
    const T d = value - mean;
    m2 += d * d;
    rest += d;
  }
  if (how.corrected)
    m2 = std::max(T(0), m2 - rest * rest / n);
  return {mean, m2 / n};
}

template <class T>
impls::Observation simulate(const Case& c, const Simulation& how = {}) {
  const Problem& p = c.problem;
  const auto n = static_cast<std::size_t>(p.shape.per_channel());
  const auto channels = static_cast<std::size_t>(p.shape.channels);
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  const auto out = [&](Output o) -> std::vector<double>& {
    return seen.outputs[index(o)];
  };
  out(Output::y).resize(n * channels);
  for (std::size_t ch = 0; ch < channels; ++ch) {
    std::vector<T> x(n);
    for (std::size_t i = 0; i < n; ++i)
      x[i] = static_cast<T>(c.x[ch * n + i]);
    Statistics<T> s{};
    if (p.pass == Pass::forward_training) {
      s = statistics(x, how);
    } else {
      s = {static_cast<T>(c.running_mean[ch]), static_cast<T>(c.running_var[ch])};
    }
    const T gamma = p.affine ? static_cast<T>(c.gamma[ch]) : T(1);
    const T beta = p.affine ? static_cast<T>(c.beta[ch]) : T(0);
    const T invstd = T(1) / std::sqrt(s.var + static_cast<T>(p.eps));
    const T a = gamma * invstd;
    const T o = beta - s.mean * a;
    for (std::size_t i = 0; i < n; ++i) {
      out(Output::y)[ch * n + i] =
          how.form == Form::folded ? x[i] * a + o : (x[i] - s.mean) * invstd * gamma + beta;
    }
    if (p.pass != Pass::forward_training)
      continue;
    if (how.reports) {
      out(Output::mean).push_back(s.mean);
      out(Output::var).push_back(s.var);
      out(Output::invstd).push_back(invstd);
    }
    if (p.running) {
      const T w = p.momentum ? static_cast<T>(*p.momentum) : T(1) / static_cast<T>(c.num_batches_tracked + 1);
      T fed = s.var;
      if (p.semantics.running == VarianceKind::unbiased)
        fed = s.var * (static_cast<T>(n) / (static_cast<T>(n) - T(1)));
      out(Output::running_mean).push_back((1 - w) * static_cast<T>(c.running_mean[ch]) + w * s.mean);
      out(Output::running_var).push_back((1 - w) * static_cast<T>(c.running_var[ch]) + w * fed);
      seen.num_batches_tracked = c.num_batches_tracked + 1;
    }
  }
  return seen;
}

/// A one-channel training case in f32 on the given values, with neither parameters nor running statistics.
inline Case channel_of(std::vector<double> x, double eps = 0x1.4f8b58p-17) {
  Case c;
  c.problem.shape = {static_cast<std::int64_t>(x.size()), 1, {}};
  c.problem.affine = false;
  c.problem.running = false;
  c.problem.eps = eps;
  c.x = std::move(x);
  c.origin = "test";
  return c;
}

}  // namespace normproof::properties
