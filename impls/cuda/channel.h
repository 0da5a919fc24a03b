// What is done once per channel, between the reductions and the elementwise part.
#pragma once

#include "cuda/reduce.h"

namespace normproof::impls::cuda {

/// Zeros, before memory is added to.
template <class T>
struct Zero {
  static constexpr bool loops = true;
  T* memory;
  Index count;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index i = task * block.threads();
    block.each([&](Lane l) {
      if (i + l.index < count)
        memory[i + l.index] = T{0};
    });
  }
};
template <class T>
void zero(Stream& stream, T* memory, Index count) {
  launch(stream, ceil_div(count, most_threads), most_threads, 0, Zero<T>{memory, count});
}

/// Tensors and settings of a forward pass.
template <class Data>
struct Forward {
  np_problem problem;
  Values<const Data> x;
  Values<Data> y;
  PerChannel gamma, beta, mean, var, invstd, running_mean, running_var;
  Index batches;  ///< this one included
  Index channels;
  Index n;  ///< values per channel
};
template <class Data>
Forward<Data> forward_of(const np_problem& p, const np_tensors& t, Index batches = 1) {
  const auto view = [&](const np_tensor* tensor) {
    return per_channel(tensor, p.stats_dtype);
  };
  Forward<Data> a{.problem = p,
                  .x = values_of<const Data>(t.x),
                  .y = values_of<Data>(t.y),
                  .gamma = view(t.gamma),
                  .beta = view(t.beta),
                  .mean = view(t.mean),
                  .var = view(t.var),
                  .invstd = view(t.invstd),
                  .running_mean = view(t.running_mean),
                  .running_var = view(t.running_var),
                  .batches = batches,
                  .channels = 0,
                  .n = 0};
  a.problem.dialect = nullptr;  // of the host
  a.channels = a.x.g.channels;
  a.n = a.x.g.n;
  return a;
}

/// One channel's y = f(x). Centred: ((x - mean) invstd) gamma + beta. Folded: x gamma + beta after folding.
template <class Acc, cpu::Affine form>
struct Line {
  Acc mean, invstd, gamma, beta;

  NP_DEVICE Line(Acc of_mean, Acc of_invstd, Acc of_gamma, Acc of_beta)
      : mean(of_mean),
        invstd(of_invstd),
        gamma(of_gamma),
        beta(of_beta) {
    if constexpr (form == cpu::Affine::folded) {
      gamma = gamma * invstd;
      beta = beta - mean * gamma;
    }
  }
  template <class Data>
  NP_DEVICE Data y(Data x) const {
    const auto value = static_cast<Acc>(x);
    if constexpr (form == cpu::Affine::folded)
      return stored<Data>(value * gamma + beta);
    else
      return stored<Data>((value - mean) * invstd * gamma + beta);
  }
};
template <cpu::Affine form, class Data, class Acc>
NP_DEVICE Line<Acc, form> line_of(const Forward<Data>& a, Index channel, Acc mean, Acc invstd) {
  return {mean, invstd, a.gamma.load_or(channel, Acc{1}), a.beta.load_or(channel, Acc{0})};
}

template <class Acc>
NP_DEVICE Acc invstd_of(const np_problem& p, Acc m2, Index n) {
  return cpu::invstd_of<cpu::Rules>(p, m2 / static_cast<Acc>(n));
}

/// One lane reports the statistics of a channel.
template <class Data, class Acc>
NP_DEVICE void report(const Forward<Data>& a, Index channel, Acc mean, Acc m2) {
  a.mean.store(channel, mean);
  a.var.store(channel, m2 / static_cast<Acc>(a.n));
  a.invstd.store(channel, invstd_of(a.problem, m2, a.n));
}
/// One lane updates the running statistics of a channel.
template <class Rules, class Data, class Acc>
NP_DEVICE void update(const Forward<Data>& a, Index channel, Acc mean, Acc m2, Index part) {
  if (a.problem.has_running == 0)
    return;
  const cpu::Weights<Acc> w = cpu::Rules::weights<Acc>(a.problem, a.batches);
  const auto mixed = [&](const PerChannel& running, Acc now) {
    running.store(channel, w.old_value * running.load<Acc>(channel) + w.new_value * now);
  };
  mixed(a.running_mean, mean);
  mixed(a.running_var, cpu::Rules::running_variance(a.problem, m2, Rules::runs_over(a.n, part)));
}
/// Both, by a block that has one channel.
template <class Rules, class Data, class Acc>
NP_DEVICE void finish(Block& block, const Forward<Data>& a, Index channel, Acc mean, Acc m2, Index part) {
  block.each([&](Lane l) {
    if (l.index == 0)
      report(a, channel, mean, m2);
    if (Rules::updates(l))
      update<Rules>(a, channel, mean, m2, part);
  });
}

}  // namespace normproof::impls::cuda
