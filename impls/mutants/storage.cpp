// Wrong on purpose, where the formulas are right and the numbers are not: 16-bit formats, layouts, and values
// that are not finite. The summary names the clause that must catch each.
#include <cmath>

#include "cpu/backward.h"
#include "cpu/tables.h"

namespace normproof::impls::cpu {
namespace {

/// Kernel, where it can differ from a right one: on data of 16 bits.
template <class Kernel>
struct OfHalves : Kernel {
  static void check(const np_problem& p) {
    Kernel::check(p);
    if (!is_half(p.data_dtype))
      throw Refusal{NP_UNSUPPORTED, "this bug shows only in data of 16 bits"};
  }
};

// --- formats ---

/// The low bits are cut off, as by a shift of the float's bits.
template <class Base>
struct Truncating : Base {
  template <class Data, class Acc>
  static Data stored(Acc value) {
    auto result = static_cast<Data>(value);
    if constexpr (!std::is_floating_point_v<Data>)
      if (std::abs(static_cast<double>(result)) > std::abs(static_cast<double>(value)))
        --result.bits;
    return result;
  }
};

/// From double by way of float.
struct RoundedTwice : Rules {
  template <class Data, class Acc>
  static Data stored(Acc value) {
    return static_cast<Data>(static_cast<float>(value));
  }
};

/// A sum that is kept in the format of the data.
template <class Data, class Acc>
struct Narrow {
  Acc value{0};
  Narrow& operator+=(const Narrow& other) {
    value = static_cast<Acc>(static_cast<Data>(value + other.value));
    return *this;
  }
};

struct NarrowAccumulator : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const auto sum = Cascade::sum(
        tile, [](Acc v, std::size_t) { return Narrow<Data, Acc>{v}; }, Operand<Data, Acc>{source});
    for (std::size_t l = 0; l < lanes; ++l)
      moments.mean[l] = sum[l].value / static_cast<Acc>(n);
    return moments;
  }
};

/// The squares of the deviations in the format of the data: beyond 65504 they are infinite in f16.
struct NarrowSquares : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments = TwoPass::of(source, tile, n);
    const Row<Acc>& mean = moments.mean;
    moments.m2 = Cascade::sum(
        tile,
        [&mean](Acc v, std::size_t l) {
          return static_cast<Acc>(static_cast<Data>((v - mean[l]) * (v - mean[l])));
        },
        Operand<Data, Acc>{source, mean});
    return moments;
  }
};

/// Deviations from a mean that was stored in the data's format first.
struct NarrowMean : TwoPass {
  template <class Data, class Acc>
  static Moments<Acc> of(const Source<Data, Acc>& source, std::int64_t tile, std::int64_t n) {
    Moments<Acc> moments{.count = n, .mean = mean(source, tile, n)};
    Row<Acc> centre;
    for (std::size_t l = 0; l < lanes; ++l)
      centre[l] = static_cast<Acc>(static_cast<Data>(moments.mean[l]));
    moments.m2 = Cascade::sum(
        tile, [&centre](Acc v, std::size_t l) { return (v - centre[l]) * (v - centre[l]); },
        Operand<Data, Acc>{source, centre});
    return moments;
  }
};

template <class Algorithm>
using HalfTraining = OfHalves<Training<Algorithm, Affine::centred>>;

// --- layouts ---

using Forward = Training<TwoPass, Affine::centred>;

/// x is read from where its storage starts.
struct ByteOffsetIgnored : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    np_tensor x = *t.x;
    x.byte_offset = 0;
    np_tensors moved = t;
    moved.x = &x;
    Forward::run<Data, Stat>(p, moved);
  }
};

/// gamma is read as if its values lay side by side.
struct ChannelStrideIgnored : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    np_tensors dense = t;
    std::int64_t one = 1;
    np_tensor gamma{};
    if (t.gamma != nullptr) {
      gamma = *t.gamma;
      gamma.strides = &one;
      dense.gamma = &gamma;
    }
    Forward::run<Data, Stat>(p, dense);
  }
};

/// dy is read with the strides of x.
struct DyStridesIgnored : Backward<Direct> {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    np_tensor dy = *t.dy;
    dy.strides = t.x->strides;
    np_tensors moved = t;
    moved.dy = &dy;
    Backward::run<Data, Stat>(p, moved);
  }
};

/// The place of an element in 32 bits. From 2^32 elements on it wraps.
struct Index32 : Inference<Affine::centred> {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Accumulator<Data>::type;
    const Channels<Acc> c(t.workspace, p.shape[1]);
    Inference::run<Data, Stat>(p, t);
    const Data* const x = elements<const Data>(t.x);
    Data* const y = elements<Data>(t.y);
    for_each_value(
        0, geometry_of(*t.x).n,
        [&](std::int64_t k, std::int64_t from, std::int64_t to) {
          const auto value = static_cast<Acc>(x[static_cast<std::uint32_t>(from)]);
          y[to] = static_cast<Data>((value - c.mean[k]) * c.invstd[k] * c.gamma[k] + c.beta[k]);
        },
        geometry_of(*t.x), geometry_of(*t.y));
  }
};

// --- values that are not finite ---

/// max(value, 0)-like code gives a number for a NaN.
struct NanSquashed : Rules {
  template <class Data, class Acc>
  static Data stored(Acc value) {
    return static_cast<Data>(std::isnan(value) ? Acc{0} : value);
  }
};

/// As where channels are told apart by multiplying with 0: a NaN of one channel reaches the next.
struct NanSpreads : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Forward::run<Data, Stat>(p, t);
    const auto mean = channels_of<Stat>(t.mean);
    Data* const y = elements<Data>(t.y);
    const Geometry g = geometry_of(*t.y);
    for_each_value(
        0, g.n,
        [&](std::int64_t k, std::int64_t at) {
          if (k > 0 && !std::isfinite(static_cast<double>(mean[k - 1])))
            y[at] = static_cast<Data>(0 * static_cast<double>(mean[k - 1]));
        },
        g);
  }
};

constexpr np_kernel kernels[] = {
    make_kernel<OfHalves<Training<TwoPass, Affine::centred, AsData, Truncating<Rules>>>>(
        "mutant.y_truncated", "results cut off to 16 bits, caught by BN-NUM-13", ""),
    make_kernel<OfHalves<Backward<Truncating<Direct>>>>(
        "mutant.dx_truncated", "gradients cut off to 16 bits, caught by BN-NUM-25, -27", ""),
    make_kernel<OfHalves<Training<TwoPass, Affine::centred, AlwaysDouble, RoundedTwice>>>(
        "mutant.y_rounded_twice", "double to 16 bits by way of float, caught by BN-NUM-9", ""),
    make_kernel<HalfTraining<NarrowAccumulator>>("mutant.half_accumulator",
                                                 "the mean summed in 16 bits, caught by BN-NUM-1, -9", ""),
    make_kernel<HalfTraining<NarrowSquares>>("mutant.half_squares",
                                             "squared deviations in 16 bits, caught by BN-NUM-2, -9", ""),
    make_kernel<HalfTraining<NarrowMean>>("mutant.half_centre",
                                          "variance about the mean in 16 bits, caught by BN-NUM-2", ""),
    make_kernel<ByteOffsetIgnored>("mutant.byte_offset_ignored",
                                   "x from the start of its storage, caught by BN-FWD-15 (BN-NUM-1)", ""),
    make_kernel<ChannelStrideIgnored>("mutant.channel_stride_ignored",
                                      "gamma read side by side, caught by BN-FWD-15 (BN-NUM-13)", ""),
    make_kernel<DyStridesIgnored>("mutant.dy_strides_ignored",
                                  "dy with the strides of x, caught by BN-FWD-15 (BN-NUM-20)", ""),
    make_kernel<Index32>("mutant.index_32_bit", "x indexed in 32 bits, caught by BN-FWD-15 (BN-NUM-6)", ""),
    make_kernel<Training<TwoPass, Affine::centred, AsData, NanSquashed>>(
        "mutant.nan_squashed", "0 where a NaN belongs, caught by BN-FWD-13", ""),
    make_kernel<NanSpreads>("mutant.nan_spreads",
                            "a NaN reaches the next channel's y, caught by BN-FWD-13, -14", "")};

}  // namespace

Table storage_mutants() {
  return kernels;
}

}  // namespace normproof::impls::cpu
