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

const std::vector<std::string> centred{"cpu.two_pass_f64",           "cpu.pairwise_f32",
                                       "cpu.corrected_two_pass_f32", "cpu.blocked_lanes_f32",
                                       "cpu.compensated_f32",        "cpu.shifted_textbook_f32"};
const std::vector<std::string> training = [] {
  std::vector<std::string> all = centred;
  all.insert(all.end(), {"cpu.welford_f32", "cpu.chan_threads_f32", "cpu.chan_tree_f32"});
  return all;
}();
const std::vector<std::string> backward{"cpu.backward_direct", "cpu.backward_f64", "cpu.backward_recomputed"};
const std::vector<Shape> shapes{{8, 1, {}},     {8, 3, {}},        {2, 17, {16}},
                                {4, 2, {8, 8}}, {64, 5, {1}},      {1, 40, {4, 8}},
                                {8, 2, {5, 9}}, {16, 2, {16, 64}}, {2, 16, {3, 5}}};

KernelInfo cpu(const std::string& name) {
  return kernel_of("libnormproof_cpu", name);
}

/// A lane, a tail or a thread's part that is counted twice or not at all moves the mean or the variance; an
/// element in the wrong place or rounded twice spoils y.
TEST(CpuKernels, NoValueIsLostOrCountedTwice) {
  for (const std::string& name : centred)
    for (const Formats& formats : all_formats)
      for (const Layout layout : all_layouts)
        for (const Shape& shape : shapes) {
          if (shape.per_channel() % 4 != 0)
            continue;
          const Case c = exact_case(Pass::forward_training, shape, formats, layout);
          const Observation seen = Runner({.in_process = true}).run(cpu(name), c);
          ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail;
          ASSERT_THAT(seen.breaches, IsEmpty()) << name << ' ' << to_string(layout);
          const auto stat = [&](double value) {
            return round_to(formats.stats, value);
          };
          for (std::size_t k = 0; k < c.gamma.size(); ++k) {
            const auto mean = static_cast<double>(k % 7);
            ASSERT_EQ(seen[Output::mean][k], mean) << name << ' ' << to_string(shape) << to_string(layout);
            ASSERT_EQ(seen[Output::var][k], 0.5) << name << ' ' << to_string(shape);
            ASSERT_EQ(seen[Output::invstd][k], 1.0);
            ASSERT_EQ(seen[Output::running_mean][k], stat(0.75 * c.running_mean[k] + 0.25 * mean));
            ASSERT_EQ(seen[Output::running_var][k], stat(0.75 * c.running_var[k] + 0.125));
          }
          for (std::size_t i = 0; i < c.x.size(); ++i) {
            const std::size_t k = i / static_cast<std::size_t>(shape.per_channel());
            const double y = (c.x[i] - static_cast<double>(k % 7)) * c.gamma[k] + c.beta[k];
            ASSERT_EQ(seen[Output::y][i], round_to(formats.data, y)) << name << ' ' << to_string(layout);
          }
          ASSERT_EQ(seen.num_batches_tracked, 1);
        }
}

/// The gradients of one channel as the specification writes them, in double: exact on exact_case.
struct Gradients {
  double dbeta = 0, dgamma = 0;
  std::vector<double> dx;

  Gradients(const Case& c, std::size_t k, double mean, double invstd) {
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    const double* const x = c.x.data() + k * n;
    const double* const dy = c.dy.data() + k * n;
    for (std::size_t i = 0; i < n; ++i) {
      dbeta += dy[i];
      dgamma += dy[i] * (x[i] - mean) * invstd;
    }
    const bool constants = c.problem.pass == Pass::backward_inference;
    for (std::size_t i = 0; i < n; ++i) {
      const double m = static_cast<double>(n);
      const double xhat = (x[i] - mean) * invstd;
      dx.push_back(c.gamma[k] * invstd * (constants ? dy[i] : dy[i] - dbeta / m - xhat * dgamma / m));
    }
  }
};

const std::vector<Shape> powers_of_two{
    {8, 1, {}}, {2, 17, {16}}, {4, 2, {4, 8}}, {16, 20, {}}, {2, 3, {2, 2, 4}}};

TEST(CpuKernels, GradientsOfExactDataAreExact) {
  Runner runner({.in_process = true});
  for (const std::string& name : backward)
    for (const Pass pass : {Pass::backward_training, Pass::backward_inference, Pass::gradient})
      for (const Formats& formats : all_formats)
        for (const Layout layout : all_layouts)
          for (const Shape& shape : powers_of_two)
            for (const int threads : {1, 3}) {
              Case c = exact_case(pass, shape, formats, layout);
              c.problem.threads = threads;
              const Observation seen = runner.run(cpu(name), c);
              ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail;
              ASSERT_THAT(seen.breaches, IsEmpty()) << name << ' ' << to_string(layout);
              for (std::size_t k = 0; k < c.gamma.size(); ++k) {
                const bool inference = pass == Pass::backward_inference;
                const Gradients wanted(c, k, inference ? c.running_mean[k] : static_cast<double>(k % 7),
                                       pass == Pass::gradient ? 1.0 : 0.5);
                ASSERT_EQ(seen[Output::dbeta][k], round_to(formats.stats, wanted.dbeta));
                ASSERT_EQ(seen[Output::dgamma][k], round_to(formats.stats, wanted.dgamma));
                for (std::size_t i = 0; i < wanted.dx.size(); ++i)
                  ASSERT_EQ(seen[Output::dx][k * wanted.dx.size() + i], round_to(formats.data, wanted.dx[i]))
                      << name << ' ' << to_string(pass) << ' ' << to_string(layout) << ' '
                      << to_string(shape);
              }
            }
}

/// Against the factored form of the specification; the kernel computes the expanded one.
TEST(CpuKernels, SecondOrderOfExactDataIsExact) {
  Runner runner({.in_process = true});
  for (const auto& [pass, absent] : {std::pair{Pass::double_backward, 0},
                                     {Pass::double_backward, 1},
                                     {Pass::double_backward, 2},
                                     {Pass::double_backward, 3},
                                     {Pass::double_backward_inference, 0},
                                     {Pass::double_backward_inference, 1},
                                     {Pass::double_backward_inference, 2},
                                     {Pass::double_backward_inference, 3}})
    for (const Formats& formats : all_formats)
      for (const Layout layout : all_layouts)
        for (const Shape& shape : powers_of_two) {
          Case c = exact_case(pass, shape, formats, layout);
          const bool constants = is_inference(pass);
          if (absent > 0)
            (absent == 1 ? c.v_x : absent == 2 ? c.v_gamma : c.v_beta).clear();
          const Observation seen = runner.run(cpu("cpu.double_backward"), c);
          ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail;
          ASSERT_THAT(seen.breaches, IsEmpty()) << to_string(layout);
          const auto count = static_cast<std::size_t>(shape.per_channel());
          const auto n = static_cast<double>(count);
          for (std::size_t k = 0; k < c.gamma.size(); ++k) {
            const double r = constants ? 0.5 : c.saved_invstd[k];
            const double m = constants ? c.running_mean[k] : c.saved_mean[k];
            const auto value = [&](const std::vector<double>& all, std::size_t i) {
              return all.empty() ? 0.0 : all[k * count + i];
            };
            const auto xhat = [&](std::size_t i) {
              return (value(c.x, i) - m) * r;
            };
            double dbeta = 0, dgamma = 0, V = 0, W = 0, Z = 0;
            for (std::size_t i = 0; i < count; ++i) {
              dbeta += value(c.dy, i);
              dgamma += value(c.dy, i) * xhat(i);
              V += value(c.v_x, i);
              W += value(c.v_x, i) * xhat(i);
              Z += value(c.v_x, i) * value(c.dy, i);
            }
            if (constants)
              V = W = dbeta = dgamma = 0;  // no mean, no part along xhat
            const double Q = Z - V * dbeta / n - W * dgamma / n;
            const double a = c.v_gamma.empty() ? 0 : c.v_gamma[k];
            const double b = c.v_beta.empty() ? 0 : c.v_beta[k];
            ASSERT_EQ(seen[Output::grad_gamma][k], round_to(formats.stats, r * Q)) << to_string(shape);
            for (std::size_t i = 0; i < count; ++i) {
              const double q = value(c.dy, i) - dbeta / n - xhat(i) * dgamma / n;
              const double p = value(c.v_x, i) - V / n - xhat(i) * W / n;
              ASSERT_EQ(seen[Output::grad_dy][k * count + i],
                        round_to(formats.data, c.gamma[k] * r * p + a * xhat(i) + b));
              ASSERT_EQ(
                  seen[Output::grad_x][k * count + i],
                  round_to(formats.data, a * r * q - (constants ? 0
                                                                : c.gamma[k] * r * r / n *
                                                                      (xhat(i) * Q + dgamma * p + W * q))));
            }
          }
        }
}

TEST(CpuKernels, AnEmptyBatchHasGradientZero) {
  for (const Pass pass : {Pass::backward_training, Pass::backward_inference, Pass::double_backward,
                          Pass::double_backward_inference})
    for (const std::string& name :
         is_second_order(pass) ? std::vector<std::string>{"cpu.double_backward"} : backward) {
      const Case c = exact_case(pass, {0, 3, {2}}, {f32, f32});
      const Observation seen = Runner({.in_process = true}).run(cpu(name), c);
      ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail;
      const Output output = is_second_order(pass) ? Output::grad_gamma : Output::dgamma;
      EXPECT_EQ(seen[output], std::vector<double>(3, 0.0)) << name;
    }
}

/// In inference a NaN of x must not enter dx, in training it must, and neither may leave its channel.
TEST(CpuKernels, ANonFiniteValueStaysInItsChannelBackward) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::string& name : backward)
    for (const Pass pass : {Pass::backward_training, Pass::backward_inference, Pass::gradient})
      for (const Layout layout : all_layouts) {
        const Case clean = exact_case(pass, {4, 18, {2}}, {f32, f32}, layout);
        Case c = clean;
        c.x[8 * 4 + 3] = nan;
        Runner runner({.in_process = true});
        const Observation wanted = runner.run(cpu(name), clean);
        const Observation seen = runner.run(cpu(name), c);
        for (std::size_t i = 0; i < c.x.size(); ++i)
          if (i / 8 == 4 && pass != Pass::backward_inference)
            ASSERT_TRUE(std::isnan(seen[Output::dx][i])) << name;
          else
            ASSERT_EQ(seen[Output::dx][i], wanted[Output::dx][i]) << name;
        EXPECT_TRUE(std::isnan(seen[Output::dgamma][4]));
        EXPECT_EQ(seen[Output::dbeta], wanted[Output::dbeta]);
      }
}

/// One value a million times the others: whichever place it has, every way to the moments must count it once.
TEST(CpuKernels, EveryPlaceOfAnOutlierCountsOnce) {
  for (const std::string& name : training)
    for (const Layout layout : all_layouts)
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
  names.insert(names.end(), {"cpu.inference_centred", "cpu.inference_folded", "cpu.double_backward"});
  names.insert(names.end(), backward.begin(), backward.end());
  for (const std::string& name : names)
    for (const Formats& formats : all_formats)
      for (const Layout layout : all_layouts)
        for (const Shape& shape : shapes) {
          const auto has = [&](const char* part) {
            return name.find(part) != name.npos;
          };
          const Pass pass = has("inference")  ? Pass::forward_inference
                            : has("double")   ? Pass::double_backward
                            : has("backward") ? Pass::gradient
                                              : Pass::forward_training;
          Case c = exact_case(pass, shape, formats, layout);
          c.problem.threads = 2;
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
  EXPECT_EQ(depth("cpu.welford_f32", large, Layout::channels_last, 1),
            depth("cpu.welford_f32", large, Layout::contiguous, 1));
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
  Case c = exact_case(Pass::forward_training, {4, 1, {}}, {f32, f32});
  c.problem.momentum.reset();
  c.num_batches_tracked = 3;
  c.running_mean = {8};
  const Observation seen = Runner({.in_process = true}).run(cpu("cpu.pairwise_f32"), c);
  EXPECT_EQ(seen.num_batches_tracked, 4);
  EXPECT_EQ(seen[Output::running_mean][0], 6.0);  // 8 * 3/4 + 0 * 1/4
}

TEST(CpuKernels, AnInfiniteValueStaysInItsChannel) {
  for (const std::string& name : training)
    for (const Layout layout : all_layouts) {
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
