// The backward truths: sums as exact integers, once per channel; every output r P + shift from backward.h,
// over balls first, and where these leave something open with P exact. On the certified route double-doubles
// with a bound come before the balls.
#include "backward_channel.h"

#include "facts.h"
#include "forward_channel.h"

namespace normproof::reference {
namespace {

Normaliser normaliser_of(const Case& c, const ChannelSums& sums, std::size_t channel) {
  const Problem& p = c.problem;
  switch (p.pass) {
  case Pass::gradient:
    return {mean_of(sums), variance_of(sums, p.semantics.normalising), p.eps, p.semantics, true};
  case Pass::backward_inference:
  case Pass::double_backward_inference:
    return {c.running_mean[channel], c.running_var[channel], p.eps, p.semantics, false};
  default:
    return {c.saved_mean[channel], c.saved_invstd[channel]};
  }
}

Quotient over(const Dyadic& sum, std::int64_t n) {
  return {sum, n};
}
Quotient over(const Quotient& sum, std::int64_t n) {
  return {sum.numerator, sum.denominator * n};
}

/// The reciprocal of a positive number.
Quotient reciprocal(const Quotient& q) {
  return {Dyadic(q.denominator, -q.numerator.exponent), q.numerator.significand};
}

/// sum w (x - m) of exact sums.
Quotient centred(const Dyadic& with_x, const Dyadic& sum, const Quotient& mean) {
  return {with_x * mean.denominator - sum * mean.numerator, mean.denominator};
}

/// A fact: below 2^-45 off.
double as_fact(const Quotient& q) {
  return approximation(q).hi;
}

// The gradients over r, for balls and for linear forms.
constexpr auto dx_formula = [](const auto& s, const auto& dy, const auto&, const auto& c) {
  return dx_over_r(s, dy, c);
};
constexpr auto grad_dy_formula = [](const auto& s, const auto&, const auto& cotangent, const auto& c) {
  return grad_dy_over_r(s, cotangent, c);
};
constexpr auto constant_grad_dy_formula = [](const auto& s, const auto&, const auto& cotangent,
                                             const auto& c) {
  return s.gamma * cotangent + s.v_gamma * c;
};
constexpr auto grad_x_formula = [](const auto& s, const auto& dy, const auto& cotangent, const auto& c) {
  return grad_x_over_r(s, dy, cotangent, c);
};

}  // namespace

BackwardChannel::BackwardChannel(const Case& c, std::int64_t channel, Route route)
    : case_(c),
      problem_(c.problem),
      route_(route),
      channel_(static_cast<std::size_t>(channel)),
      n_(c.problem.shape.per_channel()),
      x_(c.channel(channel)),
      dy_(c.channel(c.dy, channel)),
      v_(c.v_x.empty() ? nullptr : c.channel(c.v_x, channel)),
      sums_(route == Route::certified ? sums_of(x_, n_) : plain_sums_of(x_, n_)),
      normaliser_(normaliser_of(c, sums_, channel_)),
      gamma_(c.gamma.empty() ? 1 : c.gamma[channel_]),
      v_gamma_(c.v_gamma.empty() ? 0 : c.v_gamma[channel_]),
      v_beta_(c.v_beta.empty() ? 0 : c.v_beta[channel_]) {
  const Statistic& mean = normaliser_.mean();
  const bool with_x = sums_.finite && mean.is_finite();
  double mean_hi = 0;
  double mean_lo = 0;
  if (mean.is_finite()) {
    const DoubleDouble value = approximation(mean.exact);
    mean_hi = value.hi;
    mean_lo = value.lo;
  }
  dy_sums_ = weighted(dy_, with_x, mean_hi, mean_lo);
  if (with_x)
    dy_c_ = centred(dy_sums_.with_x, dy_sums_.sum, mean.exact);
  if (v_ != nullptr)
    take_cotangent(with_x, mean_hi, mean_lo);
  if (has_numbers() && n_ > 0)
    take_coefficients();
}

WeightedSums BackwardChannel::weighted(const double* w, bool with_x, double mean_hi, double mean_lo) const {
  const double* x = with_x ? x_ : nullptr;
  return route_ == Route::certified ? weighted_sums_of(w, x, n_, mean_hi, mean_lo)
                                    : plain_weighted_sums_of(w, x, n_, mean_hi, mean_lo);
}

void BackwardChannel::take_cotangent(bool with_x, double mean_hi, double mean_lo) {
  v_sums_ = weighted(v_, with_x, mean_hi, mean_lo);
  if (with_x)
    v_c_ = centred(v_sums_.with_x, v_sums_.sum, normaliser_.mean().exact);
  if (dy_sums_.finite && v_sums_.finite) {
    const Dot v_dy = route_ == Route::certified ? dot_of(v_, dy_, n_) : plain_dot_of(v_, dy_, n_);
    v_dy_ = v_dy.sum;
    v_dy_abs_ = v_dy.magnitude;
  }
}

bool BackwardChannel::has_numbers() const {
  return normaliser_.mean().is_finite() && invstd_is_number();
}

/// Everything but r^2 where that is not rational.
void BackwardChannel::take_coefficients() {
  ChannelGradient<Quotient>& s = exact_;
  s.gamma = {Dyadic(std::isfinite(gamma_) ? gamma_ : 0), 1};  // else nobody asks
  s.v_gamma = {Dyadic(std::isfinite(v_gamma_) ? v_gamma_ : 0), 1};
  s.mean_dy = over(dy_sums_.sum, n_);
  s.mean_dy_c = over(dy_c_, n_);
  s.mean_v = over(v_sums_.sum, n_);
  s.mean_v_c = over(v_c_, n_);
  s.mean_v_dy = over(v_dy_, n_);
  const auto& given = normaliser_.given_invstd();
  const auto& root = normaliser_.root();
  if (given) {
    s.r2 = *given * *given;
  } else if (root) {
    const bool flat = problem_.semantics.eps == EpsPlacement::clamped &&
                      compare(normaliser_.variance().exact, Dyadic(problem_.eps)) < 0;
    if (!flat)
      s.r2 = reciprocal(*root) * bessel();
  } else {
    // No term in xhat: in a constant channel (BN-BWD-10), and where the statistics are constants.
    is_rational_ = constants() || normaliser_.variance().kind() == 0;
  }
}

/// d(v)/dx = 2 (x - m) / n times this.
Quotient BackwardChannel::bessel() const {
  const bool unbiased =
      problem_.pass == Pass::gradient && problem_.semantics.normalising == VarianceKind::unbiased && n_ > 1;
  return unbiased ? Quotient{Dyadic(Integer(n_), 0), n_ - 1} : Quotient{Dyadic(1.0), 1};
}

template <std::size_t Tier>
const ChannelGradient<Ball<RealOf<Tier>>>& BackwardChannel::gradient_at() {
  using Real = RealOf<Tier>;
  auto& stored = std::get<Tier>(tiers_);
  if (stored)
    return *stored;
  const auto& statistics = normaliser_.at<Tier>();
  ChannelGradient<Ball<Real>> s{ball<Real>(exact_.gamma),     ball<Real>(exact_.v_gamma),
                                ball<Real>(exact_.r2),        ball<Real>(exact_.mean_dy),
                                ball<Real>(exact_.mean_dy_c), ball<Real>(exact_.mean_v),
                                ball<Real>(exact_.mean_v_c),  ball<Real>(exact_.mean_v_dy)};
  if (!is_rational_)
    s.r2 =
        invstd_slope(statistics.variance, statistics.invstd, problem_.semantics.eps) * ball<Real>(bessel());
  return stored.emplace(std::move(s));
}

Rounded BackwardChannel::rational(const Format& format, const Statistic& s) {
  if (route_ == Route::certified && s.is_finite())
    if (const auto fast = certified(format, enclosed(s.exact)))
      return counted(*fast, effort);
  return settled(format, s, effort);
}

Rounded BackwardChannel::scaled(const Format& format, const Quotient& over_r, double shift) {
  if (over_r.numerator.sign() == 0)
    return settled(format, shift, effort);
  if (route_ == Route::certified)
    if (const auto& scale = normaliser_.scale())
      if (const auto fast = certified(format, enclosed(*scale, over_r, shift)))
        return counted(*fast, effort);
  if (const auto& given = normaliser_.given_invstd())
    return settled(format, *given * over_r + Quotient{Dyadic(shift), 1}, effort);
  const auto at = [&](auto tier) {
    using Real = RealOf<tier>;
    const Ball<Real> product = normaliser_.at<tier>().invstd * ball<Real>(over_r);
    return shift == 0 ? product : product + Ball<Real>(shift);
  };
  const auto compared = [&](const Dyadic& m) {
    const auto& root = normaliser_.root();
    return root ? side_of(compare_scaled_root(over_r, *root, Dyadic(shift), m)) : Side::unknown;
  };
  return settle(format, at, compared, effort);
}

template <class Formula>
Linear BackwardChannel::linear(const Formula& formula) const {
  Linear c = -normaliser_.mean().exact;
  c.x = Dyadic(Integer(1), 0) * c.denominator;
  Linear dy, cotangent;
  dy.dy = cotangent.v = Dyadic(1.0);
  return formula(exact_, dy, cotangent, c);
}

template <class Formula>
std::optional<Form> BackwardChannel::form(const Formula& formula, double shift) const {
  constexpr double most = 0x1p400;
  const bool usable = is_rational_ && normaliser_.scale() && sums_.max_abs() <= most &&
                      dy_sums_.max_abs <= most && v_sums_.max_abs <= most;
  if (!usable)
    return std::nullopt;
  return form_of(*normaliser_.scale(), linear(formula), shift, normaliser_.centre());
}

template <class One>
void BackwardChannel::all(const std::optional<Form>& form, const One& one, double* rn, double* off) {
  decide_elements(form, problem_.data, {x_, dy_, v_, n_}, one, rn, off, effort);
}

template <class Formula>
Rounded BackwardChannel::element(std::optional<Linear>& stored, const Formula& formula, std::int64_t i,
                                 double shift) {
  const auto by_balls = [&](auto tier) {
    using Number = Ball<RealOf<tier>>;
    const auto& statistics = normaliser_.at<tier>();
    const Number c = Number(x_[i]) - statistics.mean;
    const Number product = statistics.invstd * formula(gradient_at<tier>(), Number(dy_[i]), Number(v(i)), c);
    return shift == 0 ? product : product + Number(shift);
  };
  const Trial trial = attempt(problem_.data, by_balls(std::integral_constant<std::size_t, 0>{}));
  if (trial.certain) {
    ++effort.elements;
    return assemble(problem_.data, trial.whole, trial.quantum, trial.off, false);
  }
  if (!is_rational_)
    return settle(problem_.data, by_balls, [](const Dyadic&) { return Side::unknown; }, effort);
  if (!stored)
    stored = reduced(linear(formula));
  const std::int64_t escalated = effort.escalated;
  const Rounded result = scaled(problem_.data, stored->at(x_[i], dy_[i], v(i)), shift);
  effort.escalated = escalated + 1;
  return result;
}

Rounded BackwardChannel::dbeta() {
  if (!dy_sums_.finite)
    return {dy_sums_.special, 0};
  return rational(problem_.stats, Quotient{dy_sums_.sum, 1});
}

double BackwardChannel::special_dot() const {
  double sum = 0;
  for (std::int64_t i = 0; i < n_; ++i) {
    sum += kind_of(dy_[i]) * kind_of_deviation(i);
  }
  return sum;
}

double BackwardChannel::kind_of_deviation(std::int64_t i) const {
  const Statistic& mean = normaliser_.mean();
  const bool finite = std::isfinite(x_[i]) && mean.is_finite();
  return finite ? -static_cast<double>(compare(mean.exact, Dyadic(x_[i]))) : x_[i] - mean.kind();
}

bool BackwardChannel::invstd_is_number() const {
  const auto& special = normaliser_.special_invstd();
  return !special || *special == 0;
}

double BackwardChannel::kind_of_invstd() const {
  const auto& special = normaliser_.special_invstd();
  return special ? kind_of(*special) : 1;
}

Rounded BackwardChannel::dgamma() {
  if (n_ == 0)
    return {0, 0};  // BN-BWD-12
  const bool finite = dy_sums_.finite && sums_.finite && normaliser_.mean().is_finite();
  if (finite && has_numbers())
    return scaled(problem_.stats, dy_c_, 0);
  if (!constants())
    return {nan, 0};
  const double dot = finite ? dy_c_.numerator.sign() : special_dot();
  const double value = dot * kind_of_invstd();
  return {std::isfinite(value) && !finite ? nan : value, 0};
}

Rounded BackwardChannel::multiple_of_dy(double factor, std::int64_t i) {
  if (std::isfinite(dy_[i]) && std::isfinite(factor) && invstd_is_number())
    return scaled(problem_.data, {Dyadic(factor) * Dyadic(dy_[i]), 1}, 0);
  return {kind_of(factor) * kind_of_invstd() * kind_of(dy_[i]), 0};
}

Rounded BackwardChannel::dx(std::int64_t i) {
  if (constants())
    return multiple_of_dy(gamma_, i);
  if (!dx_is_finite())
    return {nan, 0};
  return element(dx_form_, dx_formula, i, 0);
}

bool BackwardChannel::dx_is_finite() const {
  return has_numbers() && sums_.finite && dy_sums_.finite && std::isfinite(gamma_);
}
bool BackwardChannel::grad_dy_is_finite() const {
  return has_numbers() && sums_.finite && v_sums_.finite && std::isfinite(gamma_) &&
         std::isfinite(v_gamma_) && std::isfinite(v_beta_);
}
bool BackwardChannel::grad_x_is_finite() const {
  return has_numbers() && sums_.finite && dy_sums_.finite && v_sums_.finite && std::isfinite(gamma_) &&
         std::isfinite(v_gamma_);
}

Rounded BackwardChannel::grad_dy(std::int64_t i) {
  if (constants())
    return constant_grad_dy(i);
  if (!grad_dy_is_finite())
    return {nan, 0};
  return element(grad_dy_form_, grad_dy_formula, i, v_beta_);
}

Rounded BackwardChannel::grad_x(std::int64_t i) {
  if (constants())
    return constant_grad_x(i);
  if (!grad_x_is_finite())
    return {nan, 0};
  return element(grad_x_form_, grad_x_formula, i, 0);
}

void BackwardChannel::all_dx(double* rn, double* off) {
  const auto one = [&](std::int64_t i) {
    return dx(i);
  };
  if (constants()) {
    all_multiples_of_dy(gamma_, one, rn, off);
    return;
  }
  const bool fast = route_ == Route::certified && n_ > 0 && dx_is_finite();
  all(fast ? form(dx_formula, 0) : std::nullopt, one, rn, off);
}

void BackwardChannel::all_multiples_of_dy(double factor, const auto& one, double* rn, double* off) {
  std::optional<Form> chosen;
  if (route_ == Route::certified && n_ > 0 && normaliser_.scale() && std::isfinite(factor) &&
      dy_sums_.max_abs <= 0x1p400) {
    Linear product;
    product.dy = Dyadic(factor);
    chosen = form_of(*normaliser_.scale(), product, 0, 0);
  }
  all(chosen, one, rn, off);
}

void BackwardChannel::all_grad_dy(double* rn, double* off) {
  const bool fast = route_ == Route::certified && n_ > 0 && grad_dy_is_finite() && sums_.finite;
  const auto formed = [&] {
    return constants() ? form(constant_grad_dy_formula, v_beta_) : form(grad_dy_formula, v_beta_);
  };
  all(fast ? formed() : std::nullopt, [&](std::int64_t i) { return grad_dy(i); }, rn, off);
}

void BackwardChannel::all_grad_x(double* rn, double* off) {
  if (constants()) {
    all_multiples_of_dy(v_gamma_, [&](std::int64_t i) { return grad_x(i); }, rn, off);
    return;
  }
  const bool fast = route_ == Route::certified && n_ > 0 && grad_x_is_finite();
  all(fast ? form(grad_x_formula, 0) : std::nullopt, [&](std::int64_t i) { return grad_x(i); }, rn, off);
}

Rounded BackwardChannel::grad_gamma() {
  if (n_ == 0)
    return {0, 0};
  if (constants())
    return constant_grad_gamma();
  if (!has_numbers() || !sums_.finite || !dy_sums_.finite || !v_sums_.finite)
    return {nan, 0};
  return scaled(problem_.stats, covariance(exact_) * Quotient{Dyadic(Integer(n_), 0), 1}, 0);
}

bool BackwardChannel::constant_grad_dy_is_finite(std::int64_t i) const {
  const bool of_v = v_ == nullptr || (std::isfinite(gamma_) && std::isfinite(v_[i]));
  const bool of_x =
      !with_v_gamma() || (std::isfinite(v_gamma_) && std::isfinite(x_[i]) && normaliser_.mean().is_finite());
  return of_v && of_x && std::isfinite(v_beta_) && invstd_is_number();
}

Rounded BackwardChannel::constant_grad_dy(std::int64_t i) {
  if (v_ == nullptr && !with_v_gamma())
    return settled(problem_.data, v_beta_, effort);
  if (constant_grad_dy_is_finite(i))
    return with_v_gamma() ? element(grad_dy_form_, constant_grad_dy_formula, i, v_beta_)
                          : scaled(problem_.data, {Dyadic(gamma_) * Dyadic(v(i)), 1}, v_beta_);
  const double of_v = v_ == nullptr ? 0 : kind_of(gamma_) * kind_of_invstd() * kind_of(v_[i]);
  const double of_x = with_v_gamma() ? kind_of(v_gamma_) * kind_of_deviation(i) * kind_of_invstd() : 0;
  return {of_v + of_x + kind_of(v_beta_), 0};
}

Rounded BackwardChannel::constant_grad_x(std::int64_t i) {
  if (!with_v_gamma())
    return {0, 0};
  return multiple_of_dy(v_gamma_, i);
}

Rounded BackwardChannel::constant_grad_gamma() {
  if (v_ == nullptr)
    return {0, 0};
  const bool finite = dy_sums_.finite && v_sums_.finite;
  if (finite && invstd_is_number())
    return scaled(problem_.stats, Quotient{v_dy_, 1}, 0);
  double dot = 0;
  for (std::int64_t i = 0; !finite && i < n_; ++i)
    dot += kind_of(v_[i]) * kind_of(dy_[i]);
  return {(finite ? v_dy_.sign() : dot) * kind_of_invstd(), 0};
}

ChannelFacts BackwardChannel::facts() {
  ChannelFacts facts = facts_of(sums_, normaliser_);
  if (problem_.pass == Pass::gradient)
    facts.exact = exactness_of(x_, sums_, problem_.accumulator());
  GradientFacts& g = facts.gradient;
  g.mean_hi = facts.mean_hi;
  g.mean_lo = facts.mean_lo;
  g.invstd = facts.invstd;
  g.finite = dy_sums_.finite && v_sums_.finite;
  g.G = g.G1 = g.H = g.H1 = g.max_deviation = nan;
  g.V = g.V1 = g.W = g.W1 = g.Z = g.Z1 = nan;
  if (dy_sums_.finite) {
    g.G = as_fact(Quotient{dy_sums_.sum, 1});
    g.G1 = as_fact(Quotient{dy_sums_.sum_abs, 1});
    g.max_dy = dy_sums_.max_abs;
  }
  if (v_sums_.finite) {
    g.V = as_fact(Quotient{v_sums_.sum, 1});
    g.V1 = as_fact(Quotient{v_sums_.sum_abs, 1});
    g.max_v = v_sums_.max_abs;
    if (dy_sums_.finite) {
      g.Z = as_fact(Quotient{v_dy_, 1});
      g.Z1 = as_fact(Quotient{v_dy_abs_, 1});
    }
  }
  g.exact_dbeta = sums_exactly(problem_.accumulator(), dy_sums_);
  if (!sums_.finite || !normaliser_.mean().is_finite())
    return facts;
  const Quotient& mean = normaliser_.mean().exact;
  if (n_ > 0) {
    const auto deviation = [&](double x) {
      const double d = as_fact(Quotient{Dyadic(x), 1} - mean);
      return std::abs(d);
    };
    g.max_deviation = std::max(deviation(sums_.min), deviation(sums_.max));
  }
  if (!has_numbers())
    return facts;
  const auto times_r = [&](const Quotient& q) {
    if (normaliser_.scale())
      if (const auto product = enclosed(*normaliser_.scale(), q, 0))
        return product->hi;
    return static_cast<double>((ball<RealOf<0>>(q) * normaliser_.at<0>().invstd).value);
  };
  const auto scaled_sums = [&](const WeightedSums& sums, const Quotient& dot, double& sum, double& sum_abs) {
    if (!sums.finite)
      return;
    sum = times_r(dot);
    sum_abs = std::abs(times_r(centred(sums.folded_with_x, sums.folded, mean)));
  };
  scaled_sums(dy_sums_, dy_c_, g.H, g.H1);
  scaled_sums(v_sums_, v_c_, g.W, g.W1);
  if (problem_.pass == Pass::backward_training && dy_sums_.finite) {
    const GradientExactness exact = gradient_exactness({.x = x_,
                                                        .dy = dy_,
                                                        .n = n_,
                                                        .mean = case_.saved_mean[channel_],
                                                        .invstd = case_.saved_invstd[channel_],
                                                        .gamma = gamma_,
                                                        .sum = g.G},
                                                       g.exact_dbeta, problem_.accumulator());
    g.exact_dgamma = exact.dgamma;
    g.exact_dx = exact.dx;
  }
  return facts;
}

}  // namespace normproof::reference
