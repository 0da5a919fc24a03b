// Wrong on purpose, backward: each the direct form of impls/cpu/backward.h, or the second order, with one
// small thing changed, as shipped code has had it. The summary names the clause that must catch it.
#include <cmath>

#include "mutants/parts.h"

namespace normproof::impls::cpu {
namespace {

// --- forms: one function of the direct one changed ---

struct MeanTermDropped : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    dbeta = 0;
  }
};

struct XhatTermDropped : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    dgamma = 0;
  }
};

/// Sums where means belong.
struct NotDividedByN : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, Acc{1});
  }
};

/// n - 1 where n belongs, as if the variance had been the unbiased one.
struct DividedByOneLess : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n - 1);
  }
};

struct GammaMissing : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    gamma = 1;
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
  }
};

/// dgamma = sum dy x invstd.
struct DgammaUncentred : Direct {
  template <class Acc>
  static Acc term(Acc dy, Acc x, Acc, Acc) {
    return dy * x;
  }
};

/// dgamma = sum dy (x - mean); dx is right.
struct DgammaWithoutInvstd : Direct {
  template <class Acc>
  static Acc dgamma(Acc sum, Acc) {
    return sum;
  }
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    dgamma = dgamma * invstd;
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
  }
};

struct WrongSign : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    return Direct::dx(dy, x, mean, invstd, scale, of_mean, -of_xhat);
  }
};

struct EvalGradient : Direct {
  static bool statistics_depend_on_x(const np_problem&) { return false; }
};

struct TrainingGradient : Direct {
  static bool statistics_depend_on_x(const np_problem&) { return true; }
};

/// As of a reduction over the batch axis that forgets space: the first N values of a channel.
struct BatchOnly : Direct {
  static std::int64_t summed_for_dbeta(const Geometry& g) { return g.batch; }
  static std::int64_t summed_for_dgamma(const Geometry& g) { return g.batch; }
};

struct BatchItemMissed : Direct {
  static std::int64_t summed_for_dbeta(const Geometry& g) { return g.batch == 0 ? 0 : g.n - g.n / g.batch; }
};

/// invstd = 1 / sqrt(var + eps + eps), in the pair and in inference.
struct EpsTwice : Direct {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(variance + eps, eps);
  }
  template <class Acc>
  static Acc given_invstd(const np_problem& p, Acc given) {
    return invstd(given, static_cast<Acc>(p.eps.value));
  }
};

/// The saved invstd goes through rsqrt once more.
struct InvstdTakenForVariance : Direct {
  template <class Acc>
  static Acc given_invstd(const np_problem& p, Acc given) {
    return Rules::invstd(given, static_cast<Acc>(p.eps.value));
  }
};

// --- kernels ---

struct EvalGradientInTraining : Backward<EvalGradient> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass != NP_BACKWARD_INFERENCE, "in training");
  }
};
struct TrainingGradientInEval : Backward<TrainingGradient> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass == NP_BACKWARD_INFERENCE, "in inference");
  }
};
struct SumOverBatchOnly : Backward<BatchOnly> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(geometry_of(p).n != p.shape[0], "where there is space");
  }
};
struct EpsCountedTwice : Backward<EpsTwice> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass != NP_BACKWARD_TRAINING, "where eps is read");
  }
};
struct RsqrtOfInvstd : Backward<InvstdTakenForVariance> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass == NP_BACKWARD_TRAINING, "where invstd is given");
  }
};
struct OneLess : Backward<DividedByOneLess> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass != NP_BACKWARD_INFERENCE && geometry_of(p).n > 1, "in training, from two values on");
  }
};

/// The statistics of the batch at hand in place of the saved ones.
struct SavedIgnored : Backward<Direct> {
  static void check(const np_problem& p) {
    Backward::check(p);
    only(p.pass == NP_BACKWARD_TRAINING && geometry_of(p).n > 0, "where statistics are given");
  }
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    np_problem anew = p;
    anew.pass = NP_GRADIENT;
    Backward::run<Data, Stat>(anew, t);
  }
};

/// dgamma += where dgamma = belongs.
struct Accumulated : Backward<Direct> {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    const auto dgamma = channels_of<Stat>(t.dgamma);
    std::vector<Stat> before;
    for (std::int64_t k = 0; k < p.shape[1]; ++k)
      before.push_back(dgamma[k]);
    Backward::run<Data, Stat>(p, t);
    for (std::int64_t k = 0; k < p.shape[1]; ++k)
      dgamma[k] = static_cast<Stat>(static_cast<double>(dgamma[k]) +
                                    static_cast<double>(before[static_cast<std::size_t>(k)]));
  }
};

/// The gradients are right, then Spoil::at(channel, element of dx, channels).
template <class Spoil>
struct Then : Backward<Direct> {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Backward<Direct>::run<Data, Stat>(p, t);
    const Geometry g = geometry_of(*t.dx);
    Data* const dx = elements<Data>(t.dx);
    for_each_value(0, g.n, [&](std::int64_t k, std::int64_t at) { Spoil::at(k, dx[at], g.channels); }, g);
  }
};
/// A per-channel launch whose last block had a stale gamma.
struct LastChannelOff {
  template <class Data>
  static void at(std::int64_t channel, Data& value, std::int64_t channels) {
    if (channel == channels - 1)
      value = static_cast<Data>(static_cast<double>(value) * 1.01);
  }
};
/// As of an rsqrt approximation without its Newton step.
struct ThreeUlps {
  template <class Data>
  static void at(std::int64_t, Data& value, std::int64_t) {
    if constexpr (std::is_floating_point_v<Data>) {
      for (int step = 0; step < 3; ++step)
        value = std::nextafter(value, std::copysign(std::numeric_limits<Data>::infinity(), value));
    } else if (std::isfinite(static_cast<double>(value))) {
      value.bits = static_cast<std::uint16_t>(value.bits + 3);
    }
  }
};

// --- the second order ---

struct TripleTermOnce : SecondOrder {
  static double grad_x(const SecondOrderChannel& c, double xhat, double dy, double v) {
    return SecondOrder::grad_x(c, xhat, dy, v) -
           c.gamma * c.invstd * c.invstd / c.n * 2 * xhat * c.v_xhat * c.dy_xhat / c.n;
  }
};
struct VGammaIgnored : SecondOrder {
  static double grad_dy(SecondOrderChannel c, double xhat, double v) {
    c.v_gamma = 0;
    return SecondOrder::grad_dy(c, xhat, v);
  }
  static double grad_x(SecondOrderChannel c, double xhat, double dy, double v) {
    c.v_gamma = 0;
    return SecondOrder::grad_x(c, xhat, dy, v);
  }
};
struct GradGammaWithoutInvstd : SecondOrder {
  static double grad_gamma(SecondOrderChannel c) {
    c.invstd = 1;
    return SecondOrder::grad_gamma(c);
  }
};
struct StatisticsConstant : SecondOrder {
  static double grad_x(const SecondOrderChannel& c, double, double dy, double) {
    return c.v_gamma * c.invstd * dy;
  }
};
/// Only sum v_x dy: as if the mean and the variance had no part in dx.
struct GradGammaOfProducts : SecondOrder {
  static double grad_gamma(const SecondOrderChannel& c) { return c.invstd * c.v_dy; }
};

struct TrainingSecondOrderInEval : DoubleBackward<SecondOrder, SecondOrder> {
  static void check(const np_problem& p) {
    DoubleBackward::check(p);
    only(p.pass == NP_DOUBLE_BACKWARD_INFERENCE, "in inference");
  }
};

constexpr np_kernel kernels[] = {
    make_kernel<Backward<MeanTermDropped>>("mutant.dx_mean_term_dropped",
                                           "dx without the mean of dy, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Backward<XhatTermDropped>>("mutant.dx_xhat_term_dropped",
                                           "dx without the term in xhat, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Backward<NotDividedByN>>("mutant.dx_not_divided_by_n",
                                         "dx with sums for means, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<OneLess>("mutant.dx_divided_by_one_less",
                         "dx with n - 1 for n, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Backward<GammaMissing>>("mutant.dx_gamma_missing",
                                        "dx without gamma, caught by BN-NUM-22, -24, -25, -27", ""),
    make_kernel<Backward<WrongSign>>("mutant.dx_wrong_sign",
                                     "dx with the term in xhat added, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Then<LastChannelOff>>("mutant.dx_one_channel_off",
                                      "dx of the last channel 1 % off, caught by BN-NUM-25, -27", ""),
    make_kernel<Then<ThreeUlps>>("mutant.dx_three_ulps",
                                 "dx 3 ulp too large in magnitude, caught by BN-NUM-25, -26, -27", ""),
    make_kernel<Backward<DgammaUncentred>>("mutant.dgamma_uncentred",
                                           "dgamma as sum of dy x invstd, caught by BN-NUM-21, -23, -28", ""),
    make_kernel<Backward<DgammaWithoutInvstd>>(
        "mutant.dgamma_without_invstd", "dgamma as sum of dy (x - mean), caught by BN-NUM-21, -23, -28", ""),
    make_kernel<Accumulated>("mutant.dgamma_accumulated",
                             "dgamma added to what was there, caught by BN-BWD-7", ""),
    make_kernel<Backward<BatchItemMissed>>("mutant.dbeta_misses_a_batch_item",
                                           "dbeta without the last batch item, caught by BN-NUM-20", ""),
    make_kernel<SumOverBatchOnly>("mutant.gradients_over_batch_only",
                                  "dbeta and dgamma of the first N values, caught by BN-NUM-20", ""),
    make_kernel<EvalGradientInTraining>("mutant.eval_gradient_in_training",
                                        "dx = gamma invstd dy in training, caught by BN-NUM-22, -24", ""),
    make_kernel<TrainingGradientInEval>(
        "mutant.training_gradient_in_eval",
        "dx counts on statistics that depend on x in inference, caught by BN-NUM-27", ""),
    make_kernel<EpsCountedTwice>("mutant.backward_eps_twice",
                                 "invstd = 1/sqrt(var + 2 eps), caught by BN-NUM-23, -24, -27, -28", ""),
    make_kernel<RsqrtOfInvstd>("mutant.invstd_taken_for_variance",
                               "rsqrt of the saved invstd, caught by BN-NUM-21, -22", ""),
    make_kernel<SavedIgnored>("mutant.saved_statistics_ignored",
                              "statistics of the batch for the saved ones, caught by BN-NUM-21, -22", ""),
    make_kernel<DoubleBackward<TripleTermOnce>>("mutant.second_order_term_once",
                                                "3 xhat W H counted once, caught by BN-NUM-31", ""),
    make_kernel<DoubleBackward<VGammaIgnored>>("mutant.second_order_v_gamma_ignored",
                                               "v_gamma does not enter, caught by BN-NUM-29, -31", ""),
    make_kernel<DoubleBackward<GradGammaWithoutInvstd>>("mutant.second_order_invstd_missing",
                                                        "grad_gamma without invstd, caught by BN-NUM-30", ""),
    make_kernel<DoubleBackward<StatisticsConstant>>("mutant.second_order_statistics_constant",
                                                    "grad_x as in inference, caught by BN-NUM-31", ""),
    make_kernel<TrainingSecondOrderInEval>(
        "mutant.second_order_training_in_eval",
        "the second order counts on statistics that depend on x in inference, caught by BN-NUM-32, -33, -34",
        ""),
    make_kernel<DoubleBackward<GradGammaOfProducts>>(
        "mutant.second_order_grad_gamma_uncentred",
        "grad_gamma as invstd times sum v_x dy, caught by BN-NUM-30", "")};

}  // namespace

Table backward_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
