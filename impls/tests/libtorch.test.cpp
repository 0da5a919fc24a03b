// LibTorch as it really behaves at the edges, through the adapter: what its entry points refuse, what they
// report, and that the layouts reach the operator as layouts.
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cases.h"
#include "fake_driver.h"

namespace normproof::impls {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view native_dialect = "pytorch/native_batch_norm";
constexpr std::string_view functional_dialect = "pytorch/F.batch_norm";

Runner& torch_runner() {
  static Runner runner;  // one worker: loading takes a second
  return runner;
}

Observation run_torch(const std::string& name, const Case& c) {
  return torch_runner().run(kernel_of("libnormproof_torch", name), c);
}

/// No bound (that is the judge's work): an element in the wrong place is off by far more than that.
void expect_close(const Observation& seen, const Observation& ours, Output output, const Format& format,
                  const std::string& where) {
  ASSERT_EQ(seen[output].size(), ours[output].size()) << to_string(output) << where;
  for (std::size_t i = 0; i < ours[output].size(); ++i)
    ASSERT_NEAR(seen[output][i], ours[output][i],
                64 * unit_roundoff(format) * (1 + std::abs(ours[output][i])))
        << to_string(output) << ' ' << i << ' ' << where;
}

const std::vector<Shape> torch_shapes{{8, 5, {}}, {4, 4, {6}}, {2, 5, {4, 4}}, {2, 3, {2, 3, 2}}};

TEST(LibTorch, ReportsWhatTheOperatorReturnsInEveryLayoutAndFormat) {
  for (const Formats& formats : all_formats)
    for (const Layout layout : all_layouts)
      for (const Shape& shape : torch_shapes) {
        Case c = exact_case(Pass::forward_training, shape, formats, layout);
        c.problem.dialect = native_dialect;
        c.problem.semantics = dialect_named(native_dialect)->semantics;
        const std::string where = std::string(" ") + std::string(formats.data.name) + '/' +
                                  std::string(formats.stats.name) + ' ' + to_string(shape) + ' ' +
                                  std::string(to_string(layout));
        const Observation seen = run_torch("libtorch.native_batch_norm", c);
        const Observation ours = torch_runner().run(kernel_of("libnormproof_cpu", "cpu.two_pass_f64"), c);
        ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail << where;
        ASSERT_THAT(seen.breaches, IsEmpty()) << where;
        ASSERT_EQ(seen.num_batches_tracked, 1);
        EXPECT_THAT(seen[Output::var], IsEmpty());  // the operator keeps invstd only
        for (const Output output :
             {Output::y, Output::mean, Output::invstd, Output::running_mean, Output::running_var})
          expect_close(seen, ours, output, output == Output::y ? formats.data : formats.stats, where);
      }
}

/// The bundled kernels are exact on these data (kernels.test.cpp).
TEST(LibTorch, GradientsOfEveryPassLayoutAndFormat) {
  for (const Pass pass : {Pass::backward_training, Pass::backward_inference, Pass::gradient,
                          Pass::double_backward, Pass::double_backward_inference})
    for (const std::string_view dialect : {native_dialect, functional_dialect})
      for (const Formats& formats : all_formats)
        for (const Layout layout : all_layouts)
          for (const Shape& shape : torch_shapes) {
            if (dialect == functional_dialect && pass != Pass::gradient)
              continue;
            Case c = exact_case(pass, shape, formats, layout);
            c.problem.dialect = dialect;
            c.problem.semantics = dialect_named(dialect)->semantics;
            const bool second = is_second_order(pass);
            const std::string where = std::string(" ") + std::string(formats.data.name) + '/' +
                                      std::string(formats.stats.name) + ' ' + to_string(shape) + ' ' +
                                      std::string(to_string(layout)) + ' ' + std::string(to_string(pass));
            const Observation seen = run_torch(second                          ? "libtorch.double_backward"
                                               : dialect == functional_dialect ? "libtorch.batch_norm"
                                                                               : "libtorch.native_batch_norm",
                                               c);
            const Observation ours = torch_runner().run(
                kernel_of("libnormproof_cpu", second ? "cpu.double_backward" : "cpu.backward_f64"), c);
            EXPECT_EQ(seen.outcome, Outcome::completed) << seen.detail << where;
            if (seen.outcome != Outcome::completed)
              continue;
            EXPECT_THAT(seen.breaches, IsEmpty()) << where;
            // The second order is differentiated step by step, with intermediates in the data's format: it
            // has their precision only, even where grad_gamma is f32.
            for (const Output output : all_outputs)
              if (is_defined(c.problem, output))
                expect_close(seen, ours, output, second ? formats.data : format_of(c.problem, output), where);
          }
}

TEST(LibTorch, TheFunctionRefusesOneValuePerChannelTheOperatorDoesNot) {
  const Shape one{1, 3, {}};
  const Observation refused = run_torch("libtorch.batch_norm", small_case(one, f32, {}, functional_dialect));
  EXPECT_EQ(refused.outcome, Outcome::rejected);
  EXPECT_THAT(refused.detail, HasSubstr("Expected more than 1 value per channel"));
  EXPECT_THAT(refused.breaches, IsEmpty());

  const Observation taken = run_torch("libtorch.native_batch_norm", small_case(one, f32, {}, native_dialect));
  EXPECT_EQ(taken.outcome, Outcome::completed);
  EXPECT_TRUE(std::isnan(taken[Output::running_var][0]));

  Case inference = small_case(one, f32, {}, functional_dialect);
  inference.problem.pass = Pass::forward_inference;
  EXPECT_EQ(run_torch("libtorch.batch_norm", inference).outcome, Outcome::completed);
}

TEST(LibTorch, AnEmptyBatchIsATorchErrorInOneLine) {
  const Observation seen =
      run_torch("libtorch.native_batch_norm", small_case({0, 3, {}}, f32, {}, native_dialect));
  EXPECT_EQ(seen.outcome, Outcome::rejected);
  EXPECT_FALSE(seen.detail.empty());
  EXPECT_EQ(seen.detail.find('\n'), std::string::npos);
}

TEST(LibTorch, WithoutMomentumTheFactorIsTheModules) {
  Case c = small_case({4, 1, {}}, f64, {}, native_dialect);
  c.problem.momentum.reset();
  c.num_batches_tracked = 2;
  c.x = {1, 2, 3, 6};
  c.running_mean = {9};
  const Observation seen = run_torch("libtorch.native_batch_norm", c);
  EXPECT_EQ(seen.num_batches_tracked, 3);
  EXPECT_NEAR(seen[Output::running_mean][0], 7.0, 1e-12);  // 9 * 2/3 + 3 * 1/3
}

TEST(LibTorch, InferenceChangesNoRunningStatistic) {
  for (const auto& [name, dialect] : {std::pair{"libtorch.native_batch_norm", native_dialect},
                                      std::pair{"libtorch.batch_norm", functional_dialect}}) {
    Case c = small_case({5, 3, {2, 2}}, f32, Layout::channels_last, dialect);
    c.problem.pass = Pass::forward_inference;
    const Observation seen = run_torch(name, c);
    EXPECT_EQ(seen.outcome, Outcome::completed) << seen.detail;
    EXPECT_FALSE(seen.running_changed);
    EXPECT_EQ(seen.num_batches_tracked, 0);
  }
}

TEST(LibTorch, AnotherDialectIsASkipWithAReason) {
  const Observation seen = run_torch("libtorch.batch_norm", small_case({4, 2, {}}));
  EXPECT_EQ(seen.outcome, Outcome::unsupported);
  EXPECT_THAT(seen.detail, HasSubstr("pytorch/F.batch_norm"));
}

/// Finding 1 in small: the channels-last path sums in f32 one after the other, the contiguous one in double.
/// A copy made on the way in would hide the difference.
TEST(LibTorch, ChannelsLastReachesTheOperatorAsChannelsLast) {
  const auto mean = [](Layout layout) {
    Case c = small_case({4, 2, {100, 100}}, f32, layout, native_dialect);
    for (double& x : c.x)
      x += 4096;
    return run_torch("libtorch.native_batch_norm", c)[Output::mean];
  };
  EXPECT_NE(mean(Layout::contiguous), mean(Layout::channels_last));
}

/// A skip has the reason of whoever gave it: the driver that is not there, or torch that has no use for one.
TEST(LibTorch, ItsCudaKernelsAreSkippedWithTorchsReasonWhereTorchHasNoCuda) {
  for (const auto& [name, pass, dialect] :
       {std::tuple{"native_batch_norm", Pass::forward_training, native_dialect},
        {"batch_norm", Pass::forward_training, functional_dialect},
        {"cudnn_batch_norm", Pass::forward_training, native_dialect},
        {"double_backward", Pass::double_backward, native_dialect},
        {"cudnn_double_backward", Pass::double_backward, native_dialect}}) {
    Case c = exact_case(pass, {4, 3, {4, 4}}, {f32, f32});
    c.problem.dialect = dialect;
    c.problem.semantics = dialect_named(dialect)->semantics;
    KernelInfo kernel = kernel_of("libnormproof_torch", std::string("libtorch.cuda.") + name);
    kernel.device_type = 2;
    const FakeDriver driver;
    const Observation seen = Runner().run(kernel, c);
    EXPECT_EQ(seen.outcome, Outcome::no_device) << name;
    EXPECT_THAT(seen.detail, HasSubstr("CUDA")) << name;
    EXPECT_EQ(seen.detail.find('\n'), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace normproof::impls
