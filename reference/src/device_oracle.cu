// The stages as kernels of a CUDA device, one thread each; the runtime's streams and memory.
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

#include "device_stages.h"
#include "normproof/reference/device_oracle.h"

namespace normproof::reference {
namespace {

void check(cudaError_t result, const char* what) {
  if (result != cudaSuccess)
    throw std::runtime_error(std::string("device oracle: ") + what + ": " + cudaGetErrorString(result));
}

/// Blocks that a multiprocessor is to hold at once, whatever the stage: then one wave of threads, all with as
/// much to do, is all that there is.
constexpr int threads_of_block = 256;
constexpr int resident_blocks = 3;

template <class StageOf>
__global__ void __launch_bounds__(threads_of_block, resident_blocks)
    carry_out(const StageOf stage, std::int64_t threads) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * threads_of_block + threadIdx.x;
  if (thread < threads)
    stage(thread, threads);
}

class CudaMachine : public StageMachine {
public:
  explicit CudaMachine(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {
    int device = 0;
    int processors = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
          "cudaDeviceGetAttribute");
    width_ = std::int64_t{processors} * resident_blocks * threads_of_block;
  }
  ~CudaMachine() override {
    for (const Block& block : blocks_)
      cudaFree(block.start);
  }
  CudaMachine(const CudaMachine&) = delete;
  CudaMachine& operator=(const CudaMachine&) = delete;

  std::int64_t width() const override { return width_; }

  void* memory(Memory which, std::size_t bytes) override {
    Block& block = blocks_[static_cast<std::size_t>(which)];
    if (block.bytes < bytes) {
      check(cudaFree(block.start), "cudaFree");
      block = {};
      check(cudaMalloc(&block.start, bytes), "cudaMalloc");
      block.bytes = bytes;
    }
    return block.start;
  }
  void clear(void* memory, std::size_t bytes) override {
    check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
  }
  // The host's side is pageable: the runtime has read it when the call returns.
  void put(void* memory, const void* from, std::size_t bytes) override {
    check(cudaMemcpyAsync(memory, from, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  }
  void fetch(void* to, const void* memory, std::size_t bytes) override {
    check(cudaMemcpyAsync(to, memory, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  void run(Stage stage, const Format& data, std::int64_t threads, const StageArguments& arguments) override {
    if (threads <= 0)
      return;
    const std::int64_t blocks = (threads + threads_of_block - 1) / threads_of_block;
    if (blocks > std::numeric_limits<int>::max())
      throw std::runtime_error("device oracle: more channels than a launch has threads");
    stages::with_stage(stage, data, arguments, [&](const auto& one) {
      carry_out<<<static_cast<unsigned>(blocks), threads_of_block, 0, stream_>>>(one, threads);
    });
    check(cudaGetLastError(), "launch");
  }

private:
  struct Block {
    void* start = nullptr;
    std::size_t bytes = 0;
  };
  cudaStream_t stream_;
  std::int64_t width_ = 0;
  Block blocks_[memories];
};

}  // namespace

DeviceOracle::DeviceOracle(void* stream) : machine_(std::make_unique<CudaMachine>(stream)) {
  require_ieee_arithmetic(*machine_);
}
DeviceOracle::~DeviceOracle() = default;

DeviceEffort DeviceOracle::forward(const ForwardBuffers& buffers) {
  return certified_forward(buffers, *machine_);
}
DeviceEffort DeviceOracle::backward(const BackwardBuffers& buffers) {
  return certified_backward(buffers, *machine_);
}

}  // namespace normproof::reference
