// LibTorch on trial through its real operators: native_batch_norm and its backward, what
// torch.nn.functional.batch_norm and the module around it do, autograd through both, and the gradient of the
// backward; on CUDA also cudnn_batch_norm and what belongs to it. Tensors are views of the caller's buffers
// with the caller's strides, so torch itself sees a contiguous, a channels-last or a strided tensor and takes
// the path that it has for it.
//
// CUDA kernels are the same calls on views of device memory. Torch, through the CUDA runtime, and the worker,
// through the driver, share the device's primary context; the worker's stream is made torch's current one
// (spec/adr/0013-the-device-through-the-driver.md). Nothing here includes a header of CUDA, so a LibTorch for
// the CPU has these kernels too, and says itself why it cannot run them.
//
// Only operators that 2.11 has too. This is the only file that includes ATen.
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cudnn_batch_norm.h>
#include <ATen/ops/cudnn_batch_norm_backward.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include "cpu/abi.h"

namespace {

using normproof::impls::cpu::Entry;
using normproof::impls::cpu::guarded;
using normproof::impls::cpu::is_bfloat;
using normproof::impls::cpu::is_float;
using normproof::impls::cpu::make_kernel;
using normproof::impls::cpu::Refusal;

constexpr std::int32_t cuda = 2;  // DLPack's
constexpr std::string_view native_dialect = "pytorch/native_batch_norm";
constexpr std::string_view functional_dialect = "pytorch/F.batch_norm";

/// What torch says of it: the first line, without the stack.
std::string words_of(const c10::Error& error) {
  const std::string_view all = error.what_without_backtrace();
  return std::string(all.substr(0, all.find('\n')));
}

/// Torch's own refusal, in its own words. A type that an operator was never written for is no verdict on the
/// problem.
template <class Call>
auto refusing(Call&& call) {
  try {
    return call();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    const std::string text = words_of(error);
    const auto says = [&text](std::string_view words) {
      return text.find(words) != text.npos;
    };
    // An error of the device is none of the problem: the worker hears of it too.
    if (says("CUDA error") || says("cuDNN error"))
      throw Refusal{says("CUDNN_STATUS_NOT_SUPPORTED") ? NP_UNSUPPORTED : NP_FAILED, text};
    const bool missing = says("not implemented for") || says("mixed dtype") || says("to have scalar type") ||
                         says("to have the same type");
    throw Refusal{missing ? NP_UNSUPPORTED : NP_REJECTED, text};
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
  const at::Device device = tensor->device.type == cuda
                                ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(tensor->device.id))
                                : at::Device(at::kCPU);
  return at::for_blob(static_cast<std::byte*>(tensor->data) + tensor->byte_offset,
                      {tensor->shape, static_cast<std::size_t>(tensor->ndim)})
      .strides(at::IntArrayRef(tensor->strides, static_cast<std::size_t>(tensor->ndim)))
      .options(at::TensorOptions().dtype(scalar_type(tensor->dtype)).device(device))
      .target_device(device)
      .make_tensor();
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

/// The running statistics are updated in place: in the caller's buffers already.
struct Operands {
  at::Tensor x, gamma, beta, running_mean, running_var;

  explicit Operands(const np_tensors& t)
      : x(view(t.x)),
        gamma(view(t.gamma)),
        beta(view(t.beta)),
        running_mean(view(t.running_mean)),
        running_var(view(t.running_var)) {}
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

/// Why this LibTorch has no CUDA device, in its words (the first sentence of them), or "".
const std::string& without_cuda() {
  static const std::string reason = []() -> std::string {
    try {
      at::globalContext().lazyInitDevice(at::kCUDA);
      return at::hasCUDA() ? "" : "this LibTorch sees no CUDA device";
    } catch (const c10::Error& error) {
      const std::string words = words_of(error);
      return words.substr(0, words.find(". "));
    }
  }();
  return reason;
}

void check_operands(const np_problem& p, std::string_view dialect, std::initializer_list<np_pass> passes) {
  if (std::find(passes.begin(), passes.end(), p.pass) == passes.end())
    throw Refusal{NP_UNSUPPORTED, "not a pass of this operator"};
  if (p.dialect == nullptr || p.dialect != dialect)
    throw Refusal{NP_UNSUPPORTED, "only the dialect " + std::string(dialect)};
  if (p.running_variance != NP_VARIANCE_UNBIASED || p.momentum_sense != NP_WEIGHT_OF_NEW)
    throw Refusal{NP_UNSUPPORTED, "torch has no switch for these semantics"};
  if (p.in_place != 0)
    throw Refusal{NP_UNSUPPORTED, "not in place"};
  if (p.device.type == cuda && !without_cuda().empty())
    throw Refusal{NP_NO_DEVICE, without_cuda()};
}

void describe_forward(const np_problem& p, np_capability& capability) {
  capability.outputs |= NP_OUT_Y;
  if (p.pass == NP_FORWARD_TRAINING && p.has_running != 0)
    capability.outputs |= NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR;
}

/// at::native_batch_norm: y, the batch mean and invstd (in training), no check of its own. Backward is
/// at::native_batch_norm_backward at the statistics given, or at those that its own forward saved.
struct NativeBatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect,
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
      const Operands o(t);
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
  }

  static void backward(const np_problem& p, const np_tensors& t, const Operands& o) {
    at::Tensor mean = view(t.saved_mean);
    at::Tensor invstd = view(t.saved_invstd);
    if (p.pass == NP_GRADIENT)
      std::tie(std::ignore, mean, invstd) =
          at::native_batch_norm(o.x, o.gamma, o.beta, {}, {}, true, 0.0, p.eps.value);
    const auto [dx, dgamma, dbeta] =
        at::native_batch_norm_backward(view(t.dy), o.x, o.gamma, o.running_mean, o.running_var, mean, invstd,
                                       p.pass != NP_BACKWARD_INFERENCE, p.eps.value, {true, true, true});
    give(dx, t.dx);
    give(dgamma, t.dgamma);
    give(dbeta, t.dbeta);
  }
};

/// torch.nn.functional.batch_norm: its checks in its words (torch/nn/functional.py), then at::batch_norm; its
/// gradient by autograd.
struct BatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, functional_dialect, {NP_FORWARD_TRAINING, NP_FORWARD_INFERENCE, NP_GRADIENT});
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
      Operands o(t);
      std::vector<at::Tensor> inputs;
      if (p.pass == NP_GRADIENT)
        for (at::Tensor* input : {&o.x, &o.gamma, &o.beta})
          if (input->defined())
            inputs.push_back(input->set_requires_grad(true));
      const at::Tensor y = at::batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var, is_training(p),
                                          averaging_factor(p, t), p.eps.value, true);
      if (p.pass == NP_GRADIENT) {
        const std::vector<at::Tensor> gradients = torch::autograd::grad({y}, inputs, {view(t.dy)});
        const c10::NoGradGuard copying;
        give(gradients.front(), t.dx);
        give(o.gamma.defined() ? gradients[1] : at::Tensor{}, t.dgamma);
        give(o.beta.defined() ? gradients.back() : at::Tensor{}, t.dbeta);
      } else {
        give(y, t.y);
      }
    });
  }
};

/// at::cudnn_batch_norm, which cuDNN's spatial (images), spatial-persistent (images channels-last, in
/// training) and per-activation (no spatial axes) modes stand behind, and its backward. It takes dense
/// tensors, and has gamma and beta; what its forward keeps for its backward beside the statistics is remade
/// where only these are given.
struct CudnnBatchNorm {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect,
                   {NP_FORWARD_TRAINING, NP_FORWARD_INFERENCE, NP_BACKWARD_TRAINING, NP_GRADIENT});
    check_affine(p);
  }

  static void check_affine(const np_problem& p) {
    if (p.has_affine == 0)
      throw Refusal{NP_UNSUPPORTED, "cudnn_batch_norm has no form without gamma and beta"};
  }

  static void describe(const np_problem& p, np_capability& capability) {
    NativeBatchNorm::describe(p, capability);
  }

  template <class, class>
  static void run(const np_problem& p, const np_tensors& t) {
    const c10::NoGradGuard no_grad;
    refusing([&] {
      const Operands o(t);
      check_dense({o.x, o.gamma, o.beta, o.running_mean, o.running_var});
      if (is_forward(p)) {
        const auto [y, mean, invstd, reserve] =
            at::cudnn_batch_norm(o.x, o.gamma, o.beta, o.running_mean, o.running_var, is_training(p),
                                 averaging_factor(p, t), p.eps.value);
        give(y, t.y);
        give(mean, t.mean);
        give(invstd, t.invstd);
        return;
      }
      const auto [dx, dgamma, dbeta] = backward(o, view(t.dy), view(t.saved_mean), view(t.saved_invstd), p);
      give(dx, t.dx);
      give(dgamma, t.dgamma);
      give(dbeta, t.dbeta);
    });
  }

  /// At the statistics given, or at its own forward's where these are undefined.
  static std::tuple<at::Tensor, at::Tensor, at::Tensor>
  backward(const Operands& o, const at::Tensor& dy, at::Tensor mean, at::Tensor invstd, const np_problem& p) {
    check_dense({o.x, o.gamma, dy, mean, invstd});
    const auto [y, own_mean, own_invstd, reserve] = [&] {
      const c10::NoGradGuard no_grad;
      const at::Tensor beta = o.beta.defined() ? o.beta : o.gamma;  // y is not used
      return at::cudnn_batch_norm(o.x, o.gamma, beta, {}, {}, true, 0.0, p.eps.value);
    }();
    return at::cudnn_batch_norm_backward(o.x, dy, o.gamma, {}, {}, mean.defined() ? mean : own_mean,
                                         invstd.defined() ? invstd : own_invstd, p.eps.value, reserve);
  }

private:
  static void check_dense(std::initializer_list<at::Tensor> tensors) {
    for (const at::Tensor& tensor : tensors)
      if (tensor.defined() && !tensor.is_contiguous(tensor.suggest_memory_format()))
        throw Refusal{NP_UNSUPPORTED, "cudnn_batch_norm takes dense tensors"};
  }
};

/// The gradient of at::native_batch_norm_backward, by autograd.
struct NativeBackward {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect, {NP_DOUBLE_BACKWARD, NP_DOUBLE_BACKWARD_INFERENCE});
  }
  static std::tuple<at::Tensor, at::Tensor, at::Tensor> call(const Operands& o, const at::Tensor& dy,
                                                             const np_tensors& t, const np_problem& p) {
    return at::native_batch_norm_backward(dy, o.x, o.gamma, o.running_mean, o.running_var, view(t.saved_mean),
                                          view(t.saved_invstd), p.pass == NP_DOUBLE_BACKWARD, p.eps.value,
                                          {true, true, true});
  }
};

/// The gradient of at::cudnn_batch_norm_backward, which has none in inference.
struct CudnnBackward {
  static void check(const np_problem& p) {
    check_operands(p, native_dialect, {NP_DOUBLE_BACKWARD});
    CudnnBatchNorm::check_affine(p);
  }
  static std::tuple<at::Tensor, at::Tensor, at::Tensor> call(const Operands& o, const at::Tensor& dy,
                                                             const np_tensors& t, const np_problem& p) {
    return CudnnBatchNorm::backward(o, dy, view(t.saved_mean), view(t.saved_invstd), p);
  }
};

template <class BackwardOperator>
struct DoubleBackward {
  static void check(const np_problem& p) { BackwardOperator::check(p); }

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
      const Operands o(t);
      const at::Tensor dy = view(t.dy);
      std::vector<at::Tensor> inputs;
      for (const at::Tensor& input : {dy, o.x, o.gamma})
        if (input.defined())
          inputs.push_back(input.set_requires_grad(true));
      const auto [dx, dgamma, dbeta] = BackwardOperator::call(o, dy, t, p);
      std::vector<at::Tensor> outputs;
      std::vector<at::Tensor> cotangents;
      for (const auto& [output, given] : {std::pair{dx, t.v_x}, {dgamma, t.v_gamma}, {dbeta, t.v_beta}})
        if (given != nullptr) {
          outputs.push_back(output);
          cotangents.push_back(view(given));
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

/// A stream made elsewhere as one of torch's. What c10::cuda::getStreamFromExternal does, whose header wants
/// CUDA's: the id of an external stream is its handle, which is even; torch's own ids are odd.
c10::Stream torch_stream(void* stream) {
  const auto id = static_cast<c10::StreamId>(reinterpret_cast<std::intptr_t>(stream));
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, 0), id);
}

template <class Kernel>
std::int32_t run_on_stream(void* state, const np_tensors* tensors, void* stream, np_message message) {
  std::int32_t status = NP_OK;
  const std::int32_t prepared = guarded(message, [&] {
    refusing([&] {
      const c10::StreamGuard current(torch_stream(stream));
      status = Entry<Kernel>::run(state, tensors, stream, message);
    });
  });
  return prepared != NP_OK ? prepared : status;
}

template <class Kernel>
constexpr np_kernel make_cuda_kernel(const char* name, const char* summary) {
  np_kernel kernel = make_kernel<Kernel>(name, summary, "");
  kernel.device_type = cuda;
  kernel.run = &run_on_stream<Kernel>;
  return kernel;
}

constexpr np_kernel table[] = {
    make_kernel<NativeBatchNorm>(
        "libtorch.native_batch_norm",
        "at::native_batch_norm and at::native_batch_norm_backward on the CPU, reports mean and invstd", ""),
    make_kernel<BatchNorm>(
        "libtorch.batch_norm",
        "torch.nn.functional.batch_norm on the CPU, with its checks; gradients by autograd", ""),
    make_kernel<DoubleBackward<NativeBackward>>(
        "libtorch.double_backward", "autograd through at::native_batch_norm_backward on the CPU", ""),
    make_cuda_kernel<NativeBatchNorm>(
        "libtorch.cuda.native_batch_norm",
        "at::native_batch_norm and its backward on CUDA: torch's own kernels, reports mean and invstd"),
    make_cuda_kernel<BatchNorm>("libtorch.cuda.batch_norm",
                                "torch.nn.functional.batch_norm on CUDA, which takes cuDNN where it can"),
    make_cuda_kernel<DoubleBackward<NativeBackward>>(
        "libtorch.cuda.double_backward", "autograd through at::native_batch_norm_backward on CUDA"),
    make_cuda_kernel<CudnnBatchNorm>(
        "libtorch.cuda.cudnn_batch_norm",
        "at::cudnn_batch_norm and its backward: spatial, persistent and per-activation modes"),
    make_cuda_kernel<DoubleBackward<CudnnBackward>>("libtorch.cuda.cudnn_double_backward",
                                                    "autograd through at::cudnn_batch_norm_backward")};

constexpr auto kernels = [] {
  std::array<const np_kernel*, std::size(table)> all{};
  std::ranges::transform(table, all.begin(), [](const np_kernel& kernel) { return &kernel; });
  return all;
}();

constexpr np_library library{.struct_size = sizeof(np_library),
                             .abi_major_minimum = 1,
                             .name = "LibTorch",
                             .version = TORCH_VERSION,
                             .kernel_count = std::size(kernels),
                             .kernels = kernels.data()};

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
