// The glue between a kernel of this folder and the C interface: what is refused, what is claimed, and the
// launches. Under nvcc the table says device 2 and `cuda.*`, under a C++ compiler device 1 and `lanes.*`.
#pragma once

#include "cuda/backward.h"

namespace normproof::impls::cuda {

#ifdef __CUDACC__
#define NP_CUDA_NAME(name) "cuda." name
#else
#define NP_CUDA_NAME(name) "lanes." name
#endif
inline constexpr int device_type = on_device ? 2 : 1;

/// use(Type<Data>) for the formats of the data; those of the statistics are known when the kernel runs.
template <class Use>
void with_data(const np_problem& p, Use&& use) {
  cpu::with_formats(p, [&](auto data, auto) { use(data); });
}

inline void check_values_side_by_side(const np_problem& p) {
  const Geometry x = cpu::geometry_of(p);
  const Geometry y = cpu::geometry_of(p.ndim, p.shape, p.y_strides);
  if (x.n > 0 && (x.step != 1 || y.step != 1))
    throw cpu::Refusal{NP_UNSUPPORTED, "loads of 16 bytes want the values of a channel side by side"};
}

/// Where the accumulators of Acc begin in the caller's workspace.
template <class Acc>
Acc* workspace_of(const np_tensors& t) {
  return static_cast<Acc*>(t.workspace);
}
template <class Width>
std::uint64_t bytes_of(const np_problem& p, Index values) {
  return static_cast<std::uint64_t>(values) * (cpu::accumulates_in_double<Width>(p) ? 8 : 4);
}

template <class Width>
void describe_arithmetic(const np_problem& p, np_claims& claims) {
  claims.accumulator_bits = cpu::accumulates_in_double<Width>(p) ? 53 : 24;
  claims.rsqrt_ulps = 1;  // roots and quotients are rounded correctly on the device too
  claims.deterministic = 1;
}
template <class Width>
void describe_training(const np_problem& p, np_capability& capability) {
  capability.outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_VAR | NP_OUT_INVSTD;
  if (p.has_running != 0)
    capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
  describe_arithmetic<Width>(p, capability.claims);
  capability.claims.uses_reported = cpu::stores_accumulators<Width>(p);
}

/// Counts this batch; the counter is in the host's memory.
inline Index count_batch(const np_problem& p, const np_tensors& t) {
  return p.has_running != 0 && t.num_batches_tracked != nullptr ? ++*t.num_batches_tracked : 1;
}

/// Forward training by one block per channel.
template <class Algorithm, class Width = cpu::AsData, class Rules = Sound>
struct TrainingByBlocks {
  static void check(const np_problem& p) {
    cpu::check_common(p, {NP_FORWARD_TRAINING}, device_type);
    cpu::check_training(p);
    if (Algorithm::side_by_side)
      check_values_side_by_side(p);
  }
  static void describe(const np_problem& p, np_capability& capability) {
    describe_training<Width>(p, capability);
    capability.claims.reduction_depth = Algorithm::depth(cpu::geometry_of(p), p.data_dtype.bits / 8);
    capability.claims.variance_family = Algorithm::family;
    capability.claims.affine_form = NP_AFFINE_CENTRED;
  }
  template <class Data>
  static void run(const np_problem& p, const np_tensors& t, Stream& stream) {
    using Acc = typename Width::template type<Data>;
    const Forward<Data> a = forward_of<Data>(p, t, count_batch(p, t));
    const int threads = threads_for(a.n);
    launch(stream, a.channels, threads, Algorithm::template shared<Acc>(threads),
           OneBlock<Data, Acc, Algorithm, Rules>{a});
  }
};

/// Forward training by several launches.
template <class Algorithm, Affine form, class Width = cpu::AsData, class Rules = Sound>
struct TrainingByLaunches {
  static void check(const np_problem& p) {
    cpu::check_common(p, {NP_FORWARD_TRAINING}, device_type);
    cpu::check_training(p);
  }
  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = cpu::geometry_of(p);
    describe_training<Width>(p, capability);
    capability.workspace_bytes = bytes_of<Width>(p, Algorithm::workspace(g.channels, g.n));
    capability.claims.reduction_depth = Algorithm::depth(g.n);
    capability.claims.variance_family = Algorithm::family;
    capability.claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
    capability.claims.deterministic = Algorithm::deterministic ? 1 : 0;
  }
  template <class Data>
  static void run(const np_problem& p, const np_tensors& t, Stream& stream) {
    using Acc = typename Width::template type<Data>;
    Algorithm::template run<Rules>(stream, forward_of<Data>(p, t, count_batch(p, t)), workspace_of<Acc>(t));
  }
};

/// Forward inference with the running statistics; `wide` loads 16 bytes.
template <Affine form, bool wide, class Rules = Sound>
struct Inference {
  static void check(const np_problem& p) {
    cpu::check_common(p, {NP_FORWARD_INFERENCE}, device_type);
    if (wide)
      check_values_side_by_side(p);
  }
  static void describe(const np_problem& p, np_capability& capability) {
    capability.outputs = NP_OUT_Y;
    capability.workspace_bytes = bytes_of<cpu::AsData>(p, 2 * p.shape[1]);
    describe_arithmetic<cpu::AsData>(p, capability.claims);
    capability.claims.affine_form = form == Affine::centred ? NP_AFFINE_CENTRED : NP_AFFINE_FOLDED;
  }
  template <class Data>
  static void run(const np_problem& p, const np_tensors& t, Stream& stream) {
    using Acc = typename cpu::Accumulator<Data>::type;
    const Forward<Data> a = forward_of<Data>(p, t);
    const Coefficients<Acc> found{workspace_of<Acc>(t), workspace_of<Acc>(t) + a.channels};
    launch(stream, ceil_div(a.channels, most_threads), most_threads, 0, GivenStatistics<Data, Acc>{a, found});
    if constexpr (wide)
      launch(stream, a.n > 0 ? a.channels : 0, threads_for(a.n), 0,
             NormaliseWide<Data, Acc, form, Rules>{a, found});
    else
      normalise<form, Rules>(stream, a, found);
  }
};

/// The gradients in training, in inference and of the pair.
template <class Algorithm, class Width = cpu::AsData, class Rules = Sound>
struct Backward {
  static void check(const np_problem& p) {
    cpu::check_common(p, {NP_BACKWARD_TRAINING, NP_BACKWARD_INFERENCE, NP_GRADIENT}, device_type);
    if (p.pass == NP_GRADIENT)
      cpu::check_training(p);
  }
  static void describe(const np_problem& p, np_capability& capability) {
    const Geometry g = cpu::geometry_of(p);
    capability.outputs = NP_OUT_DX | NP_OUT_DGAMMA | NP_OUT_DBETA;
    capability.workspace_bytes = bytes_of<Width>(p, Algorithm::workspace(p, g.channels, g.n));
    describe_arithmetic<Width>(p, capability.claims);
    capability.claims.reduction_depth = Algorithm::depth(p, g.n);
    capability.claims.uses_reported = cpu::stores_accumulators<Width>(p);
    if (p.pass == NP_GRADIENT)
      capability.claims.variance_family = NP_CENTRED;
  }
  template <class Data>
  static void run(const np_problem& p, const np_tensors& t, Stream& stream) {
    using Acc = typename Width::template type<Data>;
    Algorithm::template run<Rules>(stream, gradients_of<Data>(p, t), workspace_of<Acc>(t));
  }
};

/// As cpu::Entry, with the caller's stream.
template <class Kernel>
struct Entry : cpu::Entry<Kernel> {
  static std::int32_t run(void* state, const np_tensors* tensors, void* handle, np_message message) {
    return cpu::guarded(message, [&] {
      const np_problem& problem = *static_cast<const np_problem*>(state);
      Stream stream(handle, *tensors->x);
      with_data(problem,
                [&]<class Data>(cpu::Type<Data>) { Kernel::template run<Data>(problem, *tensors, stream); });
    });
  }
};
template <class Kernel>
constexpr np_kernel make_kernel(const char* name, const char* summary, const char* worst_known) {
  return cpu::make_kernel<Kernel, Entry<Kernel>>(name, summary, worst_known, device_type);
}

}  // namespace normproof::impls::cuda
