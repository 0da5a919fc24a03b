// From the sums of a channel to the coefficients of its elements and to its results, in double with bounds.
// Everything here is derived in spec/bounds/certified.md; `scale` multiplies every bound, 1 but in the tests
// that show that it may not be smaller.
//
// A Number is a double, one channel, or a vector of doubles with a channel in each lane (raw_lanes_body.h):
// nothing branches, and where the numbers do not serve `usable` says so.
#pragma once

#include <cmath>
#include <limits>

#include "raw_lanes.h"

namespace normproof::reference {

inline constexpr double unit = 0x1p-53;
inline constexpr double float_unit = 0x1p-24;

// --- what the formulas need of a number beyond arithmetic; vectors have their own ---

template <class Number>
using Condition = decltype(Number() < Number());

inline double select(bool condition, double a, double b) {
  return condition ? a : b;
}
inline double rounded_to_float(double v) {
  return static_cast<double>(static_cast<float>(v));
}
template <class Truth, class... More>
Truth every(Truth all, const More&... conditions) {
  ((all = all & conditions), ...);
  return all;
}
/// Whether v is 0 or its magnitude strictly between the ends.
template <class Number>
Condition<Number> is_within(const Number& v, double least, double most) {
  using std::abs;
  const Number size = abs(v);
  return (v == Number(0)) | ((size > Number(least)) & (size < Number(most)));
}
/// Whether a number is 0 or far from the ends of the range of double.
template <class Number>
Condition<Number> is_moderate(const Number& v) {
  return is_within(v, 0x1p-300, 0x1p300);
}

// --- statistics ---

/// The sums' bounds: |err sum d| <= first sqrt(n sum d^2), |err sum d^2| <= second sum d^2 (and so for w).
struct SumErrors {
  double first, second;
};
/// Of row_moments and column_moments.
inline constexpr SumErrors plain_errors{(fold_depth + 0.5) * unit, (fold_depth + 2.5) * unit};

/// Values below this have squares that may be lost to underflow (f64 alone); their sums are below n times
/// this.
inline constexpr double squares_underflow = 0x1p-530;

/// Mean (counted from the shift) and biased variance with absolute bounds.
template <class Number>
struct PlainStatistics {
  Number mean{}, variance{}, mean_error{}, variance_error{};
};
/// From the sums of row_moments or column_moments, hi + lo rounded.
template <class Number>
PlainStatistics<Number> plain_statistics(const Number& sum, const Number& squares, double n,
                                         const SumErrors& errors = plain_errors) {
  using std::abs, std::sqrt;
  PlainStatistics<Number> s;
  s.mean = sum / n;
  s.variance = (squares - sum * s.mean) / n;
  const Number square = squares / n;
  const Number mean = abs(s.mean);
  s.mean_error = 1.001 * (errors.first * sqrt(square) + 2 * unit * mean);
  s.variance_error = 1.001 * ((errors.second + 3 * unit) * square + s.mean_error * (2 * mean + s.mean_error));
  return s;
}

/// invstd: relative error below `error`. Not usable where it is too uncertain or out of range.
template <class Number>
struct InverseDeviation {
  Number value, error;
  Condition<Number> usable;
};
template <class Number>
InverseDeviation<Number> inverse_deviation(const PlainStatistics<Number>& s, double eps) {
  using std::sqrt;
  const Number sum = s.variance + eps;
  const Number delta = s.variance_error / sum;
  return {1 / sqrt(sum), delta * (0.5 + delta) + 4 * unit,
          every(sum > Number(0x1p-300), sum < Number(0x1p300), delta >= Number(0), delta < Number(0x1p-10))};
}

/// A result of a channel, off by at most `error`.
template <class Number>
struct Bounded {
  Number value, error;
};
/// The mean counted from 0, and invstd.
template <class Number>
Bounded<Number> plain_mean(const PlainStatistics<Number>& s, const Number& shift) {
  using std::abs;
  const Number mean = shift + s.mean;
  return {mean, 1.001 * (s.mean_error + unit * abs(mean)) + underflow_error};
}
template <class Number>
Bounded<Number> plain_invstd(const InverseDeviation<Number>& r) {
  return {r.value, 1.001 * r.value * r.error};
}
/// The variance times n / (n - 1), which is `unbias` rounded.
template <class Number>
Bounded<Number> plain_unbiased(const PlainStatistics<Number>& s, double unbias) {
  using std::abs;
  const Number variance = s.variance * unbias;
  return {variance, 1.001 * (unbias * s.variance_error + 2 * unit * abs(variance)) + underflow_error};
}
/// A running statistic after the update by `fed`.
template <class Number>
Bounded<Number> plain_running(const Number& old, const Bounded<Number>& fed, double weight) {
  using std::abs;
  const Number kept = (1 - weight) * old;
  const Number fresh = weight * fed.value;
  return {kept + fresh,
          1.001 * (std::abs(weight) * fed.error + 3 * unit * (abs(kept) + abs(fresh))) + underflow_error};
}

// --- lines ---

/// A line, and whether it may be used.
template <class Number>
struct Drawn {
  LineOf<Number> line;
  Condition<Number> usable;
};

/// What the largest |d| and |w| make of the bounds of single elements. In float the constant is rounded
/// `of_constant` times.
template <class Number>
void finish(LineOf<Number>& line, const Number& most_d, const Number& most_w, int of_constant, double scale) {
  using std::abs;
  const double factor = scale * (1 + 0x1p-10);
  line.error_0 = factor * line.error_0 + 0x1p-1000;
  line.error_d = factor * line.error_d;
  line.error_own = factor * line.error_own;
  line.error_w = factor * line.error_w;
  line.error = line.error_0 + line.error_d * (most_d + abs(line.centre)) + line.error_own * most_d +
               line.error_w * most_w;
  const Number slope = abs(line.slope) * most_d;
  const Number weight = abs(line.weight) * most_w;
  const Number constant = abs(line.constant);
  const auto fits = [](const Number& v) {
    return is_within(v, 0x1p-100, 0x1p100);
  };
  const Number most = Number(0x1p100);
  const auto in_float =
      every(fits(line.slope), fits(line.weight), fits(line.shift), slope + weight + constant < most,
            most_d < most, most_w < most, rounded_to_float(line.shift) == line.shift);
  const Number of_slope = select(line.shift == Number(0), Number(2), Number(3));
  const Number roundings = of_slope * slope + 3 * weight + of_constant * constant;
  line.float_error =
      select(in_float, (1 + 0x1p-10) * (line.error + scale * float_unit * roundings) + 0x1.8p-149,
             Number(std::numeric_limits<double>::infinity()));
}

/// y = slope d + constant.
template <class Number>
Drawn<Number> forward_line(const PlainStatistics<Number>& s, const InverseDeviation<Number>& r,
                           const Number& most_d, const Number& shift, const Number& gamma, const Number& beta,
                           double scale = 1) {
  using std::abs;
  LineOf<Number> line;
  line.shift = shift;
  line.slope = gamma * r.value;
  const Number part = line.slope * s.mean;
  line.constant = beta - part;
  const Number slope = abs(line.slope);
  // The relative error of the slope acts on d - mean alone: the constant was made with the same slope.
  line.centre = s.mean;
  line.error_d = slope * r.error;
  line.error_own = 3 * unit * slope;
  line.error_0 =
      slope * (s.mean_error + unit * abs(s.mean)) + 3 * unit * abs(line.constant) + unit * abs(part);
  finish(line, most_d, Number(0), 2, scale);
  return {line, every(r.usable, is_moderate(gamma), is_moderate(beta), most_d < Number(0x1p300),
                      is_moderate(shift))};
}

/// Errors of G = sum dy and D = sum dy d; ww and dd are the norms' squares.
template <class Number>
struct GradientErrors {
  Number sum, dot;
};
template <class Number>
GradientErrors<Number> gradient_errors(double n, const Number& ww, const Number& dd, const Number& most_d,
                                       const Number& most_w, const SumErrors& g) {
  using std::sqrt;
  const double lost = n * squares_underflow;
  const Number norm_w = sqrt(ww);
  return {1.01 * g.first * (std::sqrt(n) * norm_w + lost),
          1.01 * g.second * (norm_w * sqrt(dd) + lost * (most_d + most_w)) + n * 0x1p-1070};
}

/// What dx is made of: G and D (hi + lo rounded), the squares of the norms, the largest |d| and |dy|.
template <class Number>
struct GradientMoments {
  Number sum, dot, ww, dd, most_d, most_w;
};

/// Whether the sums and what they are scaled with are far from the ends of the range.
template <class Number>
Condition<Number> is_usable(const GradientMoments<Number>& m, const Number& shift, const Number& invstd,
                            const Number& gamma) {
  const auto small = [](const Number& v) {
    return is_within(v, 0x1p-160, 0x1p160);
  };
  const Number most = Number(0x1p160);
  const Number infinite = Number(std::numeric_limits<double>::infinity());
  return every(small(invstd), small(gamma), is_moderate(shift), m.most_d < most, m.most_w < most,
               m.ww < infinite, m.dd < infinite);
}

/// dx = slope d + weight dy + constant.
template <class Number>
Drawn<Number> backward_line(const GradientMoments<Number>& m, const GradientErrors<Number>& errors, double n,
                            const Number& shift, const Number& invstd, const Number& gamma,
                            double scale = 1) {
  using std::abs;
  LineOf<Number> line;
  line.shift = shift;
  line.weight = gamma * invstd;
  const Number cube = line.weight * (invstd * invstd);
  line.slope = -(cube * (m.dot / n));
  line.constant = -(line.weight * (m.sum / n));
  line.error_0 = abs(line.weight) * errors.sum / n + 7 * unit * abs(line.constant);
  line.error_own = abs(cube) * errors.dot / n + 9 * unit * abs(line.slope);
  line.error_w = 4 * unit * abs(line.weight);
  finish(line, m.most_d, m.most_w, 3, scale);
  return {line, is_usable(m, shift, invstd, gamma)};
}

/// dbeta, and dgamma.
template <class Number>
Bounded<Number> plain_dbeta(const GradientMoments<Number>& m, const GradientErrors<Number>& errors) {
  using std::abs;
  return {m.sum, 1.001 * (errors.sum + unit * abs(m.sum)) + underflow_error};
}
template <class Number>
Bounded<Number> plain_dgamma(const GradientMoments<Number>& m, const GradientErrors<Number>& errors,
                             const Number& invstd) {
  using std::abs;
  const Number value = m.dot * invstd;
  return {value, 1.001 * (abs(invstd) * errors.dot + 2 * unit * abs(value)) + underflow_error};
}

}  // namespace normproof::reference
