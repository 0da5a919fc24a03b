// The C interface seen from C and from C++, and libraries that must be refused with a reason.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "normproof/impls/kernels.h"
#include "normproof/kernel.h"
#include "normproof/simple.h"

extern "C" std::size_t sizes_in_c(int which);

namespace normproof::impls {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::filesystem::path module(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "lib" / (name + ".so");
}

std::string reason(const std::filesystem::path& library) {
  const Catalogue catalogue = discover(std::vector{library});
  EXPECT_TRUE(catalogue.kernels.empty());
  EXPECT_EQ(catalogue.errors.size(), 1u);
  return catalogue.errors.empty() ? "" : catalogue.errors[0].reason;
}

TEST(Interface, StructsHaveOneSizeInCAndCpp) {
  EXPECT_EQ(sizes_in_c(0), sizeof(np_problem));
  EXPECT_EQ(sizes_in_c(1), sizeof(np_claims));
  EXPECT_EQ(sizes_in_c(2), sizeof(np_capability));
  EXPECT_EQ(sizes_in_c(3), sizeof(np_tensors));
  EXPECT_EQ(sizes_in_c(4), sizeof(np_kernel));
  EXPECT_EQ(sizes_in_c(5), sizeof(np_library));
}

/// A kernel of one layout that takes the other's tensors reads the wrong elements.
TEST(Interface, DenseIsWhatTheLayoutSays) {
  for (const Shape& shape :
       {Shape{3, 4, {}}, Shape{3, 4, {5}}, Shape{2, 3, {4, 5}}, Shape{2, 3, {4, 5, 6}}}) {
    np_problem p{};
    p.ndim = static_cast<std::int32_t>(2 + shape.spatial.size());
    p.shape[0] = shape.batch;
    p.shape[1] = shape.channels;
    std::copy(shape.spatial.begin(), shape.spatial.end(), p.shape + 2);
    for (const bool channels_last : {false, true}) {
      const std::vector<std::int64_t> dense =
          strides(shape, channels_last ? Layout::channels_last : Layout::contiguous);
      EXPECT_TRUE(np_is_dense(&p, dense.data(), channels_last)) << to_string(shape);
      EXPECT_EQ(np_is_dense(&p, dense.data(), !channels_last), shape.spatial.empty()) << to_string(shape);
      for (std::size_t axis = 0; axis < dense.size(); ++axis) {
        std::vector<std::int64_t> other = dense;
        ++other[axis];
        EXPECT_FALSE(np_is_dense(&p, other.data(), channels_last)) << to_string(shape) << " axis " << axis;
      }
    }
  }
}

TEST(Discover, FindsTheBundledKernels) {
  const Catalogue catalogue = discover(bundled_libraries());
  EXPECT_TRUE(catalogue.errors.empty());
  std::vector<std::string> names;
  for (const KernelInfo& kernel : catalogue.kernels)
    names.push_back(kernel.name);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"cpu.two_pass_f64", "cpu.pairwise_f32", "cpu.welford_f32",
                                              "cpu.chan_threads_f32", "cpu.inference_centred",
                                              "cpu.inference_folded"}));
}

TEST(Discover, AMissingFileIsNotAnEmptyCatalogue) {
  EXPECT_EQ(reason("/nonexistent/libkernel.so"), "no such file");
}

TEST(Discover, AFileThatIsNoLibraryIsRefused) {
  const std::string path = ::testing::TempDir() + "normproof_not_a_library.so";
  std::ofstream(path) << "not ELF";
  EXPECT_THAT(reason(path), HasSubstr(path));
  std::filesystem::remove(path);
}

TEST(Discover, ALibraryWithoutTheSymbolIsRefused) {
  EXPECT_THAT(reason(module("normproof_test_no_symbol")), HasSubstr("exports no normproof_library"));
}

TEST(Discover, ALibraryThatNeedsANewerHostIsRefused) {
  EXPECT_THAT(reason(module("normproof_test_newer_host")),
              AllOf(HasSubstr("needs interface version 2"), HasSubstr("speaks 1")));
}

TEST(Discover, ALibraryThatRefusesTheHostIsNamedSo) {
  EXPECT_THAT(reason(module("normproof_test_refuses_host")), HasSubstr("refuses interface version 1"));
}

TEST(Discover, ATableShorterThanTheInterfaceIsNotRead) {
  EXPECT_THAT(reason(module("normproof_test_short_table")), HasSubstr("struct_size 8"));
}

TEST(Discover, AKernelWithoutFunctionsIsNotCalled) {
  EXPECT_THAT(reason(module("normproof_test_no_run")), AllOf(HasSubstr("bad.no_run"), HasSubstr("is NULL")));
}

TEST(Discover, ACrashWhileLoadingStaysInTheWorker) {
  EXPECT_THAT(reason(module("normproof_test_crashes_on_load")), HasSubstr("SIGABRT while loading"));
}

TEST(Discover, OneBadLibraryDoesNotHideTheOthers) {
  const std::vector libraries{module("normproof_test_no_symbol"), module("libnormproof_cpu")};
  const Catalogue catalogue = discover(libraries);
  EXPECT_EQ(catalogue.errors.size(), 1u);
  EXPECT_GE(catalogue.kernels.size(), 6u);
}

TEST(Runner, AKernelThatTheLibraryDoesNotHoldIsNamed) {
  KernelInfo kernel;
  kernel.name = "cpu.no_such_kernel";
  kernel.library = module("libnormproof_cpu");
  Case c;
  c.problem.affine = c.problem.running = false;
  c.problem.shape = {2, 1, {}};
  c.x = {1, 2};
  for (const bool in_process : {false, true}) {
    const Observation seen = Runner({.in_process = in_process}).run(kernel, c);
    EXPECT_EQ(seen.outcome, Outcome::failed);
    EXPECT_THAT(seen.detail, HasSubstr("cpu.no_such_kernel"));
  }
}

TEST(Runner, ALibraryThatCannotBeLoadedIsAFailureOfTheRun) {
  KernelInfo kernel;
  kernel.name = "bad.no_run";
  kernel.library = module("normproof_test_newer_host");
  Case c;
  c.problem.affine = c.problem.running = false;
  c.problem.shape = {2, 1, {}};
  c.x = {1, 2};
  for (const bool in_process : {false, true}) {
    const Observation seen = Runner({.in_process = in_process}).run(kernel, c);
    EXPECT_EQ(seen.outcome, Outcome::failed);
    EXPECT_THAT(seen.detail, HasSubstr("needs interface version 2"));
  }
}

}  // namespace
}  // namespace normproof::impls
