// cuDNN on trial: its batch normalisation, one kernel for each of its modes. Spatial is what the
// specification means; persistent is the same by another algorithm; per-activation is the same where there is
// no spatial axis, and is not asked otherwise.
//
// It wants gamma and beta, statistics of f32 (f64 for f64 tensors) without gaps, and 5 axes at most. Backward
// is at the batch's statistics only; what its forward keeps for it is remade where the statistics are given.
// What else it cannot do it says itself. 9.x, headers and library alone: pointers and the stream are the
// worker's.
#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

// The modes are deprecated in favour of graphs of operations, and are what frameworks call.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <cudnn.h>

#include "cpu/abi.h"

namespace {

using normproof::impls::cpu::guarded;
using normproof::impls::cpu::is_bfloat;
using normproof::impls::cpu::is_float;
using normproof::impls::cpu::Refusal;

constexpr std::int32_t cuda = 2;        // DLPack's
constexpr std::size_t alignment = 256;  // of the parts of the workspace

void check(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS)
    return;
  std::array<char, 512> last{};
  cudnnGetLastErrorString(last.data(), last.size());
  const std::string said(last.data());
  const auto category = static_cast<cudnnStatus_t>(CUDNN_STATUS_CATEGORY(static_cast<int>(status)));
  const bool cannot = category == CUDNN_STATUS_NOT_SUPPORTED || category == CUDNN_STATUS_BAD_PARAM;
  throw Refusal{cannot ? NP_UNSUPPORTED : NP_FAILED, std::string(what) + ": " + cudnnGetErrorString(status) +
                                                         (said.empty() ? "" : ", ") +
                                                         said.substr(0, said.find('\n'))};
}

/// One for the process: making it takes longer than any case.
cudnnHandle_t handle() {
  static const cudnnHandle_t one = [] {
    cudnnHandle_t made = nullptr;
    if (const cudnnStatus_t status = cudnnCreate(&made); status != CUDNN_STATUS_SUCCESS)
      throw Refusal{NP_NO_DEVICE, std::string("cudnnCreate: ") + cudnnGetErrorString(status)};
    return made;
  }();
  return one;
}

cudnnDataType_t data_type(np_dtype dtype) {
  if (is_bfloat(dtype))
    return CUDNN_DATA_BFLOAT16;
  return is_float(dtype, 16) ? CUDNN_DATA_HALF : is_float(dtype, 64) ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
}

class Descriptor {
public:
  Descriptor() {
    cudnnTensorDescriptor_t made = nullptr;
    check(cudnnCreateTensorDescriptor(&made), "cudnnCreateTensorDescriptor");
    owned_.reset(made);
  }
  operator cudnnTensorDescriptor_t() const { return owned_.get(); }

private:
  struct Destroy {
    void operator()(cudnnTensorDescriptor_t d) const { cudnnDestroyTensorDescriptor(d); }
  };
  std::unique_ptr<std::remove_pointer_t<cudnnTensorDescriptor_t>, Destroy> owned_;
};

int narrow(std::int64_t value) {
  if (value > std::numeric_limits<int>::max())
    throw Refusal{NP_UNSUPPORTED, "cuDNN's extents and strides are of 32 bits"};
  return static_cast<int>(value);
}

/// At least four axes; those added hold one place and are as far apart as the last.
void describe_activation(const Descriptor& descriptor, const np_problem& p, const std::int64_t* strides) {
  if (p.ndim > 5)
    throw Refusal{NP_UNSUPPORTED, "cuDNN normalises tensors of 5 axes at most"};
  std::array<int, 5> extents{};
  std::array<int, 5> steps{};
  const int rank = std::max(p.ndim, 4);
  for (int axis = 0; axis < rank; ++axis) {
    const auto a = static_cast<std::size_t>(axis);
    extents[a] = axis < p.ndim ? narrow(p.shape[axis]) : 1;
    steps[a] = narrow(strides[std::min(axis, p.ndim - 1)]);
  }
  check(cudnnSetTensorNdDescriptor(descriptor, data_type(p.data_dtype), rank, extents.data(), steps.data()),
        "cudnnSetTensorNdDescriptor");
}

std::size_t aligned(std::size_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// A problem for cuDNN: descriptors, and how the workspace is shared out.
template <cudnnBatchNormMode_t mode>
struct Plan {
  static constexpr cudnnBatchNormOps_t plain = CUDNN_BATCHNORM_OPS_BN;

  explicit Plan(const np_problem& p) : problem(p), alone(p.pass == NP_FORWARD_TRAINING) {
    describe_activation(x, p, p.x_strides);
    describe_activation(y, p, p.y_strides);
    check(cudnnDeriveBNTensorDescriptor(channels, x, mode), "cudnnDeriveBNTensorDescriptor");
    if (p.pass == NP_FORWARD_INFERENCE)
      return;
    std::size_t forward = 0;
    check(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(handle(), mode, plain, x, x, y, channels,
                                                                   nullptr, &forward),
          "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize");
    check(cudnnGetBatchNormalizationTrainingExReserveSpaceSize(handle(), mode, plain, nullptr, x, &reserve),
          "cudnnGetBatchNormalizationTrainingExReserveSpaceSize");
    work = forward;
    if (alone)
      return;
    std::size_t backward = 0;
    check(cudnnGetBatchNormalizationBackwardExWorkspaceSize(handle(), mode, plain, x, y, y, nullptr, x,
                                                            channels, nullptr, &backward),
          "cudnnGetBatchNormalizationBackwardExWorkspaceSize");
    work = std::max(forward, backward);
    std::int64_t last = 0;
    for (int axis = 0; axis < p.ndim; ++axis)
      last += (p.shape[axis] - 1) * p.y_strides[axis];
    unwanted = static_cast<std::size_t>(last + 1) * (p.data_dtype.bits / 8);
    statistic = static_cast<std::size_t>(p.shape[1]) * (p.stats_dtype.bits / 8);
  }

  std::size_t workspace() const { return aligned(work) + aligned(unwanted) + 2 * aligned(statistic); }

  np_problem problem;
  bool alone;  ///< forward only
  Descriptor x, y, channels;
  std::size_t work = 0;
  std::size_t reserve = 0;
  std::size_t unwanted = 0;   ///< the y of a forward that is run for its backward
  std::size_t statistic = 0;  ///< bytes of its mean, or of its invstd
};

/// The first element, nullptr where the tensor is absent.
void* first(const np_tensor* tensor) {
  return tensor == nullptr ? nullptr : static_cast<std::byte*>(tensor->data) + tensor->byte_offset;
}
void* dense(const np_tensor* tensor) {
  if (tensor != nullptr && tensor->shape[0] > 1 && tensor->strides[0] != 1)
    throw Refusal{NP_UNSUPPORTED, "cuDNN takes per-channel tensors without gaps"};
  return first(tensor);
}

template <cudnnBatchNormMode_t mode>
struct BatchNormalization {
  static void check_problem(const np_problem& p) {
    if (p.pass != NP_FORWARD_TRAINING && p.pass != NP_FORWARD_INFERENCE && p.pass != NP_BACKWARD_TRAINING &&
        p.pass != NP_GRADIENT)
      throw Refusal{NP_UNSUPPORTED, "not a pass of cuDNN"};
    if (mode == CUDNN_BATCHNORM_PER_ACTIVATION && p.ndim != 2)
      throw Refusal{NP_UNSUPPORTED, "with spatial axes this mode is another operation"};
    if (p.in_place != 0)
      throw Refusal{NP_UNSUPPORTED, "not in place"};
    if (p.has_affine == 0)
      throw Refusal{NP_UNSUPPORTED, "cuDNN has no form without gamma and beta"};
    if (!is_float(p.stats_dtype, is_float(p.data_dtype, 64) ? 64 : 32))
      throw Refusal{NP_UNSUPPORTED, "cuDNN's statistics are of f32, those of f64 tensors of f64"};
    if (p.eps.value < CUDNN_BN_MIN_EPSILON)
      throw Refusal{NP_REJECTED, "eps is less than CUDNN_BN_MIN_EPSILON"};
    if (p.pass != NP_FORWARD_TRAINING || p.has_running == 0)
      return;
    if (p.running_variance != NP_VARIANCE_UNBIASED || p.momentum_sense != NP_WEIGHT_OF_NEW)
      throw Refusal{NP_UNSUPPORTED, "cuDNN has no switch for these semantics"};
  }

  static std::int32_t query(const np_problem* p, np_capability* capability, np_message message) {
    return guarded(message, [&] {
      check_problem(*p);
      const Plan<mode> plan(*p);
      capability->workspace_bytes = plan.workspace();
      capability->reserve_bytes = plan.reserve;
      if (p->pass == NP_FORWARD_INFERENCE)
        capability->outputs = NP_OUT_Y;
      else if (p->pass == NP_FORWARD_TRAINING)
        capability->outputs = NP_OUT_Y | NP_OUT_MEAN | NP_OUT_INVSTD |
                              (p->has_running != 0 ? NP_OUT_RUNNING_MEAN | NP_OUT_RUNNING_VAR : 0U);
      else
        capability->outputs = NP_OUT_DX | NP_OUT_DGAMMA | NP_OUT_DBETA;
    });
  }

  static std::int32_t create(const np_problem* p, void** state, np_message message) {
    return guarded(message, [&] {
      check_problem(*p);
      *state = new Plan<mode>(*p);
    });
  }

  static void destroy(void* state) { delete static_cast<Plan<mode>*>(state); }

  static std::int32_t run(void* state, const np_tensors* t, void* stream, np_message message) {
    return guarded(message, [&] {
      const Plan<mode>& plan = *static_cast<const Plan<mode>*>(state);
      check(cudnnSetStream(handle(), static_cast<cudaStream_t>(stream)), "cudnnSetStream");
      if (plan.problem.pass == NP_FORWARD_INFERENCE)
        with_factors(plan, [&](const void* one, const void* zero) { infer(plan, *t, one, zero); });
      else
        with_factors(plan, [&](const void* one, const void* zero) { train(plan, *t, one, zero); });
    });
  }

private:
  /// Factors are f64 for f64 tensors, f32 otherwise.
  template <class Use>
  static void with_factors(const Plan<mode>& plan, Use&& use) {
    const double one = 1, zero = 0;
    const float one_f32 = 1, zero_f32 = 0;
    if (is_float(plan.problem.data_dtype, 64))
      use(&one, &zero);
    else
      use(&one_f32, &zero_f32);
  }

  static void infer(const Plan<mode>& plan, const np_tensors& t, const void* one, const void* zero) {
    check(cudnnBatchNormalizationForwardInference(handle(), mode, one, zero, plan.x, first(t.x), plan.y,
                                                  first(t.y), plan.channels, dense(t.gamma), dense(t.beta),
                                                  dense(t.running_mean), dense(t.running_var),
                                                  plan.problem.eps.value),
          "cudnnBatchNormalizationForwardInference");
  }

  /// 1 in the first update, then the momentum, or the share of one batch among those so far.
  static double averaging_factor(const np_problem& p, const np_tensors& t) {
    if (t.num_batches_tracked == nullptr)
      return p.momentum.value;
    ++*t.num_batches_tracked;
    return p.has_momentum != 0 ? p.momentum.value : 1.0 / static_cast<double>(*t.num_batches_tracked);
  }

  static void train(const Plan<mode>& plan, const np_tensors& t, const void* one, const void* zero) {
    auto* const workspace = static_cast<std::byte*>(t.workspace);
    std::byte* const own_y = workspace + aligned(plan.work);
    std::byte* const own_mean = own_y + aligned(plan.unwanted);
    std::byte* const own_invstd = own_mean + aligned(plan.statistic);
    const double factor = plan.alone ? averaging_factor(plan.problem, t) : 0;
    const void* const gamma = dense(t.gamma);
    // beta takes no part in a backward; the forward before it has to have one, and its y is not wanted.
    const void* const beta = t.beta != nullptr ? dense(t.beta) : gamma;
    check(cudnnBatchNormalizationForwardTrainingEx(
              handle(), mode, plain, one, zero, plan.x, first(t.x), nullptr, nullptr, plan.y,
              plan.alone ? first(t.y) : own_y, plan.channels, gamma, beta, factor,
              plan.alone ? dense(t.running_mean) : nullptr, plan.alone ? dense(t.running_var) : nullptr,
              plan.problem.eps.value, plan.alone ? dense(t.mean) : own_mean,
              plan.alone ? dense(t.invstd) : own_invstd, nullptr, workspace, plan.work, t.reserve,
              plan.reserve),
          "cudnnBatchNormalizationForwardTrainingEx");
    if (plan.alone)
      return;
    const bool given = t.saved_mean != nullptr;
    check(cudnnBatchNormalizationBackwardEx(
              handle(), mode, plain, one, zero, one, zero, plan.x, first(t.x), nullptr, nullptr, plan.y,
              first(t.dy), nullptr, nullptr, plan.x, first(t.dx), plan.channels, gamma, nullptr,
              dense(t.dgamma), dense(t.dbeta), plan.problem.eps.value, given ? dense(t.saved_mean) : own_mean,
              given ? dense(t.saved_invstd) : own_invstd, nullptr, workspace, plan.work, t.reserve,
              plan.reserve),
          "cudnnBatchNormalizationBackwardEx");
  }

  static constexpr cudnnBatchNormOps_t plain = CUDNN_BATCHNORM_OPS_BN;
};

template <cudnnBatchNormMode_t mode>
constexpr np_kernel kernel_of(const char* name, const char* summary) {
  using Kernel = BatchNormalization<mode>;
  return {.struct_size = sizeof(np_kernel),
          .device_type = cuda,
          .name = name,
          .summary = summary,
          .worst_known = "",
          .query = &Kernel::query,
          .create = &Kernel::create,
          .run = &Kernel::run,
          .destroy = &Kernel::destroy};
}

constexpr np_kernel spatial = kernel_of<CUDNN_BATCHNORM_SPATIAL>(
    "cudnn.spatial", "cudnnBatchNormalization*Ex, CUDNN_BATCHNORM_SPATIAL");
constexpr np_kernel persistent = kernel_of<CUDNN_BATCHNORM_SPATIAL_PERSISTENT>(
    "cudnn.spatial_persistent", "the same, CUDNN_BATCHNORM_SPATIAL_PERSISTENT");
constexpr np_kernel per_activation = kernel_of<CUDNN_BATCHNORM_PER_ACTIVATION>(
    "cudnn.per_activation", "the same, CUDNN_BATCHNORM_PER_ACTIVATION, tensors without spatial axes");
constexpr const np_kernel* kernels[] = {&spatial, &persistent, &per_activation};

/// Of the library that is loaded, which may be another than the headers'.
const std::string& loaded_version() {
  static const std::string text = [] {
    const std::size_t v = cudnnGetVersion();
    return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
  }();
  return text;
}

}  // namespace

extern "C" const np_library* normproof_library(uint32_t host_abi_major) {
  static const np_library library{.struct_size = sizeof(np_library),
                                  .abi_major_minimum = 1,
                                  .name = "cuDNN",
                                  .version = loaded_version().c_str(),
                                  .kernel_count = std::size(kernels),
                                  .kernels = kernels};
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}
