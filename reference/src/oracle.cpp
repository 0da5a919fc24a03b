// Both oracles: what is no case is refused, then every channel's truths are put into their places. And the
// audit of one by the other.
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "backward_channel.h"
#include "environment.h"
#include "forward_channel.h"
#include "normproof/reference/truth.h"

namespace normproof::reference {
namespace {

void check_values(std::string_view name, const std::vector<double>& values, std::int64_t count,
                  const Format& format) {
  if (static_cast<std::int64_t>(values.size()) != count)
    throw std::invalid_argument(
        fmt::format("{} has {} values, the shape needs {}", name, values.size(), count));
  if (lanes().representable(Grid(format), values.data(), count))
    return;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!is_representable(format, values[i]))
      throw std::invalid_argument(fmt::format("{}[{}] = {:a} is no number of {}; the nearest is {:a}", name,
                                              i, values[i], format.name, round_to(format, values[i])));
}

/// Values that the pass does not read, or that default: all of them or none.
void check_optional(std::string_view name, const std::vector<double>& values, std::int64_t count,
                    const Format& format) {
  if (!values.empty())
    check_values(name, values, count, format);
}

void check_case(const Case& c) {
  const Problem& p = c.problem;
  const std::int64_t channels = p.shape.channels;
  const std::int64_t elements = p.shape.elements();
  const bool forward = p.pass == Pass::forward_training || p.pass == Pass::forward_inference;
  const bool inference = p.pass == Pass::forward_inference || p.pass == Pass::backward_inference;
  const bool saved = p.pass == Pass::backward_training || p.pass == Pass::double_backward;
  const auto check = [&](std::string_view name, const std::vector<double>& values, bool read,
                         std::int64_t count, const Format& format) {
    if (read || forward)
      check_values(name, values, read ? count : 0, format);
    else
      check_optional(name, values, count, format);
  };
  check_values("x", c.x, elements, p.data);
  check("gamma", c.gamma, p.affine, channels, p.stats);
  check("beta", c.beta, p.affine && forward, channels, p.stats);
  check("running_mean", c.running_mean, inference || (p.running && forward), channels, p.stats);
  check("running_var", c.running_var, inference || (p.running && forward), channels, p.stats);
  check_values("dy", c.dy, forward ? 0 : elements, p.data);
  check_values("saved_mean", c.saved_mean, saved ? channels : 0, p.stats);
  check_values("saved_invstd", c.saved_invstd, saved ? channels : 0, p.stats);
  const bool second_order = p.pass == Pass::double_backward;
  check_optional("v_x", c.v_x, second_order ? elements : 0, p.data);
  check_optional("v_gamma", c.v_gamma, second_order ? channels : 0, p.stats);
  check_optional("v_beta", c.v_beta, second_order ? channels : 0, p.stats);
  if (p.momentum && !std::isfinite(*p.momentum))
    throw std::invalid_argument(fmt::format("momentum = {} is not a finite number", *p.momentum));
  if (c.num_batches_tracked < 0)
    throw std::invalid_argument(fmt::format("num_batches_tracked = {} is below 0", c.num_batches_tracked));
  if (const std::string reason = must_reject(c); !reason.empty())
    throw std::invalid_argument(reason);
  if (!std::isfinite(p.eps))
    throw std::invalid_argument(fmt::format("eps = {} is not a finite number", p.eps));
}

/// Where the truths of one channel go.
class Places {
public:
  Places(const Problem& problem, Truth& truth, std::int64_t channel)
      : problem_(problem),
        truth_(truth),
        channel_(static_cast<std::size_t>(channel)),
        n_(problem.shape.per_channel()) {}

  template <class Value>
  void put(Output output, const Value& value) {
    if (is_defined(problem_, output))
      put(output, channel_, value());
  }
  /// `fill(rn, off)` writes the channel's elements.
  template <class Fill>
  void put_each(Output output, const Fill& fill) {
    if (!is_defined(problem_, output))
      return;
    const std::size_t first = channel_ * static_cast<std::size_t>(n_);
    Values& values = truth_.outputs[index(output)];
    fill(values.rn.data() + first, values.off.data() + first);
  }

private:
  void put(Output output, std::size_t place, const Rounded& r) {
    Values& values = truth_.outputs[index(output)];
    values.rn[place] = r.rn;
    values.off[place] = r.off;
  }

  const Problem& problem_;
  Truth& truth_;
  std::size_t channel_;
  std::int64_t n_;
};

Effort fill_forward(const Case& c, std::int64_t index, Route route, Places& places, ChannelFacts& facts) {
  ForwardChannel channel(c, index, route);
  places.put(Output::mean, [&] { return channel.mean(); });
  places.put(Output::var, [&] { return channel.variance(); });
  places.put(Output::invstd, [&] { return channel.invstd(); });
  places.put(Output::running_mean, [&] { return channel.running_mean(); });
  places.put(Output::running_var, [&] { return channel.running_variance(); });
  places.put_each(Output::y, [&](double* rn, double* off) { channel.all_y(rn, off); });
  facts = channel.facts();
  return channel.effort;
}

Effort fill_backward(const Case& c, std::int64_t index, Route route, Places& places, ChannelFacts& facts) {
  BackwardChannel channel(c, index, route);
  places.put(Output::dbeta, [&] { return channel.dbeta(); });
  places.put(Output::dgamma, [&] { return channel.dgamma(); });
  places.put_each(Output::dx, [&](double* rn, double* off) { channel.all_dx(rn, off); });
  places.put(Output::grad_gamma, [&] { return channel.grad_gamma(); });
  places.put_each(Output::grad_dy, [&](double* rn, double* off) { channel.all_grad_dy(rn, off); });
  places.put_each(Output::grad_x, [&](double* rn, double* off) { channel.all_grad_x(rn, off); });
  facts = channel.facts();
  return channel.effort;
}

bool is_forward(Pass pass) {
  return pass == Pass::forward_training || pass == Pass::forward_inference;
}

/// All truths of a channel.
Effort fill(const Case& c, std::int64_t index, Route route, Truth& truth) {
  Places places(c.problem, truth, index);
  ChannelFacts& facts = truth.channels[static_cast<std::size_t>(index)];
  return is_forward(c.problem.pass) ? fill_forward(c, index, route, places, facts)
                                    : fill_backward(c, index, route, places, facts);
}

Truth truth_by(Route route, const Case& c, int threads) {
  require_ieee_arithmetic();
  check_case(c);
  Truth truth;
  const auto channels = static_cast<std::size_t>(c.problem.shape.channels);
  truth.channels.resize(channels);
  for (const Output output : all_outputs) {
    if (!is_defined(c.problem, output))
      continue;
    const std::size_t count = per_element(output) ? c.x.size() : channels;
    truth.outputs[index(output)] = {std::vector<double>(count), std::vector<double>(count)};
  }

  std::atomic<std::int64_t> next = 0;
  std::mutex guard;
  std::exception_ptr failure;
  const auto work = [&] {
    Effort effort;
    try {
      for (std::int64_t i = next++; i < c.problem.shape.channels; i = next++) {
        effort += fill(c, i, route, truth);
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
    }
    const std::lock_guard lock(guard);
    truth.effort += effort;
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

/// The values of one channel that an audit decides again, and the tally.
class Auditor {
public:
  Auditor(const Case& c, const Truth& truth, std::int64_t channel)
      : problem_(c.problem),
        truth_(truth),
        channel_(static_cast<std::size_t>(channel)),
        n_(c.problem.shape.per_channel()) {}

  template <class Value>
  void check(Output output, const Value& value) {
    if (is_defined(problem_, output))
      check(output, channel_, value());
  }
  template <class Value>
  void check_each(Output output, std::span<const std::int64_t> elements, const Value& value) {
    if (!is_defined(problem_, output))
      return;
    for (const std::int64_t i : elements)
      check(output, channel_ * static_cast<std::size_t>(n_) + static_cast<std::size_t>(i), value(i));
  }
  const Audit& result() const { return audit_; }

private:
  void check(Output output, std::size_t place, const Rounded& want) {
    const double rn = truth_[output].rn[place];
    const double off = truth_[output].off[place];
    ++audit_.audited;
    const bool same = std::bit_cast<std::uint64_t>(rn) == std::bit_cast<std::uint64_t>(want.rn) ||
                      (std::isnan(rn) && std::isnan(want.rn));
    const bool near =
        off == want.off || std::abs(off - want.off) <= off_precision * std::max(1.0, std::abs(off));
    if (same && near)
      return;
    if (audit_.disagreeing++ == 0)
      audit_.first = fmt::format("{}[{}] = {:a} off {:a}, by the definition {:a} off {:a}", to_string(output),
                                 place, rn, off, want.rn, want.off);
  }

  const Problem& problem_;
  const Truth& truth_;
  std::size_t channel_;
  std::int64_t n_;
  Audit audit_;
};

}  // namespace

Truth truth_of(const Case& c, int threads) {
  return truth_by(Route::certified, c, threads);
}

Truth multiprecision_truth_of(const Case& c, int threads) {
  return truth_by(Route::multiprecision, c, threads);
}

Audit audit(const Case& c, const Truth& truth, std::int64_t sample, std::uint64_t seed) {
  check_case(c);
  if (c.problem.shape.channels == 0)
    return {};
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
  };
  const std::int64_t index = below(c.problem.shape.channels);
  const std::int64_t n = c.problem.shape.per_channel();
  std::vector<std::int64_t> elements(
      static_cast<std::size_t>(n == 0 ? 0 : std::max<std::int64_t>(sample, 0)));
  for (std::int64_t& i : elements)
    i = below(n);
  Auditor auditor(c, truth, index);
  if (is_forward(c.problem.pass)) {
    ForwardChannel channel(c, index, Route::multiprecision);
    auditor.check(Output::mean, [&] { return channel.mean(); });
    auditor.check(Output::var, [&] { return channel.variance(); });
    auditor.check(Output::invstd, [&] { return channel.invstd(); });
    auditor.check(Output::running_mean, [&] { return channel.running_mean(); });
    auditor.check(Output::running_var, [&] { return channel.running_variance(); });
    auditor.check_each(Output::y, elements, [&](std::int64_t i) { return channel.y(c.channel(index)[i]); });
  } else {
    BackwardChannel channel(c, index, Route::multiprecision);
    auditor.check(Output::dbeta, [&] { return channel.dbeta(); });
    auditor.check(Output::dgamma, [&] { return channel.dgamma(); });
    auditor.check(Output::grad_gamma, [&] { return channel.grad_gamma(); });
    auditor.check_each(Output::dx, elements, [&](std::int64_t i) { return channel.dx(i); });
    auditor.check_each(Output::grad_dy, elements, [&](std::int64_t i) { return channel.grad_dy(i); });
    auditor.check_each(Output::grad_x, elements, [&](std::int64_t i) { return channel.grad_x(i); });
  }
  return auditor.result();
}

}  // namespace normproof::reference
