// The bounds of spec/bounds/*.md. Each function repeats the final formula of its page with the page's names.
#include "normproof/properties/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace normproof::properties {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The bounds are formed by a few dozen double operations on facts good to 2^-45; this covers them.
constexpr double widened = 1 + 0x1p-40;

double ceil_log2(double n) {
  int e = 0;
  const double f = std::frexp(n, &e);
  return std::max(1.0, static_cast<double>(f == 0.5 ? e - 1 : e));
}

/// (1 - d)^(-1/2) - 1 and 1 - (1 + d)^(-1/2) without cancellation, so that they stay right where d is near 2^-53.
double root_gain(double d) {
  if (!(d < 1)) return infinity;
  const double s = std::sqrt(1 - d);
  return d / (s * (1 + s));
}
double root_loss(double d) {
  if (std::isinf(d)) return 1;
  const double s = std::sqrt(1 + d);
  return d / (s * (1 + s));
}
/// (1 + a)(1 + b) - 1.
double compound(double a, double b) { return a + b + a * b; }

/// omega of the wide grade: what is left of a sum of n terms in twice the bits, relative to the sum of magnitudes.
double omega(double n, double u) {
  const double tree = 2 * ceil_log2(n) + 64;
  return 1.01 * std::max(n, tree * tree) * u * u;
}

/// Roundings of 1/sqrt(v + eps): half of the addition, twice the ulps of the root, one spare.
double rsqrt_roundings(double rsqrt_ulps) { return 1.5 + 2 * rsqrt_ulps; }

struct StatisticBounds {
  double mean;
  double variance;
};

/// spec/bounds/mean.md and variance.md.
StatisticBounds statistic_bounds(const reference::ChannelFacts& f, const Reduction& sum, Family family) {
  const double n = static_cast<double>(f.n);
  const double u = sum.u;
  const double eta = sum.eta;
  const double mean = std::abs(f.mean_hi);
  const double sigma = f.deviation;
  const double v = f.variance;
  const double D = sum.depth;
  const double L = ceil_log2(n);

  const bool exact_mean = f.exact.pair || (family == Family::centred && f.exact.mean) ||
                          (family == Family::merged && f.exact.constant);
  const bool exact_variance = f.exact.pair || (family == Family::centred && f.exact.variance) ||
                              (family == Family::merged && f.exact.constant);
  if (exact_mean && exact_variance && family != Family::textbook) return {0, 0};

  StatisticBounds b{};
  if (sum.wide && family != Family::textbook) {
    const double w = omega(n, u);
    b.mean = accumulated(3, u) * mean + w * f.mean_abs + eta;
    const double e = b.mean + u * mean;
    b.variance = (accumulated(6, u) + w) * (v + e * e) + e * e + 2 * eta;
  } else if (family == Family::centred) {
    b.mean = accumulated(D + 3, u) * f.mean_abs + eta;
    const double e = 1.0001 * accumulated(D + 4, u) * (f.mean_abs + sigma);
    b.variance = accumulated(D + 7, u) * (v + e * e) + e * e + 3 * eta;
  } else if (family == Family::merged) {
    const double feedback = (D + 13 * L) * u;
    const double Gamma = feedback < 0.5 ? 1 / (1 - feedback) : infinity;
    b.mean = Gamma * (accumulated(D + 3, u) * f.mean_abs + 7.2 * std::sqrt(L) * u * sigma) + eta;
    const double q = Gamma * u * (D * f.rms + 10.1 * L * sigma);
    b.variance = 2 * sigma * q + q * q + accumulated(D + 11, u) * (sigma + q) * (sigma + q) + 3 * eta;
  } else {
    b.mean = accumulated(D + 3, u) * f.mean_abs + eta;
    const double g = accumulated(D + 5, u);
    b.variance = g * f.rms * f.rms + compound(g, g) * f.mean_abs * f.mean_abs + 3 * eta;
  }
  if (exact_mean && family != Family::textbook) b.mean = 0;
  return b;
}

LinearBound operator+(const LinearBound& a, const LinearBound& b) {
  return {a.constant + b.constant, a.per_deviation + b.per_deviation, a.per_value + b.per_value};
}
LinearBound widen(const LinearBound& b) {
  return {widened * b.constant, widened * b.per_deviation, widened * b.per_value};
}

/// spec/bounds/y.md: F, the roundings of the affine form itself. T bounds |gamma| r |x - m| at the statistics used, as
/// a linear form in the deviation; `mean` bounds |m|.
LinearBound roundings_of_y(const ChannelProblem& channel, const LinearBound& T, double mean, const Reduction& arithmetic,
                           Form form) {
  const double u = arithmetic.u;
  const double eta = arithmetic.eta;
  const double beta = std::abs(channel.beta);
  LinearBound F;
  const auto charge = [&](double k) {
    F.constant += k * T.constant;
    F.per_deviation += k * T.per_deviation;
  };
  if (form == Form::centred) {
    charge(accumulated(3.5, u));
    F.constant += eta * (1 + std::abs(channel.gamma));
  } else {
    charge(accumulated(3, u));
    const double a = 1.001 * u * T.per_deviation;  // |gamma| r at the statistics used
    F.constant += 4 * a * mean + 1.001 * u * beta + eta * (mean + 3);
    F.per_value += a + eta;
  }
  if (unit_roundoff(channel.data) > u) {  // the last addition is a rounding of its own, not the output's
    charge(1.001 * u);
    F.constant += 1.001 * u * beta;
  }
  return F;
}

}  // namespace

double accumulated(double k, double u) {
  const double ku = k * u;
  return ku < 0.5 ? ku / (1 - ku) : infinity;
}

double depth(Grade grade, std::int64_t n) {
  const double count = static_cast<double>(n);
  const double any = std::max(0.0, count - 1);
  switch (grade) {
    case Grade::correctly_rounded: return 0;
    case Grade::wide:
    case Grade::tree: return std::min(any, 2 * ceil_log2(count) + 64);
    case Grade::blocked: return std::min(any, 16 * std::ceil(std::sqrt(count)));
    case Grade::sequential: return any;
  }
  return any;
}

Reduction reduction(Grade grade, std::int64_t n, const Format& accumulator) {
  return {unit_roundoff(accumulator), underflow_unit(accumulator), depth(grade, n), grade == Grade::wide};
}

Permitted permitted(const ChannelProblem& channel, const Reduction& sum, const Class& c, double rsqrt_ulps) {
  const reference::ChannelFacts& f = channel.facts;
  const double u = sum.u;
  const double eta = sum.eta;
  const double u_s = unit_roundoff(channel.stats);
  const double mean = std::abs(f.mean_hi);
  const double v = f.variance;
  const double r = f.invstd;
  const double scale = std::abs(channel.gamma) * r;

  Permitted p;
  StatisticBounds statistics{0, 0};
  if (channel.training) statistics = statistic_bounds(f, sum, c.family);
  p.mean = statistics.mean;
  p.variance = statistics.variance + (u_s > u ? 1.01 * u_s * v : 0);

  // spec/bounds/invstd.md: (v -+ B_v) + eps (1 -+ u), then the root's own roundings.
  const double under_root = v + channel.eps;
  if (!(under_root > 0)) {  // r is infinite: no bound
    p.invstd_above = p.invstd_below = p.y.constant = infinity;
  }
  const double below = (std::min(statistics.variance, v) + u * channel.eps) / under_root;
  const double above = (statistics.variance + u * channel.eps) / under_root;
  const double root = accumulated(rsqrt_roundings(rsqrt_ulps), u);
  const double gain = compound(root, root_gain(below));
  const double loss = root + root_loss(above) - root * root_loss(above);
  p.invstd_above = r * gain;
  p.invstd_below = r * loss;

  // spec/bounds/y.md: the relative error rho of the invstd used, the absolute error e of the mean used. In training
  // each may pass through storage; in inference nothing is stored.
  const double stored = channel.training ? (u_s > u ? 3 * u_s : 2 * u_s) : 0;
  const double rho = std::max(compound(gain, stored), loss + stored * (1 - loss));
  double e = 0;
  if (channel.training && statistics.mean > 0) {
    e = (1 + 3 * u_s) * (statistics.mean + 2 * u_s * mean) + 2 * underflow_unit(channel.stats);
  }

  // The exact y at the statistics used, then the roundings of its own operations.
  const LinearBound T{scale * (1 + rho) * e, scale * (1 + rho), 0};
  p.y = widen(LinearBound{scale * (1 + rho) * e, scale * rho, 0} + roundings_of_y(channel, T, mean + e, sum, c.form));

  // spec/bounds/running.md.
  const auto updated = [&](double statistic, double bound, double running) {
    const double w = std::abs(channel.weight);
    const double moved = accumulated(5, u) * (std::abs(1 - channel.weight) * std::abs(running) +
                                              w * (statistic + bound) + w * std::abs(running));
    return w * bound + moved + w * u_s * statistic + 3 * eta;
  };
  const double factor = channel.running_stat_factor;
  const double fed = factor == 1 ? statistics.variance : factor * (statistics.variance + accumulated(3, u) * v);
  p.running_mean = widened * updated(mean, statistics.mean, channel.running_mean);
  p.running_var = widened * updated(factor * v, fed, channel.running_var);
  p.mean *= widened;
  p.variance *= widened;
  p.invstd_above *= widened;
  p.invstd_below *= widened;
  return p;
}

double permitted_invstd_link(const ChannelProblem& channel, const Reported& variance, const Reduction& arithmetic,
                             double rsqrt_ulps) {
  const double under_root = variance.value + channel.eps;
  const double d = (variance.half_ulp + arithmetic.u * channel.eps) / under_root;
  const double root = accumulated(rsqrt_roundings(rsqrt_ulps), arithmetic.u);
  return widened * compound(root, root_gain(d)) / std::sqrt(under_root);
}

LinearBound permitted_y_link(const ChannelProblem& channel, const Reported& mean, const Reported& invstd,
                             const Reduction& arithmetic, Form form) {
  const double gamma = std::abs(channel.gamma);
  const double r = std::abs(invstd.value) + invstd.half_ulp;
  // Any point of the box: |gamma| ((|x - m| + h_m) h_r + r h_m).
  const LinearBound box{gamma * mean.half_ulp * (invstd.half_ulp + r), gamma * invstd.half_ulp, 0};
  const LinearBound T{gamma * r * mean.half_ulp, gamma * r, 0};
  return widen(box + roundings_of_y(channel, T, std::abs(mean.value) + mean.half_ulp, arithmetic, form));
}

double permitted_running_link(const ChannelProblem& channel, double running, const Reported& statistic, double factor,
                              const Reduction& arithmetic) {
  const double w = std::abs(channel.weight);
  const double s = factor * std::abs(statistic.value);
  const double box =
      factor == 1 ? statistic.half_ulp : factor * (statistic.half_ulp + accumulated(3, arithmetic.u) * statistic.value);
  return widened * (w * box +
                    accumulated(5, arithmetic.u) *
                        (std::abs(1 - channel.weight) * std::abs(running) + w * (s + box) + w * std::abs(running)) +
                    3 * arithmetic.eta);
}

}  // namespace normproof::properties
