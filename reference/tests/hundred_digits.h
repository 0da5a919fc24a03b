// The third route: the specification's pages as they are printed, in binary floating point of 100 digits, two
// passes over the data. Quick enough for millions of elements; cannot tell a tie from its neighbourhood, and
// says so.
#pragma once

#include <cmath>
#include <vector>

#include <boost/multiprecision/cpp_bin_float.hpp>

#include "normproof/spec/case.h"

namespace normproof::hundred_digits {

using Digits = boost::multiprecision::cpp_bin_float_100;

/// Nearest number of the format and the rest in units of its spacing. `doubtful`: within 10^-40 of a
/// midpoint, or of 0.
struct Nearest {
  double rn = 0;
  double off = 0;
  bool doubtful = false;
};

inline Nearest nearest(const Format& format, const Digits& v) {
  if (abs(v) < 1e-40)
    return {0, 0, true};
  int exponent = 0;
  frexp(v, &exponent);
  const int quantum = std::max(exponent - 1, format.emin) - format.p + 1;
  const Digits scaled = ldexp(v, -quantum);
  const Digits whole = round(scaled);
  const Digits rest = scaled - whole;
  Nearest result;
  result.doubtful = abs(abs(rest) - 0.5) < 1e-40;
  result.rn = std::ldexp(static_cast<double>(whole), quantum);
  result.off = static_cast<double>(rest);
  if (std::abs(static_cast<double>(whole)) == std::ldexp(1.0, format.p))
    result.off /= 2;  // rounded up into the next binade
  if (std::abs(result.rn) > largest(format))
    result.rn = std::copysign(HUGE_VAL, result.rn);
  return result;
}

/// The outputs of one channel, in the order of the pages.
struct Channel {
  Digits mean, var, invstd, running_mean, running_var, dbeta, dgamma, grad_gamma;
  std::vector<Digits> y, dx, grad_dy, grad_x;
};

inline Channel channel(const Case& c, std::size_t k) {
  const Problem& p = c.problem;
  const auto n = static_cast<std::size_t>(p.shape.per_channel());
  const double* x = c.x.data() + k * n;
  const auto parameter = [k](const std::vector<double>& values, double otherwise) -> Digits {
    return values.empty() ? otherwise : values[k];
  };
  Channel r;
  const bool inference = is_inference(p.pass);
  if (inference) {
    r.mean = c.running_mean[k];
    r.invstd = 1 / sqrt(Digits(c.running_var[k]) + p.eps);
  } else if (!c.saved_mean.empty()) {
    r.mean = c.saved_mean[k];
    r.invstd = c.saved_invstd[k];
  } else {
    for (std::size_t i = 0; i < n; ++i)
      r.mean += x[i];
    r.mean /= n;
    for (std::size_t i = 0; i < n; ++i)
      r.var += (x[i] - r.mean) * (x[i] - r.mean);
    r.var /= n;
    r.invstd = 1 / sqrt(r.var + p.eps);
  }
  const Digits gamma = parameter(c.gamma, 1);
  std::vector<Digits> xhat(n);
  for (std::size_t i = 0; i < n; ++i)
    xhat[i] = (x[i] - r.mean) * r.invstd;
  if (p.pass == Pass::forward_training || p.pass == Pass::forward_inference) {
    for (std::size_t i = 0; i < n; ++i)
      r.y.push_back(gamma * xhat[i] + parameter(c.beta, 0));
    if (p.running && !inference) {
      const Digits w = *p.momentum;
      const Digits fed = p.semantics.running == VarianceKind::biased ? r.var : r.var * n / (n - 1);
      r.running_mean = (1 - w) * c.running_mean[k] + w * r.mean;
      r.running_var = (1 - w) * c.running_var[k] + w * fed;
    }
    return r;
  }

  const double* dy = c.dy.data() + k * n;
  for (std::size_t i = 0; i < n; ++i) {
    r.dbeta += dy[i];
    r.dgamma += dy[i] * xhat[i];
  }
  if (p.pass == Pass::backward_inference) {
    for (std::size_t i = 0; i < n; ++i)
      r.dx.push_back(gamma * r.invstd * dy[i]);
    return r;
  }
  const auto q = [&](std::size_t i) -> Digits {
    return dy[i] - r.dbeta / n - xhat[i] * r.dgamma / n;
  };
  if (!is_second_order(p.pass)) {
    for (std::size_t i = 0; i < n; ++i)
      r.dx.push_back(gamma * r.invstd * q(i));
    return r;
  }
  Digits V, W, Z;
  const double* v = c.v_x.data() + k * n;
  for (std::size_t i = 0; i < n; ++i) {
    V += v[i];
    W += v[i] * xhat[i];
    Z += Digits(v[i]) * dy[i];
  }
  const Digits a = parameter(c.v_gamma, 0);
  if (inference) {
    r.grad_gamma = r.invstd * Z;
    for (std::size_t i = 0; i < n; ++i) {
      r.grad_dy.push_back(gamma * r.invstd * v[i] + a * xhat[i] + parameter(c.v_beta, 0));
      r.grad_x.push_back(a * r.invstd * dy[i]);
    }
    return r;
  }
  const Digits Q = Z - V * r.dbeta / n - W * r.dgamma / n;
  r.grad_gamma = r.invstd * Q;
  for (std::size_t i = 0; i < n; ++i) {
    const Digits part = v[i] - V / n - xhat[i] * W / n;
    r.grad_dy.push_back(gamma * r.invstd * part + a * xhat[i] + parameter(c.v_beta, 0));
    r.grad_x.push_back(a * r.invstd * q(i) -
                       gamma * r.invstd * r.invstd / n * (xhat[i] * Q + r.dgamma * part + W * q(i)));
  }
  return r;
}

}  // namespace normproof::hundred_digits
