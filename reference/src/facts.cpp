// Exactness (spec/bounds/exact.md). A flag is set only if every addition tree is exact, whatever its shape:
// all terms are multiples of one power of two g, and the sum of their magnitudes is at most 2^p g, so every
// partial sum of every subset is a multiple of g of at most p bits. Where in doubt a flag stays down: the
// clause is then not tried.
#include "facts.h"

#include <bit>
#include <cmath>
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

}  // namespace normproof::reference
