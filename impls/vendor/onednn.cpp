// oneDNN on trial: its batch_normalization primitives as they are, with the memory layouts of the problem.
//
// Statistics are its own: in training it reports mean and variance, in inference it is given them
// (use_global_stats). It has no running update and takes the variance in backward, which the interface does
// not hand over (that has invstd), so its backward is judged together with its forward, and in inference.
// What it cannot do it says itself: no primitive descriptor, no verdict. 2.x and 3.x.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <dlfcn.h>
#include <dnnl.hpp>

#include "cpu/abi.h"

namespace {

using namespace dnnl;
using normproof::impls::cpu::is_bfloat;
using normproof::impls::cpu::is_float;
using normproof::impls::cpu::make_kernel;
using normproof::impls::cpu::Refusal;

memory::data_type data_type(np_dtype dtype) {
  if (is_bfloat(dtype))
    return memory::data_type::bf16;
  if (is_float(dtype, 16))
    return memory::data_type::f16;
  if (is_float(dtype, 32))
    return memory::data_type::f32;
  throw Refusal{NP_UNSUPPORTED, "oneDNN has no such tensors on the CPU"};
}

bool is_training(const np_problem& p) {
  return p.pass == NP_FORWARD_TRAINING || p.pass == NP_GRADIENT;
}

const engine& cpu() {
  static const engine one(engine::kind::cpu, 0);
  return one;
}

memory::desc activation(const np_problem& p, const std::int64_t* strides) {
  const auto rank = static_cast<std::size_t>(p.ndim);
  return {memory::dims(p.shape, p.shape + rank), data_type(p.data_dtype),
          memory::dims(strides, strides + rank)};
}

/// The primitive descriptors of a problem; oneDNN refuses what it does not have, in its own words.
struct Plan {
  memory::desc x, y, channels;
  std::optional<batch_normalization_forward::primitive_desc> forward;
  std::optional<batch_normalization_backward::primitive_desc> backward;

  explicit Plan(const np_problem& p)
      : x(activation(p, p.x_strides)),
        y(activation(p, p.y_strides)),
        channels({p.shape[1]}, memory::data_type::f32, memory::format_tag::a) {
    if (x != y)
      throw Refusal{NP_UNSUPPORTED, "oneDNN has one layout for x and y"};
    const bool alone = p.pass == NP_FORWARD_TRAINING || p.pass == NP_FORWARD_INFERENCE;
    normalization_flags flags = normalization_flags::none;
    if (p.has_affine != 0)
      flags = normalization_flags::use_scale | normalization_flags::use_shift;
    if (!is_training(p))
      flags = flags | normalization_flags::use_global_stats;
    const prop_kind kind =
        is_training(p) || !alone ? prop_kind::forward_training : prop_kind::forward_inference;
    const auto eps = static_cast<float>(p.eps.value);
    try {
#if DNNL_VERSION_MAJOR >= 3
      forward.emplace(cpu(), kind, x, y, eps, flags);
      if (!alone)
        backward.emplace(cpu(), prop_kind::backward, x, y, x, eps, flags, *forward);
#else
      forward.emplace(batch_normalization_forward::desc(kind, x, eps, flags), cpu());
      if (!alone)
        backward.emplace(batch_normalization_backward::desc(prop_kind::backward, x, x, eps, flags), cpu(),
                         *forward);
#endif
    } catch (const dnnl::error& error) {
      throw Refusal{error.status == dnnl_unimplemented || error.status == dnnl_invalid_arguments
                        ? NP_UNSUPPORTED
                        : NP_FAILED,
                    std::string("oneDNN: ") + error.what()};
    }
  }
};

/// A per-channel tensor as the dense f32 array that oneDNN wants.
class Channels {
public:
  Channels(const np_problem& p, const np_tensor* tensor)
      : tensor_(tensor),
        values_(static_cast<std::size_t>(p.shape[1])) {
    if (tensor != nullptr)
      for (std::size_t c = 0; c < values_.size(); ++c)
        std::memcpy(&values_[c], at(c), sizeof(float));
  }
  memory view(const memory::desc& desc) { return {desc, cpu(), values_.data()}; }
  void give() const {
    if (tensor_ != nullptr)
      for (std::size_t c = 0; c < values_.size(); ++c)
        std::memcpy(at(c), &values_[c], sizeof(float));
  }

private:
  std::byte* at(std::size_t c) const {
    return static_cast<std::byte*>(tensor_->data) + tensor_->byte_offset +
           static_cast<std::int64_t>(c) * tensor_->strides[0] * static_cast<std::int64_t>(sizeof(float));
  }
  const np_tensor* tensor_;
  std::vector<float> values_;
};

memory view(const memory::desc& desc, const np_tensor* tensor) {
  return {desc, cpu(), static_cast<std::byte*>(tensor->data) + tensor->byte_offset};
}

/// Where its threads are OpenMP's. Those of builds with SYCL or TBB are as many as there are processors.
void set_threads(int count) {
  static const auto set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (set != nullptr)
    set(count);
}

struct BatchNormalization {
  static void check(const np_problem& p) {
    if (p.pass != NP_FORWARD_TRAINING && p.pass != NP_FORWARD_INFERENCE && p.pass != NP_BACKWARD_INFERENCE &&
        p.pass != NP_GRADIENT)
      throw Refusal{NP_UNSUPPORTED,
                    p.pass == NP_BACKWARD_TRAINING
                        ? "oneDNN's backward takes the variance, not invstd: see the pass gradient"
                        : "not a pass of oneDNN"};
    if (p.in_place != 0)
      throw Refusal{NP_UNSUPPORTED, "not in place"};
    if (!is_float(p.stats_dtype, 32))
      throw Refusal{NP_UNSUPPORTED, "oneDNN's statistics are of f32"};
    if (p.eps.value < 0 || (p.eps.value == 0 && p.zero_eps != NP_ZERO_EPS_FORMULA))
      throw Refusal{NP_UNSUPPORTED, "oneDNN does not look at eps"};
    if (static_cast<double>(static_cast<float>(p.eps.value)) != p.eps.value)
      throw Refusal{NP_UNSUPPORTED, "oneDNN takes eps as f32"};
    if (p.single_value != NP_SINGLE_DEFINED && is_training(p))
      throw Refusal{NP_UNSUPPORTED, "one value per channel is no special case in oneDNN"};
    const Plan plan(p);
  }

  static void describe(const np_problem& p, np_capability& capability) {
    if (p.pass == NP_FORWARD_TRAINING)
      capability.outputs |= NP_OUT_Y | NP_OUT_MEAN | NP_OUT_VAR;
    else if (p.pass == NP_FORWARD_INFERENCE)
      capability.outputs |= NP_OUT_Y;
    else
      capability.outputs |= NP_OUT_DX | (p.has_affine != 0 ? NP_OUT_DGAMMA | NP_OUT_DBETA : 0U);
  }

  template <class, class>
  static void run(const np_problem& p, const np_tensors& t) {
    set_threads(std::max(p.threads, 1));
    const Plan plan(p);
    stream queue(cpu());
    const bool forward = p.pass == NP_FORWARD_TRAINING || p.pass == NP_FORWARD_INFERENCE;
    const bool given = !is_training(p);
    Channels gamma(p, t.gamma), beta(p, t.beta);
    Channels mean(p, given ? t.running_mean : t.mean), var(p, given ? t.running_var : t.var);
    std::vector<std::byte> unwanted;
    if (!forward)
      unwanted.resize(plan.y.get_size());

    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, view(plan.x, t.x)},
                                              {DNNL_ARG_MEAN, mean.view(plan.channels)},
                                              {DNNL_ARG_VARIANCE, var.view(plan.channels)}};
    if (p.has_affine != 0) {
      arguments.insert({DNNL_ARG_SCALE, gamma.view(plan.channels)});
      arguments.insert({DNNL_ARG_SHIFT, beta.view(plan.channels)});
    }
    if (forward || !given) {
      arguments.insert({DNNL_ARG_DST, forward ? view(plan.y, t.y) : memory(plan.y, cpu(), unwanted.data())});
      batch_normalization_forward(*plan.forward).execute(queue, arguments);
      queue.wait();
      arguments.erase(DNNL_ARG_DST);
    }
    if (forward) {
      if (!given) {
        mean.give();
        var.give();
      }
      return;
    }
    Channels dgamma(p, t.dgamma), dbeta(p, t.dbeta);
    arguments.insert({DNNL_ARG_DIFF_DST, view(plan.y, t.dy)});
    arguments.insert({DNNL_ARG_DIFF_SRC, view(plan.x, t.dx)});
    if (p.has_affine != 0) {
      arguments.insert({DNNL_ARG_DIFF_SCALE, dgamma.view(plan.channels)});
      arguments.insert({DNNL_ARG_DIFF_SHIFT, dbeta.view(plan.channels)});
    }
    batch_normalization_backward(*plan.backward).execute(queue, arguments);
    queue.wait();
    if (p.has_affine != 0) {
      dgamma.give();
      dbeta.give();
    }
  }
};

constexpr np_kernel kernel = make_kernel<BatchNormalization>(
    "onednn.batch_normalization", "dnnl::batch_normalization_forward and _backward on the CPU", "");
constexpr const np_kernel* kernels[] = {&kernel};

/// Of the library that is loaded, which may be another than the headers'.
const std::string& loaded_version() {
  static const std::string text = [] {
    const dnnl_version_t* const v = dnnl_version();
    return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }();
  return text;
}

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  static const np_library library{.struct_size = sizeof(np_library),
                                  .abi_major_minimum = 1,
                                  .name = "oneDNN",
                                  .version = loaded_version().c_str(),
                                  .kernel_count = 1,
                                  .kernels = kernels};
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
