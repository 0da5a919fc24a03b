// The second order: the gradients of <v_x, dx> + <v_gamma, dgamma> + <v_beta, dbeta> with respect to dy, x
// and gamma, in the expanded form of spec/bounds/double_backward.md, accumulated and computed in double; at
// the saved statistics, or at the running ones, which are constants.
#pragma once

#include <cstdint>

#include "cpu/backward.h"

namespace normproof::impls::cpu {

/// One channel: what is given, and the sums over its values. An absent cotangent is 0, an absent gamma 1.
struct SecondOrderChannel {
  double mean, invstd, gamma, v_gamma, v_beta;
  double n;
  double dy, dy_xhat;      ///< sum dy, sum dy xhat
  double v, v_xhat, v_dy;  ///< sum v_x, sum v_x xhat, sum v_x dy
  bool with_v_gamma;
};

/// The closed form; the wrong kernels change one of its terms.
struct SecondOrder {
  static double grad_dy(const SecondOrderChannel& c, double xhat, double v) {
    return c.gamma * c.invstd * (v - c.v / c.n - xhat * c.v_xhat / c.n) + c.v_gamma * xhat + c.v_beta;
  }
  static double grad_gamma(const SecondOrderChannel& c) {
    return c.invstd * (c.v_dy - c.v * c.dy / c.n - c.v_xhat * c.dy_xhat / c.n);
  }
  static double grad_x(const SecondOrderChannel& c, double xhat, double dy, double v) {
    const double first = c.dy_xhat * v + c.v_xhat * dy + xhat * c.v_dy;
    const double second = c.dy_xhat * c.v + c.v_xhat * c.dy + xhat * c.v * c.dy;
    const double third = 3 * xhat * c.v_xhat * c.dy_xhat;
    return c.v_gamma * c.invstd * (dy - c.dy / c.n - xhat * c.dy_xhat / c.n) -
           c.gamma * c.invstd * c.invstd / c.n * (first - second / c.n - third / c.n);
  }
};

/// The same where the statistics do not depend on x. The term of an absent v_gamma is not there, so that an x
/// that is not finite has no say (BN-DBL-6).
struct SecondOrderInInference {
  static double grad_dy(const SecondOrderChannel& c, double xhat, double v) {
    return c.gamma * c.invstd * v + (c.with_v_gamma ? c.v_gamma * xhat : 0) + c.v_beta;
  }
  static double grad_gamma(const SecondOrderChannel& c) { return c.invstd * c.v_dy; }
  static double grad_x(const SecondOrderChannel& c, double, double dy, double) {
    return c.with_v_gamma ? c.v_gamma * c.invstd * dy : 0;
  }
};

template <class Form = SecondOrder, class InInference = SecondOrderInInference>
struct DoubleBackward {
  static void check(const np_problem& p) {
    check_common(p, {NP_DOUBLE_BACKWARD, NP_DOUBLE_BACKWARD_INFERENCE});
  }

  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = geometry_of(p);
    capability.outputs = NP_OUT_GRAD_DY | NP_OUT_GRAD_X | NP_OUT_GRAD_GAMMA;
    capability.workspace_bytes =
        static_cast<std::uint64_t>(g.channels) * (sizeof(SecondOrderChannel) + 2 * sizeof(double));
    np_claims& claims = capability.claims;
    claims.accumulator_bits = 53;
    claims.reduction_depth = Cascade::depth(g.n, g.interleaved);
    claims.deterministic = 1;
  }

  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    if (p.pass == NP_DOUBLE_BACKWARD)
      run_as<Form, Data, Stat>(t, t.saved_mean, t.saved_invstd, [](double invstd) { return invstd; });
    else
      run_as<InInference, Data, Stat>(t, t.running_mean, t.running_var,
                                      [&](double var) { return Rules::invstd(var, p.eps.value); });
  }

private:
  template <class Terms, class Data, class Stat>
  static void run_as(const np_tensors& t, const np_tensor* mean, const np_tensor* second,
                     const auto& invstd_of) {
    const Geometry g = geometry_of(*t.x);
    auto* const channels = static_cast<SecondOrderChannel*>(t.workspace);
    load<Stat>(t, g, channels);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      channels[k].mean = static_cast<double>(channels_of<const Stat>(mean)[k]);
      channels[k].invstd = invstd_of(static_cast<double>(channels_of<const Stat>(second)[k]));
    }
    sums<Data>(t, g, channels);
    const auto grad_gamma = channels_of<Stat>(t.grad_gamma);
    for (std::int64_t k = 0; k < g.channels; ++k)
      grad_gamma[k] = static_cast<Stat>(Terms::grad_gamma(channels[k]));

    // Where there is no v_x its place is taken by x, unread.
    const bool with_v = t.v_x != nullptr;
    const Data* const x = elements<const Data>(t.x);
    const Data* const dy = elements<const Data>(t.dy);
    const Data* const v = elements<const Data>(t.v_x);
    Data* const grad_dy = elements<Data>(t.grad_dy);
    Data* const grad_x = elements<Data>(t.grad_x);
    for_each_value(
        0, g.n,
        [=](std::int64_t k, std::int64_t at_x, std::int64_t at_dy, std::int64_t at_v, std::int64_t to_dy,
            std::int64_t to_x) {
          const SecondOrderChannel& c = channels[k];
          const double xhat = (static_cast<double>(x[at_x]) - c.mean) * c.invstd;
          const double v_i = with_v ? static_cast<double>(v[at_v]) : 0.0;
          grad_dy[to_dy] = static_cast<Data>(Terms::grad_dy(c, xhat, v_i));
          grad_x[to_x] = static_cast<Data>(Terms::grad_x(c, xhat, static_cast<double>(dy[at_dy]), v_i));
        },
        g, geometry_of(*t.dy), geometry_of(with_v ? *t.v_x : *t.x), geometry_of(*t.grad_dy),
        geometry_of(*t.grad_x));
  }

  template <class Stat>
  static void load(const np_tensors& t, const Geometry& g, SecondOrderChannel* channels) {
    const auto one = [](const np_tensor* tensor, std::int64_t k, double absent) {
      const auto values = channels_of<const Stat>(tensor);
      return values ? static_cast<double>(values[k]) : absent;
    };
    for (std::int64_t k = 0; k < g.channels; ++k)
      channels[k] = {.gamma = one(t.gamma, k, 1),
                     .v_gamma = one(t.v_gamma, k, 0),
                     .v_beta = one(t.v_beta, k, 0),
                     // Of an empty batch every sum is 0, and so is the gradient.
                     .n = static_cast<double>(std::max<std::int64_t>(g.n, 1)),
                     .with_v_gamma = t.v_gamma != nullptr};
  }

  template <class Data>
  static void sums(const np_tensors& t, const Geometry& g, SecondOrderChannel* channels) {
    double* const mean = reinterpret_cast<double*>(channels + g.channels);
    double* const invstd = mean + g.channels;
    for (std::int64_t k = 0; k < g.channels; ++k) {
      mean[k] = channels[k].mean;
      invstd[k] = channels[k].invstd;
    }
    using Values = Source<Data, double>;
    const Values x{elements<const Data>(t.x), g, 0, g.n};
    const Values dy{elements<const Data>(t.dy), geometry_of(*t.dy), 0, g.n, g.interleaved};
    for (std::int64_t tile = 0; tile < x.tiles(); ++tile) {
      const Row<double> m = per_lane(mean, x, tile);
      const Row<double> r = per_lane(invstd, x, tile);
      const Operand<Data, double> of_x{x, m};
      const Operand<Data, double> of_dy{dy};
      const auto plain = [](double value, std::size_t) {
        return value;
      };
      const auto times_xhat = [&](double of, double at, std::size_t l) {
        return of * ((at - m[l]) * r[l]);
      };
      const auto keep = [&](double SecondOrderChannel::* sum, const Row<double>& row) {
        for (std::int64_t l = 0; l < x.width(tile); ++l)
          channels[x.first_channel(tile) + l].*sum = row[static_cast<std::size_t>(l)];
      };
      keep(&SecondOrderChannel::dy, Cascade::sum(tile, plain, of_dy));
      keep(&SecondOrderChannel::dy_xhat, Cascade::sum(tile, times_xhat, of_dy, of_x));
      if (t.v_x == nullptr)
        continue;
      const Values v{elements<const Data>(t.v_x), geometry_of(*t.v_x), 0, g.n, g.interleaved};
      const Operand<Data, double> of_v{v};
      keep(&SecondOrderChannel::v, Cascade::sum(tile, plain, of_v));
      keep(&SecondOrderChannel::v_xhat, Cascade::sum(tile, times_xhat, of_v, of_x));
      keep(&SecondOrderChannel::v_dy,
           Cascade::sum(tile, [](double a, double b, std::size_t) { return a * b; }, of_v, of_dy));
    }
  }
};

}  // namespace normproof::impls::cpu
