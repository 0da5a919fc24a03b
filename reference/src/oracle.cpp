// The multiprecision oracle: statistics from exact integers, once per channel; every output from forward.h
// over balls, rounded by settle.h, in doubt by the exact arbiter.
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "arbiter.h"
#include "ball.h"
#include "facts.h"
#include "forward.h"
#include "normproof/reference/truth.h"
#include "settle.h"
#include "sums.h"

namespace normproof::reference {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// A statistic: an exact quotient, or the infinity or NaN that the specification gives it.
struct Statistic {
  Quotient exact;
  std::optional<double> special;

  Statistic(Quotient q) : exact(std::move(q)) {}  // NOLINT(google-explicit-constructor)
  Statistic(double v) {                           // NOLINT(google-explicit-constructor)
    if (std::isfinite(v))
      exact = {Dyadic(v), 1};
    else
      special = v;
  }
  bool is_finite() const { return !special; }
  /// A double of the same class: the special value, 0, or the sign.
  double kind() const { return special.value_or(exact.numerator.sign()); }
};

/// The same for a double.
double kind_of(double v) {
  return std::isfinite(v) ? static_cast<double>((v > 0) - (v < 0)) : v;
}

Statistic mean_of(const ChannelSums& sums) {
  if (!sums.finite)
    return sums.special;
  return Quotient{sums.sum, sums.n};
}

/// sum (x - mean)^2 / n = (n sum x^2 - (sum x)^2) / n^2; unbiased with n (n - 1) below.
Statistic variance_of(const ChannelSums& sums, VarianceKind kind) {
  const Integer n = sums.n;
  const Integer divisor = n * (kind == VarianceKind::biased ? n : n - 1);
  if (!sums.finite || divisor == 0)
    return nan;
  return Quotient{sums.squares * n - sums.sum * sums.sum, divisor};
}

/// The weight of the new batch.
Quotient weight_of_new(const Case& c) {
  if (!c.problem.momentum)
    return {Dyadic(1.0), Integer(c.num_batches_tracked) + 1};
  const Dyadic momentum(*c.problem.momentum);
  if (c.problem.semantics.momentum == MomentumSense::weight_of_new)
    return {momentum, 1};
  return {Dyadic(1.0) - momentum, 1};
}

/// The normalisation of a channel at one precision.
template <class Real>
struct Normalisation {
  Ball<Real> mean, variance, invstd, gamma, beta;

  Ball<Real> y(double x) const { return affine(normalised(Ball<Real>(x), mean, invstd), gamma, beta); }
};

/// One channel: what normalises it, exactly, and its truths.
class Channel {
public:
  Channel(const Case& c, std::int64_t index)
      : case_(c),
        problem_(c.problem),
        index_(static_cast<std::size_t>(index)),
        x_(c.channel(index)),
        sums_(sums_of(x_, c.problem.shape.per_channel())),
        mean_(normalising_mean()),
        variance_(normalising_variance()),
        gamma_(c.gamma.empty() ? 1 : c.gamma[index_]),
        beta_(c.beta.empty() ? 0 : c.beta[index_]) {
    settle_invstd_kind();
    if (mean_.is_finite()) {
      const auto nearest = static_cast<double>((ball<RealOf<0>>(mean_.exact)).value);
      if (compare(mean_.exact, Dyadic(nearest)) == 0)
        exact_mean_ = nearest;
    }
  }

  Rounded mean() { return statistic(problem_.stats, mean_); }
  Rounded variance() { return statistic(problem_.stats, variance_); }
  Rounded invstd();
  Rounded y(double x);
  Rounded running_mean() { return running(case_.running_mean[index_], mean_of(sums_)); }
  Rounded running_variance() {
    return running(case_.running_var[index_], variance_of(sums_, problem_.semantics.running));
  }
  ChannelFacts facts();

  Effort effort;

private:
  bool training() const { return problem_.pass == Pass::forward_training; }
  Statistic normalising_mean() const {
    return training() ? mean_of(sums_) : Statistic(case_.running_mean[index_]);
  }
  Statistic normalising_variance() const {
    return training() ? variance_of(sums_, problem_.semantics.normalising)
                      : Statistic(case_.running_var[index_]);
  }
  void settle_invstd_kind();

  template <std::size_t Tier>
  const Normalisation<RealOf<Tier>>& at();
  Rounded statistic(const Format& format, const Statistic& s);
  Rounded running(double before, const Statistic& batch);
  /// The IEEE value of y when an infinity or NaN takes part.
  Rounded special_y(double x) const;
  /// x - mean, as a double of the same sign.
  double difference_kind(double x) const;

  const Case& case_;
  const Problem& problem_;
  std::size_t index_;
  const double* x_;
  ChannelSums sums_;
  Statistic mean_;
  Statistic variance_;
  double gamma_;
  double beta_;
  std::optional<double> exact_mean_;  ///< the mean, where a double holds it: there x - mean can be 0

  /// invstd, where IEEE arithmetic gives it without rounding: infinity, NaN, or 0.
  std::optional<double> special_invstd_;
  std::optional<Quotient> root_;  ///< 1/invstd^2, where that is rational
  std::tuple<std::optional<Normalisation<RealOf<0>>>, std::optional<Normalisation<RealOf<1>>>,
             std::optional<Normalisation<RealOf<2>>>>
      tiers_;
};

void Channel::settle_invstd_kind() {
  const Semantics& semantics = problem_.semantics;
  if (variance_.is_finite())
    root_ = root_of(variance_.exact, problem_.eps, semantics.eps);
  // 1/invstd as far as IEEE arithmetic cares: sign, zero, infinity, NaN. v + eps may cancel only in
  // inference, where both are doubles and the root says so exactly.
  const double v = variance_.kind();
  const double eps = kind_of(problem_.eps);
  const double r = root_ ? 1 / std::sqrt(static_cast<double>(root_->numerator.sign()))
                         : reference::invstd(v, eps, semantics.eps);
  const bool zero_by_decree =
      training() && semantics.zero_eps == ZeroEps::zero_invstd && problem_.eps == 0 && v == 0;
  if (zero_by_decree)
    special_invstd_ = 0.0;
  else if (!std::isfinite(r) || r == 0)
    special_invstd_ = r;
  else if (!variance_.is_finite())
    special_invstd_ = reference::invstd(v, problem_.eps, semantics.eps);
}

template <std::size_t Tier>
const Normalisation<RealOf<Tier>>& Channel::at() {
  using Real = RealOf<Tier>;
  auto& stored = std::get<Tier>(tiers_);
  if (!stored) {
    Normalisation<Real> n;
    n.mean = ball<Real>(mean_.exact);
    n.variance = ball<Real>(variance_.exact);
    n.invstd = reference::invstd(n.variance, Ball<Real>(problem_.eps), problem_.semantics.eps);
    n.gamma = Ball<Real>(gamma_);
    n.beta = Ball<Real>(beta_);
    stored = std::move(n);
  }
  return *stored;
}

Side side_of(int sign) {
  return static_cast<Side>(sign);
}

Rounded Channel::statistic(const Format& format, const Statistic& s) {
  if (!s.is_finite())
    return {*s.special, 0};
  return settle(
      format, [&](auto tier) { return ball<RealOf<tier>>(s.exact); },
      [&](const Dyadic& m) { return side_of(compare(s.exact, m)); }, effort);
}

Rounded Channel::invstd() {
  if (special_invstd_)
    return {*special_invstd_, 0};
  return settle(
      problem_.stats, [&](auto tier) { return at<tier>().invstd; },
      [&](const Dyadic& m) {
        return root_ ? side_of(compare_scaled_root({Dyadic(1.0), 1}, *root_, {}, m)) : Side::unknown;
      },
      effort);
}

double Channel::difference_kind(double x) const {
  if (!std::isfinite(x) || !mean_.is_finite())
    return x - mean_.kind();
  return -static_cast<double>(compare(mean_.exact, Dyadic(x)));
}

Rounded Channel::special_y(double x) const {
  const double r = special_invstd_ ? kind_of(*special_invstd_) : 1;
  return {affine(difference_kind(x) * r, kind_of(gamma_), std::isfinite(beta_) ? 0 : beta_), 0};
}

Rounded Channel::y(double x) {
  const bool all_finite = std::isfinite(x) && mean_.is_finite() && std::isfinite(gamma_) &&
                          std::isfinite(beta_) && (!special_invstd_ || *special_invstd_ == 0);
  if (!all_finite)
    return special_y(x);
  if (x == exact_mean_ || gamma_ == 0 || special_invstd_ == 0.0) {
    // Exactly beta, which the format of y need not hold.
    return statistic(problem_.data, beta_);
  }
  const auto compared = [&](const Dyadic& m) {
    if (!root_)
      return Side::unknown;
    const Quotient scaled =
        Quotient{Dyadic(x) * mean_.exact.denominator - mean_.exact.numerator, mean_.exact.denominator} *
        Quotient{Dyadic(gamma_), 1};
    return side_of(compare_scaled_root(scaled, *root_, Dyadic(beta_), m));
  };
  return settle(problem_.data, [&](auto tier) { return at<tier>().y(x); }, compared, effort);
}

Rounded Channel::running(double before, const Statistic& batch) {
  const Quotient weight = weight_of_new(case_);
  const Quotient rest = Quotient{Dyadic(1.0), 1} + Quotient{-weight.numerator, weight.denominator};
  if (!std::isfinite(before) || !batch.is_finite()) {
    const double kept = rest.numerator.sign() * kind_of(before);
    const double fresh = weight.numerator.sign() * batch.kind();
    return {std::isfinite(kept) ? fresh : std::isfinite(fresh) ? kept : kept + fresh, 0};
  }
  const Quotient after = rest * Quotient{Dyadic(before), 1} + weight * batch.exact;
  return settle(
      problem_.stats,
      [&](auto tier) {
        using Real = RealOf<tier>;
        return updated(Ball<Real>(before), ball<Real>(batch.exact), ball<Real>(weight));
      },
      [&](const Dyadic& m) { return side_of(compare(after, m)); }, effort);
}

ChannelFacts Channel::facts() {
  using Real = RealOf<0>;
  ChannelFacts facts;
  facts.n = sums_.n;
  facts.finite = sums_.finite;
  facts.mean_hi = mean_.special.value_or(nan);
  facts.variance = variance_.special.value_or(nan);
  facts.deviation = std::sqrt(facts.variance);
  facts.invstd = special_invstd_.value_or(nan);
  facts.mean_abs = facts.rms = facts.max_abs = nan;
  if (mean_.is_finite()) {
    const Real mean = ball<Real>(mean_.exact).value;
    facts.mean_hi = static_cast<double>(mean);
    facts.mean_lo = static_cast<double>(Real(mean - facts.mean_hi));
  }
  if (variance_.is_finite()) {
    const Real variance = ball<Real>(variance_.exact).value;
    facts.variance = static_cast<double>(variance);
    facts.deviation = variance < 0 ? nan : static_cast<double>(Real(sqrt(variance)));
    if (!special_invstd_)
      facts.invstd = static_cast<double>(at<0>().invstd.value);
  }
  if (sums_.finite && sums_.n > 0) {
    facts.mean_abs = static_cast<double>(ball<Real>(Quotient{sums_.sum_abs, sums_.n}).value);
    facts.rms = static_cast<double>(Real(sqrt(ball<Real>(Quotient{sums_.squares, sums_.n}).value)));
    facts.max_abs = std::max(std::abs(sums_.min), std::abs(sums_.max));
  }
  if (training())
    facts.exact = exactness_of(x_, sums_, problem_.accumulator());
  return facts;
}

void check_values(std::string_view name, const std::vector<double>& values, std::int64_t count,
                  const Format& format) {
  if (static_cast<std::int64_t>(values.size()) != count)
    throw std::invalid_argument(
        fmt::format("{} has {} values, the shape needs {}", name, values.size(), count));
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!is_representable(format, values[i]))
      throw std::invalid_argument(fmt::format("{}[{}] = {:a} is no number of {}; the nearest is {:a}", name,
                                              i, values[i], format.name, round_to(format, values[i])));
}

void check_case(const Case& c) {
  const Problem& p = c.problem;
  const std::int64_t channels = p.shape.channels;
  check_values("x", c.x, p.shape.elements(), p.data);
  check_values("gamma", c.gamma, p.affine ? channels : 0, p.stats);
  check_values("beta", c.beta, p.affine ? channels : 0, p.stats);
  const bool has_running = p.running || p.pass == Pass::forward_inference;
  check_values("running_mean", c.running_mean, has_running ? channels : 0, p.stats);
  check_values("running_var", c.running_var, has_running ? channels : 0, p.stats);
  if (!std::isfinite(p.eps) || p.eps < 0)
    throw std::invalid_argument(fmt::format("eps = {} is not a finite number from 0 up", p.eps));
  if (p.momentum && !std::isfinite(*p.momentum))
    throw std::invalid_argument(fmt::format("momentum = {} is not a finite number", *p.momentum));
  if (c.num_batches_tracked < 0)
    throw std::invalid_argument(fmt::format("num_batches_tracked = {} is below 0", c.num_batches_tracked));
  if (const std::string reason = must_reject(c); !reason.empty())
    throw std::invalid_argument(reason);
}

void put(Values& values, std::size_t i, const Rounded& r) {
  values.rn[i] = r.rn;
  values.off[i] = r.off;
}

/// All truths of channel c into their places.
Effort fill(const Case& c, std::int64_t index, Truth& truth) {
  Channel channel(c, index);
  const auto i = static_cast<std::size_t>(index);
  const auto wanted = [&](Output output) {
    return is_defined(c.problem, output);
  };
  const auto values = [&](Output output) -> Values& {
    return truth.outputs[normproof::index(output)];
  };
  if (wanted(Output::mean))
    put(values(Output::mean), i, channel.mean());
  if (wanted(Output::var))
    put(values(Output::var), i, channel.variance());
  if (wanted(Output::invstd))
    put(values(Output::invstd), i, channel.invstd());
  if (wanted(Output::running_mean))
    put(values(Output::running_mean), i, channel.running_mean());
  if (wanted(Output::running_var))
    put(values(Output::running_var), i, channel.running_variance());
  const std::int64_t n = c.problem.shape.per_channel();
  for (std::int64_t k = 0; k < n; ++k) {
    const auto place = static_cast<std::size_t>(index * n + k);
    put(values(Output::y), place, channel.y(c.x[place]));
  }
  truth.channels[i] = channel.facts();
  return channel.effort;
}

}  // namespace

std::string must_reject(const Case& c) {
  const Problem& p = c.problem;
  if (p.semantics.zero_eps == ZeroEps::rejected && p.eps == 0)
    return fmt::format("{} refuses eps = 0", p.dialect);
  if (p.pass == Pass::forward_inference)
    return {};
  if (p.shape.elements() == 0)
    return fmt::format("shape {} has no values to take statistics of", to_string(p.shape));
  if (p.shape.per_channel() == 1 && p.semantics.single_value == SingleValue::rejected)
    return fmt::format("{} refuses one value per channel in training (shape {})", p.dialect,
                       to_string(p.shape));
  return {};
}

Truth truth_of(const Case& c, int threads) {
  check_case(c);
  Truth truth;
  const auto channels = static_cast<std::size_t>(c.problem.shape.channels);
  truth.channels.resize(channels);
  for (const Output output : all_outputs) {
    if (!is_defined(c.problem, output))
      continue;
    const std::size_t count = output == Output::y ? c.x.size() : channels;
    truth.outputs[index(output)] = {std::vector<double>(count), std::vector<double>(count)};
  }

  std::atomic<std::int64_t> next = 0;
  std::mutex guard;
  std::exception_ptr failure;
  const auto work = [&] {
    Effort effort;
    try {
      for (std::int64_t i = next++; i < c.problem.shape.channels; i = next++) {
        const Effort one = fill(c, i, truth);
        effort.elements += one.elements;
        effort.escalated += one.escalated;
        effort.arbitrated += one.arbitrated;
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
    }
    const std::lock_guard lock(guard);
    truth.effort.elements += effort.elements;
    truth.effort.escalated += effort.escalated;
    truth.effort.arbitrated += effort.arbitrated;
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < std::min<std::int64_t>(threads, c.problem.shape.channels); ++i)
      helpers.emplace_back(work);
    work();
  }
  if (failure)
    std::rethrow_exception(failure);
  return truth;
}

}  // namespace normproof::reference
