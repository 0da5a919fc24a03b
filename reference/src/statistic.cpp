// Statistics of a channel from its exact sums, and what IEEE arithmetic makes of the special ones.
#include "statistic.h"

namespace normproof::reference {

Statistic mean_of(const ChannelSums& sums) {
  if (!sums.finite)
    return sums.special;
  if (sums.n == 0)
    return nan;
  return Quotient{sums.sum, sums.n};
}

/// sum (x - mean)^2 / n = (n sum x^2 - (sum x)^2) / n^2; unbiased with n (n - 1) below.
Statistic variance_of(const ChannelSums& sums, VarianceKind kind) {
  const Integer n = sums.n;
  const Integer divisor = n * (kind == VarianceKind::biased ? n : Integer(n - 1));
  if (!sums.finite || divisor == 0)
    return nan;
  return Quotient{sums.squares * n - sums.sum * sums.sum, divisor};
}

Rounded settled(const Format& format, const Statistic& s, Effort& effort) {
  if (!s.is_finite())
    return {*s.special, 0};
  return settle(
      format, [&](auto tier) { return ball<RealOf<tier>>(s.exact); },
      [&](const Dyadic& m) { return side_of(compare(s.exact, m)); }, effort);
}

Normaliser::Normaliser(Statistic mean, Statistic variance, double eps, const Semantics& semantics,
                       bool training)
    : mean_(std::move(mean)),
      variance_(std::move(variance)),
      eps_(eps),
      placement_(semantics.eps) {
  find_representable_mean();
  if (variance_.is_finite())
    root_ = root_of(variance_.exact, eps_, placement_);
  // 1/invstd as far as IEEE arithmetic cares: sign, zero, infinity, NaN. v + eps may cancel; the root, which
  // is exact, says so.
  const double v = variance_.kind();
  const double r = root_ ? 1 / std::sqrt(static_cast<double>(root_->numerator.sign()))
                         : reference::invstd(v, kind_of(eps_), placement_);
  const bool zero_by_decree = training && semantics.zero_eps == ZeroEps::zero_invstd && eps_ == 0 && v == 0;
  if (zero_by_decree)
    special_invstd_ = 0.0;
  else if (!std::isfinite(r) || r == 0)
    special_invstd_ = r;
  else if (!variance_.is_finite())
    special_invstd_ = reference::invstd(v, eps_, placement_);
  if (special_invstd_ == 0.0)
    given_ = Quotient{};
  find_scale();
}

Normaliser::Normaliser(Statistic mean, double invstd) : mean_(std::move(mean)), variance_(nan) {
  find_representable_mean();
  if (std::isfinite(invstd))
    given_ = Quotient{Dyadic(invstd), 1};
  if (!std::isfinite(invstd) || invstd == 0)
    special_invstd_ = invstd;
  find_scale();
}

void Normaliser::find_representable_mean() {
  if (!mean_.is_finite())
    return;
  const DoubleDouble nearest = approximation(mean_.exact);
  centre_ = nearest.hi;
  // The rest of a mean that a double holds is 0 or what was cut off.
  if (std::abs(nearest.lo) <= 0x1p-100 * std::abs(nearest.hi) &&
      compare(mean_.exact, Dyadic(nearest.hi)) == 0)
    representable_mean_ = nearest.hi;
}

void Normaliser::find_scale() {
  if (special_invstd_ || !mean_.is_finite())
    return;
  if (given_)
    scale_ = double_double(*given_);
  else if (root_)
    if (const auto s = double_double(*root_))
      scale_ = inverse_root(*s);
}

}  // namespace normproof::reference
