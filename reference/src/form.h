// From the sums of one channel to the coefficients of its elements, with bounds: the lines of line.h, and for
// what they leave forms in double-double. Derived in spec/bounds/certified.md; `scale` as in line.h.
#pragma once

#include <cmath>
#include <optional>

#include "enclosure.h"
#include "line.h"

namespace normproof::reference {

/// Of row_moments_precise, by the additions in its deepest lane.
inline SumErrors precise_errors(std::int64_t deepest) {
  const double g = (11 * static_cast<double>(deepest) + 72) * unit * unit;
  return {g, g};
}

/// Mean (counted from the shift) and biased variance with absolute bounds.
struct Statistics {
  DoubleDouble mean, variance;
  double mean_error, variance_error;
};
/// From row_moments_precise, in double-double throughout.
inline Statistics precise_statistics(const Moments& m, std::int64_t n, const SumErrors& errors) {
  const DoubleDouble count(static_cast<double>(n));
  const DoubleDouble s1 = two_sum(m.d[0], m.d[1]);
  const DoubleDouble s2 = two_sum(m.dd[0], m.dd[1]);
  Statistics s;
  s.mean = s1 / count;
  s.variance = (s2 - s1 * s.mean) / count;
  const double square = m.dd[0] / static_cast<double>(n);
  const double mean = std::abs(s.mean.hi);
  s.mean_error = 1.001 * (errors.first * (std::sqrt(square) + squares_underflow) + 1.01 * unit * unit * mean);
  s.variance_error =
      1.001 * ((errors.second + 5 * unit * unit) * square + s.mean_error * (2 * mean + s.mean_error));
  return s;
}
inline Statistics precise_statistics(const Moments& m, std::int64_t n) {
  return precise_statistics(m, n, precise_errors(m.deepest));
}
/// From row_moments or column_moments, in double: no more is known.
inline Statistics plain_statistics(const Moments& m, std::int64_t n, const SumErrors& errors = plain_errors) {
  const auto s = plain_statistics(m.d[0] + m.d[1], m.dd[0] + m.dd[1], static_cast<double>(n), errors);
  return {s.mean, s.variance, s.mean_error, s.variance_error};
}
inline PlainStatistics<double> in_double(const Statistics& s) {
  return {s.mean.hi, s.variance.hi, s.mean_error, s.variance_error};
}

/// The line of one channel.
inline std::optional<Line> forward_line(const Statistics& s, const Moments& m, double shift, double gamma,
                                        double beta, double eps, double scale = 1) {
  const PlainStatistics<double> plain = in_double(s);
  const auto [line, usable] =
      forward_line(plain, inverse_deviation(plain, eps), m.most_d, shift, gamma, beta, scale);
  return usable ? std::optional(line) : std::nullopt;
}

/// Of forward_form's terms: root, v + eps, times gamma, times mean or d, from beta, and the last sum.
inline constexpr double forward_form_error =
    1.02 * (root_error + product_error + sum_error + 7.5 * unit * unit);

/// Whether v + eps, relatively `delta` uncertain, is far from the ends of the range and certain enough.
inline bool serves(const DoubleDouble& sum, double delta) {
  return sum.hi > 0x1p-300 && sum.hi < 0x1p300 && delta >= 0 && delta < 0x1p-10;
}

/// y of one channel in double-double.
inline std::optional<Form> forward_form(const Statistics& s, double shift, double gamma, double beta,
                                        double eps, double scale = 1) {
  const DoubleDouble sum = s.variance + DoubleDouble(eps);
  const double delta = s.variance_error / sum.hi;
  if (!serves(sum, delta) || !is_moderate(gamma) || !is_moderate(beta) || !is_moderate(shift))
    return std::nullopt;
  const DoubleDouble slope = inverse_root(sum) * DoubleDouble(gamma);
  const DoubleDouble part = slope * s.mean;
  const DoubleDouble constant = DoubleDouble(beta) - part;
  const double relative = delta * (0.5 + delta) + forward_form_error;
  Form form;
  form.shift = shift;
  form.hi[0] = constant.hi, form.lo[0] = constant.lo;
  form.hi[1] = slope.hi, form.lo[1] = slope.lo;
  const double size = std::abs(slope.hi);
  form.error[1] = scale * 1.001 * size * relative;
  form.error[0] = scale * 1.001 *
                  (std::abs(part.hi) * relative + size * s.mean_error + forward_form_error * std::abs(beta) +
                   underflow_error);
  return form;
}

/// invstd of statistics, enclosed.
inline std::optional<Enclosed> enclosed_invstd(const Statistics& s, double eps) {
  const DoubleDouble sum = s.variance + DoubleDouble(eps);
  const double delta = s.variance_error / sum.hi;
  if (!serves(sum, delta))
    return std::nullopt;
  const DoubleDouble r = inverse_root(sum);
  return Enclosed{r.hi, r.lo, 1.001 * r.hi * (delta * (0.5 + delta) + form_error)};
}

/// G = sum dy and D = sum dy d with absolute bounds.
struct GradientSums {
  DoubleDouble sum, dot;
  double sum_error, dot_error;
};
inline GradientSums gradient_sums(const Moments& m, std::int64_t n, bool plain) {
  const auto errors = gradient_errors(static_cast<double>(n), m.ww[0], m.dd[0], m.most_d, m.most_w,
                                      plain ? plain_errors : precise_errors(m.deepest));
  return {two_sum(m.w[0], m.w[1]), two_sum(m.wd[0], m.wd[1]), errors.sum, errors.dot};
}
inline GradientMoments<double> in_double(const Moments& m) {
  return {m.w[0] + m.w[1], m.wd[0] + m.wd[1], m.ww[0], m.dd[0], m.most_d, m.most_w};
}

/// The line of one channel.
inline std::optional<Line> backward_line(const Moments& m, std::int64_t n, double shift, double invstd,
                                         double gamma, double scale = 1) {
  const GradientSums s = gradient_sums(m, n, true);
  const auto [line, usable] = backward_line(in_double(m), GradientErrors<double>{s.sum_error, s.dot_error},
                                            static_cast<double>(n), shift, invstd, gamma, scale);
  return usable ? std::optional(line) : std::nullopt;
}

/// dx of one channel in double-double.
inline std::optional<Form> backward_form(const Moments& m, std::int64_t n, double shift, double invstd,
                                         double gamma, double scale = 1) {
  if (!is_usable(in_double(m), shift, invstd, gamma))
    return std::nullopt;
  const GradientSums s = gradient_sums(m, n, false);
  const DoubleDouble count(static_cast<double>(n));
  const DoubleDouble weight = two_product(gamma, invstd);
  const DoubleDouble cube = weight * two_product(invstd, invstd);
  const DoubleDouble slope = -(cube * (s.dot / count));
  const DoubleDouble constant = -(weight * (s.sum / count));
  Form form;
  form.shift = shift;
  form.hi[0] = constant.hi, form.lo[0] = constant.lo;
  form.hi[1] = slope.hi, form.lo[1] = slope.lo;
  form.hi[2] = weight.hi, form.lo[2] = weight.lo;
  const double over = scale * 1.01 / static_cast<double>(n);
  form.error[0] = over * std::abs(weight.hi) * s.sum_error +
                  scale * (form_error * std::abs(constant.hi) + underflow_error);
  form.error[1] = over * std::abs(cube.hi) * s.dot_error + scale * form_error * std::abs(slope.hi);
  form.error[2] = scale * form_error * std::abs(weight.hi);
  return form;
}

}  // namespace normproof::reference
