// The forward truths: every output from forward.h over balls, rounded by settle.h, in doubt by the arbiter.
// On the certified route double-doubles with a bound come first.
#include "forward_channel.h"

#include "elements.h"
#include "facts.h"

namespace normproof::reference {
namespace {

/// The weight of the new batch.
Quotient weight_of_new(const Case& c) {
  if (!c.problem.momentum)
    return {Dyadic(1.0), Integer(c.num_batches_tracked) + 1};
  const Dyadic momentum(*c.problem.momentum);
  if (c.problem.semantics.momentum == MomentumSense::weight_of_new)
    return {momentum, 1};
  return {Dyadic(1.0) - momentum, 1};
}

Normaliser normaliser_of(const Case& c, const ChannelSums& sums, std::size_t channel) {
  const Problem& p = c.problem;
  if (p.pass == Pass::forward_training)
    return {mean_of(sums), variance_of(sums, p.semantics.normalising), p.eps, p.semantics, true};
  return {c.running_mean[channel], c.running_var[channel], p.eps, p.semantics, false};
}

}  // namespace

ForwardChannel::ForwardChannel(const Case& c, std::int64_t channel, Route route)
    : case_(c),
      problem_(c.problem),
      route_(route),
      channel_(static_cast<std::size_t>(channel)),
      x_(c.channel(channel)),
      sums_(route == Route::certified ? sums_of(x_, c.problem.shape.per_channel())
                                      : plain_sums_of(x_, c.problem.shape.per_channel())),
      normaliser_(normaliser_of(c, sums_, channel_)),
      gamma_(c.gamma.empty() ? 1 : c.gamma[channel_]),
      beta_(c.beta.empty() ? 0 : c.beta[channel_]) {}

Rounded ForwardChannel::rational(const Statistic& s) {
  if (route_ == Route::certified && s.is_finite())
    if (const auto fast = certified(problem_.stats, enclosed(s.exact)))
      return counted(*fast, effort);
  return settled(problem_.stats, s, effort);
}

Rounded ForwardChannel::invstd() {
  if (normaliser_.special_invstd())
    return {*normaliser_.special_invstd(), 0};
  const auto& root = normaliser_.root();
  if (route_ == Route::certified)
    if (const auto& scale = normaliser_.scale())
      if (const auto fast = certified(problem_.stats, enclosed(*scale, {Dyadic(1.0), 1}, 0)))
        return counted(*fast, effort);
  return settle(
      problem_.stats, [&](auto tier) { return normaliser_.at<tier>().invstd; },
      [&](const Dyadic& m) {
        return root ? side_of(compare_scaled_root({Dyadic(1.0), 1}, *root, {}, m)) : Side::unknown;
      },
      effort);
}

double ForwardChannel::difference_kind(double x) const {
  const Statistic& mean = normaliser_.mean();
  if (!std::isfinite(x) || !mean.is_finite())
    return x - mean.kind();
  return -static_cast<double>(compare(mean.exact, Dyadic(x)));
}

Rounded ForwardChannel::special_y(double x) const {
  const double r = normaliser_.special_invstd() ? kind_of(*normaliser_.special_invstd()) : 1;
  return {affine(difference_kind(x) * r, kind_of(gamma_), std::isfinite(beta_) ? 0 : beta_), 0};
}

Rounded ForwardChannel::y(double x) {
  const Statistic& mean = normaliser_.mean();
  const auto& special_invstd = normaliser_.special_invstd();
  const bool all_finite = std::isfinite(x) && mean.is_finite() && std::isfinite(gamma_) &&
                          std::isfinite(beta_) && (!special_invstd || *special_invstd == 0);
  if (!all_finite)
    return special_y(x);
  if (x == normaliser_.representable_mean() || gamma_ == 0 || special_invstd == 0.0) {
    // Exactly beta, which the format of y need not hold.
    return settled(problem_.data, beta_, effort);
  }
  const auto compared = [&](const Dyadic& m) {
    if (!normaliser_.root())
      return Side::unknown;
    const Quotient scaled =
        Quotient{Dyadic(x) * mean.exact.denominator - mean.exact.numerator, mean.exact.denominator} *
        Quotient{Dyadic(gamma_), 1};
    return side_of(compare_scaled_root(scaled, *normaliser_.root(), Dyadic(beta_), m));
  };
  const auto at = [&](auto tier) {
    using Number = Ball<RealOf<tier>>;
    const auto& s = normaliser_.at<tier>();
    return affine(normalised(Number(x), s.mean, s.invstd), Number(gamma_), Number(beta_));
  };
  return settle(problem_.data, at, compared, effort);
}

std::optional<Form> ForwardChannel::form() const {
  const Statistic& mean = normaliser_.mean();
  const bool all_finite = mean.is_finite() && std::isfinite(gamma_) && std::isfinite(beta_);
  if (!all_finite || !normaliser_.scale() || !(sums_.max_abs() <= 0x1p400))
    return std::nullopt;
  Linear centred = -mean.exact;
  centred.x = Dyadic(Integer(1), 0) * centred.denominator;
  return form_of(*normaliser_.scale(), Quotient{Dyadic(gamma_), 1} * centred, beta_, normaliser_.centre());
}

void ForwardChannel::all_y(double* rn, double* off) {
  const auto one = [&](std::int64_t i) {
    return y(x_[i]);
  };
  decide_elements(route_ == Route::certified ? form() : std::nullopt, problem_.data,
                  {x_, nullptr, nullptr, sums_.n}, one, rn, off, effort);
}

Rounded ForwardChannel::running_mean() {
  return running(case_.running_mean[channel_], normaliser_.mean());
}

Rounded ForwardChannel::running_variance() {
  return running(case_.running_var[channel_], variance_of(sums_, problem_.semantics.running));
}

Rounded ForwardChannel::running(double before, const Statistic& batch) {
  if (sums_.n == 0)  // BN-FWD-11
    return {before, 0};
  const Quotient weight = weight_of_new(case_);
  const Quotient rest = Quotient{Dyadic(1.0), 1} + Quotient{-weight.numerator, weight.denominator};
  if (!std::isfinite(before) || !batch.is_finite()) {
    const double kept = rest.numerator.sign() * kind_of(before);
    const double fresh = weight.numerator.sign() * batch.kind();
    return {std::isfinite(kept) ? fresh : std::isfinite(fresh) ? kept : kept + fresh, 0};
  }
  const Quotient after = rest * Quotient{Dyadic(before), 1} + weight * batch.exact;
  if (route_ == Route::certified)
    if (const auto fast = certified(problem_.stats, enclosed(after)))
      return counted(*fast, effort);
  return settle(
      problem_.stats,
      [&](auto tier) {
        using Real = RealOf<tier>;
        return updated(Ball<Real>(before), ball<Real>(batch.exact), ball<Real>(weight));
      },
      [&](const Dyadic& m) { return side_of(compare(after, m)); }, effort);
}

ChannelFacts ForwardChannel::facts() {
  ChannelFacts facts = facts_of(sums_, normaliser_);
  if (training())
    facts.exact = exactness_of(x_, sums_, problem_.accumulator());
  return facts;
}

namespace {

/// sqrt(q), also where q itself is beyond the doubles.
double root_of_fact(const Quotient& q) {
  const double value = approximation(q).hi;
  if (std::isnormal(value) || q.numerator.sign() == 0)
    return std::sqrt(value);
  using Real = RealOf<0>;
  return static_cast<double>(Real(sqrt(ball<Real>(q).value)));
}

}  // namespace

ChannelFacts facts_of(const ChannelSums& sums, Normaliser& normaliser) {
  const Statistic& mean = normaliser.mean();
  const Statistic& variance = normaliser.variance();
  ChannelFacts facts;
  facts.n = sums.n;
  facts.finite = sums.finite;
  facts.mean_hi = mean.special.value_or(nan);
  facts.variance = variance.special.value_or(nan);
  facts.deviation = std::sqrt(facts.variance);
  facts.invstd = normaliser.special_invstd().value_or(nan);
  facts.mean_abs = facts.rms = facts.max_abs = nan;
  if (mean.is_finite()) {
    const DoubleDouble value = approximation(mean.exact);
    facts.mean_hi = value.hi;
    facts.mean_lo = value.lo;
  }
  if (variance.is_finite()) {
    const DoubleDouble value = approximation(variance.exact);
    facts.variance = value.hi;
    facts.deviation = value.hi < 0 ? nan : root_of_fact(variance.exact);
  }
  if (normaliser.scale())
    facts.invstd = normaliser.scale()->hi;
  else if (!normaliser.special_invstd() && (variance.is_finite() || normaliser.given_invstd()))
    facts.invstd = static_cast<double>(normaliser.at<0>().invstd.value);
  if (sums.finite && sums.n > 0) {
    facts.mean_abs = approximation(Quotient{sums.sum_abs, sums.n}).hi;
    facts.rms = root_of_fact(Quotient{sums.squares, sums.n});
    facts.max_abs = sums.max_abs();
  }
  return facts;
}

}  // namespace normproof::reference
