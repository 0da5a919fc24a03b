// Two compilers, one table: the library for the device and that of its lanes hold the same kernels, which say
// the same of themselves. `query` needs no device.
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cases.h"
#include "library.h"

namespace normproof::impls {
namespace {

np_problem problem(np_pass pass, std::array<std::int64_t, 3> shape, np_dtype dtype, std::int32_t device) {
  np_problem p{};
  p.struct_size = sizeof p;
  p.pass = pass;
  p.dialect = "documented";
  p.device = {device, 0};
  p.data_dtype = p.stats_dtype = dtype;
  p.ndim = 3;
  p.threads = 1;
  for (std::size_t axis = 0; axis < 3; ++axis)
    p.shape[axis] = shape[axis];
  p.x_strides[0] = p.y_strides[0] = shape[1] * shape[2];
  p.x_strides[1] = p.y_strides[1] = shape[2];
  p.x_strides[2] = p.y_strides[2] = 1;
  p.eps = {1e-5, {2, 64, 1}};
  return p;
}

struct Answer {
  std::int32_t status = NP_OK;
  np_capability capability{};
};
Answer ask(const np_kernel& kernel, const np_problem& p) {
  std::array<char, 256> text{};
  Answer answer;
  answer.capability.struct_size = sizeof answer.capability;
  answer.capability.claims.struct_size = sizeof answer.capability.claims;
  answer.status = kernel.query(&p, &answer.capability, {text.data(), text.size()});
  return answer;
}

constexpr np_dtype f32_dtype{2, 32, 1};

TEST(DeviceTable, a_kernel_of_the_device_that_runs_on_the_cpu_or_the_other_way_round) {
  const Library lanes(built_module("libnormproof_cuda_lanes"));
  for (const char* const name : {"lanes.two_pass", "lanes.channels_last", "lanes.multi_block"}) {
    const np_kernel* const kernel = lanes.find(name);
    ASSERT_NE(kernel, nullptr) << name;
    EXPECT_EQ(kernel->device_type, 1);
    EXPECT_EQ(ask(*kernel, problem(NP_FORWARD_TRAINING, {2, 3, 5}, f32_dtype, 2)).status, NP_NO_DEVICE);
    EXPECT_EQ(ask(*kernel, problem(NP_FORWARD_TRAINING, {2, 3, 5}, f32_dtype, 1)).status, NP_OK);
  }
}

#ifdef NORMPROOF_HAS_CUDA
TEST(DeviceTable, a_device_that_claims_what_its_lanes_do_not) {
  const Library device(built_module("libnormproof_cuda"));
  const Catalogue lanes = discover(std::vector{built_module("libnormproof_cuda_lanes")});
  const Library of_lanes(built_module("libnormproof_cuda_lanes"));
  int compared = 0;
  for (const KernelInfo& info : lanes.kernels) {
    const std::string name = "cuda" + info.name.substr(std::strlen("lanes"));
    const np_kernel* const there = device.find(name);
    const np_kernel* const here = of_lanes.find(info.name);
    ASSERT_NE(there, nullptr) << name;
    EXPECT_EQ(there->device_type, 2);
    EXPECT_STREQ(there->summary, here->summary);
    for (const np_pass pass : {NP_FORWARD_TRAINING, NP_FORWARD_INFERENCE, NP_BACKWARD_TRAINING, NP_GRADIENT})
      for (const np_dtype dtype : {f32_dtype, np_dtype{2, 64, 1}, np_dtype{2, 16, 1}})
        for (const std::array<std::int64_t, 3> shape :
             {std::array<std::int64_t, 3>{2, 3, 5}, {1, 1, 1}, {32, 70, 49}, {3, 2, 50000}}) {
          const Answer a = ask(*there, problem(pass, shape, dtype, 2));
          const Answer b = ask(*here, problem(pass, shape, dtype, 1));
          ASSERT_EQ(a.status, b.status) << name;
          EXPECT_EQ(ask(*there, problem(pass, shape, dtype, 1)).status != NP_OK, true) << name;
          EXPECT_EQ(std::memcmp(&a.capability, &b.capability, sizeof a.capability), 0) << name;
          compared += a.status == NP_OK ? 1 : 0;
        }
  }
  EXPECT_GT(compared, 100);
}

Case uneven(Pass pass, Shape shape, Layout layout) {
  Case c = exact_case(pass, std::move(shape), {f32, f32}, layout);
  for (double& x : c.x)
    x = static_cast<double>(static_cast<float>(x / 3 + 1));
  c.problem.eps = 0x1.8p-20;
  return c;
}

/// Nothing is fused, every root and quotient is rounded correctly, no order is left open: bit for bit.
TEST(DeviceTable, a_device_whose_bits_are_not_those_of_its_lanes) {
  Runner runner;
  int compared = 0;
  for (const KernelInfo& lanes : discover(std::vector{built_module("libnormproof_cuda_lanes")}).kernels) {
    if (lanes.name == "lanes.atomic")  // adds in any order
      continue;
    KernelInfo device = kernel_of("libnormproof_cuda", "cuda" + lanes.name.substr(std::strlen("lanes")));
    device.device_type = 2;
    for (const Pass pass : {Pass::forward_training, Pass::forward_inference, Pass::backward_training,
                            Pass::backward_inference, Pass::gradient})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last, Layout::strided})
        for (const Shape& shape : {Shape{3, 5, {2111}}, Shape{8, 40, {7}}}) {
          const Case c = uneven(pass, shape, layout);
          const Observation wanted = runner.run(lanes, c);
          if (wanted.outcome != Outcome::completed)
            continue;
          const Observation seen = runner.run(device, c);
          if (seen.outcome == Outcome::no_device)
            GTEST_SKIP() << "no device to compare with: " << seen.detail;
          ASSERT_EQ(seen.outcome, Outcome::completed) << device.name << ": " << seen.detail;
          for (const Output output : all_outputs)
            EXPECT_EQ(seen[output], wanted[output]) << device.name << ' ' << to_string(output);
          ++compared;
        }
  }
  EXPECT_GT(compared, 60);
}
#endif

}  // namespace
}  // namespace normproof::impls
