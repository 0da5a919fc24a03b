// The forward passes on raw buffers.
#include <stdexcept>

#include <fmt/format.h>

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
  std::optional<double> shift_of(std::int64_t c) const override {
    return training() ? std::nullopt : std::optional(stat(b_.given_mean, c));
  }

  void draw(std::int64_t c, Known& known) const override {
    known.statistics = training() ? plain_statistics(known.moments, n_) : given(c);
    known.line = forward_line(known.statistics, known.moments, known.shift, gamma(c), beta(c), b_.eps);
  }

  void draw_precisely(std::int64_t c, Known& known) const override {
    known.statistics = training() ? precise_statistics(known.moments, n_) : given(c);
    known.form = forward_form(known.statistics, known.shift, gamma(c), beta(c), b_.eps);
  }

  bool put_results(std::int64_t c, const Known& known) const override {
    if (!training())
      return true;
    if (!std::isfinite(known.moments.dd[0]))
      return false;
    const Statistics& s = known.statistics;
    const DoubleDouble mean = DoubleDouble(known.shift) + s.mean;
    const double mean_error =
        1.001 * (s.mean_error + form_error * (std::abs(known.shift) + std::abs(s.mean.hi))) + underflow_error;
    const bool mean_done = put(b_.mean, c, Enclosed{mean.hi, mean.lo, mean_error});
    const bool variance_done =
        put(b_.variance, c, Enclosed{s.variance.hi, s.variance.lo, s.variance_error + underflow_error});
    return put(b_.invstd, c, enclosed_invstd(s, b_.eps)) && mean_done && variance_done;
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
    p.running = false;
    one.gamma = {gamma(c)};
    one.beta = {beta(c)};
    if (!training()) {
      one.running_mean = {stat(b_.given_mean, c)};
      one.running_var = {stat(b_.given_variance, c)};
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
  }

private:
  bool training() const { return b_.given_mean == nullptr; }
  double gamma(std::int64_t c) const { return b_.gamma == nullptr ? 1 : stat(b_.gamma, c); }
  double beta(std::int64_t c) const { return b_.beta == nullptr ? 0 : stat(b_.beta, c); }
  Statistics given(std::int64_t c) const {
    Statistics s{};
    s.variance = stat(b_.given_variance, c);
    return s;
  }

  const ForwardBuffers& b_;
};

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
  require_ieee_arithmetic();
  if (b.x == nullptr || b.y == nullptr)
    throw std::invalid_argument("certified_forward needs x and y");
  if ((b.given_mean == nullptr) != (b.given_variance == nullptr))
    throw std::invalid_argument("certified_forward needs both given statistics or none");
  if (!(b.eps >= 0) || !std::isfinite(b.eps))
    throw std::invalid_argument(
        fmt::format("certified_forward: eps = {} is not a number of 0 or more", b.eps));
  return ForwardJob(b).run();
}

}  // namespace normproof::reference
