// Indices beyond 2^31 and 2^32: a few elements, 2^31 elements from one channel to the next, on memory that is
// promised and hardly touched. Through the C interface itself: no arena lays out such a storage.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "cases.h"
#include "library.h"

namespace normproof::impls {
namespace {

constexpr std::int64_t channels = 3;
constexpr std::int64_t channel_stride = std::int64_t{1} << 31;
constexpr std::int64_t per_channel = 8;  // [2, 3, 4]

/// A bf16 tensor of 8 GiB of which three pages exist.
class HugeTensor {
public:
  HugeTensor()
      : memory_(
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
        tensor_{.data = memory_,
                .device = {1, 0},
                .ndim = 3,
                .dtype = {4, 16, 1},
                .shape = shape_.data(),
                .strides = strides_.data(),
                .byte_offset = 0} {}
  ~HugeTensor() {
    if (exists())
      munmap(memory_, bytes);
  }
  HugeTensor(const HugeTensor&) = delete;
  HugeTensor& operator=(const HugeTensor&) = delete;

  bool exists() const { return memory_ != MAP_FAILED; }
  np_tensor* tensor() { return &tensor_; }
  std::uint16_t& at(std::int64_t channel, std::int64_t i) {
    return static_cast<std::uint16_t*>(memory_)[channel * channel_stride + i];
  }

private:
  static constexpr std::size_t bytes = std::size_t{2} * ((channels - 1) * channel_stride + 4096);
  std::array<std::int64_t, 3> shape_{2, channels, 4};
  std::array<std::int64_t, 3> strides_{4, channel_stride, 1};
  void* memory_;
  np_tensor tensor_;
};

/// Runs the kernel on x (and dy) far apart; returns y (or dx) in channel-major order.
std::vector<double> run_far_apart(const std::string& library, const std::string& name, const Case& c) {
  const Library loaded(built_module(library));
  const np_kernel* const kernel = loaded.find(name);
  if (kernel == nullptr)
    return {};
  const bool backward = c.problem.pass == Pass::backward_training;
  HugeTensor x;
  HugeTensor dy;
  HugeTensor result;
  EXPECT_TRUE(x.exists() && dy.exists() && result.exists());
  for (std::int64_t k = 0; k < channels; ++k)
    for (std::int64_t i = 0; i < per_channel; ++i) {
      const auto at = static_cast<std::size_t>(k * per_channel + i);
      x.at(k, i) = static_cast<std::uint16_t>(encode(bf16, c.x[at]));
      if (backward)
        dy.at(k, i) = static_cast<std::uint16_t>(encode(bf16, c.dy[at]));
    }

  np_problem p{};
  p.struct_size = sizeof p;
  p.pass = backward ? NP_BACKWARD_TRAINING : NP_FORWARD_INFERENCE;
  p.dialect = "documented";
  p.device = {1, 0};
  p.data_dtype = {4, 16, 1};
  p.stats_dtype = {2, 32, 1};
  p.ndim = 3;
  p.threads = 2;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    p.shape[axis] = x.tensor()->shape[axis];
    p.x_strides[axis] = p.y_strides[axis] = x.tensor()->strides[axis];
  }
  p.eps = {c.problem.eps, {2, 64, 1}};
  p.has_affine = p.has_running = 1;

  std::int64_t count = channels;
  std::int64_t one = 1;
  std::array<std::vector<float>, 6> values;
  std::array<np_tensor, 6> tensors;
  const std::array<const std::vector<double>*, 4> given{&c.gamma, &c.beta,
                                                        backward ? &c.saved_mean : &c.running_mean,
                                                        backward ? &c.saved_invstd : &c.running_var};
  for (std::size_t s = 0; s < 6; ++s) {
    values[s].assign(channels, 0.0f);
    for (std::size_t k = 0; s < given.size() && k < channels; ++k)
      values[s][k] = static_cast<float>((*given[s])[k]);
    tensors[s] = {values[s].data(), {1, 0}, 1, {2, 32, 1}, &count, &one, 0};
  }
  np_tensors t{};
  t.struct_size = sizeof t;
  t.x = x.tensor();
  t.gamma = &tensors[0];
  t.beta = &tensors[1];
  t.dy = dy.tensor();
  t.saved_mean = &tensors[2];
  t.saved_invstd = &tensors[3];
  t.running_mean = &tensors[2];
  t.running_var = &tensors[3];
  t.dgamma = &tensors[4];
  t.dbeta = &tensors[5];
  (backward ? t.dx : t.y) = result.tensor();

  np_capability capability{};
  std::array<char, 256> text{};
  const np_message message{text.data(), text.size()};
  void* state = nullptr;
  EXPECT_EQ(kernel->query(&p, &capability, message), NP_OK) << text.data();
  std::vector<double> workspace(capability.workspace_bytes / sizeof(double) + 1);
  t.workspace = workspace.data();
  EXPECT_EQ(kernel->create(&p, &state, message), NP_OK) << text.data();
  EXPECT_EQ(kernel->run(state, &t, nullptr, message), NP_OK) << text.data();
  kernel->destroy(state);

  std::vector<double> all;
  for (std::int64_t k = 0; k < channels; ++k)
    for (std::int64_t i = 0; i < per_channel; ++i)
      all.push_back(decode(bf16, result.at(k, i)));
  return all;
}

Case near_by(Pass pass) {
  return exact_case(pass, {2, channels, {4}}, {bf16, f32});
}

TEST(Huge, IndicesBeyond32BitsReachTheirElements) {
  Runner runner({.in_process = true});
  for (const auto& [name, pass, output] :
       {std::tuple{"cpu.inference_centred", Pass::forward_inference, Output::y},
        std::tuple{"cpu.inference_folded", Pass::forward_inference, Output::y},
        std::tuple{"cpu.backward_direct", Pass::backward_training, Output::dx},
        std::tuple{"cpu.backward_recomputed", Pass::backward_training, Output::dx},
        std::tuple{"lanes.inference_centred", Pass::forward_inference, Output::y},
        std::tuple{"lanes.backward", Pass::backward_training, Output::dx},
        std::tuple{"lanes.backward_multi_block", Pass::backward_training, Output::dx}}) {
    const Case c = near_by(pass);
    const std::string library =
        std::string_view(name).starts_with("cpu") ? "libnormproof_cpu" : "libnormproof_cuda_lanes";
    const Observation wanted = runner.run(kernel_of(library, name), c);
    EXPECT_EQ(run_far_apart(library, name, c), wanted[output]) << name;
  }
}

TEST(Huge, AnIndexOf32BitsDoesNot) {
  const Case c = near_by(Pass::forward_inference);
  const Observation wanted =
      Runner({.in_process = true}).run(kernel_of("libnormproof_cpu", "cpu.inference_centred"), c);
  const std::vector<double> seen = run_far_apart("libnormproof_mutants", "mutant.index_32_bit", c);
  ASSERT_EQ(seen.size(), wanted[Output::y].size());
  EXPECT_NE(seen, wanted[Output::y]);
  EXPECT_TRUE(std::equal(seen.begin(), seen.begin() + 2 * per_channel, wanted[Output::y].begin()));
  // Its blocks come in any order, so that what is far away may fall on what is near.
  EXPECT_NE(run_far_apart("libnormproof_mutants", "mutant.cuda_index_32_bit", c), wanted[Output::y]);
}

}  // namespace
}  // namespace normproof::impls
