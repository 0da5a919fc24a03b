// See domain.h. Estimates in double, never below what they stand for by more than rounding; a factor of 2 is
// left.
#include "normproof/properties/domain.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "normproof/properties/recipe.h"
#include "statistics.h"

namespace normproof::properties {
namespace {

double size_of(double value) {
  return value < 0 ? -value : value;
}

/// Every value is 0, or between the two.
bool all_within(const std::vector<double>& values, double lowest, double highest) {
  return std::ranges::all_of(values, [&](double value) {
    const double size = size_of(value);
    return size == 0 || (size >= lowest && size <= highest);
  });
}

/// Half of what the format holds: room for the estimates.
bool fits(double value, const Format& format) {
  return value <= largest(format) / 2;
}

/// A stored statistic is an ordinary number: 0, or normal and finite.
bool ordinary(double value, const Format& stats) {
  const double size = size_of(value);
  return size == 0 || (size >= smallest_normal(stats) && size <= largest(stats));
}

std::span<const double> channel(const std::vector<double>& values, std::int64_t c, std::int64_t n) {
  return values.empty()
             ? std::span<const double>{}
             : std::span(values).subspan(static_cast<std::size_t>(c * n), static_cast<std::size_t>(n));
}

double at(const std::vector<double>& values, std::int64_t c, double absent) {
  return values.empty() ? absent : size_of(values[static_cast<std::size_t>(c)]);
}

/// Mean and invstd that a pass works with.
struct Normaliser {
  double mean = 0, invstd = 1;
};

/// Sums of magnitudes, as in spec/bounds/backward.md and double_backward.md.
struct Magnitudes {
  double deviation = 0;                  ///< X
  double dy = 0, g1 = 0, h1 = 0;         ///< max |dy|, G1, H1
  double v = 0, v1 = 0, w1 = 0, z1 = 0;  ///< max |V|, V1, W1, Z1
};

Magnitudes magnitudes(const Case& c, std::int64_t index, const Normaliser& by) {
  const std::int64_t n = c.problem.shape.per_channel();
  const auto x = channel(c.x, index, n), dy = channel(c.dy, index, n), v = channel(c.v_x, index, n);
  Magnitudes m;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double deviation = size_of(x[i] - by.mean), xhat = deviation * by.invstd;
    m.deviation = std::max(m.deviation, deviation);
    if (dy.empty())
      continue;
    const double gradient = size_of(dy[i]);
    m.dy = std::max(m.dy, gradient);
    m.g1 += gradient;
    m.h1 += gradient * xhat;
    if (v.empty())
      continue;
    const double cotangent = size_of(v[i]);
    m.v = std::max(m.v, cotangent);
    m.v1 += cotangent;
    m.w1 += cotangent * xhat;
    m.z1 += cotangent * gradient;
  }
  return m;
}

bool outputs_fit(const Case& c, std::int64_t index, const Normaliser& by) {
  const Problem& p = c.problem;
  const Magnitudes m = magnitudes(c, index, by);
  const auto n = static_cast<double>(p.shape.per_channel());
  const double gamma = at(c.gamma, index, 1), beta = at(c.beta, index, 0);
  const double r = by.invstd, gr = gamma * r, xhat = m.deviation * r;
  const double most = largest(p.accumulator());
  switch (p.pass) {
  case Pass::forward_training:
  case Pass::forward_inference:
    return fits(gr * m.deviation + beta, p.data);
  case Pass::backward_training:
  case Pass::gradient:
    return fits(m.g1, p.stats) && fits(m.h1, p.stats) &&
           fits(gr * (m.dy + (m.g1 + xhat * m.h1) / n), p.data) &&
           (1 + gamma) * (1 + r) * (1 + r) * (1 + m.deviation) * (1 + m.g1) <= most;
  case Pass::backward_inference:
    return fits(m.g1, p.stats) && fits(m.h1, p.stats) && fits(gr * m.dy, p.data);
  case Pass::double_backward_inference: {
    const double a = at(c.v_gamma, index, 0), b = at(c.v_beta, index, 0);
    return fits(r * m.z1, p.stats) && fits(gr * m.v + a * xhat + b, p.data) && fits(a * r * m.dy, p.data);
  }
  case Pass::double_backward: {
    const double a = at(c.v_gamma, index, 0), b = at(c.v_beta, index, 0);
    const double of_gamma = r * (m.z1 + (m.v1 * m.g1 + m.w1 * m.h1) / n);
    const double of_dy = gr * (m.v + (m.v1 + xhat * m.w1) / n) + a * xhat + b;
    const double of_x =
        gr * r * (m.h1 * m.v + m.w1 * m.dy + xhat * m.z1) / n +
        gr * r * (m.h1 * m.v1 + m.w1 * m.g1 + xhat * m.v1 * m.g1 + 3 * xhat * m.w1 * m.h1) / n / n +
        a * r * (m.dy + (m.g1 + xhat * m.h1) / n);
    const double sums = (1 + gamma) * (1 + m.g1) * (1 + m.v1);
    const double invstds = (1 + r) * (1 + r) * (1 + r);
    const double deviations = (1 + m.deviation) * (1 + m.deviation) * (1 + m.deviation);
    return fits(of_gamma, p.stats) && fits(of_dy, p.data) && fits(of_x, p.data) && sums * invstds <= most &&
           sums * deviations <= most;
  }
  }
  return true;
}

/// Statistics that the pass stores, and its outputs, are numbers of their formats.
bool channel_fits(const Case& c, std::int64_t index) {
  const Problem& p = c.problem;
  const bool narrow = p.stats.p < f32.p;
  Normaliser by;
  if (takes_saved(p.pass)) {
    by = {c.saved_mean[static_cast<std::size_t>(index)], at(c.saved_invstd, index, 1)};
  } else if (is_inference(p.pass)) {
    const double variance = c.running_var[static_cast<std::size_t>(index)];
    by = {c.running_mean[static_cast<std::size_t>(index)], 1 / std::sqrt(variance + p.eps)};
    if (!(by.invstd - by.invstd == 0))
      return true;  // not a matter of range: the dialect says what happens
    if (narrow && !ordinary(round_to(p.stats, by.invstd), p.stats))
      return false;
  } else {
    const Statistics s = statistics(channel(c.x, index, p.shape.per_channel()));
    by = {mean_of(s, f64), invstd_of(s, p.eps, f64)};
    if (!(by.invstd - by.invstd == 0))
      return true;
    if (narrow && !(ordinary(mean_of(s, p.stats), p.stats) && ordinary(variance_of(s, p.stats), p.stats) &&
                    fits(variance_of(s, f64), p.stats) && ordinary(round_to(p.stats, by.invstd), p.stats)))
      return false;
  }
  return outputs_fit(c, index, by);
}

}  // namespace

Domain domain_of(const Case& c) {
  const Problem& p = c.problem;
  const Format accumulator = p.accumulator();
  const auto n = static_cast<double>(p.shape.per_channel());
  const double most = largest(accumulator);
  const double terms = std::max(n, 4.0);  // a merge squares a difference: up to 4 x^2 however few the values
  const bool squares_fit = std::ranges::all_of(c.x, [&](double value) {
    const double size = size_of(value);
    return size <= 1 || size <= most / size / terms;  // no product that could itself overflow
  });
  // A subnormal number of f16 is an ordinary one of its accumulator; one among the statistics is not (eta_s).
  const auto elements = [&](const std::vector<double>& values) {
    return all_within(values, smallest_normal(accumulator), largest(p.data));
  };
  const auto parameters = [&](const std::vector<double>& values) {
    return all_within(values, smallest_normal(accumulator), largest(p.stats));
  };
  const auto stored = [&](const std::vector<double>& values) {
    return all_within(values, smallest_normal(p.stats), largest(p.stats));
  };
  if (!(squares_fit && elements(c.x) && elements(c.dy) && elements(c.v_x) && parameters(c.gamma) &&
        parameters(c.beta) && parameters(c.v_gamma) && parameters(c.v_beta) && stored(c.running_mean) &&
        stored(c.running_var) && stored(c.saved_mean) && stored(c.saved_invstd)))
    return Domain::extended;
  // Forward passes whose squares fit in f32 or f64 fit throughout.
  if (p.shape.per_channel() > 0 && (takes_dy(p.pass) || p.data.p < f32.p))
    for (std::int64_t channel = 0; channel < p.shape.channels; ++channel)
      if (!channel_fits(c, channel))
        return Domain::extended;
  return Domain::core;
}

}  // namespace normproof::properties
