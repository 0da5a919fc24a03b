// The forward passes on raw buffers.
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "device_pass.h"
#include "environment.h"
#include "forward_channel.h"
#include "raw_job.h"

namespace normproof::reference {
namespace {

class ForwardJob : public RawJob {
public:
  explicit ForwardJob(const ForwardBuffers& b)
      : RawJob({b.shape, b.data, b.stats, b.x_placement, {}, b.y_placement, b.x, nullptr, b.y, b.threads}),
        b_(b) {}

protected:
  const void* given_shifts() const override { return b_.given_mean; }

  void draw(std::int64_t c, Known& known) const override {
    known.statistics = training() ? plain_statistics(known.moments, n_) : given(c);
    known.line = forward_line(known.statistics, known.moments, known.shift, gamma(c), beta(c), b_.eps);
  }

  void draw_precisely(std::int64_t c, Known& known) const override {
    known.statistics = training() ? precise_statistics(known.moments, n_) : given(c);
    known.form = forward_form(known.statistics, known.shift, gamma(c), beta(c), b_.eps);
  }

  void draw_columns(const Columns& columns, const DrawnColumns& to, std::int64_t* told) const override {
    const std::int64_t channels = b_.shape.channels;
    Padded<double> gammas = stats_or(b_.gamma, 1);
    Padded<double> betas = stats_or(b_.beta, 0);
    Padded<double> variances = stats_or(b_.given_variance, 0);
    Padded<double> running_means = stats_or(b_.running_mean, 0);
    Padded<double> running_variances = stats_or(b_.running_variance, 0);
    Padded<double> values(channels, 10);
    const ForwardResults results{values.bounded(0), values.bounded(2), values.bounded(4), values.bounded(6),
                                 values.bounded(8)};
    const auto n = static_cast<double>(n_);
    lanes().forward_columns({channels, n, b_.eps, columns.shifts, gammas.begin(), betas.begin(),
                             columns.moments, training() ? nullptr : variances.begin(),
                             updates() ? running_means.begin() : nullptr, running_variances.begin(),
                             b_.momentum, b_.running_kind == VarianceKind::unbiased ? n / (n - 1) : 1},
                            to, results);
    if (!training())
      return;
    put(b_.mean, results.mean, told);
    put(b_.variance, results.variance, told);
    put(b_.invstd, results.invstd, told);
    put(b_.new_running_mean, results.running_mean, told);
    put(b_.new_running_variance, results.running_variance, told);
  }

  bool put_results(std::int64_t c, const Known& known) const override {
    if (!training())
      return true;
    if (!std::isfinite(known.moments.dd[0]) || !(known.moments.most_d < 0x1p300))
      return false;  // no statistics were drawn
    const Statistics& s = known.statistics;
    const DoubleDouble mean = DoubleDouble(known.shift) + s.mean;
    const double mean_error =
        1.001 * (s.mean_error + form_error * (std::abs(known.shift) + std::abs(s.mean.hi))) + underflow_error;
    const bool mean_done = put(b_.mean, c, Enclosed{mean.hi, mean.lo, mean_error});
    const bool variance_done =
        put(b_.variance, c, Enclosed{s.variance.hi, s.variance.lo, s.variance_error + underflow_error});
    const bool running_done =
        put_running(c, Enclosed{mean.hi, mean.lo, mean_error}, s.variance, s.variance_error);
    return put(b_.invstd, c, enclosed_invstd(s, b_.eps)) && mean_done && variance_done && running_done;
  }

  void exactly(std::int64_t c, const Gathered& values, const std::int64_t* open, std::int64_t left, bool told,
               double* results) const override {
    Case one;
    Problem& p = one.problem;
    p.pass = training() ? Pass::forward_training : Pass::forward_inference;
    p.data = b_.data;
    p.stats = b_.stats;
    p.shape = {n_, 1, {}};
    p.eps = b_.eps;
    p.running = updates();
    p.momentum = b_.momentum;
    p.semantics.running = b_.running_kind;
    one.gamma = {gamma(c)};
    one.beta = {beta(c)};
    if (!training()) {
      one.running_mean = {stat(b_.given_mean, c)};
      one.running_var = {stat(b_.given_variance, c)};
    }
    if (updates()) {
      one.running_mean = {before(b_.running_mean, c)};
      one.running_var = {before(b_.running_variance, c)};
    }
    one.x = values.x;
    ForwardChannel channel(one, 0, Route::certified);
    Memo memo;
    for (std::int64_t k = 0; k < left; ++k) {
      const double x = values.x[static_cast<std::size_t>(open[k])];
      results[k] = memo(x, 0, 0, channel.effort, [&] { return channel.y(x); }).rn;
    }
    if (told)
      return;
    const auto tell = [&](void* to, const Rounded& value) {
      if (to != nullptr)
        stats_.store(to, c, value.rn);
    };
    tell(b_.mean, channel.mean());
    tell(b_.variance, channel.variance());
    tell(b_.invstd, channel.invstd());
    if (updates()) {
      tell(b_.new_running_mean, channel.running_mean());
      tell(b_.new_running_variance, channel.running_variance());
    }
  }

private:
  bool training() const { return b_.given_mean == nullptr; }
  bool updates() const { return b_.new_running_mean != nullptr || b_.new_running_variance != nullptr; }
  double before(const void* from, std::int64_t c) const { return from == nullptr ? 0 : stat(from, c); }

  bool put_running(std::int64_t c, const Enclosed& mean, const DoubleDouble& variance,
                   double variance_error) const {
    if (!updates())
      return true;
    const DoubleDouble weight(b_.momentum);
    const DoubleDouble rest = DoubleDouble(1.0) - weight;  // exact
    const auto updated = [&](double old, const DoubleDouble& fed, double error) -> std::optional<Enclosed> {
      if (!is_moderate(old) || !is_moderate(fed.hi) || !is_moderate(b_.momentum))
        return std::nullopt;
      const DoubleDouble kept = rest * DoubleDouble(old);
      const DoubleDouble fresh = weight * fed;
      const DoubleDouble value = kept + fresh;
      return Enclosed{
          value.hi, value.lo,
          1.001 * (std::abs(b_.momentum) * error + form_error * (std::abs(kept.hi) + std::abs(fresh.hi))) +
              underflow_error};
    };
    const bool mean_done =
        put(b_.new_running_mean, c,
            updated(before(b_.running_mean, c), DoubleDouble(mean.hi, mean.lo), mean.error));
    const bool unbiased = b_.running_kind == VarianceKind::unbiased;
    if (unbiased && n_ < 2)  // divided by zero: the definition says what that is
      return mean_done && b_.new_running_variance == nullptr;
    const auto n = static_cast<double>(n_);
    const DoubleDouble fed = unbiased ? variance * DoubleDouble(n) / DoubleDouble(n - 1) : variance;
    const double error =
        1.001 * (variance_error * (unbiased ? n / (n - 1) : 1) + form_error * std::abs(fed.hi));
    return put(b_.new_running_variance, c, updated(before(b_.running_variance, c), fed, error)) && mean_done;
  }
  double gamma(std::int64_t c) const { return b_.gamma == nullptr ? 1 : stat(b_.gamma, c); }
  double beta(std::int64_t c) const { return b_.beta == nullptr ? 0 : stat(b_.beta, c); }
  Statistics given(std::int64_t c) const {
    Statistics s{};
    s.variance = stat(b_.given_variance, c);
    return s;
  }

  const ForwardBuffers& b_;
};

/// Refuses what makes no sense; an empty batch leaves the running statistics as they are (BN-FWD-11).
void begin(const ForwardBuffers& b) {
  require_ieee_arithmetic();
  if (b.x == nullptr || b.y == nullptr)
    throw std::invalid_argument("certified_forward needs x and y");
  if ((b.given_mean == nullptr) != (b.given_variance == nullptr))
    throw std::invalid_argument("certified_forward needs both given statistics or none");
  const auto halves = [](const void* old, const void* updated) {
    return updated != nullptr && old == nullptr;
  };
  if (halves(b.running_mean, b.new_running_mean) || halves(b.running_variance, b.new_running_variance))
    throw std::invalid_argument("certified_forward needs the running statistics that it is to update");
  if (!(b.eps >= 0) || !std::isfinite(b.eps))
    throw std::invalid_argument(
        fmt::format("certified_forward: eps = {} is not a number of 0 or more", b.eps));
  if (b.shape.per_channel() == 0) {
    const auto size = static_cast<std::size_t>(b.shape.channels * b.stats.bytes);
    if (b.new_running_mean != nullptr)
      std::memcpy(b.new_running_mean, b.running_mean, size);
    if (b.new_running_variance != nullptr)
      std::memcpy(b.new_running_variance, b.running_variance, size);
  }
}

}  // namespace

CertifiedEffort& CertifiedEffort::operator+=(const CertifiedEffort& o) {
  elements += o.elements;
  retested += o.retested;
  double_double += o.double_double;
  exact += o.exact;
  channels += o.channels;
  exact_channels += o.exact_channels;
  return *this;
}

Steps steps_between(const Format& format, const void* truth, const void* got, std::int64_t n) {
  return raw_lanes(format).steps(truth, got, n);
}

CertifiedEffort certified_forward(const ForwardBuffers& b) {
  begin(b);
  return ForwardJob(b).run();
}

DeviceEffort certified_forward(const ForwardBuffers& b, StageMachine& machine) {
  begin(b);
  return ForwardJob(b).run(machine);
}

}  // namespace normproof::reference
