// The algorithm with its knobs, in double-double: see spec/batch_norm.md for the formulas that the default
// Alternative repeats. A test holds the oracle's own knobs against these.
#include "alternative.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "channel_judge.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

/// How many leading values of a channel enter a sum.
std::int64_t kept(Missing missing, const Shape& shape) {
  const std::int64_t n = shape.per_channel();
  switch (missing) {
  case Missing::none:
    return n;
  case Missing::last:
    return n - 1;
  case Missing::rest_of_4:
    return n - n % 4;
  case Missing::rest_of_8:
    return n - n % 8;
  case Missing::rest_of_16:
    return n - n % 16;
  case Missing::rest_of_32:
    return n - n % 32;
  case Missing::last_item:
    return n - shape.plane();
  case Missing::all_but_N:
    return shape.batch;
  case Missing::beyond_1024:
    return std::min<std::int64_t>(n, 1024);
  }
  return n;
}

/// How far the number that was stored may lie from the one that was rounded, in spacings.
double reach(const Alternative& a) {
  return a.storing == Storing::truncated ? 1 : 0.5;
}

double format_eta(const Format& format) {
  return std::max(underflow_unit(format), std::numeric_limits<double>::denorm_min());
}

/// Unbiased from biased: n / (n - 1), 0/0 for one value.
Tracked bessel(const Tracked& variance, std::int64_t n) {
  if (n <= 1)
    return {not_a_number, 0};
  return variance * Tracked(static_cast<double>(n)) / Tracked(static_cast<double>(n - 1));
}

}  // namespace

Model::Model(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
             Roundings roundings)
    : case_(c),
      seen_(seen),
      gate_(gate),
      sum_(
          reduction(roundings == Roundings::one_chain ? Grade::sequential : std::max(gate.grade, Grade::tree),
                    std::max<std::int64_t>(1, n()), c.problem.accumulator())),
      eta_(4 * (format_eta(c.problem.data) + format_eta(c.problem.stats) + sum_.eta)) {
  std::vector<Standard> claims;
  if (roundings == Roundings::claimed) {
    claims = standards(c.problem, n(), gate, seen.claims);
    std::erase_if(claims, [](const Standard& s) { return !s.claim; });
  }
  if (!claims.empty() && !claims.front().sum.wide)
    sum_ = claims.front().sum;
  const std::int64_t channels = c.problem.shape.channels;
  const double count = static_cast<double>(n());
  DoubleDouble all;
  for (std::int64_t k = 0; k < channels; ++k) {
    const double* x = c.channel(k);
    reference::ChannelFacts f;
    f.n = n();
    DoubleDouble sum, magnitudes, squares;
    for (std::int64_t i = 0; i < n(); ++i) {
      f.finite = f.finite && std::isfinite(x[i]);
      f.max_abs = std::max(f.max_abs, std::abs(x[i]));
      sum = sum + DoubleDouble(x[i]);
      magnitudes = magnitudes + DoubleDouble(std::abs(x[i]));
      squares = squares + reference::two_product(x[i], x[i]);
    }
    all = all + sum;
    const bool constant = n() > 0 && std::all_of(x, x + n(), [x](double v) { return v == x[0]; });
    const DoubleDouble mean = constant ? DoubleDouble(x[0]) : sum / DoubleDouble(count);
    DoubleDouble m2;
    for (std::int64_t i = 0; i < n(); ++i) {
      const DoubleDouble d = DoubleDouble(x[i]) - mean;
      m2 = m2 + d * d;
    }
    f.mean_hi = mean.hi;
    f.mean_lo = mean.lo;
    f.variance = m2.hi / count;
    f.deviation = std::sqrt(f.variance);
    f.mean_abs = magnitudes.hi / count;
    f.rms = std::sqrt(squares.hi / count);
    f.invstd = 1 / std::sqrt(f.variance + c.problem.eps);
    const auto at = static_cast<std::size_t>(k);
    const bool has_truth = at < truth.channels.size();
    if (has_truth && (c.problem.pass == Pass::forward_training || c.problem.pass == Pass::gradient))
      f.exact = truth.channels[at].exact;
    exact_.push_back(has_truth ? truth.channels[at].gradient : reference::GradientFacts{});
    facts_.push_back(f);

    double mean_error = 0, variance_error = 0;
    const auto claimed = [&](const Class& each) {
      return std::ranges::any_of(claims, [&](const Standard& s) { return all_classes[s.klass] == each; });
    };
    ChannelProblem problem;
    problem.facts = f;
    problem.eps = c.problem.eps;
    for (const Class& each : all_classes) {
      Gate any = gate;
      any.grade = std::max(gate.grade, Grade::tree);
      if (n() == 0 || (claims.empty() ? !any.allows(each) : !claimed(each)))
        continue;
      const Permitted p = permitted(problem, sum_, each);
      mean_error = std::max(mean_error, p.mean);
      variance_error = std::max(variance_error, p.variance);
    }
    mean_slack_.push_back(mean_error / sum_.u);
    variance_slack_.push_back(variance_error / sum_.u);
  }
  const double total = count * static_cast<double>(channels);
  const DoubleDouble mean = all / DoubleDouble(total);
  DoubleDouble m2;
  for (const double value : c.x) {
    const DoubleDouble d = DoubleDouble(value) - mean;
    m2 = m2 + d * d;
  }
  const double additions = sum_.depth * static_cast<double>(channels);
  const DoubleDouble variance = m2 / DoubleDouble(total);
  all_mean_ = {mean, additions * (std::abs(mean.hi) + std::sqrt(variance.hi))};
  all_variance_ = {variance, additions * variance.hi};
}

Model::Statistics Model::batch(const Alternative& a, std::int64_t channel) const {
  const auto at = static_cast<std::size_t>(channel);
  const double* x = case_.channel(channel);
  const std::int64_t summed = kept(a.missing, case_.problem.shape);
  const DoubleDouble count(static_cast<double>(n()));
  DoubleDouble sum;
  for (std::int64_t i = 0; i < summed; ++i)
    sum = sum + DoubleDouble(x[i]);
  const bool all = summed == n() && facts_[at].variance == 0;  // then the facts have the value itself
  const DoubleDouble mean = all ? DoubleDouble(facts_[at].mean_hi, facts_[at].mean_lo) : sum / count;

  DoubleDouble centre = a.uncentred_variance ? DoubleDouble(0) : mean;
  if (a.narrow == Narrow::mean)
    centre = DoubleDouble(round_to(case_.problem.data, mean.hi));
  DoubleDouble m2;
  for (std::int64_t i = 0; i < summed; ++i) {
    const DoubleDouble d = DoubleDouble(x[i]) - centre;
    const DoubleDouble square = d * d;
    m2 = m2 + (a.narrow == Narrow::squares ? DoubleDouble(round_to(case_.problem.data, square.hi)) : square);
  }
  const DoubleDouble variance = m2 / count;
  double slack = variance_slack_[at];
  const double usual = facts_[at].variance;
  if (variance.hi > usual && usual > 0)
    slack *= variance.hi / usual;
  return {{mean, slack_of(mean_slack_[at], mean)},
          {variance, slack_of(slack, variance) + (usual > 0 ? 0 : sum_.depth * variance.hi)}};
}

double Model::slack_of(double of_sums, const DoubleDouble& value) const {
  if (of_sums > 0)
    return of_sums;
  const bool stored = value.lo == 0 && is_representable(case_.problem.accumulator(), value.hi);
  return stored ? 0 : 2 * std::abs(value.hi);
}

Tracked Model::invstd(const Alternative& a, const Tracked& v) const {
  const Tracked eps(a.eps_value.value_or(case_.problem.eps));
  Tracked under = v;
  if (a.eps == EpsPlacement::inside_root)
    under = v + eps;
  if (a.eps == EpsPlacement::doubled)
    under = v + eps + eps;
  if (a.eps == EpsPlacement::clamped && under.v.hi < eps.v.hi)
    under = eps;
  // Where the variance is nothing but roundings its root is anything.
  const bool drowned = under.slack * sum_.u > 0.25 * under.size();
  if (under.v.hi == 0 && under.slack == 0 && case_.problem.semantics.zero_eps == ZeroEps::zero_invstd &&
      !is_inference(case_.problem.pass))
    return {0, 0};
  Tracked r;
  switch (a.root) {
  case Root::reciprocal:
    r = a.eps == EpsPlacement::added_to_deviation ? Tracked(1) / (sqrt(under) + eps)
                                                  : Tracked(1) / sqrt(under);
    break;
  case Root::none:
    r = sqrt(under);
    break;
  case Root::squared:
    r = Tracked(1) / (under * under);
    break;
  case Root::reciprocal_of_variance:
    r = Tracked(1) / under;
    break;
  }
  if (a.eps == EpsPlacement::outside_root)
    r = r + eps;
  if (a.narrow == Narrow::invstd)
    r.v = DoubleDouble(round_to(case_.problem.data, r.v.hi));
  if (drowned)
    return {std::isfinite(r.v.hi) ? r.v : DoubleDouble(0), infinite};
  return r;
}

std::optional<Tracked> Model::reported(Output output, std::int64_t channel, double reach) const {
  if (seen_[output].empty())
    return std::nullopt;
  const double value = seen_[output][static_cast<std::size_t>(channel)];
  if (!std::isfinite(value))
    return std::nullopt;
  return Tracked(value, reach * reference::spacing(format_of(case_.problem, output), value) / sum_.u);
}

Tracked Model::stored(const Tracked& value) const {
  const double rounded = round_to(case_.problem.stats, value.v.hi);
  if (!std::isfinite(rounded))
    return value;
  return {value.v, value.slack + 0.5 * reference::spacing(case_.problem.stats, rounded) / sum_.u};
}

double Model::parameter(const std::vector<double>& of, const std::vector<double>& other, Parameter which,
                        std::int64_t channel, double absent) const {
  const auto at = static_cast<std::size_t>(channel);
  if (of.empty())
    return absent;
  switch (which) {
  case Parameter::as_given:
    return of[at];
  case Parameter::ignored:
    return absent;
  case Parameter::other:
    return other[at];
  case Parameter::next_channel:
    return of[(at + 1) % of.size()];
  case Parameter::first_channel:
    return of[0];
  case Parameter::negated:
    return -of[at];
  case Parameter::plus_one:
    return of[at] + 1;
  }
  return absent;
}

Prediction Model::predict(const Alternative& a, std::int64_t channel) const {
  Prediction out;
  if (n() == 0)
    return out;
  switch (case_.problem.pass) {
  case Pass::forward_training:
  case Pass::forward_inference:
    forward(a, channel, out);
    break;
  case Pass::backward_training:
  case Pass::backward_inference:
  case Pass::gradient:
    backward(a, channel, out);
    break;
  case Pass::double_backward:
  case Pass::double_backward_inference:
    second(a, channel, out);
    break;
  }
  return out;
}

void Model::forward(const Alternative& a, std::int64_t channel, Prediction& out) const {
  const Problem& p = case_.problem;
  const auto at = static_cast<std::size_t>(channel);
  const auto put = [&](Output output, const Tracked& value) {
    out.outputs[index(output)].push_back(value);
  };
  const bool training = p.pass == Pass::forward_training;
  const bool has_running = !case_.running_mean.empty();
  const Statistics own = batch(a, channel);
  const bool unbiased = a.normalising == VarianceKind::unbiased;
  const Tracked v_own = own.variance;

  // The statistics that the later stages start from.
  Tracked mean = own.mean;
  Tracked variance = v_own;  // biased
  if (training && !a.from_own) {
    mean = reported(Output::mean, channel, reach(a)).value_or(mean);
    if (const auto v = reported(Output::var, channel, reach(a)); v && a.var_means == Meaning::itself)
      variance = unbiased && n() > 1
                     ? *v * Tracked(static_cast<double>(n() - 1)) / Tracked(static_cast<double>(n()))
                     : *v;
  }
  Tracked normalising = unbiased ? bessel(variance, n()) : variance;
  Tracked used_mean = mean;
  const auto replace = [&](Source source, Tracked& value, const std::vector<double>& running,
                           const Tracked& all, const Tracked& of_batch) {
    if (source == Source::as_specified)
      source = training ? Source::batch : Source::running;
    if (source == Source::running && has_running)
      value = Tracked(running[at]);
    if (source == Source::all_channels)
      value = all;
    if (source == Source::batch && !training)
      value = of_batch;
  };
  replace(a.mean, used_mean, case_.running_mean, all_mean_, own.mean);
  replace(a.variance, normalising, case_.running_var, all_variance_, unbiased ? bessel(v_own, n()) : v_own);

  Tracked r = invstd(a, normalising);
  if (training) {
    put(Output::mean, own.mean);
    const Tracked reported_variance = unbiased ? bessel(v_own, n()) : v_own;
    switch (a.var_means) {
    case Meaning::unbiased:
      put(Output::var, bessel(v_own, n()));
      break;
    case Meaning::deviation:
      put(Output::var, sqrt(v_own));
      break;
    case Meaning::invstd:
      put(Output::var, r);
      break;
    case Meaning::with_eps:
      put(Output::var, v_own + Tracked(p.eps));
      break;
    case Meaning::sum:
      put(Output::var, v_own * Tracked(static_cast<double>(n())));
      break;
    default:
      put(Output::var, reported_variance);
    }
    const Tracked eps(p.eps);
    put(Output::invstd, a.invstd_means == Meaning::deviation  ? sqrt(normalising + eps)
                        : a.invstd_means == Meaning::variance ? normalising
                                                              : r);
    if (!a.from_own && a.invstd_means == Meaning::itself && a.variance == Source::as_specified)
      r = reported(Output::invstd, channel, reach(a)).value_or(r);
  }
  if (a.narrow == Narrow::statistics) {
    used_mean.v = DoubleDouble(round_to(p.data, used_mean.v.hi));
    r.v = DoubleDouble(round_to(p.data, r.v.hi));
  }

  if (training && (a.from_own || seen_[Output::mean].empty()))
    used_mean = stored(used_mean);
  if (training && (a.from_own || seen_[Output::invstd].empty()))
    r = stored(r);
  double gamma = parameter(case_.gamma, case_.beta, a.gamma, channel, 1);
  double beta = parameter(case_.beta, case_.gamma, a.beta, channel, 0);
  if (a.narrow == Narrow::gamma_beta) {
    gamma = round_to(p.data, gamma);
    beta = round_to(p.data, beta);
  }
  const double* x = case_.channel(channel);
  const double slope = std::abs(gamma) * r.size();
  for (std::int64_t i = 0; i < n(); ++i) {
    const Tracked d = a.uncentred_y ? Tracked(x[i]) : Tracked(x[i]) - used_mean;
    Tracked y = d * r * Tracked(gamma) + Tracked(beta);
    if (gate_.folded)
      y.slack += slope * (std::abs(x[i]) + 4 * used_mean.size()) + std::abs(beta);  // spec/bounds/y.md
    put(Output::y, y);
  }
  if (!training || !p.running)
    return;

  const double k = static_cast<double>(case_.num_batches_tracked);
  const Tracked cumulative = Tracked(1) / Tracked(k + 1);
  Tracked w = p.momentum ? Tracked(*p.momentum) : cumulative;
  if (p.semantics.momentum == MomentumSense::weight_of_old)
    w = Tracked(1) - w;
  switch (a.weight) {
  case Weight::as_specified:
    break;
  case Weight::inverted:
    w = Tracked(1) - w;
    break;
  case Weight::all_new:
    w = Tracked(1);
    break;
  case Weight::none_new:
    w = Tracked(0);
    break;
  case Weight::fixed_tenth:
    w = Tracked(static_cast<double>(0.1F));
    break;
  case Weight::count_before:
    w = Tracked(1) / Tracked(std::max(1.0, k));
    break;
  case Weight::count_after:
    w = Tracked(1) / Tracked(k + 2);
    break;
  case Weight::cumulative:
    w = cumulative;
    break;
  }
  const bool bessels = (p.semantics.running == VarianceKind::unbiased) != a.other_running;
  Tracked fed = bessels && !a.running_by_batch_size ? bessel(variance, n()) : variance;
  if (a.running_by_batch_size)
    fed = bessel(variance, p.shape.batch);
  if (a.running_means == Meaning::deviation)
    fed = sqrt(variance);
  if (a.running_means == Meaning::invstd)
    fed = r;
  if (a.running_with_eps)
    fed = fed + Tracked(p.eps);
  const Tracked keep = Tracked(1) - w;
  const auto update = [&](double old, const Tracked& stat) {
    Tracked value = keep * Tracked(old) + w * stat;
    value.slack += 2 * (std::abs(old) + stat.size()) * w.size();  // old + w (stat - old)
    return value;
  };
  put(Output::running_mean, update(case_.running_mean[at], mean));
  put(Output::running_var, update(case_.running_var[at], fed));
}

void Model::backward(const Alternative& a, std::int64_t channel, Prediction& out) const {
  const Problem& p = case_.problem;
  const auto at = static_cast<std::size_t>(channel);
  const auto put = [&](Output output, const Tracked& value) {
    out.outputs[index(output)].push_back(value);
  };
  const Statistics own = batch(a, channel);
  const auto source = [&](Source s) {
    if (s != Source::as_specified)
      return s;
    return p.pass == Pass::backward_training    ? Source::saved
           : p.pass == Pass::backward_inference ? Source::running
                                                : Source::batch;
  };
  Tracked m = own.mean;
  switch (source(a.mean)) {
  case Source::saved:
    m = Tracked(case_.saved_mean[at]);
    break;
  case Source::running:
    if (!case_.running_mean.empty())
      m = Tracked(case_.running_mean[at]);
    break;
  case Source::all_channels:
    m = all_mean_;
    break;
  default:
    break;
  }
  Tracked r;
  switch (source(a.variance)) {
  case Source::saved: {
    const Tracked saved(case_.saved_invstd[at]);
    r = a.saved_means == Meaning::variance    ? invstd(a, saved)
        : a.saved_means == Meaning::deviation ? Tracked(1) / saved
        : a.saved_means == Meaning::sum       ? saved * saved
                                              : saved;
    break;
  }
  case Source::running:
    r = case_.running_var.empty() ? invstd(a, own.variance) : invstd(a, Tracked(case_.running_var[at]));
    break;
  case Source::all_channels:
    r = invstd(a, all_variance_);
    break;
  default:
    r = invstd(a, a.normalising == VarianceKind::unbiased ? bessel(own.variance, n()) : own.variance);
    break;
  }

  if (p.pass == Pass::gradient) {  // the pair hands its statistics over in their format
    m = stored(m);
    r = stored(r);
  }
  const double* x = case_.channel(channel);
  const double* dy = values(case_.dy, channel);
  const Tracked count(static_cast<double>(n()));
  const auto sums = [&](const Alternative& how) {
    TrackedSum G(sum_.depth), H(sum_.depth);
    // One error of the mean and of invstd in all terms: it counts with the sums, which may cancel.
    const Tracked centre(m.v, 0), root(r.v, 0);
    for (std::int64_t i = 0; i < kept(how.dbeta_missing, p.shape); ++i)
      G.add(Tracked(dy[i]));
    for (std::int64_t i = 0; i < kept(how.dgamma_missing, p.shape); ++i) {
      Tracked factor = how.dgamma_uncentred || how.dgamma_of_x ? Tracked(x[i]) : Tracked(x[i]) - centre;
      if (!how.dgamma_without_invstd && !how.dgamma_of_x)
        factor = factor * root;
      H.add(Tracked(dy[i]) * factor);
    }
    Tracked of_dy = G.value();
    Tracked of_dy_xhat = H.value();
    of_dy_xhat.slack +=
        of_dy.size() * m.slack * r.size() + of_dy_xhat.size() * (r.size() > 0 ? r.slack / r.size() : 0);
    if (exact_[at].exact_dbeta)
      of_dy.slack = 0;
    if (exact_[at].exact_dgamma && p.pass == Pass::backward_training && a.saved_means == Meaning::itself)
      of_dy_xhat.slack = slack_of(0, of_dy_xhat.v);
    return std::pair{how.dbeta_is_mean ? of_dy / count : of_dy,
                     how.dgamma_is_mean ? of_dy_xhat / count : of_dy_xhat};
  };
  const auto [dbeta, dgamma] = sums(a);
  put(Output::dbeta, dbeta);
  put(Output::dgamma, dgamma);

  auto [G, H] = a.from_own ? sums(Alternative{}) : std::pair{dbeta, dgamma};
  if (!a.from_own) {
    G = reported(Output::dbeta, channel, reach(a)).value_or(G);
    H = reported(Output::dgamma, channel, reach(a)).value_or(H);
  }
  const std::int64_t divisors[] = {n(), n() - 1, 1, p.shape.batch};
  const Tracked divisor(static_cast<double>(divisors[a.divided_by]));
  Tracked of_mean = G / divisor;
  Tracked of_xhat = H / divisor;
  if (a.no_mean_term)
    of_mean = Tracked(0);
  if (a.no_xhat_term)
    of_xhat = Tracked(0);
  if (a.mean_added)
    of_mean = -of_mean;
  if (a.xhat_added)
    of_xhat = -of_xhat;
  const bool constant = a.constant_statistics.value_or(p.pass == Pass::backward_inference);
  Tracked scale(parameter(case_.gamma, case_.beta, a.gamma, channel, 1));
  if (!a.dx_without_invstd)
    scale = scale * r;
  if (a.dx_invstd_twice)
    scale = scale * r;
  for (std::int64_t i = 0; i < n(); ++i) {
    if (constant) {
      put(Output::dx, scale * Tracked(dy[i]));
      continue;
    }
    const Tracked rest = (Tracked(x[i]) - m) * r * of_xhat;
    Tracked dx = scale * (Tracked(dy[i]) - of_mean - rest);
    dx.slack += 4 * scale.size() * (std::abs(dy[i]) + of_mean.size() + rest.size());
    put(Output::dx, dx);
  }
}

void Model::second(const Alternative& a, std::int64_t channel, Prediction& out) const {
  const auto at = static_cast<std::size_t>(channel);
  const auto put = [&](Output output, const Tracked& value) {
    out.outputs[index(output)].push_back(value);
  };
  const Statistics own = batch(a, channel);
  const bool inference = is_inference(case_.problem.pass);
  const Tracked given_mean(inference ? case_.running_mean[at] : case_.saved_mean[at]);
  const Tracked given(inference ? case_.running_var[at] : case_.saved_invstd[at]);
  const Tracked m = a.mean == Source::batch ? own.mean : given_mean;
  const Tracked r = a.variance == Source::batch                       ? invstd(a, own.variance)
                    : inference || a.saved_means == Meaning::variance ? invstd(a, given)
                                                                      : given;
  const bool constant = a.second_constant != inference;
  const Tracked gamma(parameter(case_.gamma, case_.beta, a.gamma, channel, 1));
  const double* x = case_.channel(channel);
  const double* dy = values(case_.dy, channel);
  const double* v_x = a.no_v_x ? nullptr : values(case_.v_x, channel);
  const auto v = [&](std::int64_t i) {
    return Tracked(v_x == nullptr ? 0 : v_x[i]);
  };
  const Tracked v_gamma(a.no_v_gamma || case_.v_gamma.empty() ? 0 : case_.v_gamma[at]);
  const Tracked v_beta(a.no_v_beta || case_.v_beta.empty() ? 0 : case_.v_beta[at]);
  const Tracked count(static_cast<double>(n()));

  const double depth = sum_.depth + 4;
  TrackedSum of_dy(depth), of_dy_xhat(depth), of_v(depth), of_v_xhat(depth), of_v_dy(depth);
  const auto xhat = [&](std::int64_t i) {
    return (Tracked(x[i]) - m) * r;
  };
  for (std::int64_t i = 0; i < n(); ++i) {
    of_dy.add(Tracked(dy[i]));
    of_dy_xhat.add(Tracked(dy[i]) * xhat(i));
    of_v.add(v(i));
    of_v_xhat.add(v(i) * xhat(i));
    of_v_dy.add(v(i) * Tracked(dy[i]));
  }
  const Tracked G = of_dy.value(), H = of_dy_xhat.value(), V = of_v.value(), W = of_v_xhat.value(),
                Z = of_v_dy.value();
  const Tracked Q = Z - V * G / count - W * H / count;
  const Tracked once = a.grad_gamma_of_products != inference ? Z : Q;
  put(Output::grad_gamma, a.grad_gamma_without_invstd ? once : r * once);
  const Tracked factor = gamma * r * (a.invstd_once ? Tracked(1) : r) / count;
  for (std::int64_t i = 0; i < n(); ++i) {
    const Tracked h = xhat(i);
    const Tracked q = Tracked(dy[i]) - G / count - h * H / count;
    const Tracked p = v(i) - V / count - h * W / count;
    Tracked grad_dy = gamma * r * (constant ? v(i) : p) + v_gamma * h + v_beta;
    grad_dy.slack += 4 * (gamma.size() * r.size() *
                              (v(i).size() + V.size() / count.size() + h.size() * W.size() / count.size()) +
                          v_gamma.size() * h.size() + v_beta.size());
    put(Output::grad_dy, grad_dy);

    Tracked bracket = h * Q;
    if (!a.no_p_term)
      bracket = bracket + H * p;
    if (!a.no_q_term)
      bracket = bracket + W * q;
    if (a.triple_once)
      bracket = bracket + Tracked(2) * h * W * H / count;
    Tracked grad_x = constant || a.grad_x_constant != inference ? v_gamma * r * Tracked(dy[i])
                                                                : v_gamma * r * q - factor * bracket;
    const double terms =
        h.size() * (Z.size() + (V.size() * G.size() + 3 * W.size() * H.size()) / count.size()) +
        H.size() * (v(i).size() + V.size() / count.size()) +
        W.size() * (std::abs(dy[i]) + G.size() / count.size());
    grad_x.slack += 6 * (factor.size() * terms + v_gamma.size() * r.size() *
                                                     (std::abs(dy[i]) + G.size() / count.size() +
                                                      h.size() * H.size() / count.size()));
    put(Output::grad_x, grad_x);
  }
}

}  // namespace normproof::properties
