// The backward pass in training on raw buffers, at given statistics.
#include <stdexcept>

#include "backward_channel.h"
#include "device_pass.h"
#include "environment.h"
#include "raw_job.h"

namespace normproof::reference {
namespace {

class BackwardJob : public RawJob {
public:
  explicit BackwardJob(const BackwardBuffers& b)
      : RawJob({b.shape, b.data, b.stats, b.x_placement, b.dy_placement, b.dx_placement, b.x, b.dy, b.dx,
                b.threads}),
        b_(b) {}

protected:
  const void* given_shifts() const override { return b_.saved_mean; }

  void draw(std::int64_t c, Known& known) const override {
    known.line = backward_line(known.moments, n_, known.shift, stat(b_.saved_invstd, c), gamma(c));
  }
  void draw_precisely(std::int64_t c, Known& known) const override {
    known.form = backward_form(known.moments, n_, known.shift, stat(b_.saved_invstd, c), gamma(c));
  }

  void draw_columns(const Columns& columns, const DrawnColumns& to, std::int64_t* told) const override {
    const std::int64_t channels = b_.shape.channels;
    Padded<double> gammas = stats_or(b_.gamma, 1);
    Padded<double> invstds = stats_or(b_.saved_invstd, 1);
    Padded<double> values(channels, 4);
    const BackwardResults results{values.bounded(0), values.bounded(2)};
    lanes().backward_columns(
        {channels, static_cast<double>(n_), columns.shifts, invstds.begin(), gammas.begin(), columns.moments},
        to, results);
    put(b_.dgamma, results.dgamma, told);
    put(b_.dbeta, results.dbeta, told);
  }

  bool put_results(std::int64_t c, const Known& known) const override {
    if (!known.line && !known.form)
      return false;
    const GradientSums s = gradient_sums(known.moments, n_, !known.form.has_value());
    const double r = stat(b_.saved_invstd, c);
    const DoubleDouble dgamma = s.dot * DoubleDouble(r);
    const double dgamma_error =
        1.001 * (std::abs(r) * s.dot_error + form_error * std::abs(dgamma.hi)) + underflow_error;
    const bool dbeta_done = put(b_.dbeta, c, Enclosed{s.sum.hi, s.sum.lo, s.sum_error + underflow_error});
    return put(b_.dgamma, c, Enclosed{dgamma.hi, dgamma.lo, dgamma_error}) && dbeta_done;
  }

  void exactly(std::int64_t c, const Gathered& values, const std::int64_t* open, std::int64_t left, bool told,
               double* results) const override {
    Case one;
    Problem& p = one.problem;
    p.pass = Pass::backward_training;
    p.data = b_.data;
    p.stats = b_.stats;
    p.shape = {n_, 1, {}};
    p.running = false;
    one.gamma = {gamma(c)};
    one.saved_mean = {stat(b_.saved_mean, c)};
    one.saved_invstd = {stat(b_.saved_invstd, c)};
    one.x = values.x;
    one.dy = values.w;
    BackwardChannel channel(one, 0, Route::certified);
    if (left == n_) {  // also where every one is the same exact result
      std::vector<double> rn(static_cast<std::size_t>(n_)), off(rn.size());
      channel.all_dx(rn.data(), off.data());
      for (std::int64_t k = 0; k < left; ++k)
        results[k] = rn[static_cast<std::size_t>(open[k])];
    } else {
      for (std::int64_t k = 0; k < left; ++k)
        results[k] = channel.dx(open[k]).rn;
    }
    if (told)
      return;
    if (b_.dgamma != nullptr)
      stats_.store(b_.dgamma, c, channel.dgamma().rn);
    if (b_.dbeta != nullptr)
      stats_.store(b_.dbeta, c, channel.dbeta().rn);
  }

private:
  double gamma(std::int64_t c) const { return b_.gamma == nullptr ? 1 : stat(b_.gamma, c); }

  const BackwardBuffers& b_;
};

void begin(const BackwardBuffers& b) {
  require_ieee_arithmetic();
  if (b.x == nullptr || b.dy == nullptr || b.dx == nullptr || b.saved_mean == nullptr ||
      b.saved_invstd == nullptr)
    throw std::invalid_argument("certified_backward needs x, dy, dx and the saved statistics");
}

}  // namespace

CertifiedEffort certified_backward(const BackwardBuffers& b) {
  begin(b);
  return BackwardJob(b).run();
}

DeviceEffort certified_backward(const BackwardBuffers& b, StageMachine& machine) {
  begin(b);
  return BackwardJob(b).run(machine);
}

}  // namespace normproof::reference
