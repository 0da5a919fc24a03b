// The bundled kernels where their answer is known without an oracle: exactly summable data, and one kernel's
// two ways in. The bounds are judged in properties/.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cases.h"

namespace normproof::impls {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> training{"cpu.two_pass_f64", "cpu.pairwise_f32", "cpu.welford_f32",
                                        "cpu.chan_threads_f32"};
const std::vector<Shape> shapes{{8, 1, {}},     {8, 3, {}},        {2, 17, {16}},
                                {4, 2, {8, 8}}, {64, 5, {1}},      {1, 40, {4, 8}},
                                {8, 2, {5, 9}}, {16, 2, {16, 64}}, {2, 16, {3, 5}}};

KernelInfo cpu(const std::string& name) {
  return kernel_of("libnormproof_cpu", name);
}

/// K + {1, -1, 0, 0} over and over (n a multiple of 4), eps = 1/2: mean K, variance 1/2, invstd 1, all exact.
/// A lane, a tail or a thread's part that is counted twice or not at all moves the mean or the variance.
Case exact_case(const Shape& shape, const Format& format, Layout layout) {
  Case c = small_case(shape, format, layout);
  const std::int64_t n = shape.per_channel();
  for (std::int64_t k = 0; k < shape.channels; ++k)
    for (std::int64_t i = 0; i < n; ++i)
      c.x[static_cast<std::size_t>(k * n + i)] =
          static_cast<double>(k % 7) + std::vector{1., -1., 0., 0.}[(static_cast<std::size_t>(i + k)) % 4];
  c.problem.eps = 0.5;
  return c;
}

TEST(CpuKernels, NoValueIsLostOrCountedTwice) {
  for (const char* const name : {"cpu.two_pass_f64", "cpu.pairwise_f32"})
    for (const Format& format : {f32, f64})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last})
        for (const Shape& shape : shapes) {
          if (shape.per_channel() % 4 != 0)
            continue;
          const Case c = exact_case(shape, format, layout);
          const Observation seen = Runner({.in_process = true}).run(cpu(name), c);
          for (std::size_t k = 0; k < c.gamma.size(); ++k) {
            ASSERT_EQ(seen[Output::mean][k], static_cast<double>(k % 7)) << name << ' ' << to_string(shape);
            ASSERT_EQ(seen[Output::var][k], 0.5) << name << ' ' << to_string(shape);
            ASSERT_EQ(seen[Output::invstd][k], 1.0);
            ASSERT_EQ(seen[Output::running_mean][k],
                      0.75 * c.running_mean[k] + 0.25 * static_cast<double>(k % 7));
            ASSERT_EQ(seen[Output::running_var][k], 0.75 * c.running_var[k] + 0.125);
          }
          ASSERT_EQ(seen.num_batches_tracked, 1);
        }
}

/// One value a million times the others: whichever place it has, every way to the moments must count it once.
TEST(CpuKernels, EveryPlaceOfAnOutlierCountsOnce) {
  for (const std::string& name : training)
    for (const Layout layout : {Layout::contiguous, Layout::channels_last})
      for (const int threads : {1, 4}) {  // parts that begin inside a plane
        const Shape shape{3, 2, {7}};
        const double n = 21;
        for (std::size_t place = 0; place < 21; ++place) {
          Case c = small_case(shape, f64, layout);
          c.x.assign(42, 1.0);
          c.x[21 + place] = 1e6;
          c.problem.threads = threads;
          const Observation seen = Runner({.in_process = true}).run(cpu(name), c);
          ASSERT_EQ(seen[Output::mean][0], 1.0) << name;
          ASSERT_EQ(seen[Output::var][0], 0.0) << name;
          const double d = 1e6 - 1;
          ASSERT_NEAR(seen[Output::mean][1], 1 + d / n, 1e-9) << name << ' ' << place;
          ASSERT_NEAR(seen[Output::var][1] / (d * d * (n - 1) / (n * n)), 1, 1e-12) << name << ' ' << place;
        }
      }
}

TEST(CpuKernels, ThroughTheWorkerAndInProcessAreOneKernel) {
  Runner there({.repeats = 2});
  Runner here({.in_process = true});
  std::vector<std::string> names = training;
  names.insert(names.end(), {"cpu.inference_centred", "cpu.inference_folded"});
  for (const std::string& name : names)
    for (const Format& format : {f32, f64})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last})
        for (const Shape& shape : shapes) {
          Case c = small_case(shape, format, layout);
          c.problem.threads = 2;
          if (name.find("inference") != name.npos)
            c.problem.pass = Pass::forward_inference;
          const Observation a = there.run(cpu(name), c);
          const Observation b = here.run(cpu(name), c);
          ASSERT_EQ(a.outcome, Outcome::completed) << name << ": " << a.detail;
          ASSERT_EQ(b.outcome, Outcome::completed) << name << ": " << b.detail;
          ASSERT_EQ(a.outputs, b.outputs) << name << ' ' << to_string(shape);
          ASSERT_EQ(a.num_batches_tracked, b.num_batches_tracked);
          ASSERT_TRUE(a.repeatable);
          ASSERT_THAT(a.breaches, IsEmpty());
          ASSERT_THAT(b.breaches, IsEmpty());
          ASSERT_FALSE(a.environment_changed || a.running_changed);
        }
}

TEST(CpuKernels, TheDepthClaimedFollowsShapeLayoutAndThreads) {
  const auto depth = [](const std::string& name, const Shape& shape, Layout layout, int threads) {
    Case c = small_case(shape, f32, layout);
    c.problem.threads = threads;
    return Runner({.in_process = true}).run(cpu(name), c).claims.reduction_depth;
  };
  const Shape large{4, 2, {50, 50}};
  EXPECT_EQ(depth("cpu.welford_f32", large, Layout::channels_last, 1), 9999);
  EXPECT_LT(depth("cpu.welford_f32", large, Layout::contiguous, 1), 9999 / 4);
  EXPECT_LT(depth("cpu.pairwise_f32", large, Layout::channels_last, 1), 30);
  EXPECT_NE(depth("cpu.chan_threads_f32", large, Layout::contiguous, 1),
            depth("cpu.chan_threads_f32", large, Layout::contiguous, 4));
  for (const std::string& name : training) {
    EXPECT_EQ(depth(name, {1, 3, {}}, Layout::contiguous, 1), 0) << name;  // nothing to add
    EXPECT_LE(depth(name, {3, 2, {}}, Layout::contiguous, 1), 2) << name;
  }
}

TEST(CpuKernels, TheDialectDecidesAtTheEdges) {
  const auto outcome = [](const Shape& shape, double eps, std::string_view dialect) {
    Case c = small_case(shape, f32, Layout::contiguous, dialect);
    c.problem.eps = eps;
    return Runner({.in_process = true}).run(cpu("cpu.two_pass_f64"), c);
  };
  EXPECT_EQ(outcome({1, 2, {}}, 0.5, "pytorch/F.batch_norm").outcome, Outcome::rejected);
  EXPECT_EQ(outcome({4, 2, {}}, 0.0, "pytorch/F.batch_norm").outcome, Outcome::rejected);
  EXPECT_EQ(outcome({4, 2, {}}, -1.0, "documented").outcome, Outcome::rejected);
  EXPECT_EQ(outcome({0, 2, {}}, 0.5, "documented").outcome, Outcome::rejected);

  const Observation native = outcome({1, 2, {}}, 0.0, "pytorch/native_batch_norm");
  EXPECT_TRUE(std::isnan(native[Output::running_var][0]));
  EXPECT_EQ(native[Output::invstd][0], 0.0);
  EXPECT_EQ(native[Output::y], small_case({1, 2, {}}).beta);

  const Observation documented = outcome({1, 2, {}}, 0.0, "documented");
  EXPECT_TRUE(std::isinf(documented[Output::invstd][0]));
  EXPECT_TRUE(std::isnan(documented[Output::y][0]));
}

TEST(CpuKernels, WithoutMomentumTheUpdateIsTheCumulativeAverage) {
  Case c = exact_case({4, 1, {}}, f32, Layout::contiguous);
  c.problem.momentum.reset();
  c.num_batches_tracked = 3;
  c.running_mean = {8};
  const Observation seen = Runner({.in_process = true}).run(cpu("cpu.pairwise_f32"), c);
  EXPECT_EQ(seen.num_batches_tracked, 4);
  EXPECT_EQ(seen[Output::running_mean][0], 6.0);  // 8 * 3/4 + 0 * 1/4
}

TEST(CpuKernels, AnInfiniteValueStaysInItsChannel) {
  for (const std::string& name : training)
    for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
      const Case clean = small_case({5, 18, {3}}, f32, layout);
      Case c = clean;
      c.x[15 * 4 + 7] = std::numeric_limits<double>::infinity();
      Runner runner({.in_process = true});
      const Observation wanted = runner.run(cpu(name), clean);
      const Observation seen = runner.run(cpu(name), c);
      for (std::size_t i = 0; i < c.x.size(); ++i) {
        if (i / 15 == 4)
          ASSERT_TRUE(std::isnan(seen[Output::y][i])) << name;
        else
          ASSERT_EQ(seen[Output::y][i], wanted[Output::y][i]) << name;
      }
    }
}

/// Each mutant must differ from the kernel that it was taken from, on the output that it spoils, and say what
/// it is.
TEST(Mutants, EachSpoilsTheOutputThatItIsNamedFor) {
  struct Spoilt {
    std::string name;
    Output output;
  };
  for (const Spoilt& m :
       {Spoilt{"textbook_variance", Output::var}, Spoilt{"eps_outside_root", Output::invstd},
        Spoilt{"eps_added_to_deviation", Output::invstd}, Spoilt{"inverted_momentum", Output::running_mean},
        Spoilt{"biased_running_variance", Output::running_var}, Spoilt{"tail_dropped", Output::mean}}) {
    Case c = small_case({9, 2, {}}, f32, Layout::contiguous, "pytorch");
    for (double& x : c.x)
      x += 4096;
    const Observation wrong = Runner().run(kernel_of("libnormproof_mutants", "mutant." + m.name), c);
    const Observation right = Runner().run(cpu("cpu.two_pass_f64"), c);
    ASSERT_EQ(wrong.outcome, Outcome::completed) << m.name << wrong.detail;
    EXPECT_GT(std::abs(wrong[m.output][0] / right[m.output][0] - 1), 1e-4) << m.name;
    EXPECT_THAT(wrong.breaches, IsEmpty());
  }
}

TEST(Mutants, TheBiasedVarianceIsNoBugWhereItIsWanted) {
  const Observation seen = Runner().run(kernel_of("libnormproof_mutants", "mutant.biased_running_variance"),
                                        small_case({9, 2, {}}));
  EXPECT_EQ(seen.outcome, Outcome::unsupported);
  EXPECT_THAT(seen.detail, HasSubstr("unbiased"));
}

}  // namespace
}  // namespace normproof::impls
