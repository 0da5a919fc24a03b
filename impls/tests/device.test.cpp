// The worker on a device, without one: a driver over host memory (fake_cuda) in the real one's place, and
// kernels of device type 2 that misbehave in every way which the plumbing is there to see.
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cases.h"
#include "fake_driver.h"

namespace normproof::impls {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

namespace fs = std::filesystem;

KernelInfo on_device(const std::string& name) {
  KernelInfo kernel = kernel_of("libnormproof_hostile_device", "device." + name);
  kernel.device_type = 2;
  return kernel;
}

const Case& tried() {
  static const Case c = small_case({4, 3, {5}});
  return c;
}

Observation seen_of(const std::string& name, RunOptions options = {}) {
  return Runner(options).run(on_device(name), tried());
}

TEST(Device, WithoutADriverTheReasonIsTheLoaders) {
  const fs::path folder = fs::temp_directory_path() / ("normproof_no_driver." + std::to_string(getpid()));
  fs::create_directory(folder);
  std::ofstream(folder / "libcuda.so.1") << "not a library\n";
  const FakeDriver driver("", folder);
  const Observation seen = seen_of("correct");
  EXPECT_EQ(seen.outcome, Outcome::no_device);
  EXPECT_THAT(seen.detail, AllOf(StartsWith("no CUDA driver: "), HasSubstr("libcuda.so.1")));
  fs::remove_all(folder);
}

TEST(Device, WithoutADeviceTheReasonIsTheDriversInItsWords) {
  for (const auto& [broken, reason] :
       {std::pair{"no_device", "cuInit: CUDA_ERROR_NO_DEVICE (100), no CUDA-capable device is detected"},
        {"init=999", "cuInit: CUDA error 999"},
        {"empty", "the CUDA driver sees no device"},
        {"no_stream", "cuStreamCreate: CUDA_ERROR_OUT_OF_MEMORY (2), out of memory"}}) {
    const FakeDriver driver(broken);
    Runner runner;
    for (int again = 0; again < 2; ++again) {  // the second time from memory
      const Observation seen = runner.run(on_device("correct"), tried());
      EXPECT_EQ(seen.outcome, Outcome::no_device) << broken;
      EXPECT_EQ(seen.detail, reason);
    }
  }
}

TEST(Device, ATypeOfDeviceThatNobodyOffersIsASkip) {
  KernelInfo kernel = on_device("correct");
  kernel.device_type = 10;  // ROCm
  const Observation seen = Runner().run(kernel, tried());
  EXPECT_EQ(seen.outcome, Outcome::no_device);
  EXPECT_THAT(seen.detail, HasSubstr("device type 10"));
}

/// The fake refuses a context that was made before a fork, work without one, and copies beyond an allocation.
TEST(Device, ACorrectKernelsBitsComeBackInEveryPassLayoutAndFormat) {
  const FakeDriver driver;
  Runner runner({.repeats = 2});
  for (const auto& [pass, host] : {std::pair{Pass::forward_training, "cpu.two_pass_f64"},
                                   {Pass::forward_inference, "cpu.inference_centred"},
                                   {Pass::backward_training, "cpu.backward_direct"},
                                   {Pass::backward_inference, "cpu.backward_direct"},
                                   {Pass::double_backward, "cpu.double_backward"}})
    for (const Layout layout : all_layouts)
      for (const Formats& formats : all_formats) {
        const Case c = exact_case(pass, {4, 3, {4}}, formats, layout);
        const Observation seen = runner.run(on_device("correct"), c);
        const Observation wanted = runner.run(kernel_of("libnormproof_cpu", host), c);
        const std::string where = std::string(to_string(pass)) + ' ' + std::string(to_string(layout)) + ' ' +
                                  std::string(formats.data.name);
        ASSERT_EQ(seen.outcome, Outcome::completed) << seen.detail << ' ' << where;
        EXPECT_THAT(seen.breaches, IsEmpty()) << where;
        EXPECT_TRUE(seen.repeatable) << where;
        EXPECT_EQ(seen.outputs, wanted.outputs) << where;
        EXPECT_EQ(seen.num_batches_tracked, wanted.num_batches_tracked) << where;
      }
}

TEST(Device, AWriteBesideAnyTensorOfAnyPassIsNamed) {
  const FakeDriver driver;
  const auto expect = [&](Pass pass, const std::vector<std::string>& tensors) {
    const Case c = exact_case(pass, {4, 3, {4}}, {f32, f32});
    for (const int repeats : {1, 2})  // one side, and both
      for (const std::string& tensor : tensors) {
        Runner runner({.repeats = repeats});
        EXPECT_THAT(runner.run(on_device("write_past_" + tensor), c).breaches,
                    Contains(tensor + ": written past its end"));
        EXPECT_THAT(runner.run(on_device("write_before_" + tensor), c).breaches,
                    Contains(tensor + ": written before its start"));
        EXPECT_EQ(runner.run(on_device("write_before_" + tensor), c).outcome, Outcome::completed);
      }
  };
  expect(Pass::forward_training, {"x", "gamma", "beta", "running_mean", "running_var", "num_batches_tracked",
                                  "y", "mean", "var", "invstd", "workspace", "reserve"});
  expect(Pass::backward_training, {"dy", "saved_mean", "saved_invstd", "dx", "dgamma", "dbeta"});
  expect(Pass::double_backward, {"v_x", "v_gamma", "v_beta", "grad_dy", "grad_x", "grad_gamma"});
}

TEST(Device, AnOutputThatWasNotWrittenIsSeenByItsPoison) {
  const FakeDriver driver;
  EXPECT_THAT(seen_of("unwritten_output").breaches,
              ElementsAre(StartsWith("y: 1 of 60 elements left unwritten")));
}

TEST(Device, AnInputThatWasChangedIsSeenByItsBytes) {
  const FakeDriver driver;
  EXPECT_THAT(seen_of("changed_input").breaches, ElementsAre("x: an input was changed"));
}

/// What is on another stream is not there when the kernel's own is synchronised.
TEST(Device, WorkLeftOnAnotherStreamIsAnOutputThatWasNotWritten) {
  const FakeDriver driver;
  EXPECT_THAT(seen_of("other_stream").breaches, ElementsAre(StartsWith("y: 1 of 60 elements left")));
}

TEST(Device, AnIllegalAccessIsACrashInTheDriversWordsAndTheWorkerIsReplaced) {
  const FakeDriver driver;
  Runner runner;
  const std::string words = ": CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered";
  for (const auto& [name, detail] :
       {std::pair{"illegal_address", "on the device: cuCtxSetCurrent" + words},
        {"late_illegal_address", "on the device: cuCtxSynchronize after run" + words},
        {"says", "the launch failed; on the device: cuCtxSetCurrent" + words}}) {
    const Observation seen = runner.run(on_device(name), tried());
    EXPECT_EQ(seen.outcome, Outcome::crashed) << name;
    EXPECT_EQ(seen.detail, detail);
    EXPECT_THAT(seen[Output::y], IsEmpty());
    const Observation after = runner.run(on_device("correct"), tried());
    EXPECT_EQ(after.outcome, Outcome::completed) << "after " << name << ": " << after.detail;
  }
}

TEST(Device, AKernelThatTakesTensorsToBeAlignedMeetsOneThatIsNot) {
  const FakeDriver driver;
  const Observation seen = Runner({.repeats = 2}).run(on_device("vector_loads"), small_case({3, 3, {3}}));
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, HasSubstr("CUDA_ERROR_MISALIGNED_ADDRESS (716)"));
  EXPECT_EQ(Runner().run(on_device("correct"), small_case({3, 3, {3}})).outcome, Outcome::completed);
}

TEST(Device, AContextThatAKernelTookAwayIsPutBack) {
  const FakeDriver driver;
  Runner runner;
  for (int again = 0; again < 3; ++again)
    EXPECT_EQ(runner.run(on_device("no_context_left"), tried()).outcome, Outcome::completed);
}

TEST(Device, ACrashOnTheHostIsStillTheHosts) {
  const FakeDriver driver;
  const Observation seen = seen_of("host_segfault");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, StartsWith("SIGSEGV in run"));
}

/// Ten tensors of three pages each; the block that held them is what the next run gets.
constexpr int tensors_bytes = 10 * 3 * 4096;

TEST(Device, TensorsThatDoNotFitAreASkipAndScratchMemoryIsAFailure) {
  {
    const FakeDriver driver("memory=" + std::to_string(tensors_bytes - 1));
    const Observation seen = seen_of("correct");
    EXPECT_EQ(seen.outcome, Outcome::no_device);
    EXPECT_THAT(seen.detail, AllOf(StartsWith("the device has no room for the tensors of this case"),
                                   HasSubstr("CUDA_ERROR_OUT_OF_MEMORY")));
  }
  const FakeDriver driver("memory=" + std::to_string(tensors_bytes + 4096));
  const Observation seen = seen_of("correct");
  EXPECT_EQ(seen.outcome, Outcome::failed);
  EXPECT_THAT(seen.detail, AllOf(HasSubstr("no memory for the "), HasSubstr("bytes of workspace")));
}

TEST(Device, EveryRunGivesItsMemoryBack) {
  const FakeDriver driver("memory=" + std::to_string(2 * tensors_bytes));
  Runner runner({.repeats = 2});
  for (const char* const name : {"correct", "unwritten_output", "tells_workspace", "correct", "correct"})
    EXPECT_NE(runner.run(on_device(name), tried()).outcome, Outcome::no_device) << name;
}

TEST(Device, ScratchMemoryIsFilledUnlessAllocationsAreExact) {
  const FakeDriver driver;
  EXPECT_THAT(seen_of("tells_workspace").detail, StartsWith("workspace byte 255"));
  const Setting exact("NORMPROOF_DEVICE_MEMORY", "exact");
  EXPECT_THAT(seen_of("tells_workspace").detail, StartsWith("workspace byte 213"));  // the fake's filling
}

TEST(Device, ExactAllocationsGiveTheSameBitsAndStillSeeWhatIsWithinATensor) {
  const FakeDriver driver;
  const Case strided = exact_case(Pass::forward_training, {4, 3, {4}}, {f32, f32}, Layout::strided);
  const Observation wanted = Runner().run(on_device("correct"), strided);
  const Setting exact("NORMPROOF_DEVICE_MEMORY", "exact");
  const Observation seen = Runner({.repeats = 2}).run(on_device("correct"), strided);
  EXPECT_EQ(seen.outcome, Outcome::completed) << seen.detail;
  EXPECT_THAT(seen.breaches, IsEmpty());
  EXPECT_EQ(seen.outputs, wanted.outputs);
  EXPECT_THAT(seen_of("changed_input").breaches, ElementsAre("x: an input was changed"));
}

TEST(Device, AnUnknownWordForTheMemoryIsAnErrorThatNamesIt) {
  const FakeDriver driver;
  const Setting wrong("NORMPROOF_DEVICE_MEMORY", "exakt");
  const Observation seen = seen_of("correct");
  EXPECT_EQ(seen.outcome, Outcome::failed);
  EXPECT_THAT(seen.detail, HasSubstr("'exakt'; it may be red-zones or exact"));
}

}  // namespace
}  // namespace normproof::impls
