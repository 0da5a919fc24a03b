// From the sums of a channel to the coefficients of its elements, with bounds: in double, and in
// double-double. Everything here is derived in spec/bounds/certified.md; `Scale` multiplies every bound, 1
// but in the tests that show that it may not be smaller.
#pragma once

#include <cmath>
#include <limits>
#include <optional>

#include "enclosure.h"
#include "raw_lanes.h"

namespace normproof::reference {

inline constexpr double unit = 0x1p-53;
inline constexpr double float_unit = 0x1p-24;

/// The sums' bounds: |err sum d| <= first sqrt(n sum d^2), |err sum d^2| <= second sum d^2 (and so for w).
struct SumErrors {
  double first, second;
};
/// Of row_moments and column_moments.
inline constexpr SumErrors plain_errors{(fold_depth + 0.5) * unit, (fold_depth + 2.5) * unit};
/// Of row_moments_precise, by the additions in its deepest lane.
inline SumErrors precise_errors(std::int64_t deepest) {
  const double g = (11 * static_cast<double>(deepest) + 72) * unit * unit;
  return {g, g};
}

/// Values below this have squares that may be lost to underflow (f64 alone); their sums are below n times
/// this.
inline constexpr double squares_underflow = 0x1p-530;

/// Mean (counted from the shift) and biased variance with absolute bounds, and the mean square of d.
struct Statistics {
  DoubleDouble mean, variance;
  double mean_error, variance_error;
  double square;
};
/// From row_moments_precise, in double-double throughout.
inline Statistics precise_statistics(const Moments& m, std::int64_t n, const SumErrors& errors) {
  const DoubleDouble count(static_cast<double>(n));
  const DoubleDouble s1 = two_sum(m.d[0], m.d[1]);
  const DoubleDouble s2 = two_sum(m.dd[0], m.dd[1]);
  Statistics s;
  s.mean = s1 / count;
  s.variance = (s2 - s1 * s.mean) / count;
  s.square = m.dd[0] / static_cast<double>(n);
  const double mean = std::abs(s.mean.hi);
  s.mean_error =
      1.001 * (errors.first * (std::sqrt(s.square) + squares_underflow) + 1.01 * unit * unit * mean);
  s.variance_error =
      1.001 * ((errors.second + 5 * unit * unit) * s.square + s.mean_error * (2 * mean + s.mean_error));
  return s;
}
inline Statistics precise_statistics(const Moments& m, std::int64_t n) {
  return precise_statistics(m, n, precise_errors(m.deepest));
}
/// From row_moments or column_moments, in double: no more is known.
inline Statistics plain_statistics(const Moments& m, std::int64_t n, const SumErrors& errors = plain_errors) {
  const auto count = static_cast<double>(n);
  Statistics s;
  s.mean = m.d[0] / count;
  s.variance = (m.dd[0] - m.d[0] * s.mean.hi) / count;
  s.square = m.dd[0] / count;
  const double mean = std::abs(s.mean.hi);
  s.mean_error = 1.001 * (errors.first * std::sqrt(s.square) + 2 * unit * mean);
  s.variance_error =
      1.001 * ((errors.second + 3 * unit) * s.square + s.mean_error * (2 * mean + s.mean_error));
  return s;
}

/// invstd in double: relative error below `error`. Nothing where it is too uncertain or out of range.
struct InverseDeviation {
  double value, error;
};
inline std::optional<InverseDeviation> inverse_deviation(const Statistics& s, double eps) {
  const double sum = s.variance.hi + eps;
  const double delta = s.variance_error / sum;
  if (!(sum > 0x1p-300 && sum < 0x1p300 && delta >= 0 && delta < 0x1p-10))
    return std::nullopt;
  return InverseDeviation{1 / std::sqrt(sum), delta * (0.5 + delta) + 4 * unit};
}

/// Whether a number is 0 or far from the ends of the range of double.
inline bool is_moderate(double v) {
  return v == 0 || (std::abs(v) > 0x1p-300 && std::abs(v) < 0x1p300);
}

/// What the largest |d| and |w| make of the bounds of single elements.
inline void finish(Line& line, double most_d, double most_w, double scale) {
  const double factor = scale * (1 + 0x1p-10);
  line.error_0 = factor * line.error_0 + 0x1p-1000;
  line.error_d *= factor;
  line.error_own *= factor;
  line.error_w *= factor;
  line.error = line.error_0 + line.error_d * (most_d + std::abs(line.centre)) + line.error_own * most_d +
               line.error_w * most_w;
  const auto fits = [](double v) {
    return v == 0 || (std::abs(v) > 0x1p-100 && std::abs(v) < 0x1p100);
  };
  const double size =
      std::abs(line.slope) * most_d + std::abs(line.weight) * most_w + std::abs(line.constant);
  const bool in_float = fits(line.slope) && fits(line.weight) && fits(line.shift) && size < 0x1p100 &&
                        most_d < 0x1p100 && most_w < 0x1p100 &&
                        static_cast<double>(static_cast<float>(line.shift)) == line.shift;
  line.float_error = in_float ? (1 + 0x1p-10) * (line.error + scale * 3 * float_unit * size) + 0x1.8p-149
                              : std::numeric_limits<double>::infinity();
}

/// y = slope d + constant.
inline std::optional<Line> forward_line(const Statistics& s, const Moments& m, double shift, double gamma,
                                        double beta, double eps, double scale = 1) {
  const auto r = inverse_deviation(s, eps);
  if (!r || !is_moderate(gamma) || !is_moderate(beta) || !(m.most_d < 0x1p300) || !is_moderate(shift))
    return std::nullopt;
  Line line;
  line.shift = shift;
  line.slope = gamma * r->value;
  const double mean = s.mean.hi;
  const double part = line.slope * mean;
  line.constant = beta - part;
  const double slope = std::abs(line.slope);
  // The relative error of the slope acts on d - mean alone: the constant was made with the same slope.
  line.centre = mean;
  line.error_d = slope * r->error;
  line.error_own = 3 * unit * slope;
  line.error_0 = slope * (s.mean_error + unit * std::abs(mean)) + 3 * unit * std::abs(line.constant) +
                 unit * std::abs(part);
  finish(line, m.most_d, 0, scale);
  return line;
}

/// Of forward_form's terms: root, v + eps, times gamma, times mean or d, from beta, and the last sum.
inline constexpr double forward_form_error =
    1.02 * (root_error + product_error + sum_error + 7.5 * unit * unit);

/// The same in double-double.
inline std::optional<Form> forward_form(const Statistics& s, double shift, double gamma, double beta,
                                        double eps, double scale = 1) {
  const DoubleDouble sum = s.variance + DoubleDouble(eps);
  const double delta = s.variance_error / sum.hi;
  if (!(sum.hi > 0x1p-300 && sum.hi < 0x1p300 && delta >= 0 && delta < 0x1p-10) || !is_moderate(gamma) ||
      !is_moderate(beta) || !is_moderate(shift))
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
  if (!(sum.hi > 0x1p-300 && sum.hi < 0x1p300 && delta >= 0 && delta < 0x1p-10))
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
  const SumErrors g = plain ? plain_errors : precise_errors(m.deepest);
  GradientSums s;
  s.sum = two_sum(m.w[0], m.w[1]);
  s.dot = two_sum(m.wd[0], m.wd[1]);
  const auto count = static_cast<double>(n);
  const double lost = count * squares_underflow;
  s.sum_error = 1.01 * g.first * (std::sqrt(count) * std::sqrt(m.ww[0]) + lost);
  s.dot_error = 1.01 * g.second * (std::sqrt(m.ww[0]) * std::sqrt(m.dd[0]) + lost * (m.most_d + m.most_w)) +
                count * 0x1p-1070;
  return s;
}

/// Whether the sums and what they are scaled with are far from the ends of the range.
inline bool is_usable(const Moments& m, double shift, double invstd, double gamma) {
  const auto small = [](double v) {
    return v == 0 || (std::abs(v) > 0x1p-160 && std::abs(v) < 0x1p160);
  };
  return small(invstd) && small(gamma) && is_moderate(shift) && m.most_d < 0x1p160 && m.most_w < 0x1p160 &&
         std::isfinite(m.ww[0]) && std::isfinite(m.dd[0]);
}

/// dx = slope d + weight dy + constant.
inline std::optional<Line> backward_line(const Moments& m, std::int64_t n, double shift, double invstd,
                                         double gamma, double scale = 1) {
  if (!is_usable(m, shift, invstd, gamma))
    return std::nullopt;
  const GradientSums s = gradient_sums(m, n, true);
  const auto count = static_cast<double>(n);
  Line line;
  line.shift = shift;
  line.weight = gamma * invstd;
  const double cube = line.weight * (invstd * invstd);
  line.slope = -(cube * (s.dot.hi / count));
  line.constant = -(line.weight * (s.sum.hi / count));
  line.error_0 = std::abs(line.weight) * s.sum_error / count + 7 * unit * std::abs(line.constant);
  line.error_own = std::abs(cube) * s.dot_error / count + 9 * unit * std::abs(line.slope);
  line.error_w = 4 * unit * std::abs(line.weight);
  finish(line, m.most_d, m.most_w, scale);
  return line;
}

inline std::optional<Form> backward_form(const Moments& m, std::int64_t n, double shift, double invstd,
                                         double gamma, double scale = 1) {
  if (!is_usable(m, shift, invstd, gamma))
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
