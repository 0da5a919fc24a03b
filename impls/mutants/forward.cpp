// Wrong on purpose, forward: eight kernels, each the two-pass kernel of impls/cpu (centred y, the tensor's
// own precision) with one small thing changed, as shipped code has had it. A gate that lets one of them
// through proves nothing. They make the claims of the kernel that they were taken from: the author of a bug
// does not know of it.
#include "cpu/forward.h"

#include "cpu/tables.h"

namespace normproof::impls::cpu {
namespace {

/// var = mean of the squares - square of the mean: all digits cancel where the mean is large.
struct Textbook : TwoPass {
  static constexpr np_family family = NP_TEXTBOOK;

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    const Operand<Data, Acc> values{source};
    const Row<Acc> sum = Cascade::sum(tile, [](Acc v, std::size_t) { return v; }, values);
    const Row<Acc> squares = Cascade::sum(tile, [](Acc v, std::size_t) { return v * v; }, values);
    Moments<Acc> moments{.count = n};
    for (std::size_t l = 0; l < lanes; ++l) {
      moments.mean[l] = sum[l] / static_cast<Acc>(n);
      moments.m2[l] = squares[l] - sum[l] * moments.mean[l];
    }
    return moments;
  }
};

struct EpsOutsideRoot : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / std::sqrt(variance) + eps;
  }
};

struct EpsAddedToDeviation : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / (std::sqrt(variance) + eps);
  }
};

/// As of a reciprocal root by table and one Newton step: 7 ulp too large.
struct PoorRsqrt : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(variance, eps) * (1 + 7 * std::numeric_limits<Acc>::epsilon());
  }
};

struct InvertedMomentum : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    const Weights<Acc> right = Rules::weights<Acc>(p, batches);
    return {right.new_value, right.old_value};
  }
};

struct BiasedRunningVariance : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem&, Acc m2, std::int64_t n) {
    return m2 / static_cast<Acc>(n);
  }
};

/// Where the dialect wants the biased variance there would be no bug to find.
struct BiasedRunning : Training<TwoPass, Affine::centred, AsData, BiasedRunningVariance> {
  static void check(const np_problem& p) {
    Training::check(p);
    if (p.has_running == 0 || p.running_variance != NP_VARIANCE_UNBIASED)
      throw Refusal{NP_UNSUPPORTED, "this bug shows only where the unbiased variance feeds the running one"};
  }
};

/// The last n mod 4 values of each channel (the last one where that is 0) enter no sum; the divisor stays n.
/// As of a loop over vectors of four whose rest was forgotten.
struct TailDropped : Rules {
  static std::int64_t summed(std::int64_t n) { return n - (n % 4 != 0 ? n % 4 : 1); }
};

/// y is right, but the batch at hand is mixed into the running statistics as in training.
struct InferenceUpdatesRunning : Inference<Affine::centred> {
  static void check(const np_problem& p) {
    Inference::check(p);
    if (geometry_of(p).n == 0)
      throw Refusal{NP_UNSUPPORTED, "no values to mix in"};
  }

  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Accumulator<Data>::type;
    Inference::run<Data, Stat>(p, t);
    const Geometry g = geometry_of(*t.x);
    const Channels<Acc> c(t.workspace, g.channels);
    all_moments<TwoPass>(g, elements<const Data>(t.x), g.n, g.n, 1, c, static_cast<Acc*>(nullptr));
    const Weights<Acc> w = Rules::weights<Acc>(p, 1 + (t.num_batches_tracked ? *t.num_batches_tracked : 0));
    const auto mean = channels_of<Stat>(t.running_mean);
    const auto variance = channels_of<Stat>(t.running_var);
    for (std::int64_t k = 0; k < g.channels; ++k) {
      mean[k] = static_cast<Stat>(w.old_value * static_cast<Acc>(mean[k]) + w.new_value * c.mean[k]);
      variance[k] = static_cast<Stat>(w.old_value * static_cast<Acc>(variance[k]) +
                                      w.new_value * Rules::running_variance(p, c.m2[k], g.n));
    }
  }
};

template <class Rule>
using Wrong = Training<TwoPass, Affine::centred, AsData, Rule>;

constexpr np_kernel textbook = make_kernel<Training<Textbook, Affine::centred>>(
    "mutant.textbook_variance",
    "variance as mean of squares less square of the mean, caught by BN-NUM-2, -10", "");
constexpr np_kernel eps_outside = make_kernel<Wrong<EpsOutsideRoot>>(
    "mutant.eps_outside_root", "invstd = 1/sqrt(var) + eps, caught by BN-NUM-12", "");
constexpr np_kernel eps_added = make_kernel<Wrong<EpsAddedToDeviation>>(
    "mutant.eps_added_to_deviation", "invstd = 1/(sqrt(var) + eps), caught by BN-NUM-12", "");
constexpr np_kernel poor_rsqrt = make_kernel<Wrong<PoorRsqrt>>(
    "mutant.invstd_seven_ulps", "invstd 7 ulp too large, caught by BN-NUM-12", "");
constexpr np_kernel inverted = make_kernel<Wrong<InvertedMomentum>>(
    "mutant.inverted_momentum", "momentum weighs the old statistics, caught by BN-NUM-14", "");
constexpr np_kernel biased = make_kernel<BiasedRunning>(
    "mutant.biased_running_variance",
    "the biased variance feeds the running one where the unbiased should, caught by BN-NUM-14", "");
constexpr np_kernel updates = make_kernel<InferenceUpdatesRunning>(
    "mutant.inference_updates_running",
    "inference that mixes the batch into the running statistics, caught by BN-INF-2", "");
constexpr np_kernel tail = make_kernel<Wrong<TailDropped>>(
    "mutant.tail_dropped",
    "the last n mod 4 values of a channel (or the last one) enter no sum, caught by BN-NUM-1", "");

constexpr np_kernel kernels[] = {textbook, eps_outside, eps_added, poor_rsqrt,
                                 inverted, biased,      updates,   tail};

}  // namespace

Table forward_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
