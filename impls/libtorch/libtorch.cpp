// LibTorch on trial through its real operators: native_batch_norm and its backward, what
// torch.nn.functional.batch_norm and the module around it do, autograd through both, and the gradient of the
// backward. Tensors are views of the caller's buffers with the caller's strides, so torch itself sees a
// contiguous, a channels-last or a strided tensor and takes the path that it has for it. The CUDA kernels are
// the same calls on copies that live on the device.
//
// Only operators that 2.11 has too. This is the only file that includes ATen.
#include <algorithm>
#include <initializer_list>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include "cpu/abi.h"

namespace {

using normproof::impls::cpu::is_bfloat;
using normproof::impls::cpu::is_float;
using normproof::impls::cpu::make_kernel;
using normproof::impls::cpu::Refusal;

constexpr std::string_view native_dialect = "pytorch/native_batch_norm";
constexpr std::string_view functional_dialect = "pytorch/F.batch_norm";

/// Torch's own refusal, in its own words: the first line, without the stack. A type that an operator was
/// never written for is no verdict on the problem.
template <class Call>
auto refusing(Call&& call) {
  try {
    return call();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    const std::string_view all = error.what_without_backtrace();
    const std::string_view text = all.substr(0, all.find('\n'));
    const bool missing =
        text.find("not implemented for") != text.npos || text.find("mixed dtype") != text.npos;
    throw Refusal{missing ? NP_UNSUPPORTED : NP_REJECTED, std::string(text)};
  }
}

at::ScalarType scalar_type(np_dtype dtype) {
  if (is_bfloat(dtype))
    return at::kBFloat16;
  return is_float(dtype, 16) ? at::kHalf : is_float(dtype, 64) ? at::kDouble : at::kFloat;
}

/// A view of the caller's buffer; an absent one is the undefined tensor, as None is in Python.
at::Tensor view(const np_tensor* tensor) {
  if (tensor == nullptr)
    return {};
  return at::from_blob(static_cast<std::byte*>(tensor->data) + tensor->byte_offset,
                       {tensor->shape, static_cast<std::size_t>(tensor->ndim)},
                       {tensor->strides, static_cast<std::size_t>(tensor->ndim)},
                       at::TensorOptions().dtype(scalar_type(tensor->dtype)));
}

at::Tensor on_device(const np_tensor* tensor, at::DeviceType device) {
  const at::Tensor host = view(tensor);
  return !host.defined() || device == at::kCPU ? host : host.to(device);
}

/// Copies a result bit by bit into the caller's buffer (rounded once, where torch keeps more). A result that
/// has fewer bits than was asked for is not that problem's; an undefined gradient is 0.
void give(const at::Tensor& result, const np_tensor* tensor) {
  if (tensor == nullptr)
    return;
  const at::Tensor to = view(tensor);
  if (!result.defined()) {
    to.zero_();
    return;
  }
  if (result.element_size() < to.element_size())
    throw Refusal{NP_UNSUPPORTED, std::string("torch returns ") + c10::toString(result.scalar_type()) +
                                      " where the problem has " + c10::toString(to.scalar_type())};
  to.copy_(result);
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

bool is_training(const np_problem& p) {
  return p.pass == NP_FORWARD_TRAINING || p.pass == NP_GRADIENT;
}
bool is_forward(const np_problem& p) {
  return p.pass == NP_FORWARD_TRAINING || p.pass == NP_FORWARD_INFERENCE;
}

void check_operands(const np_problem& p, std::string_view dialect, at::DeviceType device,
                    std::initializer_list<np_pass> passes) {
  if (std::find(passes.begin(), passes.end(), p.pass) == passes.end())
    throw Refusal{NP_UNSUPPORTED, "not a pass of this operator"};
  if (p.dialect == nullptr || p.dialect != dialect)
    throw Refusal{NP_UNSUPPORTED, "only the dialect " + std::string(dialect)};
  if (p.running_variance != NP_VARIANCE_UNBIASED || p.momentum_sense != NP_WEIGHT_OF_NEW)
    throw Refusal{NP_UNSUPPORTED, "torch has no switch for these semantics"};
  if (p.in_place != 0)
    throw Refusal{NP_UNSUPPORTED, "not in place"};
  if (device == at::kCUDA && !at::hasCUDA())
    throw Refusal{NP_NO_DEVICE, "this LibTorch sees no CUDA device"};
}

void describe_forward(const np_problem& p, np_capability& capability) {
  capability.outputs |= NP_OUT_Y;
  if (p.pass == NP_FORWARD_TRAINING && p.has_running != 0)
    capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
}

/// at::native_batch_norm: y, the batch mean and invstd (in training), no check of its own. Backward is
/// at::native_batch_norm_backward at the statistics given, or at those that its own forward saved.
template <at::DeviceType device>
struct NativeBatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect, device,
                   {NP_FORWARD_TRAINING, NP_FORWARD_INFERENCE, NP_BACKWARD_TRAINING, NP_BACKWARD_INFERENCE,
                    NP_GRADIENT});
  }

  static void describe(const np_problem& p, np_capability& capability) {
    if (!is_forward(p)) {
      capability.outputs |= NP_OUT_DX | NP_OUT_DGAMMA | NP_OUT_DBETA;
      return;
    }
    describe_forward(p, capability);
    if (p.pass == NP_FORWARD_TRAINING)
      capability.outputs |= NP_OUT_MEAN | NP_OUT_INVSTD;
  }

  template <class, class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::NoGradGuard no_grad;
    at::set_num_threads(std::max(p.threads, 1));
    refusing([&] {
      const Operands o(t, device);
      if (is_forward(p))
        forward(p, t, o);
      else
        backward(p, t, o);
    });
  }

private:
  static void forward(const np_problem& p, const np_tensors& t, const Operands& o) {
    const auto [y, mean, invstd] = at::native_batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var,
                                                         is_training(p), averaging_factor(p, t), p.eps.value);
    give(y, t.y);
    give(mean, t.mean);
    give(invstd, t.invstd);
    o.give_running(t, device);
  }

  static void backward(const np_problem& p, const np_tensors& t, const Operands& o) {
    at::Tensor mean = on_device(t.saved_mean, device);
    at::Tensor invstd = on_device(t.saved_invstd, device);
    if (p.pass == NP_GRADIENT)
      std::tie(std::ignore, mean, invstd) =
          at::native_batch_norm(o.x, o.gamma, o.beta, {}, {}, true, 0.0, p.eps.value);
    const auto [dx, dgamma, dbeta] = at::native_batch_norm_backward(
        on_device(t.dy, device), o.x, o.gamma, o.running_mean, o.running_var, mean, invstd,
        p.pass != NP_BACKWARD_INFERENCE, p.eps.value, {true, true, true});
    give(dx, t.dx);
    give(dgamma, t.dgamma);
    give(dbeta, t.dbeta);
  }
};

/// torch.nn.functional.batch_norm: its checks in its words (torch/nn/functional.py), then at::batch_norm; its
/// gradient by autograd.
template <at::DeviceType device>
struct BatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, functional_dialect, device, {NP_FORWARD_TRAINING, NP_FORWARD_INFERENCE, NP_GRADIENT});
    std::int64_t n = p.shape[0];
    for (int axis = 2; axis < p.ndim; ++axis)
      n *= p.shape[axis];
    if (is_training(p) && n == 1)
      throw Refusal{NP_REJECTED, "Expected more than 1 value per channel when training"};
    if (is_training(p) && p.eps.value <= 0)
      throw Refusal{NP_REJECTED, "batch_norm eps must be positive during training"};
    if (p.eps.value < 0)
      throw Refusal{NP_REJECTED, "batch_norm eps must be non-negative"};
  }

  static void describe(const np_problem& p, np_capability& capability) {
    if (is_forward(p)) {
      describe_forward(p, capability);
      return;
    }
    capability.outputs |= NP_OUT_DX;
    if (p.has_affine != 0)  // autograd differentiates by what there is
      capability.outputs |= NP_OUT_DGAMMA | NP_OUT_DBETA;
  }

  template <class, class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::AutoGradMode with_gradient(p.pass == NP_GRADIENT);
    at::set_num_threads(std::max(p.threads, 1));
    refusing([&] {
      Operands o(t, device);
      std::vector<at::Tensor> inputs;
      if (p.pass == NP_GRADIENT)
        for (at::Tensor* input : {&o.x, &o.gamma, &o.beta})
          if (input->defined())
            inputs.push_back(input->set_requires_grad(true));
      const at::Tensor y = at::batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var, is_training(p),
                                          averaging_factor(p, t), p.eps.value, true);
      if (p.pass == NP_GRADIENT) {
        const std::vector<at::Tensor> gradients =
            torch::autograd::grad({y}, inputs, {on_device(t.dy, device)});
        const c10::NoGradGuard copying;
        give(gradients.front(), t.dx);
        give(o.gamma.defined() ? gradients[1] : at::Tensor{}, t.dgamma);
        give(o.beta.defined() ? gradients.back() : at::Tensor{}, t.dbeta);
      } else {
        give(y, t.y);
        o.give_running(t, device);
      }
    });
  }
};

/// The gradient of at::native_batch_norm_backward, by autograd.
template <at::DeviceType device>
struct DoubleBackward {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect, device, {NP_DOUBLE_BACKWARD, NP_DOUBLE_BACKWARD_INFERENCE});
  }

  static void describe(const np_problem& p, np_capability& capability) {
    capability.outputs |= NP_OUT_GRAD_DY | NP_OUT_GRAD_X;
    if (p.has_affine != 0)  // autograd differentiates by what there is
      capability.outputs |= NP_OUT_GRAD_GAMMA;
  }

  template <class, class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::AutoGradMode with_gradient(true);
    at::set_num_threads(std::max(p.threads, 1));
    refusing([&] {
      const Operands o(t, device);
      const at::Tensor dy = on_device(t.dy, device);
      std::vector<at::Tensor> inputs;
      for (const at::Tensor& input : {dy, o.x, o.gamma})
        if (input.defined())
          inputs.push_back(input.set_requires_grad(true));
      const auto [dx, dgamma, dbeta] = at::native_batch_norm_backward(
          dy, o.x, o.gamma, o.running_mean, o.running_var, on_device(t.saved_mean, device),
          on_device(t.saved_invstd, device), p.pass == NP_DOUBLE_BACKWARD, p.eps.value, {true, true, true});
      std::vector<at::Tensor> outputs;
      std::vector<at::Tensor> cotangents;
      for (const auto& [output, given] : {std::pair{dx, t.v_x}, {dgamma, t.v_gamma}, {dbeta, t.v_beta}})
        if (given != nullptr) {
          outputs.push_back(output);
          cotangents.push_back(on_device(given, device));
        }
      std::vector<at::Tensor> gradients(inputs.size());
      if (!outputs.empty())
        gradients = torch::autograd::grad(outputs, inputs, cotangents, std::nullopt, false, true);
      const c10::NoGradGuard copying;
      give(gradients[0], t.grad_dy);
      give(gradients[1], t.grad_x);
      if (o.gamma.defined())
        give(gradients[2], t.grad_gamma);
    });
  }
};

constexpr np_kernel native_cpu = make_kernel<NativeBatchNorm<at::kCPU>>(
    "libtorch.native_batch_norm",
    "at::native_batch_norm and at::native_batch_norm_backward on the CPU, reports mean and invstd", "");
constexpr np_kernel functional_cpu = make_kernel<BatchNorm<at::kCPU>>(
    "libtorch.batch_norm",
    "torch.nn.functional.batch_norm on the CPU, with its checks; gradients by autograd", "");
constexpr np_kernel double_backward_cpu = make_kernel<DoubleBackward<at::kCPU>>(
    "libtorch.double_backward", "autograd through at::native_batch_norm_backward on the CPU", "");
constexpr np_kernel native_cuda = make_kernel<NativeBatchNorm<at::kCUDA>>(
    "libtorch_cuda.native_batch_norm", "at::native_batch_norm and its backward on copies on the CUDA device",
    "");
constexpr np_kernel functional_cuda = make_kernel<BatchNorm<at::kCUDA>>(
    "libtorch_cuda.batch_norm", "torch.nn.functional.batch_norm on copies on the CUDA device", "");

constexpr np_kernel double_backward_cuda = make_kernel<DoubleBackward<at::kCUDA>>(
    "libtorch_cuda.double_backward", "autograd through the backward on copies on the CUDA device", "");

constexpr const np_kernel* kernels[] = {&native_cpu,  &functional_cpu,  &double_backward_cpu,
                                        &native_cuda, &functional_cuda, &double_backward_cuda};

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
