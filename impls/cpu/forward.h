// Forward batch normalisation around any way to the moments: invstd, running statistics, scale and shift.
//
// Everything a kernel can get wrong without touching a sum is in `Rules`; the wrong kernels of impls/mutants
// override one of them each.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

#include "cpu/abi.h"
#include "cpu/moments.h"

namespace normproof::impls::cpu {

enum class Affine { centred, folded };

/// Shares of the old and the new value in an update of running statistics.
template <class Acc>
struct Weights {
  Acc old_value;
  Acc new_value;
};

struct Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / std::sqrt(variance + eps);
  }

  /// `batches` counts the present one.
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    if (p.has_momentum == 0) {
      const Acc w = Acc{1} / static_cast<Acc>(batches);
      return {Acc{1} - w, w};
    }
    const auto momentum = static_cast<Acc>(p.momentum.value);
    if (p.momentum_sense == NP_WEIGHT_OF_OLD)
      return {momentum, Acc{1} - momentum};
    return {Acc{1} - momentum, momentum};
  }

  /// The variance that feeds the running one. One value and the unbiased form: 0/0.
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    return m2 / static_cast<Acc>(p.running_variance == NP_VARIANCE_UNBIASED ? n - 1 : n);
  }

  /// How many of the n values enter the sums.
  static std::int64_t summed(std::int64_t n) { return n; }
};

/// Calls body(thread, begin, end) for equal parts of 0 .. n, each in a thread of its own, the first in this
/// one.
template <class Body>
void split(int threads, std::int64_t n, Body&& body) {
  const auto bound = [&](int t) {
    return n / threads * t + std::min<std::int64_t>(t, n % threads);
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&body, t, begin = bound(t), end = bound(t + 1)] { body(t, begin, end); });
  body(0, bound(0), bound(1));
}

/// What is applied to x, channel by channel. Centred: ((x - shift_x) scale_x) gamma + beta. Folded: x a + b.
template <class Acc>
struct Channels {
  Acc* mean;
  Acc* m2;
  Acc* invstd;
  Acc* gamma;
  Acc* beta;
  static constexpr std::int64_t arrays = 5;

  Channels(void* workspace, std::int64_t channels) {
    Acc* at = static_cast<Acc*>(workspace);
    for (Acc** array : {&mean, &m2, &invstd, &gamma, &beta}) {
      *array = at;
      at += channels;
    }
  }
};

/// Folds gamma and beta into one scale and one offset: y = x a + (beta - mean a).
template <class Acc>
void fold(const Channels<Acc>& c, std::int64_t channels) {
  for (std::int64_t k = 0; k < channels; ++k) {
    c.gamma[k] = c.gamma[k] * c.invstd[k];
    c.beta[k] = c.beta[k] - c.mean[k] * c.gamma[k];
  }
}

template <Affine form, class Data, class Acc>
void normalise(const Geometry& g, const Channels<Acc>& c, const Data* x, Data* y, std::int64_t begin,
               std::int64_t end) {
  const auto one = [&c](std::int64_t k, Data value) {
    if constexpr (form == Affine::centred)
      return static_cast<Data>((static_cast<Acc>(value) - c.mean[k]) * c.invstd[k] * c.gamma[k] + c.beta[k]);
    else
      return static_cast<Data>(static_cast<Acc>(value) * c.gamma[k] + c.beta[k]);
  };
  if (g.interleaved) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t k = 0; k < g.channels; ++k)
        y[i * g.channels + k] = one(k, x[i * g.channels + k]);
    return;
  }
  for (std::int64_t i = begin; i < end;) {
    const std::int64_t together = std::min(end - i, g.plane - i % g.plane);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      const std::int64_t at = g.offset(k, i);
      for (std::int64_t j = 0; j < together; ++j)
        y[at + j] = one(k, x[at + j]);
    }
    i += together;
  }
}

template <class Data, class Acc>
void load_affine(const np_tensors& t, const Channels<Acc>& c, std::int64_t channels) {
  const Data* const gamma = elements<Data>(t.gamma);
  const Data* const beta = elements<Data>(t.beta);
  for (std::int64_t k = 0; k < channels; ++k) {
    c.gamma[k] = gamma != nullptr ? static_cast<Acc>(gamma[k]) : Acc{1};
    c.beta[k] = beta != nullptr ? static_cast<Acc>(beta[k]) : Acc{0};
  }
}

/// The moments of values 0 .. summed - 1 of every channel, each thread a part of every channel.
template <class Algorithm, class Data, class Acc>
void all_moments(const Geometry& g, const Data* x, std::int64_t summed, std::int64_t n, int threads,
                 const Channels<Acc>& c, Acc* parts) {
  const auto store = [&](const auto& source, Acc* mean, Acc* m2, std::int64_t divisor) {
    for (std::int64_t tile = 0; tile < source.tiles(); ++tile) {
      const Moments<Acc> moments = Algorithm::of(source, tile, divisor);
      for (std::int64_t l = 0; l < source.width(tile); ++l) {
        mean[source.first_channel(tile) + l] = moments.mean[static_cast<std::size_t>(l)];
        m2[source.first_channel(tile) + l] = moments.m2[static_cast<std::size_t>(l)];
      }
    }
  };
  if (threads == 1) {
    store(Source<Data, Acc>{x, g, 0, summed}, c.mean, c.m2, n);
    return;
  }

  std::vector<std::int64_t> counts(static_cast<std::size_t>(threads));
  split(threads, summed, [&](int t, std::int64_t begin, std::int64_t end) {
    Acc* const mean = parts + 2 * t * g.channels;
    store(Source<Data, Acc>{x, g, begin, end}, mean, mean + g.channels, end - begin);
    counts[static_cast<std::size_t>(t)] = end - begin;
  });
  for (std::int64_t k = 0; k < g.channels; ++k) {
    c.mean[k] = parts[k];
    c.m2[k] = parts[g.channels + k];
    std::int64_t count = counts[0];
    for (int t = 1; t < threads; ++t) {
      const Acc* const part = parts + 2 * t * g.channels;
      const std::int64_t more = counts[static_cast<std::size_t>(t)];
      merge_lane(c.mean[k], c.m2[k], static_cast<Acc>(count), part[k], part[g.channels + k],
                 static_cast<Acc>(more));
      count += more;
    }
  }
}

/// Accumulators as wide as the data, or always double.
struct AsData {
  template <class Data>
  using type = Data;
};
struct AlwaysDouble {
  template <class>
  using type = double;
};

/// Forward training with the running update.
template <class Algorithm, Affine form, class Width = AsData, class Rule = Rules>
struct Training {
  static void check(const np_problem& p) {
    check_common(p, NP_FORWARD_TRAINING);
    const Geometry g = geometry_of(p, p.x_strides);
    if (g.n == 0)
      throw Refusal{NP_REJECTED, "no value per channel to take statistics of"};
    if (g.n == 1 && p.single_value == NP_SINGLE_REJECTED)
      throw Refusal{NP_REJECTED, "more than one value per channel is needed in training"};
  }

  static int threads(const np_problem& p, const Geometry& g) {
    return Algorithm::threaded
               ? static_cast<int>(std::clamp<std::int64_t>(p.threads, 1, std::max<std::int64_t>(g.n, 1)))
               : 1;
  }

  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = geometry_of(p, p.x_strides);
    const bool f64_accumulator = p.data_dtype.bits == 64 || std::is_same_v<Width, AlwaysDouble>;
    const int parts = threads(p, g);
    const std::int64_t arrays = Channels<double>::arrays + (parts > 1 ? 2 * parts : 0);
    capability.outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_VAR | NP_OUT_INVSTD;
    if (p.has_running != 0)
      capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
    capability.workspace_bytes = static_cast<std::uint64_t>(arrays * g.channels * (f64_accumulator ? 8 : 4));
    np_claims& claims = capability.claims;
    claims.accumulator_bits = f64_accumulator ? 53 : 24;
    claims.reduction_depth = Algorithm::depth(g, parts);
    claims.variance_family = Algorithm::family;
    claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
    claims.rsqrt_ulps = 1;
    claims.deterministic = 1;
    claims.uses_reported = f64_accumulator == (p.data_dtype.bits == 64);
  }

  template <class Data>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Width::template type<Data>;
    const Geometry g = geometry_of(p, p.x_strides);
    const Channels<Acc> c(t.workspace, g.channels);
    const int parts = threads(p, g);
    const Data* const x = elements<Data>(t.x);
    all_moments<Algorithm>(g, x, Rule::summed(g.n), g.n, parts, c, c.beta + g.channels);
    load_affine<Data>(t, c, g.channels);
    report<Data>(p, g, t, c);
    if (p.has_running != 0)
      update<Data>(p, g, t, c);
    if constexpr (form == Affine::folded)
      fold(c, g.channels);
    split(parts, g.n, [&](int, std::int64_t begin, std::int64_t end) {
      normalise<form>(g, c, x, elements<Data>(t.y), begin, end);
    });
  }

private:
  template <class Data, class Acc>
  static void report(const np_problem& p, const Geometry& g, const np_tensors& t, const Channels<Acc>& c) {
    const auto eps = static_cast<Acc>(p.eps.value);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      const Acc variance = c.m2[k] / static_cast<Acc>(g.n);
      const bool both_zero = variance == 0 && eps == 0 && p.zero_eps == NP_ZERO_EPS_ZERO_INVSTD;
      c.invstd[k] = both_zero ? Acc{0} : Rule::invstd(variance, eps);
      elements<Data>(t.mean)[k] = static_cast<Data>(c.mean[k]);
      elements<Data>(t.var)[k] = static_cast<Data>(variance);
      elements<Data>(t.invstd)[k] = static_cast<Data>(c.invstd[k]);
    }
  }

  template <class Data, class Acc>
  static void update(const np_problem& p, const Geometry& g, const np_tensors& t, const Channels<Acc>& c) {
    const std::int64_t batches = t.num_batches_tracked != nullptr ? ++*t.num_batches_tracked : 1;
    const Weights<Acc> w = Rule::template weights<Acc>(p, batches);
    Data* const mean = elements<Data>(t.running_mean);
    Data* const variance = elements<Data>(t.running_var);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      const Acc fed = Rule::running_variance(p, c.m2[k], g.n);
      mean[k] = static_cast<Data>(w.old_value * static_cast<Acc>(mean[k]) + w.new_value * c.mean[k]);
      variance[k] = static_cast<Data>(w.old_value * static_cast<Acc>(variance[k]) + w.new_value * fed);
    }
  }
};

/// Forward inference with the running statistics.
template <Affine form>
struct Inference {
  static void check(const np_problem& p) { check_common(p, NP_FORWARD_INFERENCE); }

  static void describe(const np_problem& p, np_capability& capability) {
    const int bits = p.data_dtype.bits;
    capability.outputs = NP_OUT_Y;
    capability.workspace_bytes =
        static_cast<std::uint64_t>(Channels<double>::arrays * p.shape[1] * (bits / 8));
    capability.claims.accumulator_bits = bits == 64 ? 53 : 24;
    capability.claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
    capability.claims.rsqrt_ulps = 1;
    capability.claims.deterministic = 1;
  }

  template <class Data>
  static void run(const np_problem& p, const np_tensors& t) {
    const Geometry g = geometry_of(p, p.x_strides);
    const Channels<Data> c(t.workspace, g.channels);
    load_affine<Data>(t, c, g.channels);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      c.mean[k] = elements<Data>(t.running_mean)[k];
      c.invstd[k] = Rules::invstd(elements<Data>(t.running_var)[k], static_cast<Data>(p.eps.value));
    }
    if constexpr (form == Affine::folded)
      fold(c, g.channels);
    normalise<form>(g, c, elements<Data>(t.x), elements<Data>(t.y), 0, g.n);
  }
};

}  // namespace normproof::impls::cpu
