// Wrong on purpose, the gradients once more: smaller slips than those of backward.cpp, most of them in a
// corner. Each the direct form or the second order with one thing changed.
#include "mutants/parts.h"

namespace normproof::impls::cpu {
namespace {

// --- forms ---

struct Of8Summed : Direct {
  static std::int64_t summed_for_dgamma(const Geometry& g) { return g.n - (g.n > 8 ? g.n % 8 : 0); }
};
struct UpTo1024Summed : Direct {
  static std::int64_t summed_for_dbeta(const Geometry& g) { return std::min<std::int64_t>(g.n, 1024); }
  static std::int64_t summed_for_dgamma(const Geometry& g) { return std::min<std::int64_t>(g.n, 1024); }
};
struct InvstdTwice : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    gamma *= invstd;
  }
};
struct InvstdMissing : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    const Acc plain = gamma;
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    gamma = plain;
  }
};
struct GammaTwice : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    const Acc plain = gamma;
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    gamma *= plain;
  }
};
struct GammaPositive : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    gamma = std::abs(gamma);
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
  }
};
/// The means of dy and dy xhat pass through 16 bits.
struct MeansInHalf : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
    const auto halved = [](Acc v) {
      const auto half = static_cast<Acc>(static_cast<F16>(v));
      return std::isfinite(half) ? half : v;
    };
    dbeta = halved(dbeta);
    dgamma = halved(dgamma);
  }
};
struct CountInHalf : Direct {
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    Direct::coefficients(gamma, dbeta, dgamma, invstd, static_cast<Acc>(static_cast<BF16>(n)));
  }
};
/// xhat without the mean in dx alone.
struct XhatUncentred : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    return Direct::dx(dy, x, Acc{0}, invstd, scale, of_mean, of_xhat);
  }
};
struct XhatTermHalved : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    return Direct::dx(dy, x, mean, invstd, scale, of_mean, of_xhat / 2);
  }
};
struct MeanAdded : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    return Direct::dx(dy, x, mean, invstd, scale, -of_mean, of_xhat);
  }
};
struct Clipped : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    const Acc limit = 64;
    const Acc v = Direct::dx(dy, x, mean, invstd, scale, of_mean, of_xhat);
    return v > limit ? limit : v < -limit ? -limit : v;
  }
};
struct SmallLost : Direct {
  template <class Acc>
  static Acc dx(Acc dy, Acc x, Acc mean, Acc invstd, Acc scale, Acc of_mean, Acc of_xhat) {
    const Acc v = Direct::dx(dy, x, mean, invstd, scale, of_mean, of_xhat);
    return std::abs(v) < static_cast<Acc>(1e-4) ? Acc{0} : v;
  }
};
/// invstd of a saved variance plus eps that was already in it.
struct EpsOnceMore : Direct {
  template <class Acc>
  static Acc given_invstd(const np_problem& p, Acc given) {
    if (p.pass == NP_BACKWARD_INFERENCE)
      return Direct::given_invstd(p, given);
    return Acc{1} / std::sqrt(Acc{1} / (given * given) + static_cast<Acc>(p.eps.value));
  }
};
struct DeviationGiven : Direct {
  template <class Acc>
  static Acc given_invstd(const np_problem& p, Acc given) {
    return p.pass == NP_BACKWARD_INFERENCE ? Direct::given_invstd(p, given) : Acc{1} / given;
  }
};
struct EpsOutsideRoot : Direct {
  template <class Acc>
  static Acc given_invstd(const np_problem& p, Acc given) {
    return p.pass == NP_BACKWARD_INFERENCE ? Acc{1} / std::sqrt(given) + static_cast<Acc>(p.eps.value)
                                           : given;
  }
};
/// dy times xhat of 11 bits.
struct TermInHalf : Direct {
  template <class Acc>
  static Acc term(Acc dy, Acc x, Acc mean, Acc) {
    const Acc product = dy * (x - mean);
    const auto half = static_cast<Acc>(static_cast<F16>(product));
    return std::isfinite(half) ? half : product;
  }
};
struct DgammaSquared : Direct {
  template <class Acc>
  static Acc dgamma(Acc sum, Acc invstd) {
    return sum * invstd * invstd;
  }
  template <class Acc>
  static void coefficients(Acc& gamma, Acc& dbeta, Acc& dgamma, Acc invstd, Acc n) {
    dgamma = dgamma / invstd;
    Direct::coefficients(gamma, dbeta, dgamma, invstd, n);
  }
};

struct GivenStatistics {
  static constexpr const char* text = "where statistics are given";
  static bool shows(const np_problem& p) { return p.pass == NP_BACKWARD_TRAINING && geometry_of(p).n > 0; }
};
struct InInference {
  static constexpr const char* text = "in inference";
  static bool shows(const np_problem& p) { return p.pass == NP_BACKWARD_INFERENCE; }
};
struct InTraining {
  static constexpr const char* text = "in training";
  static bool shows(const np_problem& p) { return p.pass != NP_BACKWARD_INFERENCE && geometry_of(p).n > 0; }
};

// --- afterwards ---

template <class Tensor, class Change>
struct PerChannelOff {
  template <class, class Stat>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry& g) {
    const auto values = channels_of<Stat>(Tensor::of(t));
    for (std::int64_t k = 0; k < p.shape[1]; ++k)
      values[k] = static_cast<Stat>(
          Change::change(static_cast<double>(values[k]), static_cast<double>(g.n), k == p.shape[1] - 1));
  }
};
struct OfDbeta {
  static const np_tensor* of(const np_tensors& t) { return t.dbeta; }
};
struct OfDgamma {
  static const np_tensor* of(const np_tensors& t) { return t.dgamma; }
};
struct Mean {
  static double change(double v, double n, bool) { return n > 0 ? v / n : v; }
};
struct LastOff {
  static double change(double v, double, bool last) { return last ? v * (1 + 0x1p-7) : v; }
};
struct Negated {
  static double change(double v, double, bool) { return -v; }
};
template <class Change>
struct DxAt {
  template <class Data, class>
  static void apply(const np_problem&, const np_tensors& t, const Geometry&) {
    const Geometry g = geometry_of(*t.dx);
    if (g.n > 0)
      Change::change(elements<Data>(t.dx)[g.offset(g.channels - 1, g.n - 1)]);
  }
};
struct OneElementOff {
  template <class Data>
  static void change(Data& v) {
    v = static_cast<Data>(static_cast<double>(v) * (1 + 0x1p-6));
  }
};

using Gradients = Backward<Direct>;

// --- the second order ---

struct NoQ : SecondOrder {
  static double grad_x(const SecondOrderChannel& c, double xhat, double dy, double v) {
    return SecondOrder::grad_x(c, xhat, dy, v) +
           c.gamma * c.invstd * c.invstd / c.n * c.v_xhat * (dy - c.dy / c.n - xhat * c.dy_xhat / c.n);
  }
};
struct NoP : SecondOrder {
  static double grad_x(const SecondOrderChannel& c, double xhat, double dy, double v) {
    return SecondOrder::grad_x(c, xhat, dy, v) +
           c.gamma * c.invstd * c.invstd / c.n * c.dy_xhat * (v - c.v / c.n - xhat * c.v_xhat / c.n);
  }
};
struct VBetaIgnored : SecondOrder {
  static double grad_dy(SecondOrderChannel c, double xhat, double v) {
    c.v_beta = 0;
    return SecondOrder::grad_dy(c, xhat, v);
  }
};
struct InvstdOnce : SecondOrder {
  static double grad_x(SecondOrderChannel c, double xhat, double dy, double v) {
    c.gamma /= c.invstd;
    return SecondOrder::grad_x(c, xhat, dy, v);
  }
};
struct GammaMissing : SecondOrder {
  static double grad_dy(SecondOrderChannel c, double xhat, double v) {
    c.gamma = 1;
    return SecondOrder::grad_dy(c, xhat, v);
  }
};
struct MeansNotTaken : SecondOrder {
  static double grad_dy(SecondOrderChannel c, double xhat, double v) {
    c.v = 0;
    return SecondOrder::grad_dy(c, xhat, v);
  }
};
struct VGammaSign : SecondOrder {
  static double grad_dy(SecondOrderChannel c, double xhat, double v) {
    c.v_gamma = -c.v_gamma;
    return SecondOrder::grad_dy(c, xhat, v);
  }
};

constexpr np_kernel kernels[] = {
    make_kernel<Backward<Of8Summed>>("mutant.dgamma_rest_of_8_dropped",
                                     "the last n mod 8 values not in dgamma, caught by BN-NUM-21, -23, -28",
                                     ""),
    make_kernel<Backward<UpTo1024Summed>>("mutant.gradients_end_at_1024",
                                          "values beyond 1024 in no sum, caught by BN-NUM-20", ""),
    make_kernel<Where<Backward<InvstdTwice>, InTraining>>(
        "mutant.dx_invstd_twice", "dx with invstd^2, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Where<Backward<InvstdMissing>, InTraining>>(
        "mutant.dx_invstd_missing", "dx without invstd, caught by BN-NUM-22, -24, -25", ""),
    make_kernel<Backward<GammaTwice>>("mutant.dx_gamma_twice",
                                      "dx with gamma^2, caught by BN-NUM-22, -24, -25, -27", ""),
    make_kernel<Backward<GammaPositive>>("mutant.dx_gamma_positive",
                                         "dx with |gamma|, caught by BN-NUM-22, -24, -25, -27", ""),
    make_kernel<Where<Backward<MeansInHalf>, InTraining>>(
        "mutant.dx_means_in_half", "dbeta/n and dgamma/n of 11 bits, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<CountInHalf>, InTraining>>(
        "mutant.dx_count_in_bfloat", "n of 8 bits in dx, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<XhatUncentred>, InTraining>>(
        "mutant.dx_xhat_uncentred", "x for x - mean in dx, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<XhatTermHalved>, InTraining>>(
        "mutant.dx_xhat_term_halved", "half of the term in xhat, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<MeanAdded>, InTraining>>("mutant.dx_mean_added",
                                                        "dbeta/n added, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<Clipped>, InTraining>>("mutant.dx_clipped",
                                                      "|dx| at most 64, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<SmallLost>, InTraining>>(
        "mutant.dx_small_is_zero", "|dx| below 1e-4 is 0, caught by BN-NUM-25, -22, -24", ""),
    make_kernel<Where<Backward<EpsOnceMore>, GivenStatistics>>(
        "mutant.saved_eps_once_more", "eps added to 1/saved_invstd^2 again, caught by BN-NUM-21, -22", ""),
    make_kernel<Where<Backward<DeviationGiven>, GivenStatistics>>(
        "mutant.saved_taken_for_deviation", "1/saved_invstd, caught by BN-NUM-21, -22", ""),
    make_kernel<Where<Backward<EpsOutsideRoot>, InInference>>(
        "mutant.eval_eps_outside_root", "1/sqrt(var) + eps, caught by BN-NUM-27, -28", ""),
    make_kernel<Backward<TermInHalf>>("mutant.dgamma_terms_in_half",
                                      "dy (x - mean) of 11 bits, caught by BN-NUM-21, -23, -28, -26", ""),
    make_kernel<Backward<DgammaSquared>>("mutant.dgamma_invstd_twice",
                                         "dgamma with invstd^2, caught by BN-NUM-21, -23, -28", ""),
    make_kernel<After<Gradients, PerChannelOff<OfDbeta, Mean>>>(
        "mutant.dbeta_is_a_mean", "dbeta divided by n, caught by BN-NUM-20", ""),
    make_kernel<After<Gradients, PerChannelOff<OfDgamma, Mean>>>(
        "mutant.dgamma_is_a_mean", "dgamma divided by n, caught by BN-NUM-21, -23, -28", ""),
    make_kernel<After<Gradients, PerChannelOff<OfDbeta, LastOff>>>(
        "mutant.last_dbeta_off", "dbeta of the last channel 0.8 % off, caught by BN-NUM-20, -26", ""),
    make_kernel<After<Gradients, PerChannelOff<OfDgamma, LastOff>>>(
        "mutant.last_dgamma_off", "dgamma of the last channel 0.8 % off, caught by BN-NUM-21, -23, -28", ""),
    make_kernel<After<Gradients, PerChannelOff<OfDgamma, Negated>>>(
        "mutant.dgamma_negated", "-dgamma, caught by BN-NUM-21, -23, -28", ""),
    make_kernel<After<Gradients, DxAt<OneElementOff>>>(
        "mutant.last_dx_off", "the very last dx 1.6 % off, caught by BN-NUM-25, -27, -24, -22", ""),
    make_kernel<DoubleBackward<NoQ>>("mutant.second_order_no_q", "grad_x without W q, caught by BN-NUM-31",
                                     ""),
    make_kernel<DoubleBackward<NoP>>("mutant.second_order_no_p",
                                     "grad_x without dgamma p, caught by BN-NUM-31", ""),
    make_kernel<DoubleBackward<VBetaIgnored>>("mutant.second_order_v_beta_ignored",
                                              "v_beta does not enter, caught by BN-NUM-29", ""),
    make_kernel<DoubleBackward<InvstdOnce>>("mutant.second_order_invstd_once",
                                            "invstd for its square in grad_x, caught by BN-NUM-31", ""),
    make_kernel<DoubleBackward<GammaMissing>>("mutant.second_order_gamma_missing",
                                              "grad_dy without gamma, caught by BN-NUM-29", ""),
    make_kernel<DoubleBackward<MeansNotTaken>>("mutant.second_order_mean_missing",
                                               "grad_dy without V/n, caught by BN-NUM-29", ""),
    make_kernel<DoubleBackward<VGammaSign>>("mutant.second_order_v_gamma_sign",
                                            "v_gamma xhat taken off, caught by BN-NUM-29", "")};

}  // namespace

Table gradient_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
