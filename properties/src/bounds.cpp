// The bounds of spec/bounds/*.md. Each function repeats the final formula of its page with the page's names.
#include "normproof/properties/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "arithmetic.h"

namespace normproof::properties {
namespace {

/// (1 - d)^(-1/2) - 1 and 1 - (1 + d)^(-1/2) without cancellation, so that they stay right where d is near
/// 2^-53 (spec/bounds/invstd.md: g and h).
double root_gain(double d) {
  if (!(d < 1))
    return infinity;
  return d / (1 - d + std::sqrt(1 - d));
}
double root_loss(double d) {
  if (std::isinf(d))
    return 1;
  return d / (1 + d + std::sqrt(1 + d));
}
/// eta as a double: the smallest positive double stands for f64's own (spec/bounds/model.md, evaluation).
double eta_of(const Format& format) {
  return std::max(underflow_unit(format), std::numeric_limits<double>::denorm_min());
}

/// Roundings of 1/sqrt(v + eps): half of the addition, twice the ulps of the root, one spare.
double rsqrt_roundings(double rsqrt_ulps) {
  return 1.5 + 2 * rsqrt_ulps;
}

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
  if (exact_mean && exact_variance && family != Family::textbook)
    return {0, 0};

  StatisticBounds b{};
  const double feedback = (D + 13 * L) * u;
  const double G = feedback < 0.5 ? 1 / (1 - feedback) : infinity;
  const double w = omega(n, u);
  // What is left of a variance whose partial means are off by q in total: 2 sigma q + q^2 and the terms'
  // roundings.
  const auto merged = [&](double q, double k, double underflow) {
    return 2 * sigma * q + q * q + k * (sigma + q) * (sigma + q) + underflow;
  };
  switch (family) {
  case Family::centred:
    if (sum.wide) {
      b.mean = accumulated(3, u) * mean + w * f.mean_abs + eta;
      const double e = b.mean + u * mean;
      b.variance = (accumulated(6, u) + w) * (v + e * e) + e * e + 4 * eta;
    } else {
      b.mean = accumulated(D + 3, u) * f.mean_abs + eta;
      const double g = accumulated(D + 4, u);
      const double E = (1 + g) * (g * (f.mean_abs + sigma) + eta);
      const double k = accumulated(D + 7, u);
      b.variance = k * (v + E * E) + E * E + 4 * eta * (1 + k);
    }
    break;
  case Family::merged:
    if (sum.wide) {
      b.mean = accumulated(3, u) * mean + w * (f.mean_abs + sigma) + eta;
      b.variance = merged(w * (f.rms + sigma), accumulated(6, u) + w, 4 * eta);
    } else {
      b.mean = G * (accumulated(D + 3, u) * f.mean_abs + 7.2 * std::sqrt(L) * u * sigma + D * eta);
      const double k = accumulated(D + 11, u);
      b.variance = merged(G * (u * D * f.rms + 10.1 * L * u * sigma + D * eta), k, (L + 4) * eta * (1 + k));
    }
    break;
  case Family::textbook: {
    b.mean = accumulated(D + 3, u) * f.mean_abs + eta;
    const double g = accumulated(D + 5, u);
    b.variance = g * f.rms * f.rms + compound(g, g) * f.mean_abs * f.mean_abs + 4 * eta;
    break;
  }
  }
  if (exact_mean && family != Family::textbook)
    b.mean = 0;
  return b;
}

LinearBound operator+(const LinearBound& a, const LinearBound& b) {
  return {a.constant + b.constant, a.per_deviation + b.per_deviation, a.per_value + b.per_value};
}
LinearBound widen(const LinearBound& b) {
  using properties::widen;
  return {widen(b.constant), widen(b.per_deviation), widen(b.per_value)};
}

/// spec/bounds/y.md: T = |gamma| r (|x - m| + e) and F, the roundings of the affine form itself, at the
/// largest invstd `r` and the largest error `mean_error` of the mean that the stage may use. Linear in the
/// deviation and in |x|.
LinearBound roundings_of_y(const ChannelProblem& channel, double r, double mean, double mean_error,
                           const Reduction& arithmetic, Form form) {
  const double slope = std::abs(channel.gamma) * r;
  const LinearBound T{slope * mean_error, slope, 0};
  const double u = arithmetic.u;
  const double eta = arithmetic.eta;
  const double beta = std::abs(channel.beta);
  LinearBound F;
  const auto charge = [&](double k) {
    F.constant += k * T.constant;
    F.per_deviation += k * T.per_deviation;
  };
  const double gamma = std::abs(channel.gamma);
  const double small = 1.01 * eta;
  if (form == Form::centred) {
    charge(accumulated(3.5, u));
    F.constant += small * (1 + gamma + mean_error + r);
    F.per_deviation += small;
  } else {
    charge(accumulated(3, u));
    const double a = 1.001 * u * gamma * r;
    F.constant += 4 * a * (mean + mean_error) + 1.001 * u * beta + small * (mean + mean_error + gamma + 3);
    F.per_value += a + small;
  }
  if (unit_roundoff(channel.data) > u) {  // the last addition is a rounding of its own, not the output's
    charge(1.001 * u);
    F.constant += 1.001 * u * beta;
  }
  return F;
}

/// spec/bounds/running.md: B_run for a statistic of magnitude `statistic` known to `bound`.
double updated(const ChannelProblem& channel, double running, double statistic, double bound, double u_stored,
               const Reduction& arithmetic) {
  const double w = std::abs(channel.weight);
  return w * bound +
         accumulated(5, arithmetic.u) * (std::abs(1 - channel.weight) * std::abs(running) +
                                         w * (statistic + bound) + w * std::abs(running)) +
         3 * arithmetic.eta + w * u_stored * (statistic + bound);
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
  case Grade::correctly_rounded:
    return 0;
  case Grade::wide:
  case Grade::tree:
    return std::min(any, 2 * ceil_log2(count) + 64);
  case Grade::blocked:
    return std::min(any, 16 * std::ceil(std::sqrt(count)));
  case Grade::sequential:
    return any;
  }
  return any;
}

Reduction reduction(Grade grade, std::int64_t n, const Format& accumulator) {
  return {unit_roundoff(accumulator), eta_of(accumulator), depth(grade, n), grade == Grade::wide};
}

Permitted permitted(const ChannelProblem& channel, const Reduction& sum, const Class& c, double rsqrt_ulps) {
  const reference::ChannelFacts& f = channel.facts;
  const double u = sum.u;
  const double eta = sum.eta;
  const double u_s = unit_roundoff(channel.stats);
  const double eta_s = eta_of(channel.stats);
  const double mean = std::abs(f.mean_hi);
  const double v = f.variance;
  const double r = f.invstd;
  const double scale = std::abs(channel.gamma) * r;

  Permitted p;
  StatisticBounds statistics{0, 0};
  if (channel.training)
    statistics = statistic_bounds(f, sum, c.family);
  p.mean = statistics.mean;
  p.variance = statistics.variance;
  if (u_s > u)
    p.variance += u_s * (v + statistics.variance) + eta_s;

  // spec/bounds/invstd.md. v + eps = 0 has no bound: there the dialect decides.
  const double under_root = v + channel.eps;
  const double d_eps = u * channel.eps + eta;
  const double c_root = accumulated(rsqrt_roundings(rsqrt_ulps), u);
  const double g =
      under_root > 0 ? root_gain((std::min(statistics.variance, v) + d_eps) / under_root) : infinity;
  const double h = under_root > 0 ? root_loss((statistics.variance + d_eps) / under_root) : infinity;
  const double rho_up = compound(c_root, g);
  const double rho_down = h + c_root * (1 - h);
  p.invstd_above = r * rho_up;
  p.invstd_below = r * rho_down;

  // spec/bounds/y.md: the relative error rho of the invstd used, the absolute error e of the mean used. In
  // training each may pass through storage; in inference nothing is stored. A mean without error is
  // representable and stores as itself.
  double rho = std::max(rho_up, rho_down);
  double e = 0;
  if (channel.training) {
    const double k_s = u_s > u ? 3 : 2;
    rho = std::max(rho_up + k_s * u_s * (1 + rho_up), rho_down + k_s * u_s * (1 - rho_down)) + eta_s / r;
    if (statistics.mean > 0 || u_s > u)
      e = (1 + 3 * u_s) * (statistics.mean + 2 * u_s * mean) + 2 * eta_s;
  }
  const LinearBound statistics_used{scale * (1 + rho) * e, scale * rho, 0};
  p.rho = widen(rho);
  p.mean_used = widen(e);
  p.y_roundings = widen(roundings_of_y(channel, r * (1 + rho), mean, e, sum, c.form));
  p.y = widen(statistics_used) + p.y_roundings;

  // spec/bounds/running.md.
  const double factor = channel.running_stat_factor;
  double fed = statistics.variance;
  if (factor != 1)
    fed = factor * (fed + accumulated(4, u) * (v + fed)) + eta;
  const double u_stored = u_s > u ? u_s : 0;
  p.running_mean = widen(updated(channel, channel.running_mean, mean, statistics.mean, u_stored, sum));
  p.running_var = widen(updated(channel, channel.running_var, factor * v, fed, u_stored, sum));
  p.mean = widen(p.mean);
  p.variance = widen(p.variance);
  p.invstd_above = widen(p.invstd_above);
  p.invstd_below = widen(p.invstd_below);
  return p;
}

double permitted_invstd_link(const ChannelProblem& channel, const Reported& variance,
                             const Reduction& arithmetic, double rsqrt_ulps) {
  const double under_root = variance.value + channel.eps;
  const double d = (variance.half_ulp + arithmetic.u * channel.eps + arithmetic.eta) / under_root;
  const double root = accumulated(rsqrt_roundings(rsqrt_ulps), arithmetic.u);
  return widen(compound(root, root_gain(d)) / std::sqrt(under_root));
}

LinearBound permitted_y_link(const ChannelProblem& channel, const Reported& mean, const Reported& invstd,
                             const Reduction& arithmetic, Form form) {
  const double gamma = std::abs(channel.gamma);
  const double r = std::abs(invstd.value);
  const double h_m = mean.half_ulp;
  const double h_r = invstd.half_ulp;
  const LinearBound box{gamma * h_m * (h_r + r), gamma * h_r, 0};  // |gamma| ((|x - m| + h_m) h_r + r h_m)
  return widen(box + roundings_of_y(channel, r + h_r, std::abs(mean.value), h_m, arithmetic, form));
}

double permitted_running_link(const ChannelProblem& channel, double running, const Reported& statistic,
                              double factor, const Reduction& arithmetic) {
  double box = statistic.half_ulp;
  if (factor != 1) {
    box = factor * (box + accumulated(4, arithmetic.u) * (std::abs(statistic.value) + box)) + arithmetic.eta;
  }
  return widen(updated(channel, running, factor * std::abs(statistic.value), box, 0, arithmetic));
}

}  // namespace normproof::properties
