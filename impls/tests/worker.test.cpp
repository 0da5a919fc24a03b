// Every way in which a kernel can misbehave, and what the run must say of it.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"

namespace normproof::impls {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

const Case& tried() {
  static const Case c = small_case({4, 3, {5}});
  return c;
}

KernelInfo hostile(const std::string& name) {
  return kernel_of("libnormproof_hostile", "hostile." + name);
}

Observation seen_of(const std::string& name, RunOptions options = {.time_limit = 5s}) {
  return Runner(options).run(hostile(name), tried());
}

/// The worker that follows a crash must be a working one.
void expect_correct_run(Runner& runner) {
  const Observation seen = runner.run(kernel_of("libnormproof_cpu", "cpu.two_pass_f64"), tried());
  EXPECT_EQ(seen.outcome, Outcome::completed) << seen.detail;
  EXPECT_THAT(seen.breaches, IsEmpty());
  EXPECT_EQ(seen[Output::y].size(), tried().x.size());
}

TEST(Worker, ASegfaultIsCrashedWithTheSignalAndWhatWasPrinted) {
  const Observation seen = seen_of("segfault");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, AllOf(StartsWith("SIGSEGV in run"), HasSubstr("about to dereference nothing")));
  EXPECT_THAT(seen[Output::y], IsEmpty());
}

TEST(Worker, AbortIsCrashed) {
  const Observation seen = seen_of("abort");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, StartsWith("SIGABRT in run"));
}

TEST(Worker, ExitZeroIsNotSuccess) {
  const Observation seen = seen_of("exit_zero");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, StartsWith("exited with status 0 in run"));
}

TEST(Worker, AnEndlessLoopIsTimedOutNearTheLimit) {
  const auto start = std::chrono::steady_clock::now();
  const Observation seen = seen_of("endless_loop", {.time_limit = 300ms});
  EXPECT_EQ(seen.outcome, Outcome::timed_out);
  EXPECT_THAT(seen.detail, HasSubstr("300 ms in run"));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 300ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
}

TEST(Worker, ACrashDoesNotEndTheSeries) {
  Runner runner({.time_limit = 500ms});
  Observation before = runner.run(hostile("prints"), tried());
  EXPECT_EQ(before.outcome, Outcome::completed);
  for (const char* const name : {"segfault", "endless_loop", "exit_zero", "segfault"}) {
    EXPECT_NE(runner.run(hostile(name), tried()).outcome, Outcome::completed) << name;
    const Observation after = runner.run(hostile("prints"), tried());
    EXPECT_EQ(after.outcome, Outcome::completed) << "after " << name << ": " << after.detail;
    EXPECT_EQ(after.outputs, before.outputs) << "after " << name;
    expect_correct_run(runner);
  }
}

TEST(Worker, AnOutputThatWasNotWrittenIsSeenByItsPoison) {
  const Observation seen = seen_of("unwritten_output");
  EXPECT_EQ(seen.outcome, Outcome::completed);
  EXPECT_THAT(seen.breaches, ElementsAre(AllOf(StartsWith("y: 1 of 60 elements left unwritten"))));
}

TEST(Worker, AChangedInputIsSeen) {
  EXPECT_THAT(seen_of("changed_input").breaches, ElementsAre("x: an input was changed"));
}

TEST(Worker, AnInputThatIsWrittenToAndPutBackIsSeen) {
  EXPECT_THAT(seen_of("input_put_back").breaches, ElementsAre(StartsWith("x: an input was written to")));
}

/// Cases that differ in one value: some lie flush at their heads, some at their tails.
std::vector<Case> both_sides() {
  std::vector<Case> cases(8, tried());
  for (std::size_t i = 0; i < cases.size(); ++i)
    cases[i].x[0] = static_cast<double>(i);
  return cases;
}

/// The page is behind the tensor in one run and before it in another; where it is not, the bytes are watched.
void expect_both(const std::string& name, const std::string& crash, const std::string& breach) {
  int crashes = 0;
  int breaches = 0;
  Runner runner;
  for (const Case& c : both_sides()) {
    const Observation seen = runner.run(hostile(name), c);
    if (seen.outcome == Outcome::crashed) {
      EXPECT_EQ(seen.detail, "SIGSEGV in run: " + crash);
      ++crashes;
    } else {
      EXPECT_THAT(seen.breaches, ElementsAre(breach));
      ++breaches;
    }
  }
  EXPECT_GT(crashes, 0);
  EXPECT_GT(breaches, 0);
}

TEST(Worker, OneElementPastTheEndIsSeenAndNamed) {
  expect_both("write_past_mean", "write past the end of mean, at byte 12 of 12",
              "mean: written past its end");
}

TEST(Worker, OneElementBeforeTheStartIsSeenAndNamed) {
  expect_both("write_before_y", "write before the start of y, at byte -2", "y: written before its start");
}

/// The name of every tensor on every side, by whoever has it: two runs lie on two sides.
TEST(Worker, AnAccessBesideAnyTensorOfAnyPassIsNamed) {
  int tried_kernels = 0;
  for (const Pass pass : {Pass::forward_training, Pass::backward_training, Pass::double_backward}) {
    const Case c = exact_case(pass, {4, 3, {4}}, {f32, f32});
    Runner runner({.repeats = 2});
    for (const std::string tensor : {"x",
                                     "gamma",
                                     "beta",
                                     "running_mean",
                                     "running_var",
                                     "num_batches_tracked",
                                     "y",
                                     "mean",
                                     "var",
                                     "invstd",
                                     "dy",
                                     "saved_mean",
                                     "saved_invstd",
                                     "dx",
                                     "dgamma",
                                     "dbeta",
                                     "v_x",
                                     "v_gamma",
                                     "v_beta",
                                     "grad_dy",
                                     "grad_x",
                                     "grad_gamma"}) {
      const bool past_end = runner.run(hostile("read_past_" + tensor), c).outcome == Outcome::crashed;
      if (!past_end)
        continue;  // not a tensor of this pass: counted below
      for (const std::string what : {"read_past_", "read_before_", "write_past_", "write_before_"}) {
        const Observation seen = runner.run(hostile(what + tensor), c);
        EXPECT_EQ(seen.outcome, Outcome::crashed) << what << tensor;
        const std::string place = what.ends_with("past_") ? " past the end of " : " before the start of ";
        EXPECT_THAT(seen.detail, AllOf(HasSubstr("SIGSEGV in run: " + what.substr(0, what.find('_')) + place +
                                                 tensor + ", at byte ")))
            << what << tensor;
        ++tried_kernels;
      }
    }
  }
  // 10 tensors forward; x, gamma, dy, two saved and three gradients; x, gamma, dy, two saved, three
  // cotangents and three gradients.
  EXPECT_EQ(tried_kernels, 4 * (10 + 8 + 11));
}

TEST(Worker, ACorrectKernelTouchesNothingBesideItsTensors) {
  for (const Pass pass : all_passes)
    for (const Layout layout : all_layouts)
      for (const Formats& formats : all_formats) {
        const Case c = exact_case(pass, {4, 3, {4}}, formats, layout);
        Runner runner({.repeats = 2});
        int completed = 0;
        for (const char* const name : {"cpu.two_pass_f64", "cpu.welford_f32", "cpu.inference_folded",
                                       "cpu.backward_direct", "cpu.double_backward"}) {
          const Observation seen = runner.run(kernel_of("libnormproof_cpu", name), c);
          if (seen.outcome == Outcome::unsupported)
            continue;
          ++completed;
          EXPECT_EQ(seen.outcome, Outcome::completed) << name << ' ' << seen.detail;
          EXPECT_THAT(seen.breaches, IsEmpty()) << name;
          EXPECT_TRUE(seen.repeatable) << name << ": other bits at another address";
        }
        EXPECT_GT(completed, 0) << to_string(pass);
      }
}

TEST(Worker, AnOverrunOfTheWorkspaceIsSeen) {
  for (const std::string what : {"write_past_", "write_before_"})
    for (const std::string name : {"workspace", "reserve"}) {
      const Observation seen = seen_of(what + name, {.repeats = 2});
      const std::string side = what == "write_past_" ? " past " : " before ";
      if (seen.outcome == Outcome::crashed)
        EXPECT_THAT(seen.detail, HasSubstr("write" + side)) << name;
      else
        EXPECT_THAT(seen.breaches, ElementsAre(AllOf(StartsWith(name + ": "), HasSubstr(side)))) << what;
    }
}

TEST(Worker, MoreScratchThanThereIsMemoryIsAFailureInWords) {
  const Observation seen = seen_of("huge_workspace");
  EXPECT_EQ(seen.outcome, Outcome::failed);
  EXPECT_THAT(seen.detail, HasSubstr("1152921504606846976 bytes of workspace"));
}

TEST(Worker, MemoryWithoutEndIsCutShort) {
  const Observation seen = seen_of("memory", {.time_limit = 30s, .memory_limit = std::uint64_t{200} << 20});
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, StartsWith("ended for more than 200 MiB of resident memory in run"));
}

TEST(Worker, AUsedUpStackIsCalledThat) {
  const Observation seen = seen_of("stack");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, StartsWith("SIGSEGV in run: its stack is used up"));
}

TEST(Worker, ClosedDescriptorsAreACrashAndNotAHang) {
  const Observation seen = seen_of("closed_descriptors");
  EXPECT_EQ(seen.outcome, Outcome::crashed);
  EXPECT_THAT(seen.detail, HasSubstr("closed its worker's descriptors"));
}

TEST(Worker, AProcessThatStopsItselfIsTimedOut) {
  EXPECT_EQ(seen_of("stopped", {.time_limit = 300ms}).outcome, Outcome::timed_out);
}

/// Processes with that variable in their environment, which children inherit.
std::vector<pid_t> marked(const std::string& mark) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "environ", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.find(mark) != std::string::npos)
      found.push_back(static_cast<pid_t>(std::stol(entry.path().filename())));
  }
  return found;
}

TEST(Worker, AForkThatReturnsTwiceIsSeenAndADaemonDoesNotOutliveTheRunner) {
  const std::string mark = "NORMPROOF_TEST_MARK=" + std::to_string(getpid());
  setenv("NORMPROOF_TEST_MARK", std::to_string(getpid()).c_str(), 1);
  {
    Runner runner;
    EXPECT_THAT(runner.run(hostile("fork_returns_twice"), tried()).breaches,
                ElementsAre("process: run() forked, and returned in the child too"));
    const Observation harmless = runner.run(hostile("fork_daemon"), tried());
    EXPECT_EQ(harmless.outcome, Outcome::completed);
    EXPECT_THAT(harmless.breaches, IsEmpty());
    EXPECT_GE(marked(mark).size(), 3u) << "warden, worker and daemon";
  }
  unsetenv("NORMPROOF_TEST_MARK");
  EXPECT_THAT(marked(mark), IsEmpty());
}

TEST(Worker, AThreadThatStillWritesIsABreachAndOneThatSleepsIsNone) {
  EXPECT_THAT(seen_of("thread_writes").breaches,
              ElementsAre("thread or process: still writing to the tensors after run() returned"));
  Runner runner;
  EXPECT_FALSE(runner.run(hostile("thread_writes"), tried()).breaches.empty());
  for (int i = 0; i < 3; ++i)  // in a worker that the thread is not in
    EXPECT_THAT(runner.run(hostile("thread_sleeps"), tried()).breaches, IsEmpty());
}

TEST(Worker, AddingToAnOutputIsAnUnwrittenOutput) {
  EXPECT_THAT(seen_of("accumulates").breaches,
              ElementsAre(StartsWith("y: 60 of 60 elements left unwritten")));
}

TEST(Worker, StateKeptBetweenCallsGivesOtherBitsOnOtherData) {
  Runner runner;
  const std::vector<Case> cases = both_sides();
  const Observation fresh = Runner().run(hostile("state_kept"), cases[1]);
  runner.run(hostile("state_kept"), cases[0]);
  EXPECT_NE(runner.run(hostile("state_kept"), cases[1])[Output::y], fresh[Output::y]);
}

TEST(Worker, FlushToZeroLeftOnIsReportedAndUndone) {
  for (const bool in_process : {false, true}) {
    Runner runner({.in_process = in_process});
    const Observation left = runner.run(hostile("flush_to_zero"), tried());
    EXPECT_TRUE(left.environment_changed);
    EXPECT_THAT(left.environment, StartsWith("run left "));
    // The next kernel in the same process must keep its subnormals: y = x / 4 + 0 of 2^-149 and of its
    // negative.
    Case c = small_case({2, 1, {}});
    c.problem.pass = Pass::forward_inference;
    c.problem.eps = 0;
    c.x = {0x1p-149, -0x1p-149};
    c.gamma = {1};
    c.beta = {0};
    c.running_mean = {0};
    c.running_var = {1};
    const Observation seen = runner.run(kernel_of("libnormproof_cpu", "cpu.inference_centred"), c);
    EXPECT_EQ(seen[Output::y], c.x);
    EXPECT_FALSE(seen.environment_changed);
  }
}

TEST(Worker, WhatLoadingDoesToTheEnvironmentIsReportedAndUndone) {
  const Observation seen =
      Runner().run(kernel_of("libnormproof_hostile_at_load", "hostile.flush_to_zero_at_load"), tried());
  EXPECT_EQ(seen.outcome, Outcome::completed);
  EXPECT_TRUE(seen.environment_changed);
  EXPECT_THAT(seen.environment, StartsWith("loading left "));
#if defined(__x86_64__)
  EXPECT_EQ(seen.environment, "loading left flush-to-zero on, denormals-are-zero on");
#endif
  EXPECT_THAT(seen_of("rounding").environment, StartsWith("run left rounding mode other"));
}

TEST(Worker, OtherBitsOnASecondRunAreSeenOnlyWhenAskedFor) {
  EXPECT_FALSE(seen_of("other_bits", {.repeats = 2}).repeatable);
  EXPECT_TRUE(seen_of("other_bits", {.repeats = 1}).repeatable);
  EXPECT_TRUE(seen_of("prints", {.repeats = 3}).repeatable);
}

TEST(Worker, AnExceptionThatCrossesIsAFailureInBothModes) {
  for (const bool in_process : {false, true}) {
    const Observation seen = seen_of("throws", {.in_process = in_process});
    EXPECT_EQ(seen.outcome, Outcome::failed);
    EXPECT_THAT(seen.detail, HasSubstr("exception crossed the interface"));
  }
}

TEST(Worker, MegabytesPrintedNeitherBlockTheKernelNorReachOurOutput) {
  ::testing::internal::CaptureStdout();
  const Observation seen = seen_of("prints");
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), IsEmpty());
  EXPECT_EQ(seen.outcome, Outcome::completed);
  EXPECT_LT(seen.detail.size(), 5000u);
}

TEST(Worker, AChangedStructSizeIsABreachOfTheInterface) {
  const Observation seen = seen_of("struct_size");
  EXPECT_EQ(seen.outcome, Outcome::failed);
  EXPECT_THAT(seen.detail, HasSubstr("struct_size"));
}

TEST(Worker, AFailureCarriesTheKernelsWordsAndItsOutput) {
  const Observation seen = seen_of("fails");
  EXPECT_EQ(seen.outcome, Outcome::failed);
  EXPECT_THAT(seen.detail, AllOf(HasSubstr("out of luck"), HasSubstr("a line on stderr")));
  EXPECT_THAT(seen[Output::y], IsEmpty());
}

TEST(Worker, InferenceThatUpdatesTheRunningStatisticsIsSeen) {
  Case c = tried();
  c.problem.pass = Pass::forward_inference;
  const Observation wrong =
      Runner().run(kernel_of("libnormproof_mutants", "mutant.inference_updates_running"), c);
  EXPECT_EQ(wrong.outcome, Outcome::completed);
  EXPECT_TRUE(wrong.running_changed);
  EXPECT_THAT(wrong[Output::running_mean], Not(IsEmpty()));

  const Observation right = Runner().run(kernel_of("libnormproof_cpu", "cpu.inference_centred"), c);
  EXPECT_FALSE(right.running_changed);
  EXPECT_THAT(right[Output::running_mean], IsEmpty());
}

/// The process whose parent is `parent`, once there is one.
std::optional<pid_t> child_of(pid_t parent) {
  const std::string name =
      "/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children";
  for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(10ms)) {
    pid_t child = 0;
    if (std::ifstream(name) >> child)
      return child;
  }
  return std::nullopt;
}

/// Gone, or dead and waiting for somebody to reap it.
bool is_dead(pid_t process) {
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string pid;
  std::string name;
  std::string state;
  return !(stat >> pid >> name >> state) || state == "Z";
}

TEST(Worker, DiesWithItsHostInTheMiddleOfARun) {
  const pid_t host = fork();
  if (host == 0) {
    seen_of("endless_loop", {.time_limit = 60s});
    _exit(0);
  }
  const std::optional<pid_t> warden = child_of(host);
  ASSERT_TRUE(warden.has_value());
  const std::optional<pid_t> worker = child_of(*warden);
  std::this_thread::sleep_for(200ms);
  kill(host, SIGKILL);
  waitpid(host, nullptr, 0);
  ASSERT_TRUE(worker.has_value());
  bool dead = false;
  for (int i = 0; i < 500 && !dead; ++i, std::this_thread::sleep_for(10ms))
    dead = is_dead(*worker) && is_dead(*warden);
  EXPECT_TRUE(dead);
}

TEST(Worker, OneThatWasKilledWhileIdleIsReplacedWithoutBlame) {
  Runner runner;
  expect_correct_run(runner);
  const std::optional<pid_t> warden = child_of(getpid());
  ASSERT_TRUE(warden.has_value());
  const std::optional<pid_t> worker = child_of(*warden);
  ASSERT_TRUE(worker.has_value());
  kill(*worker, SIGKILL);
  while (!is_dead(*worker))
    std::this_thread::sleep_for(1ms);
  expect_correct_run(runner);
}

TEST(Worker, NoneIsLeftBehindByARunner) {
  {
    Runner runner;
    expect_correct_run(runner);
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // no child at all, dead or alive
}

TEST(Worker, AMissingProgramIsAnErrorOfOursAndNamed) {
  setenv("NORMPROOF_WORKER", "/nonexistent/worker", 1);
  EXPECT_THAT([] { seen_of("prints"); },
              ::testing::ThrowsMessage<std::runtime_error>(HasSubstr("/nonexistent/worker")));
  unsetenv("NORMPROOF_WORKER");
}

}  // namespace
}  // namespace normproof::impls
