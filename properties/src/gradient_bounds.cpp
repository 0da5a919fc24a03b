// The formulas of spec/bounds/backward.md and double_backward.md, with the pages' names.
#include "normproof/properties/gradient_bounds.h"

#include "arithmetic.h"
#include "normproof/properties/bounds.h"

namespace normproof::properties {
namespace {

double square(double a) {
  return a * a;
}
double cube(double a) {
  return a * a * a;
}

/// c: the conversion of n is a rounding of its own beyond 2^p.
double conversion_of_n(const GradientProblem& problem) {
  return static_cast<double>(problem.n) <= std::scalbn(1.0, problem.accumulator.p) ? 0 : 1;
}
/// l: the last operation is the output's own rounding.
double last_is_output(const GradientProblem& problem) {
  return problem.data.p == problem.accumulator.p ? 1 : 0;
}

/// U_dx of BN-NUM-22: underflow of the products of an element.
double underflow_of_dx(const GradientProblem& problem, double eta, double r, double X, double d, double G1,
                       double H1, double S) {
  const double n = static_cast<double>(problem.n);
  const double P = (1 + std::abs(problem.gamma)) * cube(1 + r) * (1 + d) * (1 + X + (G1 + H1) / n);
  return 16 * eta * (P + n * S * (1 + r + 1 / r));
}

}  // namespace

GradientBounds::GradientBounds(const GradientProblem& problem, const Reduction& sum,
                               const StatisticsUsed& used)
    : problem_(problem),
      eta_(sum.eta),
      r_(problem.facts.invstd),
      e_(used.e),
      rho_(used.rho),
      wide_(sum.wide) {
  const reference::GradientFacts& f = problem.facts;
  const double n = static_cast<double>(problem.n);
  const double u = sum.u;
  const double D = sum.depth;
  const double w = omega(n, u);
  const double c = conversion_of_n(problem);
  const double l = last_is_output(problem);
  const double grown = 1 + rho_;
  const double r_used = r_ * grown;
  H1_used_ = grown * (f.H1 + r_ * e_ * f.G1);
  const double H_used = grown * (std::abs(f.H) + r_ * e_ * std::abs(f.G));

  // BN-NUM-20.
  dbeta_ = sum.wide ? accumulated(1, u) * std::abs(f.G) + w * f.G1 : accumulated(D, u) * f.G1;
  if (f.exact_dbeta)
    dbeta_ = 0;
  dbeta_ = widen(dbeta_);

  // BN-NUM-21, -23, -28.
  const double k2 = accumulated(2, u);
  const double S_dgamma = sum.wide ? k2 * H_used + (1 + k2) * w * H1_used_ : accumulated(D + 3, u) * H1_used_;
  const double U_dgamma = 4 * eta_ * (f.G1 + n * (1 + r_used + f.max_deviation + e_) + 1);
  dgamma_ = rho_ * std::abs(f.H) + grown * r_ * e_ * std::abs(f.G) + S_dgamma + U_dgamma;
  if (f.exact_dgamma && rho_ == 0 && e_ == 0)
    dgamma_ = 0;
  dgamma_ = widen(dgamma_);

  // BN-NUM-22, -24: the factors of S_dx.
  per_dy_ = accumulated(7 + 2 * c - l, u);
  if (sum.wide) {
    per_G1_ = accumulated(7 + c - l, u) * std::abs(f.G) / n;
    per_H1_ = accumulated(11 + c - l, u) * H_used / n;
    of_omega_ = (1 + accumulated(11 + c, u)) * w / n;
  } else {
    per_G1_ = accumulated(D + 6 + c - l, u) * f.G1 / n;
    per_H1_ = accumulated(D + 12 + c - l, u) * H1_used_ / n;
  }
  if (problem.inference)
    per_dy_ = accumulated(2 - l, u);
}

double GradientBounds::dx(double dy, double deviation) const {
  const reference::GradientFacts& f = problem_.facts;
  const double gamma = std::abs(problem_.gamma);
  const double size = std::abs(dy);
  const double grown = 1 + rho_;
  if (problem_.inference)  // BN-NUM-27
    return widen(gamma * r_ * (rho_ + grown * per_dy_) * size + 4 * eta_ * (1 + gamma + r_ * grown + size));
  if (f.exact_dx && rho_ == 0 && e_ == 0)
    return 0;

  const double n = static_cast<double>(problem_.n);
  const double xhat = deviation * r_;
  const double H = std::abs(f.H);
  const double G = std::abs(f.G);
  const double re = r_ * e_;
  const double Xh = grown * (xhat + re);
  const double third = compound(compound(rho_, rho_), rho_);  // (1 + rho)^3 - 1
  const double M =
      rho_ * std::abs(dy - f.G / n) + (third * xhat * H + (1 + third) * re * (H + G * xhat + re * G)) / n;
  const double S_sums =
      per_dy_ * size + per_G1_ + per_H1_ * Xh + (wide_ ? of_omega_ * (f.G1 + Xh * H1_used_) : 0);
  const double S = size + f.G1 / n + Xh * H1_used_ / n;
  const double U =
      underflow_of_dx(problem_, eta_, r_ * grown, f.max_deviation + e_, deviation + e_, f.G1, H1_used_, S);
  return widen(gamma * r_ * (M + grown * S_sums) + U);
}

double permitted_dx_link(const GradientProblem& problem, const ReportedGradients& reported,
                         const Reduction& arithmetic, double dy, double deviation) {
  const reference::GradientFacts& f = problem.facts;
  const double n = static_cast<double>(problem.n);
  const double u = arithmetic.u;
  const double c = conversion_of_n(problem);
  const double l = last_is_output(problem);
  const double r = f.invstd;
  const double xhat = deviation * r;
  const double g = reported.dbeta_half_ulp;
  const double h = reported.dgamma_half_ulp;
  const double G1 = std::abs(reported.dbeta) + g;
  const double H1 = std::abs(reported.dgamma) + h;
  const double M = (g + xhat * h) / n;
  const double S_l = accumulated(7 + 2 * c - l, u) * std::abs(dy) + accumulated(6 + c - l, u) * G1 / n +
                     accumulated(11 + c - l, u) * xhat * H1 / n;
  const double S = std::abs(dy) + G1 / n + xhat * H1 / n;
  return widen(std::abs(problem.gamma) * r * (M + S_l) +
               underflow_of_dx(problem, arithmetic.eta, r, f.max_deviation, deviation, G1, H1, S));
}

SecondOrderBounds::SecondOrderBounds(const GradientProblem& problem, const SecondOrderSums& sums,
                                     const Reduction& sum, const StatisticsUsed& used)
    : problem_(problem),
      sums_(sums),
      u_(sum.u),
      D_(sum.wide ? 1 : sum.depth),
      c_(conversion_of_n(problem)),
      rho_(used.rho) {
  const reference::GradientFacts& f = problem.facts;
  const double n = static_cast<double>(problem.n);
  const double r = f.invstd;
  const double grown = 1 + r * (1 + rho_);
  if (sum.wide)
    omega_ = omega(n, u_);
  underflow_ = 64 * sum.eta * square(n) * (1 + std::abs(problem.gamma)) * (1 + sums.a) * square(grown) *
               cube(grown) * (1 + sums.max_dy) * (1 + sums.max_v) * cube(1 + f.max_deviation);
  const double S1 = r * sums.Z1;
  if (problem.inference) {  // BN-NUM-33
    const double wide = (1 + accumulated(28 + 2 * c_, u_)) * omega_ * S1;
    grad_gamma_ = bound_in_inference(accumulated(D_ + 2, u_) * S1 + wide, S1);
    return;
  }
  // BN-NUM-30.
  const double S2 = r * (sums.V1 * f.G1 + sums.W1 * f.H1) / n;
  grad_gamma_ = bound(0, S1, S2, 0, D_ + 8 + 2 * c_, 2 * D_ + 14 + c_);
}

double SecondOrderBounds::bound(double S0, double S1, double S2, double k0, double k1, double k2) const {
  const double wide = (1 + accumulated(28 + 2 * c_, u_)) * omega_ * (S1 + (2 + omega_) * S2);
  return widen(accumulated(k0, u_) * S0 + accumulated(k1, u_) * S1 + accumulated(k2, u_) * S2 + wide +
               underflow_);
}

double SecondOrderBounds::bound_in_inference(double e, double S) const {
  return widen((1 + rho_) * e + rho_ * S + underflow_);
}

double SecondOrderBounds::grad_dy(double v, double deviation) const {  // BN-NUM-29, -32
  const double n = static_cast<double>(problem_.n);
  const double r = problem_.facts.invstd;
  const double xh = deviation * r;
  const double gr = std::abs(problem_.gamma) * r;
  const double S0 = gr * std::abs(v) + sums_.a * xh + sums_.b;
  if (problem_.inference)
    return bound_in_inference(accumulated(5, u_) * S0, S0);
  const double S1 = gr * (sums_.V1 + xh * sums_.W1) / n;
  return bound(S0, S1, 0, 10 + 2 * c_, D_ + 16 + c_, 0);
}

double SecondOrderBounds::grad_x(double v, double dy, double deviation) const {  // BN-NUM-31, -34
  const reference::GradientFacts& f = problem_.facts;
  const double n = static_cast<double>(problem_.n);
  const double r = f.invstd;
  const double xh = deviation * r;
  const double grr = std::abs(problem_.gamma) * r * r / n;
  const double S0 = sums_.a * r * std::abs(dy);
  if (problem_.inference)
    return bound_in_inference(accumulated(2, u_) * S0, S0);
  const double S1 = grr * (f.H1 * std::abs(v) + sums_.W1 * std::abs(dy) + xh * sums_.Z1) +
                    sums_.a * r * (f.G1 + xh * f.H1) / n;
  const double S2 =
      grr / n * (f.H1 * sums_.V1 + sums_.W1 * f.G1 + xh * sums_.V1 * f.G1 + 3 * xh * sums_.W1 * f.H1);
  return bound(S0, S1, S2, 12 + 2 * c_, D_ + 20 + 2 * c_, 2 * D_ + 28 + 2 * c_);
}

}  // namespace normproof::properties
