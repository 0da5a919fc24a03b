// The calls into a kernel, and what can be seen only from beside it: environment, workspace, wall time.
#include "execute.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <exception>
#include <vector>

#include <fmt/format.h>

#include "fp_environment.h"

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
        dialect_(request.dialect.view()) {
    problem_.struct_size = sizeof problem_;
    problem_.dialect = dialect_.c_str();
  }

  Reply take() {
    call(Stage::query, [&] { return query(); });
    if (reply_.status != NP_OK)
      return reply_;
    void* state = nullptr;
    call(Stage::create, [&] { return kernel_.create(&problem_, &state, sink()); });
    if (reply_.status != NP_OK)
      return reply_;
    run(state);
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
    *reinterpret_cast<volatile std::uint32_t*>(memory_) = static_cast<std::uint32_t>(stage);
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
    if (current_environment() != before) {
      restore_environment(before);
      reply_.environment_changed = 1;
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
    const Scratch workspace(capability_.workspace_bytes);
    const Scratch reserve(capability_.reserve_bytes);
    np_tensors tensors{};
    tensors.struct_size = sizeof tensors;
    tensors.x = view(Slot::x, true);
    tensors.gamma = view(Slot::gamma, true);
    tensors.beta = view(Slot::beta, true);
    tensors.running_mean = view(Slot::running_mean, true);
    tensors.running_var = view(Slot::running_var, true);
    tensors.num_batches_tracked = reinterpret_cast<std::int64_t*>(data(Slot::num_batches_tracked));
    tensors.y = view(Slot::y, (capability_.outputs & NP_OUT_Y) != 0);
    tensors.mean = view(Slot::mean, (capability_.outputs & NP_OUT_MEAN) != 0);
    tensors.var = view(Slot::var, (capability_.outputs & NP_OUT_VAR) != 0);
    tensors.invstd = view(Slot::invstd, (capability_.outputs & NP_OUT_INVSTD) != 0);
    tensors.workspace = workspace.data();
    tensors.reserve = reserve.data();

    const auto start = std::chrono::steady_clock::now();
    call(Stage::run, [&] { return kernel_.run(state, &tensors, nullptr, sink()); });
    reply_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    reply_.workspace_overrun = workspace.overrun() || reserve.overrun() ? 1 : 0;
  }

  std::byte* data(Slot slot) const {
    const Extent extent = slots_[index(slot)];
    return extent.offset == 0 ? nullptr : memory_ + extent.offset;
  }

  np_tensor* view(Slot slot, bool wanted) {
    std::byte* const bytes = data(slot);
    if (bytes == nullptr || !wanted)
      return nullptr;
    Shaped& shaped = views_[index(slot)];
    const bool activation = slot == Slot::x || slot == Slot::y;
    if (activation) {
      shaped.shape = std::to_array(problem_.shape);
      shaped.strides = std::to_array(slot == Slot::x ? problem_.x_strides : problem_.y_strides);
    } else {
      shaped.shape[0] = problem_.shape[1];
      shaped.strides[0] = 1;
    }
    shaped.tensor = {.data = bytes,
                     .device = problem_.device,
                     .ndim = activation ? problem_.ndim : 1,
                     .dtype = activation ? problem_.data_dtype : problem_.stats_dtype,
                     .shape = shaped.shape.data(),
                     .strides = shaped.strides.data(),
                     .byte_offset = 0};
    return &shaped.tensor;
  }

  struct Shaped {
    np_tensor tensor;
    std::array<std::int64_t, NP_MAX_RANK> shape;
    std::array<std::int64_t, NP_MAX_RANK> strides;
  };

  /// Scratch memory for the kernel: 64-byte aligned, NaN-like bytes inside, a watched zone after the end.
  class Scratch {
  public:
    explicit Scratch(std::uint64_t bytes) : bytes_(bytes) {
      if (bytes == 0)
        return;
      storage_.resize(bytes + alignment + zone, fill);
      const auto misaligned = std::bit_cast<std::uintptr_t>(storage_.data()) % alignment;
      start_ = storage_.data() + (alignment - misaligned) % alignment;
    }
    void* data() const { return start_; }
    bool overrun() const {
      return start_ != nullptr &&
             !std::all_of(start_ + bytes_, start_ + bytes_ + zone, [](std::byte b) { return b == fill; });
    }

  private:
    static constexpr std::size_t alignment = 64;
    static constexpr std::size_t zone = 64;
    static constexpr std::byte fill{0xFF};
    std::uint64_t bytes_ = 0;
    std::vector<std::byte> storage_;
    std::byte* start_ = nullptr;
  };

  const np_kernel& kernel_;
  std::byte* memory_;
  std::array<Extent, slot_count> slots_;
  np_problem problem_;
  std::string dialect_;
  np_capability capability_{};
  std::array<Shaped, slot_count> views_{};
  Reply reply_;
};

}  // namespace

Reply execute(const np_kernel& kernel, const Request& request, std::byte* memory) {
  return Execution(kernel, request, memory).take();
}

}  // namespace normproof::impls
