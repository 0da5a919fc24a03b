// The calls into a kernel, and what can be seen only from beside it: environment, workspace, wall time.
#include "execute.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cuda_driver.h"
#include "device_tensors.h"
#include "fp_environment.h"
#include "guard_pages.h"

namespace normproof::impls {
namespace {

/// The state of one request: the tensors as the kernel sees them, and the reply as it grows.
class Execution {
public:
  Execution(const np_kernel& kernel, const Request& request, std::byte* memory)
      : kernel_(kernel),
        memory_(memory),
        slots_(request.slots),
        problem_(request.problem),
        dialect_(request.dialect.view()),
        side_(request.side) {
    problem_.struct_size = sizeof problem_;
    problem_.dialect = dialect_.c_str();
  }

  Reply take() {
    if (problem_.device.type != 1 && !enter_device())
      return reply_;
    call(Stage::query, [&] { return query(); });
    if (reply_.status != NP_OK)
      return reply_;
    void* state = nullptr;
    call(Stage::create, [&] { return kernel_.create(&problem_, &state, sink()); });
    if (reply_.status != NP_OK)
      return reply_;
    try {
      if (cuda_ != nullptr)
        run_on_device(state);
      else
        run(state);
    } catch (const std::bad_alloc&) {
      fail(fmt::format("no memory for the {} bytes of workspace and {} of reserve that query asks for",
                       capability_.workspace_bytes, capability_.reserve_bytes));
    }
    const std::int32_t status = reply_.status;
    call(Stage::destroy, [&] {
      kernel_.destroy(state);
      return status;
    });
    mark(Stage::idle);
    return reply_;
  }

private:
  np_message sink() { return {reply_.message.characters.data(), reply_.message.characters.size()}; }

  /// Volatile: the host reads it after a crash, so the store may not be dropped or moved.
  void mark(Stage stage) {
    *reinterpret_cast<volatile std::uint32_t*>(memory_ + offsetof(Head, stage)) =
        static_cast<std::uint32_t>(stage);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  template <class Call>
  void call(Stage stage, Call&& foreign) {
    mark(stage);
    const FpEnvironment before = current_environment();
    try {
      reply_.status = foreign();
    } catch (const std::exception& error) {
      fail(fmt::format("an exception crossed the interface: {}", error.what()));
    } catch (...) {
      fail("an exception crossed the interface");
    }
    if (const FpEnvironment after = current_environment(); after != before) {
      restore_environment(before);
      reply_.environment = fmt::format("{} left {}", stage_name(stage), changes(before, after));
    }
  }

  void fail(std::string_view reason) {
    reply_.status = NP_FAILED;
    reply_.message = reason;
  }

  std::int32_t query() {
    capability_.struct_size = sizeof capability_;
    capability_.claims.struct_size = sizeof capability_.claims;
    const std::int32_t status = kernel_.query(&problem_, &capability_, sink());
    if (status != NP_OK)
      return status;
    if (capability_.struct_size != sizeof capability_ ||
        capability_.claims.struct_size != sizeof capability_.claims) {
      reply_.message = "query changed struct_size, which says how much the caller can take";
      return NP_FAILED;
    }
    reply_.outputs = capability_.outputs;
    reply_.claims = capability_.claims;
    return NP_OK;
  }

  void run(void* state) {
    const Scratch workspace(Fault::Where::workspace, capability_.workspace_bytes, side_);
    const Scratch reserve(Fault::Where::reserve, capability_.reserve_bytes, side_);
    const np_tensors tensors = tensors_of(workspace.data(), reserve.data());
    const auto start = std::chrono::steady_clock::now();
    call(Stage::run, [&] { return kernel_.run(state, &tensors, nullptr, sink()); });
    reply_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    touched(workspace.touched_before(), workspace.touched_after(), reserve.touched_before(),
            reserve.touched_after());
  }

  void touched(bool workspace_head, bool workspace_tail, bool reserve_head, bool reserve_tail) {
    reply_.scratch_touched = (workspace_head ? workspace_before : 0) |
                             (workspace_tail ? workspace_after : 0) | (reserve_head ? reserve_before : 0) |
                             (reserve_tail ? reserve_after : 0);
  }

  bool enter_device() {
    try {
      cuda_ = &cuda();
      cuda_->enter();
      return true;
    } catch (const NoDevice& none) {
      reply_.status = NP_NO_DEVICE;
      reply_.message = none.what();
    } catch (const DriverError& error) {
      lose_device(error);
    }
    return false;
  }

  /// An error that the driver reports of work it was given stays for good: this process sees no device again.
  void lose_device(const DriverError& error) {
    const std::string_view said = reply_.message.view();
    reply_.message = said.empty() ? fmt::format("on the device: {}", error.what())
                                  : fmt::format("{}; on the device: {}", said, error.what());
    reply_.status = NP_FAILED;
    reply_.device_lost = 1;
  }

  void run_on_device(void* state) {
    try {
      const bool exact = exact_allocations();
      const std::optional<DeviceTensors> tensors = tensors_on_device(exact);
      if (!tensors)
        return;
      on_device_ = &*tensors;
      const DeviceScratch workspace(*cuda_, capability_.workspace_bytes, exact);
      const DeviceScratch reserve(*cuda_, capability_.reserve_bytes, exact);
      const np_tensors all = tensors_of(workspace.data(), reserve.data());
      const auto start = std::chrono::steady_clock::now();
      call(Stage::run, [&] { return kernel_.run(state, &all, cuda_->stream(), sink()); });
      cuda_->enter();
      cuda_->check(cuda_->entry().synchronize_stream(cuda_->stream()), "cuStreamSynchronize after run");
      reply_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      tensors->fetch();
      const auto [workspace_head, workspace_tail] = workspace.touched();
      const auto [reserve_head, reserve_tail] = reserve.touched();
      touched(workspace_head, workspace_tail, reserve_head, reserve_tail);
      // What runs on other streams must neither reach into the next kernel's tensors nor fail in its name.
      cuda_->check(cuda_->entry().synchronize_context(), "cuCtxSynchronize after run");
    } catch (const DriverError& error) {
      if (error.code == cu_out_of_memory)
        throw std::bad_alloc();
      lose_device(error);
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
    on_device_ = nullptr;
  }

  /// Tensors that the device has no room for say nothing of the kernel.
  std::optional<DeviceTensors> tensors_on_device(bool exact) {
    try {
      return std::optional<DeviceTensors>(std::in_place, *cuda_, slots_, memory_, exact);
    } catch (const DriverError& error) {
      if (error.code != cu_out_of_memory)
        throw;
      reply_.status = NP_NO_DEVICE;
      reply_.message = fmt::format("the device has no room for the tensors of this case: {}", error.what());
      return std::nullopt;
    }
  }

  np_tensors tensors_of(void* workspace, void* reserve) {
    np_tensors tensors{};
    tensors.struct_size = sizeof tensors;
    tensors.x = input(Slot::x);
    tensors.gamma = input(Slot::gamma);
    tensors.beta = input(Slot::beta);
    tensors.running_mean = input(Slot::running_mean);
    tensors.running_var = input(Slot::running_var);
    tensors.num_batches_tracked = reinterpret_cast<std::int64_t*>(on_host(Slot::num_batches_tracked));
    tensors.y = output(Slot::y, NP_OUT_Y);
    tensors.mean = output(Slot::mean, NP_OUT_MEAN);
    tensors.var = output(Slot::var, NP_OUT_VAR);
    tensors.invstd = output(Slot::invstd, NP_OUT_INVSTD);
    tensors.dy = input(Slot::dy);
    tensors.saved_mean = input(Slot::saved_mean);
    tensors.saved_invstd = input(Slot::saved_invstd);
    tensors.dx = output(Slot::dx, NP_OUT_DX);
    tensors.dgamma = output(Slot::dgamma, NP_OUT_DGAMMA);
    tensors.dbeta = output(Slot::dbeta, NP_OUT_DBETA);
    tensors.v_x = input(Slot::v_x);
    tensors.v_gamma = input(Slot::v_gamma);
    tensors.v_beta = input(Slot::v_beta);
    tensors.grad_dy = output(Slot::grad_dy, NP_OUT_GRAD_DY);
    tensors.grad_x = output(Slot::grad_x, NP_OUT_GRAD_X);
    tensors.grad_gamma = output(Slot::grad_gamma, NP_OUT_GRAD_GAMMA);
    tensors.workspace = workspace;
    tensors.reserve = reserve;
    return tensors;
  }

  void* storage(Slot slot) const { return on_device_ != nullptr ? on_device_->storage(slot) : on_host(slot); }
  std::byte* on_host(Slot slot) const {
    const Buffer& buffer = slots_[index(slot)];
    return buffer.offset == 0 ? nullptr : memory_ + buffer.offset;
  }

  /// What is absent is NULL; so is an output that the kernel did not promise.
  np_tensor* output(Slot slot, std::uint32_t bit) {
    return (capability_.outputs & bit) != 0 ? input(slot) : nullptr;
  }

  np_tensor* input(Slot slot) {
    void* const start = storage(slot);
    if (start == nullptr)
      return nullptr;
    const bool activation = is_activation(slot);
    Shaped& shaped = views_[index(slot)];
    shaped.strides = slots_[index(slot)].strides;
    if (activation)
      shaped.shape = std::to_array(problem_.shape);
    else
      shaped.shape[0] = problem_.shape[1];
    shaped.tensor = {.data = start,
                     .device = problem_.device,
                     .ndim = activation ? problem_.ndim : 1,
                     .dtype = activation ? problem_.data_dtype : problem_.stats_dtype,
                     .shape = shaped.shape.data(),
                     .strides = shaped.strides.data(),
                     .byte_offset = slots_[index(slot)].byte_offset};
    return &shaped.tensor;
  }

  struct Shaped {
    np_tensor tensor;
    std::array<std::int64_t, NP_MAX_RANK> shape;
    std::array<std::int64_t, NP_MAX_RANK> strides;
  };

  /// Scratch memory for the kernel: 64-byte aligned, NaN-like bytes inside, a watched zone at both ends and
  /// in a worker a page that cannot be touched beyond one of them.
  class Scratch {
  public:
    Scratch(Fault::Where which, std::uint64_t bytes, Side side) : bytes_(bytes) {
      if (bytes == 0)
        return;
      if (bytes > std::numeric_limits<std::int64_t>::max() - 4 * zone)
        throw std::bad_alloc();
      std::byte* block = nullptr;
      std::size_t capacity = bytes + alignment + 2 * zone;
      if (side == Side::none) {
        storage_.resize(capacity);
        block = storage_.data();
      } else {
        block = guarded_scratch(which, bytes, capacity);
      }
      if (block == nullptr)
        throw std::bad_alloc();
      // An odd size leaves up to 63 bytes at the tail: the start is aligned.
      std::byte* const end = block + capacity;
      if (side == Side::head)
        start_ = block;
      else
        start_ = end - (side == Side::none ? zone : 0) - bytes;
      start_ -= std::bit_cast<std::uintptr_t>(start_) % alignment;
      before_ = std::max(block, start_ - std::min<std::ptrdiff_t>(zone, start_ - block));
      after_ = std::min(end, start_ + bytes + zone);
      std::fill(before_, after_, fill);
      if (side != Side::none)
        name_scratch(which, start_, bytes);
    }
    void* data() const { return start_; }
    bool touched_before() const { return start_ != nullptr && !holds(before_, start_); }
    bool touched_after() const { return start_ != nullptr && !holds(start_ + bytes_, after_); }

  private:
    static constexpr std::size_t alignment = 64;
    static constexpr std::ptrdiff_t zone = 256;
    static constexpr std::byte fill{0xFF};
    static bool holds(const std::byte* begin, const std::byte* end) {
      return std::all_of(begin, end, [](std::byte b) { return b == fill; });
    }
    std::uint64_t bytes_ = 0;
    std::vector<std::byte> storage_;
    std::byte* start_ = nullptr;
    std::byte* before_ = nullptr;
    std::byte* after_ = nullptr;
  };

  const np_kernel& kernel_;
  std::byte* memory_;
  std::array<Buffer, slot_count> slots_;
  np_problem problem_;
  std::string dialect_;
  Side side_;
  const Cuda* cuda_ = nullptr;                ///< of a kernel whose tensors live there
  const DeviceTensors* on_device_ = nullptr;  ///< while it runs
  np_capability capability_{};
  std::array<Shaped, slot_count> views_{};
  Reply reply_;
};

}  // namespace

Reply execute(const np_kernel& kernel, const Request& request, std::byte* memory) {
  return Execution(kernel, request, memory).take();
}

}  // namespace normproof::impls
