// Permitted errors of the gradients and of the second order: spec/bounds/backward.md and double_backward.md,
// as code.
//
// As in bounds.h every bound is on the error before the last rounding, for every algorithm of the class
// described on those pages, widened by 2^-40 of itself; infinite where nothing can be promised.
#pragma once

#include <cstdint>

#include "normproof/properties/grade.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/format.h"

namespace normproof::properties {

/// What the bounds need of one channel. `facts` are taken at the mean and invstd that the gradients are
/// judged at.
struct GradientProblem {
  reference::GradientFacts facts;
  std::int64_t n = 0;
  double gamma = 1;
  bool inference = false;  ///< the statistics are constants: dx = gamma r dy
  Format data = f32;       ///< of dx
  Format accumulator = f32;
};

/// How far the statistics that the kernel works with may lie from those of the truth: e of the mean,
/// absolute, and rho of the invstd, relative. Both 0 at truth A with invstd given.
struct StatisticsUsed {
  double e = 0;
  double rho = 0;
};

/// BN-NUM-20 to BN-NUM-24, -26 to -28.
class GradientBounds {
public:
  GradientBounds(const GradientProblem& problem, const Reduction& sum, const StatisticsUsed& used);
  GradientBounds() = default;

  double dbeta() const { return dbeta_; }
  double dgamma() const { return dgamma_; }
  /// Of one element: its dy and its deviation |x - m|.
  double dx(double dy, double deviation) const;

private:
  GradientProblem problem_;
  double eta_ = 0, r_ = 0, e_ = 0, rho_ = 0;
  double per_dy_ = 0, per_G1_ = 0, per_H1_ = 0;  ///< the gammas of S_dx, over n where the page has it
  double of_omega_ = 0;                          ///< wide only: (1 + gamma) omega / n
  double H1_used_ = 0;                           ///< H1'
  double dbeta_ = 0, dgamma_ = 0;
  bool wide_ = false;
};

/// A per-channel gradient that the kernel reported, with half an ulp of its format.
struct ReportedGradients {
  double dbeta = 0, dbeta_half_ulp = 0;
  double dgamma = 0, dgamma_half_ulp = 0;
};

/// BN-NUM-25: permitted error of dx against the closed form at the reported dbeta and dgamma, statistics
/// given.
double permitted_dx_link(const GradientProblem& problem, const ReportedGradients& reported,
                         const Reduction& arithmetic, double dy, double deviation);

/// The magnitudes that the second order sums, with V = v_x, a = v_gamma, b = v_beta.
struct SecondOrderSums {
  double V1 = 0, W1 = 0, Z1 = 0;  ///< sum |V|, sum |V xhat|, sum |V dy|
  double max_dy = 0, max_v = 0;
  double a = 0, b = 0;  ///< |v_gamma|, |v_beta|
};

/// BN-NUM-29 to BN-NUM-34, at given statistics; in inference `used.rho` is that of the variance's root.
class SecondOrderBounds {
public:
  SecondOrderBounds(const GradientProblem& problem, const SecondOrderSums& sums, const Reduction& sum,
                    const StatisticsUsed& used);
  SecondOrderBounds() = default;

  double grad_gamma() const { return grad_gamma_; }
  double grad_dy(double v, double deviation) const;
  double grad_x(double v, double dy, double deviation) const;

private:
  double bound(double S0, double S1, double S2, double k0, double k1, double k2) const;
  /// f(e, S, 1): where r occurs once, as everywhere in inference.
  double bound_in_inference(double e, double S) const;

  GradientProblem problem_;
  SecondOrderSums sums_;
  double u_ = 0, D_ = 0, c_ = 0, omega_ = 0, rho_ = 0, underflow_ = 0;
  double grad_gamma_ = 0;
};

}  // namespace normproof::properties
