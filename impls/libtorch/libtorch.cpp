// LibTorch on trial through its real operators: native_batch_norm, and what torch.nn.functional.batch_norm
// and the module around it do. Tensors are views of the caller's buffers with the caller's strides, so torch
// itself sees a contiguous or a channels-last tensor and takes the path that it has for it. The CUDA kernels
// are the same calls on copies that live on the device.
//
// Only operators that 2.11 has too. This is the only file that includes ATen.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/native_batch_norm.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

#include "cpu/abi.h"

namespace {

using normproof::impls::cpu::is_float;
using normproof::impls::cpu::make_kernel;
using normproof::impls::cpu::Refusal;

constexpr std::string_view native_dialect = "pytorch/native_batch_norm";
constexpr std::string_view functional_dialect = "pytorch/F.batch_norm";

/// Torch's own refusal, in its own words: the first line, without the stack.
template <class Call>
auto refusing(Call&& call) {
  try {
    return call();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    const std::string_view text = error.what_without_backtrace();
    throw Refusal{NP_REJECTED, std::string(text.substr(0, text.find('\n')))};
  }
}

/// A view of the caller's buffer; an absent one is the undefined tensor, as None is in Python.
at::Tensor view(const np_tensor* tensor) {
  if (tensor == nullptr)
    return {};
  return at::from_blob(static_cast<std::byte*>(tensor->data) + tensor->byte_offset,
                       {tensor->shape, static_cast<std::size_t>(tensor->ndim)},
                       {tensor->strides, static_cast<std::size_t>(tensor->ndim)},
                       at::TensorOptions().dtype(tensor->dtype.bits == 64 ? at::kDouble : at::kFloat));
}

at::Tensor on_device(const np_tensor* tensor, at::DeviceType device) {
  const at::Tensor host = view(tensor);
  return !host.defined() || device == at::kCPU ? host : host.to(device);
}

/// Copies a result bit by bit into the caller's buffer.
void give(const at::Tensor& result, const np_tensor* tensor) {
  if (tensor != nullptr)
    view(tensor).copy_(result);
}

struct Operands {
  at::Tensor x, gamma, beta, running_mean, running_var;

  Operands(const np_tensors& t, at::DeviceType device)
      : x(on_device(t.x, device)),
        gamma(on_device(t.gamma, device)),
        beta(on_device(t.beta, device)),
        running_mean(on_device(t.running_mean, device)),
        running_var(on_device(t.running_var, device)) {}

  /// The running statistics were updated in place: in the caller's buffers already, unless they are copies.
  void give_running(const np_tensors& t, at::DeviceType device) const {
    if (device != at::kCPU && running_mean.defined()) {
      give(running_mean, t.running_mean);
      give(running_var, t.running_var);
    }
  }
};

/// The factor that torch.nn.BatchNorm passes on: the counter goes up first, no momentum means its reciprocal.
double averaging_factor(const np_problem& p, const np_tensors& t) {
  if (p.pass == NP_FORWARD_TRAINING && t.num_batches_tracked != nullptr) {
    ++*t.num_batches_tracked;
    if (p.has_momentum == 0)
      return 1.0 / static_cast<double>(*t.num_batches_tracked);
  }
  return p.has_momentum != 0 ? p.momentum.value : 0.0;
}

void check_operands(const np_problem& p, std::string_view dialect, at::DeviceType device) {
  if (p.pass != NP_FORWARD_TRAINING && p.pass != NP_FORWARD_INFERENCE)
    throw Refusal{NP_UNSUPPORTED, "forward passes only"};
  if (p.dialect == nullptr || p.dialect != dialect)
    throw Refusal{NP_UNSUPPORTED, "only the dialect " + std::string(dialect)};
  if (p.running_variance != NP_VARIANCE_UNBIASED || p.momentum_sense != NP_WEIGHT_OF_NEW)
    throw Refusal{NP_UNSUPPORTED, "torch has no switch for these semantics"};
  const bool known = is_float(p.data_dtype, 32) || is_float(p.data_dtype, 64);
  if (!known || p.stats_dtype.code != p.data_dtype.code || p.stats_dtype.bits != p.data_dtype.bits)
    throw Refusal{NP_UNSUPPORTED, "only f32 with f32 statistics and f64 with f64 statistics"};
  if (p.in_place != 0)
    throw Refusal{NP_UNSUPPORTED, "not in place"};
  if (device == at::kCUDA && !at::hasCUDA())
    throw Refusal{NP_NO_DEVICE, "this LibTorch sees no CUDA device"};
}

void describe_operands(const np_problem& p, np_capability& capability) {
  capability.outputs |= NP_OUT_Y;
  if (p.pass == NP_FORWARD_TRAINING && p.has_running != 0)
    capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
}

/// at::native_batch_norm: y, the batch mean and invstd (in training), no check of its own.
template <at::DeviceType device>
struct NativeBatchNorm {
  static void check(const np_problem& p) { check_operands(p, native_dialect, device); }

  static void describe(const np_problem& p, np_capability& capability) {
    describe_operands(p, capability);
    if (p.pass == NP_FORWARD_TRAINING)
      capability.outputs |= NP_OUT_MEAN | NP_OUT_INVSTD;
  }

  template <class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::NoGradGuard no_grad;
    at::set_num_threads(std::max(p.threads, 1));
    refusing([&] {
      const Operands o(t, device);
      const auto [y, mean, invstd] =
          at::native_batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var,
                                p.pass == NP_FORWARD_TRAINING, averaging_factor(p, t), p.eps.value);
      give(y, t.y);
      give(mean, t.mean);
      give(invstd, t.invstd);
      o.give_running(t, device);
    });
  }
};

/// torch.nn.functional.batch_norm: its checks in its words (torch/nn/functional.py), then at::batch_norm.
template <at::DeviceType device>
struct BatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, functional_dialect, device);
    const bool training = p.pass == NP_FORWARD_TRAINING;
    std::int64_t n = p.shape[0];
    for (int axis = 2; axis < p.ndim; ++axis)
      n *= p.shape[axis];
    if (training && n == 1)
      throw Refusal{NP_REJECTED, "Expected more than 1 value per channel when training"};
    if (training && p.eps.value <= 0)
      throw Refusal{NP_REJECTED, "batch_norm eps must be positive during training"};
    if (p.eps.value < 0)
      throw Refusal{NP_REJECTED, "batch_norm eps must be non-negative"};
  }

  static void describe(const np_problem& p, np_capability& capability) { describe_operands(p, capability); }

  template <class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::NoGradGuard no_grad;
    at::set_num_threads(std::max(p.threads, 1));
    refusing([&] {
      const Operands o(t, device);
      give(at::batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var, p.pass == NP_FORWARD_TRAINING,
                          averaging_factor(p, t), p.eps.value, true),
           t.y);
      o.give_running(t, device);
    });
  }
};

constexpr np_kernel native_cpu = make_kernel<NativeBatchNorm<at::kCPU>>(
    "libtorch.native_batch_norm", "at::native_batch_norm on the CPU, reports mean and invstd", "");
constexpr np_kernel functional_cpu = make_kernel<BatchNorm<at::kCPU>>(
    "libtorch.batch_norm", "torch.nn.functional.batch_norm on the CPU, with its checks", "");
constexpr np_kernel native_cuda = make_kernel<NativeBatchNorm<at::kCUDA>>(
    "libtorch_cuda.native_batch_norm", "at::native_batch_norm on copies on the CUDA device", "");
constexpr np_kernel functional_cuda = make_kernel<BatchNorm<at::kCUDA>>(
    "libtorch_cuda.batch_norm", "torch.nn.functional.batch_norm on copies on the CUDA device", "");

constexpr const np_kernel* kernels[] = {&native_cpu, &functional_cpu, &native_cuda, &functional_cuda};

constexpr np_library library{.struct_size = sizeof(np_library),
                             .abi_major_minimum = 1,
                             .name = "LibTorch",
                             .version = TORCH_VERSION,
                             .kernel_count = std::size(kernels),
                             .kernels = kernels};

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
