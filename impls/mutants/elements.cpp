// Wrong on purpose: what is made of right statistics, element by element, in training and in inference; and
// what a kernel may read and write. The summary names the model and the clause that must catch it.
#include <cmath>

#include "mutants/parts.h"

namespace normproof::impls::cpu {
namespace {

// --- y by another formula ---

/// A formula of y with one thing changed.
struct Right {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return (x - mean) * invstd * gamma + beta;
  }
};
struct BetaIgnored {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc) {
    return (x - mean) * invstd * gamma;
  }
};
struct GammaPlusOne {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return (x - mean) * invstd * (gamma + 1) + beta;
  }
};
struct GammaPositive {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return Right::y<Acc>(x, mean, invstd, std::abs(gamma), beta);
  }
};
struct BetaScaled {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return ((x - mean) * invstd + beta) * gamma;
  }
};
struct ScaleInHalf {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    const auto scale = static_cast<Acc>(static_cast<F16>(gamma * invstd));
    return (x - mean) * (std::isfinite(scale) ? scale : gamma * invstd) + beta;
  }
};
/// 11 bits of the significand, as of a product of a matrix unit.
struct TensorFloat {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    int e = 0;
    const Acc d = x - mean;
    const Acc f = std::frexp(d, &e);
    const Acc rounded = std::isfinite(d) ? std::ldexp(std::nearbyint(f * 2048) / 2048, e) : d;
    return rounded * invstd * gamma + beta;
  }
};
struct FoldedInData {
  template <class Data, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    const auto a = static_cast<Acc>(static_cast<Data>(gamma * invstd));
    const auto o = static_cast<Acc>(static_cast<Data>(beta - mean * gamma * invstd));
    return x * a + o;
  }
};
struct MeanInBfloat {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return Right::y<Acc>(x, static_cast<Acc>(static_cast<BF16>(mean)), invstd, gamma, beta);
  }
};
struct NegativesCut {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    const Acc y = Right::y<Acc>(x, mean, invstd, gamma, beta);
    return y < 0 ? Acc{0} : y;
  }
};
struct Saturated {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    return Right::y<Acc>(std::clamp(x - mean, Acc{-256}, Acc{256}), Acc{0}, invstd, gamma, beta);
  }
};
struct SmallIsZero {
  template <class, class Acc>
  static Acc y(Acc x, Acc mean, Acc invstd, Acc gamma, Acc beta) {
    const Acc y = Right::y<Acc>(x, mean, invstd, gamma, beta);
    return std::abs(y) < static_cast<Acc>(1e-5) ? Acc{0} : y;
  }
};

// --- elements by their place ---

/// Change::change(value) for the elements of y that Where::is(channel, channels, i, n) takes in.
template <class Place, class Change>
struct Some {
  template <class Data, class>
  static void apply(const np_problem&, const np_tensors& t, const Geometry&) {
    const Geometry g = geometry_of(*t.y);
    Data* const y = elements<Data>(t.y);
    for (std::int64_t k = 0; k < g.channels; ++k)
      for (std::int64_t i = 0; i < g.n; ++i)
        if (Place::is(k, g.channels, i, g.n))
          Change::change(y[g.offset(k, i)]);
  }
};
struct VeryLast {
  static bool is(std::int64_t k, std::int64_t channels, std::int64_t i, std::int64_t n) {
    return k == channels - 1 && i == n - 1;
  }
};
struct TailOf4 {
  static bool is(std::int64_t, std::int64_t, std::int64_t i, std::int64_t n) { return i >= n - n % 4; }
};
struct BeyondLanes {
  static bool is(std::int64_t k, std::int64_t, std::int64_t, std::int64_t) { return k >= 16; }
};
struct Everywhere {
  static bool is(std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return true; }
};
struct ByASixtieth {
  template <class Data>
  static void change(Data& value) {
    value = static_cast<Data>(static_cast<double>(value) * (1 + 0x1p-6));
  }
};
struct ToZero {
  template <class Data>
  static void change(Data& value) {
    value = Data{};
  }
};
template <int steps>
struct Ulps {
  template <class Data>
  static void change(Data& value) {
    if constexpr (std::is_floating_point_v<Data>) {
      for (int step = 0; step < steps; ++step)
        value = std::nextafter(value, std::copysign(std::numeric_limits<Data>::infinity(), value));
    } else if (std::isfinite(static_cast<double>(value))) {
      value.bits = static_cast<std::uint16_t>(value.bits + steps);
    }
  }
};
struct Scaled {
  template <class Data>
  static void change(Data& value) {
    value = static_cast<Data>(static_cast<double>(value) * (1 + 5e-6));
  }
};

// --- where inputs come from ---

/// gamma of the next channel.
struct GammaRotated {
  template <class Data, class Stat>
  static void apply(const np_problem&, const np_tensors& t, const Geometry& g) {
    using Acc = typename Accumulator<Data>::type;
    const Channels<Acc> c(t.workspace, g.channels);
    const Data* const x = elements<const Data>(t.x);
    Data* const y = elements<Data>(t.y);
    for_each_value(
        0, g.n,
        [&](std::int64_t k, std::int64_t from, std::int64_t to) {
          const std::int64_t next = (k + 1) % g.channels;
          y[to] = static_cast<Data>(
              Right::y<Data>(static_cast<Acc>(x[from]), c.mean[k], c.invstd[k], c.gamma[next], c.beta[next]));
        },
        g, geometry_of(*t.y));
  }
};
/// The running statistics normalise in training.
struct ByTheRunning {
  template <class Data, class Stat>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry& g) {
    if (p.has_running == 0)
      return;
    using Acc = typename Accumulator<Data>::type;
    const Channels<Acc> c(t.workspace, g.channels);
    const auto mean = channels_of<const Stat>(t.running_mean);
    const auto var = channels_of<const Stat>(t.running_var);
    const Data* const x = elements<const Data>(t.x);
    Data* const y = elements<Data>(t.y);
    for_each_value(
        0, g.n,
        [&](std::int64_t k, std::int64_t from, std::int64_t to) {
          const Acc invstd = Rules::invstd(static_cast<Acc>(var[k]), static_cast<Acc>(p.eps.value));
          y[to] = static_cast<Data>(Right::y<Data>(static_cast<Acc>(x[from]), static_cast<Acc>(mean[k]),
                                                   invstd, c.gamma[k], c.beta[k]));
        },
        g, geometry_of(*t.y));
  }
};

using Given = Inference<Affine::centred>;
template <class Rule>
using WrongGiven = Inference<Affine::centred, Rule>;

struct EpsOutside : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / std::sqrt(variance) + eps;
  }
};
struct EpsLeftOut : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc) {
    return Acc{1} / std::sqrt(variance);
  }
};
struct VarianceInHalf : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(static_cast<Acc>(static_cast<F16>(variance)), eps);
  }
};
struct DeviationStored : Rules {  // as where the buffer is thought to hold the deviation
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / (variance + eps);
  }
};
/// Inference by the statistics of the batch.
struct ByTheBatch {
  template <class Data, class Stat>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry& g) {
    using Acc = typename Accumulator<Data>::type;
    const Channels<Acc> c(t.workspace, g.channels);
    if (g.n == 0)
      return;
    all_moments<TwoPass>(g, elements<const Data>(t.x), g.n, g.n, 1, c, static_cast<Acc*>(nullptr));
    for (std::int64_t k = 0; k < g.channels; ++k)
      c.invstd[k] = Rules::invstd(c.m2[k] / static_cast<Acc>(g.n), static_cast<Acc>(p.eps.value));
    normalise<Affine::centred, Rules, Data>(c, t, 0, g.n);
  }
};

// --- buffers ---

/// The last element of y is left as it was.
struct LastUnwritten : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    const Geometry g = geometry_of(*t.y);
    Data& last = elements<Data>(t.y)[g.offset(g.channels - 1, g.n - 1)];
    const Data before = last;
    Forward::run<Data, Stat>(p, t);
    last = before;
  }
};
/// y += where y = belongs.
struct Added : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    const Geometry g = geometry_of(*t.y);
    Data* const y = elements<Data>(t.y);
    const Data before = y[g.offset(0, 0)];
    Forward::run<Data, Stat>(p, t);
    y[g.offset(0, 0)] =
        static_cast<Data>(static_cast<double>(y[g.offset(0, 0)]) + static_cast<double>(before));
  }
};
/// x serves as scratch for the deviations and is put back, rounded once more.
struct InputAsScratch : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Forward::run<Data, Stat>(p, t);
    const Geometry g = geometry_of(*t.x);
    Data& first = const_cast<Data*>(elements<const Data>(t.x))[g.offset(0, 0)];
    first = static_cast<Data>(static_cast<double>(first) + 1);
  }
};
template <class Formula>
using Y = Elementwise<Forward, Formula>;
template <class Place, class Change>
using YAt = After<Forward, Some<Place, Change>>;

struct ManyChannels {
  static constexpr const char* text = "beyond 16 channels";
  static bool shows(const np_problem& p) { return p.shape[1] > 16; }
};
struct OddTails {
  static constexpr const char* text = "where n is no multiple of 4";
  static bool shows(const np_problem& p) { return geometry_of(p).n % 4 != 0; }
};

constexpr np_kernel kernels[] = {
    make_kernel<Y<BetaIgnored>>("mutant.beta_ignored", "y without beta, caught by BN-NUM-13", ""),
    make_kernel<Y<GammaPlusOne>>("mutant.gamma_plus_one", "y with gamma + 1, caught by BN-NUM-13", ""),
    make_kernel<Y<GammaPositive>>("mutant.gamma_positive", "y with |gamma|, caught by BN-NUM-13", ""),
    make_kernel<Y<BetaScaled>>("mutant.beta_scaled", "beta times gamma, caught by BN-NUM-13", ""),
    make_kernel<Y<ScaleInHalf>>("mutant.scale_in_half", "gamma invstd rounded to f16, caught by BN-NUM-13",
                                ""),
    make_kernel<Y<TensorFloat>>("mutant.deviations_of_11_bits", "x - mean of 11 bits, caught by BN-NUM-13",
                                ""),
    make_kernel<Where<Y<FoldedInData>, InHalves>>("mutant.folded_in_half",
                                                  "scale and offset of 16 bits, caught by BN-NUM-13", ""),
    make_kernel<Y<MeanInBfloat>>("mutant.mean_in_bfloat", "y about a mean of 8 bits, caught by BN-NUM-13",
                                 ""),
    make_kernel<Y<NegativesCut>>("mutant.negatives_cut", "a ReLU nobody asked for, caught by BN-NUM-13", ""),
    make_kernel<Y<Saturated>>("mutant.deviations_saturate", "|x - mean| cut off at 256, caught by BN-NUM-13",
                              ""),
    make_kernel<Y<SmallIsZero>>("mutant.small_y_is_zero", "|y| below 1e-5 is 0, caught by BN-NUM-13", ""),
    make_kernel<YAt<VeryLast, ByASixtieth>>("mutant.last_element_off",
                                            "the very last y 1.6 % off, caught by BN-NUM-13", ""),
    make_kernel<Where<YAt<TailOf4, ToZero>, OddTails>>("mutant.tail_of_y_zero",
                                                       "the last n mod 4 y are 0, caught by BN-NUM-13", ""),
    make_kernel<Where<YAt<BeyondLanes, ByASixtieth>, ManyChannels>>(
        "mutant.channels_beyond_16_off", "y of channels from 16 on 1.6 % off, caught by BN-NUM-13", ""),
    make_kernel<YAt<Everywhere, Ulps<3>>>("mutant.y_three_ulps",
                                          "y 3 ulp too large in magnitude, caught by BN-NUM-13, -9", ""),
    make_kernel<YAt<VeryLast, Ulps<8>>>("mutant.last_element_eight_ulps",
                                        "the very last y 8 ulp off, caught by BN-NUM-13, -9", ""),
    make_kernel<YAt<Everywhere, Scaled>>("mutant.y_scaled_slightly", "y times 1 + 5e-6, caught by BN-NUM-13",
                                         ""),
    make_kernel<After<Forward, GammaRotated>>("mutant.parameters_of_the_next_channel",
                                              "gamma and beta of the next channel, caught by BN-NUM-13", ""),
    make_kernel<Where<After<Forward, ByTheRunning>, WithRunning>>(
        "mutant.training_by_the_running", "y by the running statistics, caught by BN-NUM-13", ""),
    make_kernel<WrongGiven<EpsOutside>>("mutant.inference_eps_outside_root",
                                        "1/sqrt(var) + eps, caught by BN-NUM-7", ""),
    make_kernel<WrongGiven<EpsLeftOut>>("mutant.inference_eps_omitted", "1/sqrt(var), caught by BN-NUM-7",
                                        ""),
    make_kernel<WrongGiven<VarianceInHalf>>("mutant.inference_variance_in_half",
                                            "running_var rounded to f16, caught by BN-NUM-7", ""),
    make_kernel<WrongGiven<DeviationStored>>("mutant.inference_root_missing",
                                             "1/(var + eps), caught by BN-NUM-7", ""),
    make_kernel<After<Given, ByTheBatch>>("mutant.inference_by_the_batch",
                                          "the batch's statistics, caught by BN-NUM-7", ""),
    make_kernel<Elementwise<Given, FoldedInData>>(
        "mutant.inference_folded_in_data", "scale and offset in the data's format, caught by BN-NUM-7", ""),
    make_kernel<After<Given, Some<VeryLast, ByASixtieth>>>(
        "mutant.inference_last_element_off", "the very last y 1.6 % off, caught by BN-NUM-7", ""),
    make_kernel<LastUnwritten>("mutant.last_element_unwritten",
                               "an element keeps its poison, caught by BN-FWD-6", ""),
    make_kernel<Added>("mutant.y_added", "added to what was there, caught by BN-FWD-6", ""),
    make_kernel<InputAsScratch>("mutant.input_as_scratch", "x is written to, caught by BN-FWD-7", "")};

}  // namespace

Table elements_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
