// The second route to the gradients: the Jacobian of the forward pass, row by row, over exact rationals, and
// the expanded second derivatives. Shares with the oracle neither the closed form of dx nor its factored
// second order, nor any sum.
#pragma once

#include <optional>
#include <vector>

#include "second_route.h"

namespace normproof::second_route {

/// One way to get the formulas wrong.
enum class Slip {
  none,
  no_mean_term,   ///< dx without G / n
  no_xhat_term,   ///< dx without xhat H / n
  mean_not_by_n,  ///< G in place of G / n
  xhat_not_by_n,  ///< xhat H in place of xhat H / n
  sign_of_xhat,   ///< + xhat H / n
  no_gamma,
  gamma_twice,
  dgamma_of_x,      ///< sum dy x r
  dgamma_plain,     ///< sum dy (x - m)
  dbeta_mean,       ///< G / n
  no_triple,        ///< grad_x without 3 xhat W H / n
  no_v_gamma,       ///< grad_x without the term of v_gamma
  no_mean_of_v,     ///< grad_dy without V / n
  triple_is_double  ///< 2 in place of 3
};

/// One channel: every output is over_r / sqrt(s) + shift.
struct Gradients {
  Rational dbeta;
  Rational dgamma, grad_gamma;                ///< over r
  std::vector<Rational> dx, grad_dy, grad_x;  ///< over r
  Rational shift;                             ///< of grad_dy
};

/// r2 is r^2. `constants`: the statistics do not depend on x.
inline Gradients gradients(const Case& c, std::size_t k, const Rational& mean, const Rational& r2,
                           bool constants, Slip slip = Slip::none) {
  const std::int64_t n = c.problem.shape.per_channel();
  const auto size = static_cast<std::size_t>(n);
  const auto values = [&](const std::vector<double>& v) {
    std::vector<Rational> result(size);
    if (!v.empty())
      for (std::size_t i = 0; i < size; ++i)
        result[i] = exact(v[k * size + i]);
    return result;
  };
  const std::vector<Rational> x = values(c.x);
  const std::vector<Rational> dy = values(c.dy);
  const std::vector<Rational> v = values(c.v_x);
  const Rational gamma = slip == Slip::no_gamma ? 1 : c.gamma.empty() ? 1 : exact(c.gamma[k]);
  const Rational a = c.v_gamma.empty() ? 0 : exact(c.v_gamma[k]);
  const Rational one_nth(1, n);

  Gradients g;
  g.dx.resize(size);
  g.grad_dy.resize(size);
  g.grad_x.resize(size);
  g.shift = c.v_beta.empty() ? 0 : exact(c.v_beta[k]);
  std::vector<Rational> d(size);
  for (std::size_t i = 0; i < size; ++i) {
    d[i] = x[i] - mean;
    g.dbeta += dy[i];
    g.dgamma += dy[i] * (slip == Slip::dgamma_of_x ? x[i] : d[i]);
  }
  if (slip == Slip::dbeta_mean)
    g.dbeta *= one_nth;

  // The Jacobian of the normalised values, over r: d xhat_j / d x_i = r (delta_ij - 1 / n - d_i d_j r^2 / n).
  const auto jacobian = [&](std::size_t i, std::size_t j) {
    Rational e = i == j ? 1 : 0;
    if (constants)
      return e;
    if (slip != Slip::no_mean_term)
      e -= slip == Slip::mean_not_by_n ? Rational(1) : one_nth;
    const Rational part = d[i] * d[j] * r2 * (slip == Slip::xhat_not_by_n ? Rational(1) : one_nth);
    if (slip != Slip::no_xhat_term)
      e += slip == Slip::sign_of_xhat ? part : Rational(-part);
    return e;
  };
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j < size; ++j) {
      const Rational e = jacobian(i, j);
      g.dx[i] += gamma * dy[j] * e;
      g.grad_dy[i] += gamma * v[j] * (slip == Slip::no_mean_of_v && i != j ? Rational(e + one_nth) : e);
      g.grad_gamma += v[i] * dy[j] * e;
    }
    if (slip == Slip::gamma_twice)
      g.dx[i] *= gamma;
    g.grad_dy[i] += a * d[i];
  }

  // Second order, expanded (spec/bounds/double_backward.md), with xhat = d r, H = Kr, W = Lr: over r.
  Rational K, L, Z, V, G;
  for (std::size_t i = 0; i < size; ++i) {
    G += dy[i];
    V += v[i];
    K += dy[i] * d[i];
    L += v[i] * d[i];
    Z += v[i] * dy[i];
  }
  const Rational three = slip == Slip::no_triple ? 0 : slip == Slip::triple_is_double ? 2 : 3;
  for (std::size_t i = 0; i < size; ++i) {
    if (constants) {
      g.grad_x[i] = slip == Slip::no_v_gamma ? Rational(0) : Rational(a * dy[i]);
      continue;
    }
    g.grad_x[i] = -(gamma * r2 * one_nth) *
                  (K * v[i] + L * dy[i] + d[i] * Z - (K * V + L * G + d[i] * V * G) * one_nth -
                   three * d[i] * L * K * r2 * one_nth);
    if (slip != Slip::no_v_gamma)
      g.grad_x[i] += a * (dy[i] - G * one_nth - d[i] * r2 * K * one_nth);
  }
  return g;
}

}  // namespace normproof::second_route
