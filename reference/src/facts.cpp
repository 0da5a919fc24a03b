// Exactness (spec/bounds/exact.md). A flag is set only if every addition tree is exact, whatever its shape:
// all terms are multiples of one power of two g, and the sum of their magnitudes is at most 2^p g, so every
// partial sum of every subset is a multiple of g of at most p bits. Where in doubt a flag stays down: the
// clause is then not tried.
#include "facts.h"

#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "normproof/reference/double_double.h"

namespace normproof::reference {
namespace {

/// Representable and not subnormal: a kernel that flushes subnormals is exact too.
bool is_clean(const Format& format, double v) {
  return is_representable(format, v) && std::isfinite(v) &&
         (v == 0 || std::abs(v) >= smallest_normal(format));
}

/// The dyadic as a double, if a double holds it.
std::optional<double> as_double(const Dyadic& v) {
  if (v.sign() == 0)
    return 0;
  const Integer magnitude = abs(v.significand);
  const auto zeros = lsb(magnitude);
  if (msb(magnitude) - zeros >= 53)
    return std::nullopt;
  const auto odd = static_cast<double>(static_cast<std::uint64_t>(magnitude >> zeros));
  const std::int64_t exponent = v.exponent + static_cast<std::int64_t>(zeros);
  if (exponent < -1074 || exponent > 1023)
    return std::nullopt;
  const double value = std::ldexp(odd, static_cast<int>(exponent));
  if (!std::isfinite(value))
    return std::nullopt;
  return v.sign() < 0 ? -value : value;
}

/// Every tree of sums of multiples of 2^granularity whose magnitudes add up to `total` is exact.
bool sums_exactly(const Format& format, const Dyadic& total, std::int64_t granularity) {
  return granularity >= format.emin && compare(total, Dyadic(Integer(1), granularity + format.p)) <= 0 &&
         compare(total, Dyadic(largest(format))) <= 0;
}

/// The squares of x - mean: the sum of (k_i)^2 for x_i - mean = k_i 2^granularity must fit p bits; then every
/// difference, every square and every partial sum does. Stops at the first excess.
bool squares_sum_exactly(const double* x, std::int64_t n, double mean, const Format& format) {
  std::int64_t granularity = 0;
  bool any = false;
  for (std::int64_t i = 0; i < n; ++i) {
    const double d = x[i] - mean;
    if (!is_clean(format, d) || two_sum(x[i], -mean).lo != 0)
      return false;
    if (d == 0)
      continue;
    const Dyadic exact(d);  // odd significand
    granularity = any ? std::min(granularity, exact.exponent) : exact.exponent;
    any = true;
  }
  if (!any)
    return true;
  const double limit = std::ldexp(1.0, format.p);
  double total = 0;  // integers below 2^54: exact
  for (std::int64_t i = 0; i < n; ++i) {
    const double k = std::ldexp(x[i] - mean, static_cast<int>(-granularity));
    if (std::abs(k) > std::sqrt(limit))
      return false;
    total += k * k;
    if (total > limit)
      return false;
  }
  const double sum = std::ldexp(total, static_cast<int>(2 * granularity));
  return 2 * granularity >= format.emin && is_clean(format, sum) &&
         is_clean(format, sum / static_cast<double>(n));
}

bool is_exact_pair(const ChannelSums& sums, const Format& format) {
  const auto mean = as_double({sums.sum.significand, sums.sum.exponent - 1});
  const auto difference = as_double(Dyadic(sums.max) - Dyadic(sums.min));
  if (!mean || !difference || !is_clean(format, *mean) || !is_clean(format, *difference))
    return false;
  const double d = *difference / 2;
  const auto square = as_double(Dyadic(d) * Dyadic(d));
  // 2 d^2, 4 d^2 and 2 mean are formed too: the same significands, larger exponents.
  return is_clean(format, d) && square && is_clean(format, *square) && is_clean(format, 4 * *square) &&
         is_clean(format, 2 * *mean);
}

}  // namespace

Exactness exactness_of(const double* x, const ChannelSums& sums, const Format& accumulator) {
  Exactness exact;
  if (!sums.finite || sums.n == 0)
    return exact;
  exact.constant = sums.min == sums.max;
  exact.pair = sums.n == 2 && is_exact_pair(sums, accumulator);
  const int log_n = std::countr_zero(static_cast<std::uint64_t>(sums.n));
  if (sums.n != std::int64_t{1} << log_n || log_n > accumulator.p)
    return exact;
  if (!sums_exactly(accumulator, sums.sum_abs, sums.granularity))
    return exact;
  const std::optional<double> mean = as_double({sums.sum.significand, sums.sum.exponent - log_n});
  exact.mean = mean && is_clean(accumulator, *mean);
  exact.variance = exact.mean && squares_sum_exactly(x, sums.n, *mean, accumulator);
  return exact;
}

bool sums_exactly(const Format& accumulator, const WeightedSums& sums) {
  return sums.finite &&
         (sums.sum_abs.sign() == 0 || sums_exactly(accumulator, sums.sum_abs, sums.granularity));
}

namespace {

/// a + b and a b; an infinity, which is clean in no format, where a double does not hold them.
double exact_sum(double a, double b) {
  const DoubleDouble s = two_sum(a, b);
  return s.lo == 0 ? s.hi : HUGE_VAL;
}
double exact_product(double a, double b) {
  const double p = a * b;
  if (a == 0 || b == 0)
    return 0;
  // Where the error of the product could underflow, nothing is claimed.
  return std::abs(p) > 0x1p-900 && std::fma(a, b, -p) == 0 ? p : HUGE_VAL;
}

/// v 2^k; an infinity where a double would underflow.
double exact_shift(double v, int k) {
  const double shifted = std::ldexp(v, k);
  return v == 0 || std::abs(shifted) >= std::numeric_limits<double>::min() ? shifted : HUGE_VAL;
}

/// The exponent of +-2^k.
std::optional<int> power_of_two(double v) {
  if (v == 0 || !std::isfinite(v) || std::abs(v) != std::ldexp(1.0, std::ilogb(v)))
    return std::nullopt;
  return std::ilogb(v);
}

/// The sum of the magnitudes of the terms is at most 2^p times the power of two that divides them all.
/// Returns the exact sum, which a double then holds.
template <class Term>
std::optional<double> summed(std::int64_t n, const Format& format, const Term& term) {
  std::int64_t granularity = 0;
  bool any = false;
  for (std::int64_t i = 0; i < n; ++i) {
    const double t = term(i);
    if (!is_clean(format, t))
      return std::nullopt;
    if (t == 0)
      continue;
    const std::int64_t exponent = Dyadic(t).exponent;  // odd significand
    granularity = any ? std::min(granularity, exponent) : exponent;
    any = true;
  }
  if (any && granularity < format.emin)
    return std::nullopt;
  const double limit = std::ldexp(1.0, format.p);
  double magnitude = 0;  // integers below 2^54: exact
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double k = std::ldexp(term(i), static_cast<int>(-granularity));
    if (std::abs(k) > limit)
      return std::nullopt;
    magnitude += std::abs(k);
    sum += k;
    if (magnitude > limit)
      return std::nullopt;
  }
  return std::ldexp(sum, static_cast<int>(granularity));
}

}  // namespace

GradientExactness gradient_exactness(const GivenGradient& g, bool sum_is_exact, const Format& accumulator) {
  GradientExactness exact;
  const std::optional<int> j = power_of_two(g.invstd);
  if (!sum_is_exact || !j || g.invstd < 0 || g.n == 0 || !std::isfinite(g.mean))
    return exact;
  const auto clean = [&](double v) {
    return is_clean(accumulator, v);
  };
  const auto deviation = [&](std::int64_t i) {
    return exact_sum(g.x[i], -g.mean);
  };
  // J2
  for (std::int64_t i = 0; i < g.n; ++i) {
    const double d = deviation(i);
    if (!clean(d) || !clean(exact_shift(d, *j)) || !clean(exact_shift(exact_product(g.dy[i], d), *j)))
      return exact;
  }
  const std::optional<double> dot =
      summed(g.n, accumulator, [&](std::int64_t i) { return exact_product(g.dy[i], deviation(i)); });
  exact.dgamma = dot && clean(*dot) && clean(exact_shift(*dot, *j));
  if (!exact.dgamma)
    return exact;

  // J3. Powers of two among gamma, r, r, n, 1 / n may be applied to any listed number in any order.
  const std::optional<int> k = power_of_two(static_cast<double>(g.n));
  const std::optional<int> i_gamma = g.gamma == 0 ? std::optional(0) : power_of_two(g.gamma);
  if (!k || *k > accumulator.p || !i_gamma)
    return exact;
  int lowest = 0;
  int highest = 0;
  for (const int power : {*i_gamma, *j, *j, *k, -*k})
    (power < 0 ? lowest : highest) += power;
  const auto robust = [&](double v) {
    return clean(v) && (v == 0 || (std::ilogb(v) + lowest >= accumulator.emin &&
                                   std::ilogb(v) + highest <= accumulator.emax));
  };
  const double mean_dy = exact_shift(g.sum, -*k);
  if (!robust(1) || !robust(*dot) || !robust(g.sum) || !robust(mean_dy))
    return exact;
  for (std::int64_t i = 0; i < g.n; ++i) {
    const double d = deviation(i);
    const double t = exact_product(d, *dot);
    const double part = exact_shift(t, 2 * *j - *k);
    const double rest = exact_sum(g.dy[i], -mean_dy);
    for (const double v : {g.dy[i], d, t, part, rest, exact_sum(part, -g.dy[i]), exact_sum(part, mean_dy),
                           exact_sum(rest, -part)})
      if (!robust(v))
        return exact;
  }
  exact.dx = true;
  return exact;
}

}  // namespace normproof::reference
