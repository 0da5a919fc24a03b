// The multiprecision oracle: what is no case is refused, then every channel's truths are put into their
// places.
#include <atomic>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "backward_channel.h"
#include "forward_channel.h"
#include "normproof/reference/truth.h"

namespace normproof::reference {
namespace {

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
  template <class Value>
  void put_each(Output output, const Value& value) {
    if (!is_defined(problem_, output))
      return;
    const std::size_t first = channel_ * static_cast<std::size_t>(n_);
    for (std::int64_t i = 0; i < n_; ++i)
      put(output, first + static_cast<std::size_t>(i), value(i));
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

Effort fill_forward(const Case& c, std::int64_t index, Places& places, ChannelFacts& facts) {
  ForwardChannel channel(c, index);
  const double* x = c.channel(index);
  places.put(Output::mean, [&] { return channel.mean(); });
  places.put(Output::var, [&] { return channel.variance(); });
  places.put(Output::invstd, [&] { return channel.invstd(); });
  places.put(Output::running_mean, [&] { return channel.running_mean(); });
  places.put(Output::running_var, [&] { return channel.running_variance(); });
  places.put_each(Output::y, [&](std::int64_t i) { return channel.y(x[i]); });
  facts = channel.facts();
  return channel.effort;
}

Effort fill_backward(const Case& c, std::int64_t index, Places& places, ChannelFacts& facts) {
  BackwardChannel channel(c, index);
  places.put(Output::dbeta, [&] { return channel.dbeta(); });
  places.put(Output::dgamma, [&] { return channel.dgamma(); });
  places.put_each(Output::dx, [&](std::int64_t i) { return channel.dx(i); });
  places.put(Output::grad_gamma, [&] { return channel.grad_gamma(); });
  places.put_each(Output::grad_dy, [&](std::int64_t i) { return channel.grad_dy(i); });
  places.put_each(Output::grad_x, [&](std::int64_t i) { return channel.grad_x(i); });
  facts = channel.facts();
  return channel.effort;
}

/// All truths of a channel.
Effort fill(const Case& c, std::int64_t index, Truth& truth) {
  Places places(c.problem, truth, index);
  ChannelFacts& facts = truth.channels[static_cast<std::size_t>(index)];
  const bool forward = c.problem.pass == Pass::forward_training || c.problem.pass == Pass::forward_inference;
  return forward ? fill_forward(c, index, places, facts) : fill_backward(c, index, places, facts);
}

}  // namespace

Truth truth_of(const Case& c, int threads) {
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
