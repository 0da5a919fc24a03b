// The gradients on a device: one block per channel, or several with a second kernel behind them; in training,
// in inference and as a pair with a forward of its own.
#pragma once

#include "cuda/forward.h"

namespace normproof::impls::cuda {

using cpu::Direct;

template <class Data>
struct Gradients {
  np_problem problem;
  Values<const Data> x, dy;
  Values<Data> dx;
  PerChannel gamma, mean, scatter, dgamma, dbeta;  ///< scatter: saved invstd, in inference running variance
  Index channels;
  Index n;
};
template <class Data>
Gradients<Data> gradients_of(const np_problem& p, const np_tensors& t) {
  const bool inference = p.pass == NP_BACKWARD_INFERENCE;
  const auto view = [&](const np_tensor* tensor) {
    return per_channel(tensor, p.stats_dtype);
  };
  Gradients<Data> a{.problem = p,
                    .x = values_of<const Data>(t.x),
                    .dy = values_of<const Data>(t.dy),
                    .dx = values_of<Data>(t.dx),
                    .gamma = view(t.gamma),
                    .mean = view(inference ? t.running_mean : t.saved_mean),
                    .scatter = view(inference ? t.running_var : t.saved_invstd),
                    .dgamma = view(t.dgamma),
                    .dbeta = view(t.dbeta),
                    .channels = 0,
                    .n = 0};
  a.problem.dialect = nullptr;  // of the host
  a.channels = a.x.g.channels;
  a.n = a.x.g.n;
  return a;
}

/// The statistics of a channel that the gradient is taken at. Those of the pair pass through their stored
/// format, as they do where forward and backward are two calls.
template <class Acc>
struct At {
  Acc mean;
  Acc invstd;
};
template <class Data, class Acc>
NP_DEVICE At<Acc> given(const Gradients<Data>& a, Index channel) {
  return {a.mean.template load<Acc>(channel),
          Direct::given_invstd(a.problem, a.scatter.template load<Acc>(channel))};
}
template <class Data, class Acc>
NP_DEVICE At<Acc> found(const Gradients<Data>& a, Acc mean, Acc m2) {
  return {a.mean.through(mean), a.mean.through(invstd_of(a.problem, m2, a.n))};
}

/// What dx is made with.
template <class Acc>
struct Slope {
  At<Acc> at;
  Acc scale, of_mean, of_xhat;
  bool training;

  template <class Data>
  NP_DEVICE Slope(const Gradients<Data>& a, Index channel, At<Acc> statistics, Acc dbeta, Acc dgamma)
      : at(statistics),
        scale(a.gamma.load_or(channel, Acc{1})),
        of_mean(dbeta),
        of_xhat(dgamma),
        training(Direct::statistics_depend_on_x(a.problem)) {
    Direct::coefficients(scale, of_mean, of_xhat, at.invstd, static_cast<Acc>(a.n));
  }
  template <class Rules, class Data>
  NP_DEVICE void apply(const Gradients<Data>& a, Index channel, Index i) const {
    const auto dy = static_cast<Acc>(a.dy.template at<Rules>(channel, i));
    Data& dx = a.dx.template at<Rules>(channel, i);
    if (training)
      dx = stored<Data>(Direct::dx(dy, static_cast<Acc>(a.x.template at<Rules>(channel, i)), at.mean,
                                   at.invstd, scale, of_mean, of_xhat));
    else
      dx = stored<Data>(scale * dy);
  }
};

/// The two sums over begin .. end - 1 of a channel: of dy, and of what dgamma is made of.
template <class Acc>
struct Sums {
  Acc dy;
  Acc dy_deviation;
};
template <class Rules, class Data, class Acc>
NP_DEVICE Sums<Acc> sums_of(Block& block, const Gradients<Data>& a, Index channel, Index begin, Index end,
                            At<Acc> at, Acc* shared) {
  const auto dy = [&](bool in, Index i) {
    return in ? static_cast<Acc>(a.dy.template at<Rules>(channel, i)) : Acc{0};
  };
  const Acc first = sum_over<Data, Acc, Rules>(block, begin, end, shared, dy);
  const Acc second = sum_over<Data, Acc, Rules>(block, begin, end, shared, [&](bool in, Index i) {
    return in ? Direct::term(dy(in, i), static_cast<Acc>(a.x.template at<Rules>(channel, i)), at.mean,
                             at.invstd)
              : Acc{0};
  });
  return {first, second};
}

template <class Data, class Acc>
NP_DEVICE void report(Block& block, const Gradients<Data>& a, Index channel, Acc dbeta, Acc dgamma) {
  block.each([&](Lane l) {
    if (l.index == 0) {
      a.dbeta.store(channel, dbeta);
      a.dgamma.store(channel, dgamma);
    }
  });
}

/// A whole channel by one block.
template <class Data, class Acc, class Rules>
struct OneBlockGradient {
  static constexpr bool loops = Rules::loops;
  Gradients<Data> a;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    At<Acc> at;
    if (a.problem.pass == NP_GRADIENT) {
      const Part<Acc> part = TwoPass::moments<Rules, Acc>(block, a.x, channel, a.n);
      at = found(a, part.mean, part.m2);
    } else {
      at = given<Data, Acc>(a, channel);
    }
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Sums<Acc> sums = sums_of<Rules>(block, a, channel, 0, a.n, at, shared);
    const Acc dgamma = Direct::dgamma(sums.dy_deviation, at.invstd);
    report(block, a, channel, sums.dy, dgamma);
    const Slope<Acc> slope(a, channel, at, sums.dy, dgamma);
    block.each([&](Lane l) {
      for (Index i = l.index; i < a.n; i += block.threads())
        slope.template apply<Rules>(a, channel, i);
    });
  }
};

struct OneBlockBackward {
  static Index depth(const np_problem& p, Index n) {
    return p.pass == NP_GRADIENT || n > 0 ? block_depth(n, threads_for(n)) : 0;
  }
  static Index workspace(const np_problem&, Index, Index) { return 0; }

  template <class Rules, class Acc, class Data>
  static void run(Stream& stream, const Gradients<Data>& a, Acc*) {
    const int threads = threads_for(a.n);
    launch(stream, a.channels, threads, 2 * shared_for<Acc>(threads), OneBlockGradient<Data, Acc, Rules>{a});
  }
};

// --- several blocks per channel ---

/// The statistics of every channel: those given, or the pair's own.
template <class Data, class Acc>
struct StatisticsOfChannels {
  static constexpr bool loops = true;
  Gradients<Data> a;
  Coefficients<Acc> to;  ///< of the pair: the mean is there
  Parts parts;
  const Acc* squares;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    At<Acc> at;
    if (a.problem.pass == NP_GRADIENT) {
      Acc* const shared = block.shared<Acc>(block.threads() / warp);
      const Acc m2 = sum_of_parts<Sound>(block, squares, channel, parts, a.n, shared);
      at = found(a, to.mean[channel], m2);
      block.each([](Lane) {});  // the mean has been read
    } else {
      at = given<Data, Acc>(a, channel);
    }
    block.each([&](Lane l) {
      if (l.index == 0) {
        to.mean[channel] = at.mean;
        to.invstd[channel] = at.invstd;
      }
    });
  }
};

template <class Data, class Acc, class Rules>
struct PartialGradient {
  static constexpr bool loops = Rules::loops;
  Gradients<Data> a;
  Coefficients<Acc> at;
  Parts parts;
  Acc* dbeta;
  Acc* dgamma;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index channel = task / parts.count;
    const Index part = task % parts.count;
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Sums<Acc> sums =
        sums_of<Rules>(block, a, channel, part * parts.size, Rules::end_of_part(part, parts.size, a.n),
                       At<Acc>{at.mean[channel], at.invstd[channel]}, shared);
    block.each([&](Lane l) {
      if (l.index == 0) {
        dbeta[task] = sums.dy;
        dgamma[task] = sums.dy_deviation;
      }
    });
  }
};

template <class Data, class Acc, class Rules>
struct GradientOfParts {
  static constexpr bool loops = Rules::loops;
  Gradients<Data> a;
  Coefficients<Acc> at;
  Parts parts;
  const Acc* dbeta_parts;
  const Acc* dgamma_parts;
  Acc* dbeta;
  Acc* dgamma;

  NP_DEVICE void operator()(Block& block, Index channel) const {
    Acc* const shared = block.shared<Acc>(block.threads() / warp);
    const Acc sum = sum_of_parts<Rules>(block, dbeta_parts, channel, parts, a.n, shared);
    const Acc of_dgamma = Direct::dgamma(
        sum_of_parts<Rules>(block, dgamma_parts, channel, parts, a.n, shared), at.invstd[channel]);
    report(block, a, channel, sum, of_dgamma);
    block.each([&](Lane l) {
      if (l.index == 0) {
        dbeta[channel] = sum;
        dgamma[channel] = of_dgamma;
      }
    });
  }
};

template <class Data, class Acc, class Rules>
struct ApplyGradient {
  static constexpr bool loops = Rules::loops;
  Gradients<Data> a;
  Coefficients<Acc> at;
  Parts parts;
  const Acc* dbeta;
  const Acc* dgamma;
  const Acc* dbeta_parts;

  NP_DEVICE void operator()(Block& block, Index task) const {
    const Index in_channel = ceil_div(a.n, values_per_task);
    const Index channel = task / in_channel;
    const Index begin = task % in_channel * values_per_task;
    const Slope<Acc> slope(a, channel, At<Acc>{at.mean[channel], at.invstd[channel]},
                           Rules::sum_for_dx(dbeta, channel, dbeta_parts, parts.count), dgamma[channel]);
    block.each([&](Lane l) {
      for (Index i = begin + l.index; i < smaller(begin + values_per_task, a.n); i += block.threads())
        slope.template apply<Rules>(a, channel, i);
    });
  }
};

struct SplitBackward {
  using Moments = SplitSums<false>;
  static constexpr Parts parts(Index n) { return Moments::parts(n); }
  static Index depth(const np_problem&, Index n) { return n > 0 ? Moments::depth(n) : 0; }
  static Index workspace(const np_problem&, Index channels, Index n) {
    return channels * (4 + 2 * parts(n).count);
  }

  template <class Rules, class Acc, class Data>
  static void run(Stream& stream, const Gradients<Data>& a, Acc* memory) {
    const Coefficients<Acc> at{memory, memory + a.channels};
    Acc* const dbeta = memory + 2 * a.channels;
    Acc* const dgamma = dbeta + a.channels;
    Acc* const first = dgamma + a.channels;  // the sums of the pair's forward, then those of the gradient
    const Parts cut = parts(a.n);
    Acc* const second = first + a.channels * cut.count;
    if (a.problem.pass == NP_GRADIENT)
      Moments::sums<Sound>(stream, a.x, at, first);
    const int few = threads_for(cut.count);
    launch(stream, a.channels, few, shared_for<Acc>(few),
           StatisticsOfChannels<Data, Acc>{a, at, cut, second});
    const int threads = threads_for(cut.size);
    launch(stream, a.channels * cut.count, threads, shared_for<Acc>(threads),
           PartialGradient<Data, Acc, Rules>{a, at, cut, first, second});
    launch(stream, a.channels, few, shared_for<Acc>(few),
           GradientOfParts<Data, Acc, Rules>{a, at, cut, first, second, dbeta, dgamma});
    launch(stream, a.channels * ceil_div(a.n, values_per_task), threads_for(a.n), 0,
           ApplyGradient<Data, Acc, Rules>{a, at, cut, dbeta, dgamma, first});
  }
};

}  // namespace normproof::impls::cuda
