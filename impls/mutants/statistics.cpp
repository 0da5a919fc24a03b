// Wrong on purpose: statistics, their roots and the running ones. Each the two-pass kernel with one small
// thing changed; the summary names the model and the clause that must catch it.
#include "mutants/parts.h"

namespace normproof::impls::cpu {
namespace {

// --- eps and the root ---

struct EpsOmitted : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc) {
    return Acc{1} / std::sqrt(variance);
  }
};
struct EpsDoubled : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / std::sqrt(variance + eps + eps);
  }
};
struct EpsAsLimit : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / std::sqrt(std::max(variance, eps));
  }
};
struct EpsRaised : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(variance, std::max(eps, static_cast<Acc>(1.001e-5)));
  }
};
struct EpsOfItsOwn : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc) {
    return Rules::invstd(variance, static_cast<Acc>(1e-5));
  }
};
struct EpsInHalf : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(variance, static_cast<Acc>(static_cast<F16>(eps)));
  }
};
struct RootMissing : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Acc{1} / (variance + eps);
  }
};
struct DeviationForInvstd : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return std::sqrt(variance + eps);
  }
};
struct RootInFloat : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return static_cast<Acc>(1.0F / std::sqrt(static_cast<float>(variance + eps)));
  }
};
/// A root by one Newton step from a first guess of 12 bits: good to 2^-23 of f32, seldom worse.
struct RootByNewton : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    const Acc v = variance + eps;
    const auto guess = static_cast<Acc>(static_cast<BF16>(Acc{1} / std::sqrt(v)));
    return guess * (Acc{1.5} - Acc{0.5} * v * guess * guess);
  }
};
struct SmallVarianceIsNone : Rules {
  template <class Acc>
  static Acc invstd(Acc variance, Acc eps) {
    return Rules::invstd(variance < static_cast<Acc>(1e-10) ? Acc{0} : variance, eps);
  }
};

// --- which values enter ---

struct Of8 : Rules {
  static std::int64_t summed(std::int64_t n) { return n - (n > 8 ? n % 8 : 0); }
};
struct Of32 : Rules {
  static std::int64_t summed(std::int64_t n) { return n - (n > 32 ? n % 32 : 0); }
};
struct UpTo1024 : Rules {
  static std::int64_t summed(std::int64_t n) { return std::min<std::int64_t>(n, 1024); }
};

/// Lanes without a value take part in the sum of squares: each adds the square of the mean.
struct PaddingCounts : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const Row<Acc>& mean = moments.mean;
    moments.m2 = Cascade::sum(
        tile, [&mean](Acc v, std::size_t l) { return (v - mean[l]) * (v - mean[l]); },
        Operand<Data, Acc>{source});
    return moments;
  }
};
/// n - 1 divides the sum of squares.
struct UnbiasedNormalises : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    if (n > 1)
      for (Acc& m2 : moments.m2)
        m2 = m2 * static_cast<Acc>(n) / static_cast<Acc>(n - 1);
    return moments;
  }
};
/// 1 / n as a number of 8 bits, which is exact for powers of two.
struct ReciprocalInBfloat : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const Acc wrong = static_cast<Acc>(static_cast<BF16>(Acc{1} / static_cast<Acc>(n))) * static_cast<Acc>(n);
    for (Acc& m2 : moments.m2)
      m2 *= wrong;
    return moments;
  }
};
/// The deviations from a first value that need not be near the mean, in one pass.
struct ShiftedByTheFirst : TwoPass {
  static constexpr np_family family = NP_TEXTBOOK;

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    std::array<Row<Acc>, 1> first;
    source.load(tile, 0, 1, first.data(), constant_row(Acc{0}));
    const Row<Acc> shift = source.lanes_are_channels ? first[0] : constant_row(first[0][0]);
    const Operand<Data, Acc> values{source, shift};
    const Row<Acc> sum = Cascade::sum(tile, [&](Acc v, std::size_t l) { return v - shift[l]; }, values);
    const Row<Acc> squares =
        Cascade::sum(tile, [&](Acc v, std::size_t l) { return (v - shift[l]) * (v - shift[l]); }, values);
    Moments<Acc> moments{.count = n};
    for (std::size_t l = 0; l < lanes; ++l) {
      const Acc residual = sum[l] / static_cast<Acc>(n);
      moments.mean[l] = shift[l] + residual;
      moments.m2[l] = std::max(squares[l] - sum[l] * residual, Acc{0});
    }
    return moments;
  }
};
/// 2^-12 of one value's share is lost, as of an atomic addition in a narrower format.
struct ALittleSmall : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    for (std::size_t l = 0; l < lanes; ++l)
      moments.m2[l] -= moments.m2[l] / (static_cast<Acc>(n) * static_cast<Acc>(1 << 12));
    return moments;
  }
};
struct SumsInFloat : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const Row<float> sum = Cascade::sum(
        tile, [](Acc v, std::size_t) { return static_cast<float>(v); }, Operand<Data, Acc>{source});
    for (std::size_t l = 0; l < lanes; ++l)
      moments.mean[l] = static_cast<Acc>(sum[l]) / static_cast<Acc>(n);
    return moments;
  }
};

// --- merged moments ---

/// Two halves of the rows, merged by Merge::lane.
template <class Merge>
struct Halves : TwoPass {
  static constexpr np_family family = NP_MERGED;

  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    const std::int64_t count = source.count(), cut = count - count / 3;
    if (count < 3)
      return TwoPass::of(source, tile, n);
    Source<Data, Acc> first = source, second = source;
    first.end = source.begin + cut;
    second.begin = first.end;
    Moments<Acc> a = TwoPass::of(first, tile, cut);
    const Moments<Acc> b = TwoPass::of(second, tile, count - cut);
    for (std::size_t l = 0; l < lanes; ++l)
      Merge::lane(a.mean[l], a.m2[l], static_cast<Acc>(cut), b.mean[l], b.m2[l],
                  static_cast<Acc>(count - cut));
    return a;
  }
};
struct WithinOnly {
  template <class Acc>
  static void lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
    mean_a += (mean_b - mean_a) * (count_b / (count_a + count_b));
    m2_a += m2_b;
  }
};
struct MeanOfMeans {
  template <class Acc>
  static void lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
    const Acc mean = (mean_a + mean_b) / 2;
    merge_lane(mean_a, m2_a, count_a, mean_b, m2_b, count_b);
    mean_a = mean;
  }
};
struct WeightsSwapped {
  template <class Acc>
  static void lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
    const Acc mean = mean_a + (mean_b - mean_a) * (count_a / (count_a + count_b));
    merge_lane(mean_a, m2_a, count_a, mean_b, m2_b, count_b);
    mean_a = mean;
  }
};
struct EqualCounts {
  template <class Acc>
  static void lane(Acc& mean_a, Acc& m2_a, Acc count_a, Acc mean_b, Acc m2_b, Acc count_b) {
    const Acc difference = mean_b - mean_a;
    mean_a += difference * (count_b / (count_a + count_b));
    m2_a += m2_b + difference * difference * ((count_a + count_b) / 4);
  }
};

// --- running statistics ---

struct WithEps : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    return Rules::running_variance(p, m2, n) + static_cast<Acc>(p.eps.value);
  }
};
struct DeviationRuns : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    return std::sqrt(Rules::running_variance(p, m2, n));
  }
};
struct BesselByBatch : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    const auto batch = static_cast<Acc>(p.shape[0]);
    return p.running_variance == NP_VARIANCE_UNBIASED && p.shape[0] > 1
               ? m2 / static_cast<Acc>(n) * (batch / (batch - 1))
               : Rules::running_variance(p, m2, n);
  }
};
struct BesselInHalf : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    if (p.running_variance != NP_VARIANCE_UNBIASED)
      return Rules::running_variance(p, m2, n);
    const auto factor = static_cast<F16>(static_cast<Acc>(n) / static_cast<Acc>(n - 1));
    return m2 / static_cast<Acc>(n) * static_cast<Acc>(factor);
  }
};
struct BesselInverted : Rules {
  template <class Acc>
  static Acc running_variance(const np_problem& p, Acc m2, std::int64_t n) {
    return p.running_variance == NP_VARIANCE_UNBIASED
               ? m2 / static_cast<Acc>(n) * (static_cast<Acc>(n - 1) / static_cast<Acc>(n))
               : Rules::running_variance(p, m2, n);
  }
};
struct MomentumDefault : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem&, std::int64_t) {
    const auto w = static_cast<Acc>(0.1F);
    return {Acc{1} - w, w};
  }
};
struct MomentumInBfloat : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    const auto w = static_cast<Acc>(static_cast<BF16>(Rules::weights<Acc>(p, batches).new_value));
    return {Acc{1} - w, w};
  }
};
struct CountBefore : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    return Rules::weights<Acc>(p, p.has_momentum == 0 ? std::max<std::int64_t>(batches - 1, 1) : batches);
  }
};
struct AllNew : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem&, std::int64_t) {
    return {Acc{0}, Acc{1}};
  }
};
struct NoneNew : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem&, std::int64_t) {
    return {Acc{1}, Acc{0}};
  }
};
/// The weights do not add up to 1: each was rounded to 8 bits.
struct WeightsRounded : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    const Weights<Acc> right = Rules::weights<Acc>(p, batches);
    return {static_cast<Acc>(static_cast<F16>(right.old_value)), right.new_value};
  }
};
/// As by a forward pass that is computed again for the backward one.
struct UpdatedTwice : Rules {
  template <class Acc>
  static Weights<Acc> weights(const np_problem& p, std::int64_t batches) {
    const Weights<Acc> w = Rules::weights<Acc>(p, batches);
    return {w.old_value * w.old_value, w.new_value + w.old_value * w.new_value};
  }
};

struct NotCounted {
  template <class, class>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry&) {
    if (p.has_running != 0 && t.num_batches_tracked != nullptr)
      --*t.num_batches_tracked;
  }
};
struct CountedTwice {
  template <class, class>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry&) {
    if (p.has_running != 0 && t.num_batches_tracked != nullptr)
      ++*t.num_batches_tracked;
  }
};
/// The last channel's value is that of the one before.
template <class Tensor>
struct StaleLast {
  template <class, class Stat>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry&) {
    const auto values = channels_of<Stat>(Tensor::of(t));
    if (values && p.shape[1] > 1)
      values[p.shape[1] - 1] = values[p.shape[1] - 2];
  }
};
struct OfRunningMean {
  static const np_tensor* of(const np_tensors& t) { return t.running_mean; }
};
struct OfInvstd {
  static const np_tensor* of(const np_tensors& t) { return t.invstd; }
};

// --- what is saved ---

template <class Meaning>
struct Saved {
  template <class, class Stat>
  static void apply(const np_problem& p, const np_tensors& t, const Geometry& g) {
    const auto var = channels_of<Stat>(t.var);
    const auto invstd = channels_of<Stat>(t.invstd);
    for (std::int64_t k = 0; k < p.shape[1]; ++k)
      Meaning::change(p, static_cast<double>(g.n), var[k], invstd[k]);
  }
};
struct VarUnbiased {
  template <class Stat>
  static void change(const np_problem&, double n, Stat& var, Stat&) {
    if (n > 1)
      var = static_cast<Stat>(static_cast<double>(var) * n / (n - 1));
  }
};
struct VarWithEps {
  template <class Stat>
  static void change(const np_problem& p, double, Stat& var, Stat&) {
    var = static_cast<Stat>(static_cast<double>(var) + p.eps.value);
  }
};
struct InvstdForVar {
  template <class Stat>
  static void change(const np_problem&, double, Stat& var, Stat& invstd) {
    var = invstd;
  }
};
struct VarForInvstd {
  template <class Stat>
  static void change(const np_problem&, double, Stat& var, Stat& invstd) {
    invstd = var;
  }
};
/// The variance recovered from the invstd, whose rounding it then has twice and more.
struct VarFromInvstd {
  template <class Stat>
  static void change(const np_problem& p, double, Stat& var, Stat& invstd) {
    const double r = static_cast<double>(invstd);
    if (std::isfinite(r) && r > 0)
      var = static_cast<Stat>(std::max(0.0, 1 / (r * r) - p.eps.value));
  }
};

template <class Algorithm>
using By = Training<Algorithm, Affine::centred>;

constexpr np_kernel kernels[] = {
    make_kernel<Wrong<EpsOmitted>>("mutant.eps_omitted", "invstd = 1/sqrt(var), caught by BN-NUM-12, -3", ""),
    make_kernel<Wrong<EpsDoubled>>("mutant.eps_twice", "invstd = 1/sqrt(var + 2 eps), caught by BN-NUM-12",
                                   ""),
    make_kernel<Wrong<EpsAsLimit>>("mutant.eps_as_limit",
                                   "invstd = 1/sqrt(max(var, eps)), caught by BN-NUM-12", ""),
    make_kernel<Wrong<EpsRaised>>("mutant.eps_raised",
                                  "eps below 1.001e-5 is raised to it, caught by BN-NUM-12", ""),
    make_kernel<Wrong<EpsOfItsOwn>>("mutant.eps_hard_coded", "eps is 1e-5 always, caught by BN-NUM-12", ""),
    make_kernel<Wrong<EpsInHalf>>("mutant.eps_in_half", "eps rounded to f16, caught by BN-NUM-12", ""),
    make_kernel<Wrong<RootMissing>>("mutant.root_missing", "invstd = 1/(var + eps), caught by BN-NUM-12", ""),
    make_kernel<Wrong<DeviationForInvstd>>("mutant.deviation_for_invstd",
                                           "multiplies by sqrt(var + eps), caught by BN-NUM-12", ""),
    make_kernel<Where<Wrong<RootInFloat>, InDoubles>>(
        "mutant.root_in_float", "the root of a double as a float, caught by BN-NUM-12", ""),
    make_kernel<Wrong<RootByNewton>>("mutant.root_by_one_newton_step",
                                     "rsqrt of 8 bits and one Newton step, caught by BN-NUM-12", ""),
    make_kernel<Wrong<SmallVarianceIsNone>>("mutant.small_variance_is_none",
                                            "a variance below 1e-10 counts as 0, caught by BN-NUM-12", ""),
    make_kernel<Wrong<Of8>>("mutant.rest_of_8_dropped",
                            "the last n mod 8 values enter no sum, caught by BN-NUM-1", ""),
    make_kernel<Wrong<Of32>>("mutant.rest_of_32_dropped",
                             "the last n mod 32 values enter no sum, caught by BN-NUM-1", ""),
    make_kernel<Wrong<UpTo1024>>("mutant.sums_end_at_1024",
                                 "values beyond 1024 enter no sum, caught by BN-NUM-1", ""),
    make_kernel<By<PaddingCounts>>("mutant.padding_counts",
                                   "masked lanes add the mean's square, caught by BN-NUM-2, -9", ""),
    make_kernel<By<UnbiasedNormalises>>("mutant.unbiased_normalises",
                                        "var divided by n - 1, caught by BN-NUM-2, -9, -10", ""),
    make_kernel<By<ReciprocalInBfloat>>("mutant.reciprocal_in_bfloat",
                                        "var times 1/n of 8 bits, caught by BN-NUM-2, -9", ""),
    make_kernel<By<ShiftedByTheFirst>>("mutant.shifted_by_the_first",
                                       "one pass about the first value, caught by BN-NUM-2", ""),
    make_kernel<By<ALittleSmall>>("mutant.variance_a_little_small",
                                  "var times 1 - 2^-12/n, caught by BN-NUM-2, -9, -10", ""),
    make_kernel<Where<By<SumsInFloat>, InDoubles>>("mutant.sums_in_float",
                                                   "doubles summed in float, caught by BN-NUM-1, -9", ""),
    make_kernel<By<Halves<WithinOnly>>>("mutant.merge_within_only",
                                        "merged without what lies between, caught by BN-NUM-2", ""),
    make_kernel<By<Halves<MeanOfMeans>>>("mutant.merge_mean_of_means",
                                         "unequal parts weigh alike, caught by BN-NUM-1", ""),
    make_kernel<By<Halves<EqualCounts>>>("mutant.merge_equal_counts",
                                         "merged as if parts were equal, caught by BN-NUM-2", ""),
    make_kernel<By<Halves<WeightsSwapped>>>(
        "mutant.merge_weights_swapped", "each part's mean with the other's count, caught by BN-NUM-1", ""),
    make_kernel<Where<Wrong<WithEps>, WithRunning>>("mutant.running_var_with_eps",
                                                    "var + eps runs, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<DeviationRuns>, WithRunning>>("mutant.deviation_runs",
                                                          "the deviation runs, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<BesselByBatch>, Unbiased>>("mutant.bessel_by_batch_size",
                                                       "N/(N - 1) for n/(n - 1), caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<BesselInHalf>, Unbiased>>("mutant.bessel_in_half",
                                                      "n/(n - 1) rounded to f16, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<BesselInverted>, Unbiased>>("mutant.bessel_inverted",
                                                        "(n - 1)/n for n/(n - 1), caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<MomentumDefault>, WithRunning>>("mutant.momentum_ignored",
                                                            "weight 0.1 always, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<MomentumInBfloat>, WithRunning>>(
        "mutant.momentum_in_bfloat", "the weight rounded to bf16, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<CountBefore>, Cumulative>>("mutant.cumulative_counts_before",
                                                       "weight 1/k for 1/(k + 1), caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<AllNew>, WithRunning>>("mutant.running_replaced",
                                                   "the batch's statistics replace, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<NoneNew>, WithRunning>>("mutant.running_not_updated",
                                                    "running statistics stay, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<WeightsRounded>, WithRunning>>(
        "mutant.old_weight_in_half", "1 - momentum rounded to f16, caught by BN-NUM-14", ""),
    make_kernel<Where<Wrong<UpdatedTwice>, WithRunning>>("mutant.running_updated_twice",
                                                         "updated twice in a call, caught by BN-NUM-14", ""),
    make_kernel<Where<After<Forward, NotCounted>, WithRunning>>("mutant.batches_not_counted",
                                                                "the counter stays, caught by BN-RUN-4", ""),
    make_kernel<Where<After<Forward, CountedTwice>, WithRunning>>(
        "mutant.batches_counted_twice", "the counter grows by 2, caught by BN-RUN-4", ""),
    make_kernel<Where<After<Forward, StaleLast<OfRunningMean>>, WithRunning>>(
        "mutant.last_running_mean_stale", "the last running mean is its neighbour's, caught by BN-NUM-14",
        ""),
    make_kernel<After<Forward, StaleLast<OfInvstd>>>(
        "mutant.last_invstd_stale", "the last invstd reported is its neighbour's, caught by BN-NUM-12", ""),
    make_kernel<After<Forward, Saved<VarUnbiased>>>("mutant.saves_unbiased_variance",
                                                    "reports var n/(n - 1), caught by BN-NUM-2, -9, -10", ""),
    make_kernel<After<Forward, Saved<VarWithEps>>>("mutant.saves_variance_with_eps",
                                                   "reports var + eps, caught by BN-NUM-2, -9, -10", ""),
    make_kernel<After<Forward, Saved<InvstdForVar>>>("mutant.saves_invstd_for_variance",
                                                     "reports invstd for var, caught by BN-NUM-2, -9", ""),
    make_kernel<After<Forward, Saved<VarForInvstd>>>("mutant.saves_variance_for_invstd",
                                                     "reports var for invstd, caught by BN-NUM-12, -3", ""),
    make_kernel<After<Forward, Saved<VarFromInvstd>>>(
        "mutant.variance_from_invstd", "reports 1/invstd^2 - eps for var, caught by BN-NUM-2, -9, -10", "")};

}  // namespace

Table statistics_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
