// Forward batch normalisation around any way to the moments: invstd, running statistics, scale and shift.
//
// Everything a kernel can get wrong without touching a sum is in `Rules`; the wrong kernels of impls/mutants
// override one of them each.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
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

/// constexpr lets the same text run on a device (impls/cuda).
struct Rules {
  template <class Acc>
  static constexpr Acc invstd(Acc variance, Acc eps) {
    using std::sqrt;
    return Acc{1} / sqrt(variance + eps);
  }

  /// `batches` counts the present one.
  template <class Acc>
  static constexpr Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
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
  static constexpr Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    return m2 / static_cast<Acc>(p.running_variance == NP_VARIANCE_UNBIASED ? n - 1 : n);
  }

  /// How many of the n values enter the sums.
  static std::int64_t summed(std::int64_t n) { return n; }

  /// A result in the format of its tensor: one rounding.
  template <class Data, class Acc>
  static Data stored(Acc value) {
    return static_cast<Data>(value);
  }
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

/// What is applied to x, channel by channel. Centred: ((x - mean) invstd) gamma + beta. Folded: x gamma +
/// beta after fold().
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

template <Affine form, class Rule, class Data, class Acc>
void normalise(const Channels<Acc>& c, const np_tensors& t, std::int64_t begin, std::int64_t end) {
  const Data* const x = elements<Data>(t.x);
  Data* const y = elements<Data>(t.y);
  for_each_value(
      begin, end,
      [&c, x, y](std::int64_t k, std::int64_t from, std::int64_t to) {
        const auto value = static_cast<Acc>(x[from]);
        if constexpr (form == Affine::centred)
          y[to] = Rule::template stored<Data>((value - c.mean[k]) * c.invstd[k] * c.gamma[k] + c.beta[k]);
        else
          y[to] = Rule::template stored<Data>(value * c.gamma[k] + c.beta[k]);
      },
      geometry_of(*t.x), geometry_of(*t.y));
}

template <class Stat, class Acc>
void load_affine(const np_tensors& t, const Channels<Acc>& c, std::int64_t channels) {
  const auto gamma = channels_of<const Stat>(t.gamma);
  const auto beta = channels_of<const Stat>(t.beta);
  for (std::int64_t k = 0; k < channels; ++k) {
    c.gamma[k] = gamma ? static_cast<Acc>(gamma[k]) : Acc{1};
    c.beta[k] = beta ? static_cast<Acc>(beta[k]) : Acc{0};
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

/// Accumulators as wide as the data but float at least, or always double.
struct AsData {
  template <class Data>
  using type = typename Accumulator<Data>::type;
};
struct AlwaysDouble {
  template <class>
  using type = double;
};

template <class Width>
bool accumulates_in_double(const np_problem& p) {
  return p.data_dtype.bits == 64 || std::is_same_v<Width, AlwaysDouble>;
}
/// Whether a statistic loses no bit when it is stored.
template <class Width>
bool stores_accumulators(const np_problem& p) {
  return p.stats_dtype.bits == (accumulates_in_double<Width>(p) ? 64 : 32);
}

inline void check_training(const np_problem& p) {
  const Geometry g = geometry_of(p);
  // The one dialect that passes an empty batch through asks for what these kernels do not have.
  if (g.n == 0 && std::string_view(p.dialect) == "pytorch/F.batch_norm")
    throw Refusal{NP_UNSUPPORTED, "no empty batches"};
  if (g.n == 0)
    throw Refusal{NP_REJECTED, "no value per channel to take statistics of"};
  if (g.n == 1 && p.single_value == NP_SINGLE_REJECTED)
    throw Refusal{NP_REJECTED, "more than one value per channel is needed in training"};
}

template <class Rule, class Acc>
constexpr Acc invstd_of(const np_problem& p, Acc variance) {
  const auto eps = static_cast<Acc>(p.eps.value);
  const bool both_zero = variance == 0 && eps == 0 && p.zero_eps == NP_ZERO_EPS_ZERO_INVSTD;
  return both_zero ? Acc{0} : Rule::invstd(variance, eps);
}

/// Forward training with the running update.
template <class Algorithm, Affine form, class Width = AsData, class Rule = Rules>
struct Training {
  static void check(const np_problem& p) {
    check_common(p, {NP_FORWARD_TRAINING});
    check_training(p);
  }

  static int threads(const np_problem& p, const Geometry& g) {
    return Algorithm::threaded
               ? static_cast<int>(std::clamp<std::int64_t>(p.threads, 1, std::max<std::int64_t>(g.n, 1)))
               : 1;
  }

  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = geometry_of(p);
    const bool f64_accumulator = accumulates_in_double<Width>(p);
    const int parts = threads(p, g);
    const std::int64_t arrays = Channels<double>::arrays + (parts > 1 ? 2 * parts : 0);
    capability.outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_VAR | NP_OUT_INVSTD;
    if (p.has_running != 0)
      capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
    capability.workspace_bytes = static_cast<std::uint64_t>(arrays * g.channels * (f64_accumulator ? 8 : 4));
    np_claims& claims = capability.claims;
    claims.accumulator_bits = Algorithm::doubled * (f64_accumulator ? 53 : 24);
    claims.reduction_depth = Algorithm::depth(g, parts);
    claims.variance_family = Algorithm::family;
    claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
    claims.rsqrt_ulps = 1;
    claims.deterministic = 1;
    claims.uses_reported = stores_accumulators<Width>(p);
  }

  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Width::template type<Data>;
    const Geometry g = geometry_of(*t.x);
    const Channels<Acc> c(t.workspace, g.channels);
    const int parts = threads(p, g);
    all_moments<Algorithm>(g, elements<const Data>(t.x), Rule::summed(g.n), g.n, parts, c,
                           c.beta + g.channels);
    load_affine<Stat>(t, c, g.channels);
    report<Stat>(p, g, t, c);
    if (p.has_running != 0)
      update<Stat>(p, g, t, c);
    if constexpr (form == Affine::folded)
      fold(c, g.channels);
    split(parts, g.n,
          [&](int, std::int64_t begin, std::int64_t end) { normalise<form, Rule, Data>(c, t, begin, end); });
  }

private:
  template <class Stat, class Acc>
  static void report(const np_problem& p, const Geometry& g, const np_tensors& t, const Channels<Acc>& c) {
    const auto mean = channels_of<Stat>(t.mean);
    const auto var = channels_of<Stat>(t.var);
    const auto invstd = channels_of<Stat>(t.invstd);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      const Acc variance = c.m2[k] / static_cast<Acc>(g.n);
      c.invstd[k] = invstd_of<Rule>(p, variance);
      mean[k] = Rule::template stored<Stat>(c.mean[k]);
      var[k] = Rule::template stored<Stat>(variance);
      invstd[k] = Rule::template stored<Stat>(c.invstd[k]);
    }
  }

  template <class Stat, class Acc>
  static void update(const np_problem& p, const Geometry& g, const np_tensors& t, const Channels<Acc>& c) {
    const std::int64_t batches = t.num_batches_tracked != nullptr ? ++*t.num_batches_tracked : 1;
    const Weights<Acc> w = Rule::template weights<Acc>(p, batches);
    const auto mean = channels_of<Stat>(t.running_mean);
    const auto variance = channels_of<Stat>(t.running_var);
    const auto mixed = [&w](Stat old_value, Acc new_value) {
      return Rule::template stored<Stat>(w.old_value * static_cast<Acc>(old_value) + w.new_value * new_value);
    };
    for (std::int64_t k = 0; k < g.channels; ++k) {
      mean[k] = mixed(mean[k], c.mean[k]);
      variance[k] = mixed(variance[k], Rule::running_variance(p, c.m2[k], g.n));
    }
  }
};

/// Forward inference with the running statistics.
template <Affine form, class Rule = Rules>
struct Inference {
  static void check(const np_problem& p) { check_common(p, {NP_FORWARD_INFERENCE}); }

  static void describe(const np_problem& p, np_capability& capability) {
    const bool f64_accumulator = accumulates_in_double<AsData>(p);
    capability.outputs = NP_OUT_Y;
    capability.workspace_bytes =
        static_cast<std::uint64_t>(Channels<double>::arrays * p.shape[1] * (f64_accumulator ? 8 : 4));
    capability.claims.accumulator_bits = f64_accumulator ? 53 : 24;
    capability.claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
    capability.claims.rsqrt_ulps = 1;
    capability.claims.deterministic = 1;
  }

  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Accumulator<Data>::type;
    const std::int64_t channels = p.shape[1];
    const Channels<Acc> c(t.workspace, channels);
    load_affine<Stat>(t, c, channels);
    const auto mean = channels_of<const Stat>(t.running_mean);
    const auto variance = channels_of<const Stat>(t.running_var);
    for (std::int64_t k = 0; k < channels; ++k) {
      c.mean[k] = static_cast<Acc>(mean[k]);
      c.invstd[k] = Rule::invstd(static_cast<Acc>(variance[k]), static_cast<Acc>(p.eps.value));
    }
    if constexpr (form == Affine::folded)
      fold(c, channels);
    normalise<form, Rule, Data>(c, t, 0, geometry_of(p).n);
  }
};

}  // namespace normproof::impls::cpu
