// The gradients of batch normalisation: dbeta, dgamma and dx from dy, x and the statistics, in training,
// in inference and as a pair with a forward of its own (spec/bounds/backward.md has the forms).
//
// Everything that a kernel can get wrong is in its form; the wrong kernels of impls/mutants are forms that
// differ in one function.
#pragma once

#include <cstdint>

#include "cpu/forward.h"

namespace normproof::impls::cpu {

/// dgamma = (sum dy (x - mean)) invstd, dx = gamma invstd (dy - dbeta / n - xhat dgamma / n).
struct Direct : Rules {
  static constexpr bool threaded = true;

  /// What a value adds to the sum that dgamma is made of.
  template <class Acc>
  static constexpr Acc term(Acc dy, Acc x, Acc mean, Acc) {
    return dy * (x - mean);
  }
  template <class Acc>
  static constexpr Acc dgamma(Acc sum, Acc invstd) {
    return sum * invstd;
  }
  /// dx in training, of a channel that coefficients() has prepared.
  template <class Acc>
  static constexpr Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    return scale * ((dy - of_mean) - (x - mean) * invstd * of_xhat);
  }
  /// Turns gamma, dbeta and dgamma into what dx is made with.
  template <class Acc>
  static constexpr void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    gamma = gamma * invstd;
    dbeta = dbeta / n;
    dgamma = dgamma / n;
  }
  /// From what the pass is given: the saved invstd, or in inference the running variance.
  template <class Acc>
  static constexpr Acc given_invstd(const np_problem& p, Acc given) {
    return p.pass == NP_BACKWARD_INFERENCE ? Rules::invstd(given, static_cast<Acc>(p.eps.value)) : given;
  }
  /// Whether dx counts that the statistics depend on x.
  static constexpr bool statistics_depend_on_x(const np_problem& p) {
    return p.pass != NP_BACKWARD_INFERENCE;
  }
  /// How many values of a channel enter the sum of dy, and that of dy xhat.
  static std::int64_t summed_for_dbeta(const Geometry& g) { return g.n; }
  static std::int64_t summed_for_dgamma(const Geometry& g) { return g.n; }
};

/// xhat computed anew for each term, and coefficients first: dx = c1 dy - c2 - c3 (x - mean).
struct Recomputed : Direct {
  static constexpr bool threaded = false;

  template <class Acc>
  static Acc term(Acc dy, Acc x, Acc mean, Acc invstd) {
    return dy * ((x - mean) * invstd);
  }
  template <class Acc>
  static Acc dgamma(Acc sum, Acc) {
    return sum;
  }
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc, Acc scale, Acc of_mean, Acc of_xhat) {
    return scale * dy - of_mean - of_xhat * (x - mean);
  }
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    gamma = gamma * invstd;
    dbeta = gamma * dbeta / n;
    dgamma = gamma * invstd * dgamma / n;
  }
};

/// The value of each lane's channel: the channels of a tile, or one channel throughout.
template <class Acc, class Data>
Row<Acc> per_lane(const Acc* values, const Source<Data, Acc>& source, std::int64_t tile) {
  const Acc* const from = values + source.first_channel(tile);
  Row<Acc> row = constant_row(from[0]);
  for (std::int64_t l = 1; l < source.width(tile); ++l)
    row[static_cast<std::size_t>(l)] = from[l];
  return row;
}
template <class Acc, class Data>
void store_lanes(const Row<Acc>& row, Acc* values, const Source<Data, Acc>& source, std::int64_t tile) {
  for (std::int64_t l = 0; l < source.width(tile); ++l)
    values[source.first_channel(tile) + l] = row[static_cast<std::size_t>(l)];
}

template <class Form, class Width = AsData>
struct Backward {
  static void check(const np_problem& p) {
    check_common(p, {NP_BACKWARD_TRAINING, NP_BACKWARD_INFERENCE, NP_GRADIENT});
    if (p.pass == NP_GRADIENT)
      check_training(p);
  }

  static int threads(const np_problem& p, const Geometry& g) {
    return Form::threaded
               ? static_cast<int>(std::clamp<std::int64_t>(p.threads, 1, std::max<std::int64_t>(g.n, 1)))
               : 1;
  }

  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = geometry_of(p);
    const int parts = threads(p, g);
    const bool f64_accumulator = accumulates_in_double<Width>(p);
    capability.outputs = NP_OUT_DX | NP_OUT_DGAMMA | NP_OUT_DBETA;
    capability.workspace_bytes = static_cast<std::uint64_t>((Channels<double>::arrays + 2 * parts) *
                                                            g.channels * (f64_accumulator ? 8 : 4));
    np_claims& claims = capability.claims;
    claims.accumulator_bits = f64_accumulator ? 53 : 24;
    const std::int64_t share = (g.n + parts - 1) / parts;
    claims.reduction_depth = Cascade::depth(share, g.interleaved) + parts - 1;
    if (p.pass == NP_GRADIENT) {
      claims.reduction_depth = std::max(claims.reduction_depth, TwoPass::depth(g, 1));
      claims.variance_family = TwoPass::family;
    }
    claims.rsqrt_ulps = 1;
    claims.deterministic = 1;
    claims.uses_reported = stores_accumulators<Width>(p);
  }

  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Width::template type<Data>;
    const Geometry g = geometry_of(*t.x);
    const int parts = threads(p, g);
    const Channels<Acc> c(t.workspace, g.channels);
    load_affine<Stat>(t, c, g.channels);
    statistics<Data, Stat>(p, g, t, c);

    Acc* const dbeta = c.beta + g.channels;  // those of the first part, then of all
    Acc* const dgamma = dbeta + g.channels;
    split(parts, g.n, [&](int part, std::int64_t begin, std::int64_t end) {
      sums<Data>(g, t, c, begin, end, dbeta + 2 * part * g.channels, dgamma + 2 * part * g.channels);
    });
    for (std::int64_t k = 0; k < 2 * g.channels; ++k)
      for (int part = 1; part < parts; ++part)
        dbeta[k] += dbeta[2 * part * g.channels + k];
    report<Stat>(g, t, c, dbeta, dgamma);
    elementwise<Data>(p, g, t, c, parts, dbeta, dgamma);
  }

private:
  /// The mean and invstd that the gradient is taken at. Those of the pair pass through their stored format,
  /// as they do where forward and backward are two calls.
  template <class Data, class Stat, class Acc>
  static void statistics(const np_problem& p, const Geometry& g, const np_tensors& t,
                         const Channels<Acc>& c) {
    if (p.pass == NP_GRADIENT)
      all_moments<TwoPass>(g, elements<const Data>(t.x), g.n, g.n, 1, c, static_cast<Acc*>(nullptr));
    const bool inference = p.pass == NP_BACKWARD_INFERENCE;
    const auto mean = channels_of<const Stat>(inference ? t.running_mean : t.saved_mean);
    const auto scatter = channels_of<const Stat>(inference ? t.running_var : t.saved_invstd);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      if (p.pass == NP_GRADIENT) {
        const Acc invstd = invstd_of<Form>(p, c.m2[k] / static_cast<Acc>(g.n));
        c.mean[k] = static_cast<Acc>(Form::template stored<Stat>(c.mean[k]));
        c.invstd[k] = static_cast<Acc>(Form::template stored<Stat>(invstd));
      } else {
        c.mean[k] = static_cast<Acc>(mean[k]);
        c.invstd[k] = Form::template given_invstd<Acc>(p, static_cast<Acc>(scatter[k]));
      }
    }
  }

  template <class Data, class Acc>
  static void sums(const Geometry& g, const np_tensors& t, const Channels<Acc>& c, std::int64_t begin,
                   std::int64_t end, Acc* dbeta, Acc* dgamma) {
    Source<Data, Acc> x{elements<const Data>(t.x), g, begin, end};
    Source<Data, Acc> dy{elements<const Data>(t.dy), geometry_of(*t.dy), begin, end, g.interleaved};
    for (std::int64_t tile = 0; tile < x.tiles(); ++tile) {
      const Row<Acc> mean = per_lane(c.mean, x, tile);
      const Row<Acc> invstd = per_lane(c.invstd, x, tile);
      dy.end = std::clamp(Form::summed_for_dbeta(g), begin, end);
      store_lanes(
          Cascade::sum(tile, [](Acc v, std::size_t) { return v; }, Operand<Data, Acc>{dy}), dbeta, x, tile);
      x.end = dy.end = std::clamp(Form::summed_for_dgamma(g), begin, end);
      const auto term = [&](Acc of_x, Acc of_dy, std::size_t l) {
        return Form::term(of_dy, of_x, mean[l], invstd[l]);
      };
      store_lanes(Cascade::sum(tile, term, Operand<Data, Acc>{x, mean}, Operand<Data, Acc>{dy}), dgamma, x,
                  tile);
    }
  }

  template <class Stat, class Acc>
  static void report(const Geometry& g, const np_tensors& t, const Channels<Acc>& c, const Acc* dbeta,
                     Acc* dgamma) {
    const auto to_dbeta = channels_of<Stat>(t.dbeta);
    const auto to_dgamma = channels_of<Stat>(t.dgamma);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      dgamma[k] = Form::dgamma(dgamma[k], c.invstd[k]);
      to_dbeta[k] = Form::template stored<Stat>(dbeta[k]);
      to_dgamma[k] = Form::template stored<Stat>(dgamma[k]);
    }
  }

  template <class Data, class Acc>
  static void elementwise(const np_problem& p, const Geometry& g, const np_tensors& t, const Channels<Acc>& c,
                          int parts, Acc* dbeta, Acc* dgamma) {
    for (std::int64_t k = 0; k < g.channels; ++k)
      Form::coefficients(c.gamma[k], dbeta[k], dgamma[k], c.invstd[k], static_cast<Acc>(g.n));
    const Data* const x = elements<const Data>(t.x);
    const Data* const dy = elements<const Data>(t.dy);
    Data* const dx = elements<Data>(t.dx);
    const Geometry of_dy = geometry_of(*t.dy);
    const Geometry of_dx = geometry_of(*t.dx);
    split(parts, g.n, [&](int, std::int64_t begin, std::int64_t end) {
      if (Form::statistics_depend_on_x(p))
        for_each_value(
            begin, end,
            [=, &c](std::int64_t k, std::int64_t at_x, std::int64_t at_dy, std::int64_t to) {
              dx[to] = Form::template stored<Data>(Form::dx(static_cast<Acc>(dy[at_dy]),
                                                            static_cast<Acc>(x[at_x]), c.mean[k], c.invstd[k],
                                                            c.gamma[k], dbeta[k], dgamma[k]));
            },
            g, of_dy, of_dx);
      else
        for_each_value(
            begin, end,
            [=, &c](std::int64_t k, std::int64_t from, std::int64_t to) {
              dx[to] = Form::template stored<Data>(c.gamma[k] * static_cast<Acc>(dy[from]));
            },
            of_dy, of_dx);
    });
  }
};

}  // namespace normproof::impls::cpu
