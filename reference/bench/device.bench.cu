// The device oracle beside a copy on the device, at 2^28 elements (1 GiB of f32), and its bits beside the
// host's on a smaller tensor: the wall time of a call, best of five after a warm-up, and the fewest bytes
// that the pass must move over that time.
//
// usage: device_oracle_bench   on stdout a JSON object per line; exit status 1 where a bit differs from the
// host's, 4, with the runtime's reason, where there is no device.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include "../src/device_stages.h"
#include "normproof/reference/device_oracle.h"

namespace normproof::reference {
namespace {

using Clock = std::chrono::steady_clock;

void check(cudaError_t result, const char* what) {
  if (result != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(result));
}

/// Memory of the device.
class Block {
public:
  explicit Block(std::int64_t bytes) : bytes_(static_cast<std::size_t>(bytes)) {
    check(cudaMalloc(&start_, bytes_), "cudaMalloc");
  }
  ~Block() { cudaFree(start_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* start() const { return start_; }
  std::vector<unsigned char> fetched() const {
    std::vector<unsigned char> host(bytes_);
    check(cudaMemcpy(host.data(), start_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
  }

private:
  void* start_ = nullptr;
  std::size_t bytes_;
};

/// Sums of four uniform numbers, nearly normal, of deviation 1.
template <class T>
__global__ void fill(typename T::Bits* to, std::int64_t n, double mean, std::uint64_t seed) {
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < n;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    std::uint64_t v = (static_cast<std::uint64_t>(i) + seed) * 0x9e3779b97f4a7c15U;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9U;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebU;
    v ^= v >> 31;
    const double sum = static_cast<double>(v & 0xffff) + static_cast<double>(v >> 16 & 0xffff) +
                       static_cast<double>(v >> 32 & 0xffff) + static_cast<double>(v >> 48);
    to[i] = T::narrow(mean + (sum - 131070) / 37837);
  }
}

void fill_as(const Format& format, const Block& block, std::int64_t n, double mean, std::uint64_t seed) {
  const auto launch = [&]<class T>(T) {
    fill<T><<<1024, 256>>>(static_cast<typename T::Bits*>(block.start()), n, mean, seed);
  };
  if (format == f64)
    launch(stages::StoredF64{});
  else if (format == f32)
    launch(stages::StoredF32{});
  else if (format == f16)
    launch(stages::StoredF16{});
  else
    launch(stages::StoredBf16{});
  check(cudaDeviceSynchronize(), "fill");
}

double seconds_of(const auto& call) {
  call();
  double best = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = Clock::now();
    call();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

/// Bytes read and written per second.
double copy_bandwidth() {
  constexpr std::int64_t bytes = std::int64_t{1} << 30;
  const Block from(bytes);
  const Block to(bytes);
  return 2 * static_cast<double>(bytes) / seconds_of([&] {
           check(cudaMemcpyAsync(to.start(), from.start(), bytes, cudaMemcpyDeviceToDevice),
                 "cudaMemcpyAsync");
           check(cudaDeviceSynchronize(), "copy");
         });
}

struct Work {
  Pass pass;
  Format data;
  Layout layout;
  double mean;  ///< of x, its deviation being 1
};

/// A pass on tensors of the device; per-channel ones are the host's.
class Trial {
public:
  Trial(const Work& work, const Shape& shape)
      : work_(work),
        shape_(shape),
        stats_(work.data == f64 ? f64 : f32),
        x_(bytes()),
        w_(backward() ? bytes() : 1),
        y_(bytes()),
        gamma_(per_channel(0.5)),
        beta_(per_channel(-0.25)),
        mean_(per_channel(work.mean)),
        scale_(per_channel(1)) {
    fill_as(work.data, x_, shape.elements(), work.mean, 1);
    if (backward())
      fill_as(work.data, w_, shape.elements(), 0.125, 2);
  }

  DeviceEffort on_device(DeviceOracle& oracle) {
    return backward() ? oracle.backward(buffers_of<BackwardBuffers>(x_.start(), w_.start(), y_.start()))
                      : oracle.forward(buffers_of<ForwardBuffers>(x_.start(), nullptr, y_.start()));
  }

  /// Bytes of results, and those that differ from the host's.
  struct Bits {
    std::int64_t compared = 0, differing = 0;
    friend Bits operator+(const Bits& a, const Bits& b) {
      return {a.compared + b.compared, a.differing + b.differing};
    }
  };
  Bits beside_host(DeviceOracle& oracle) {
    on_device(oracle);
    const std::vector<std::vector<unsigned char>> device{y_.fetched(), results_[0], results_[1], results_[2]};
    const std::vector<unsigned char> x = x_.fetched();
    const std::vector<unsigned char> w = w_.fetched();
    std::vector<unsigned char> y(x.size());
    if (backward())
      certified_backward(buffers_of<BackwardBuffers>(x.data(), w.data(), y.data()));
    else
      certified_forward(buffers_of<ForwardBuffers>(x.data(), nullptr, y.data()));
    const std::vector<std::vector<unsigned char>> host{y, results_[0], results_[1], results_[2]};
    Bits bits;
    for (std::size_t k = 0; k < host.size(); ++k)
      for (std::size_t i = 0; i < host[k].size(); ++i) {
        ++bits.compared;
        bits.differing += host[k][i] == device[k][i] ? 0 : 1;
      }
    return bits;
  }

  /// Of the tensors as large as x that are read or written at least once.
  double fewest_bytes() const { return (backward() ? 3.0 : 2.0) * static_cast<double>(bytes()); }

private:
  bool backward() const { return work_.pass == Pass::backward_training; }
  std::int64_t bytes() const { return shape_.elements() * work_.data.bytes; }

  std::vector<unsigned char> per_channel(double about) const {
    std::vector<unsigned char> values(static_cast<std::size_t>(shape_.channels * stats_.bytes));
    for (std::int64_t c = 0; c < shape_.channels; ++c) {
      const std::uint64_t bits =
          encode(stats_, round_to(stats_, about * (1 + static_cast<double>(c % 7) / 64)));
      std::memcpy(values.data() + c * stats_.bytes, &bits, static_cast<std::size_t>(stats_.bytes));
    }
    return values;
  }

  template <class Buffers>
  Buffers buffers_of(const void* x, const void* w, void* y) {
    Buffers b;
    b.shape = shape_;
    b.data = work_.data;
    b.stats = stats_;
    b.x = x;
    b.gamma = gamma_.data();
    b.x_placement = placement(shape_, work_.layout, 0, 0);
    b.threads = 16;
    for (std::vector<unsigned char>& result : results_)
      result.assign(gamma_.size(), 0);
    if constexpr (std::is_same_v<Buffers, ForwardBuffers>) {
      b.y_placement = b.x_placement;
      b.y = y;
      b.beta = beta_.data();
      if (work_.pass == Pass::forward_inference) {
        b.given_mean = mean_.data();
        b.given_variance = scale_.data();
      } else {
        b.mean = results_[0].data();
        b.variance = results_[1].data();
        b.invstd = results_[2].data();
      }
    } else {
      b.dy_placement = b.dx_placement = b.x_placement;
      b.dy = w;
      b.dx = y;
      b.saved_mean = mean_.data();
      b.saved_invstd = scale_.data();
      b.dgamma = results_[0].data();
      b.dbeta = results_[1].data();
    }
    return b;
  }

  Work work_;
  Shape shape_;
  Format stats_;
  Block x_, w_, y_;
  std::vector<unsigned char> gamma_, beta_, mean_, scale_;
  std::vector<unsigned char> results_[3];
};

const Shape large{64, 64, {256, 256}};
/// With packs of values that lie side by side, and without; down to single values.
const Shape compared[]{{16, 67, {28, 28}}, {16, 67, {27, 29}}, {1, 1, {}},
                       {7, 3, {}},         {33, 5, {2}},       {3, 33, {5, 7}}};

int measure(bool bits_alone) {
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "device_oracle_bench: %s\n",
                 found != cudaSuccess ? cudaGetErrorString(found) : "no CUDA device");
    return 4;
  }
  DeviceOracle oracle;
  const double copy = bits_alone ? 0 : copy_bandwidth();
  if (!bits_alone)
    std::printf("{\"kernel\": \"copy\", \"gigabytes_per_second\": %.1f}\n", copy * 1e-9);
  std::fflush(stdout);
  std::vector<Work> works;
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference, Pass::backward_training})
    for (const Format& data : {f32, f16, bf16, f64})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last})
        works.push_back({pass, data, layout, 0.25});
  works.push_back({Pass::forward_training, f32, Layout::contiguous, 1e4});  // counted from near the mean
  bool same = true;
  for (const Work& work : works) {
    Trial::Bits bits;
    for (const Shape& shape : compared)
      bits = bits + Trial(work, shape).beside_host(oracle);
    same = same && bits.differing == 0;
    if (bits_alone) {
      std::printf("%s %s %s, mean %g: %lld of %lld bytes differ from the host's\n",
                  std::string(to_string(work.pass)).c_str(), std::string(work.data.name).c_str(),
                  std::string(to_string(work.layout)).c_str(), work.mean,
                  static_cast<long long>(bits.differing), static_cast<long long>(bits.compared));
      continue;
    }
    Trial trial(work, large);
    DeviceEffort effort;
    const double seconds = seconds_of([&] { effort = trial.on_device(oracle); });
    const double rate = trial.fewest_bytes() / seconds;
    std::printf("{\"kernel\": \"device_oracle\", \"pass\": \"%s\", \"dtype\": \"%s\", \"layout\": \"%s\", "
                "\"shape\": \"%s\", \"mean\": %g, \"milliseconds\": %.4f, \"gigabytes_per_second\": %.1f, "
                "\"of_copy\": %.3f, \"doubtful\": %lld, \"host_channels\": %lld, \"compared_bytes\": %lld, "
                "\"differing_bytes\": %lld}\n",
                std::string(to_string(work.pass)).c_str(), std::string(work.data.name).c_str(),
                std::string(to_string(work.layout)).c_str(), to_string(large).c_str(), work.mean,
                seconds * 1e3, rate * 1e-9, rate / copy, static_cast<long long>(effort.doubtful),
                static_cast<long long>(effort.host_channels), static_cast<long long>(bits.compared),
                static_cast<long long>(bits.differing));
    std::fflush(stdout);
  }
  return same ? 0 : 1;
}

}  // namespace
}  // namespace normproof::reference

int main(int argc, char** argv) {
  const bool bits_alone = argc == 2 && std::string(argv[1]) == "--bits";
  if (argc > 1 && !bits_alone) {
    std::fprintf(stderr, "usage: device_oracle_bench [--bits]\n");
    return 2;
  }
  try {
    return normproof::reference::measure(bits_alone);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_oracle_bench: %s\n", error.what());
    return 3;
  }
}
