// Every way in which a kernel can misbehave, and what the run must say of it.
#include <chrono>
#include <csignal>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

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

TEST(Worker, OneElementPastTheEndIsSeenAndNamed) {
  EXPECT_THAT(seen_of("overrun").breaches, ElementsAre("mean: written past its end"));
}

TEST(Worker, OneElementBeforeTheStartIsSeenAndNamed) {
  EXPECT_THAT(seen_of("underrun").breaches, ElementsAre("y: written before its start"));
}

TEST(Worker, AnOverrunOfTheWorkspaceIsSeen) {
  EXPECT_THAT(seen_of("workspace_overrun").breaches, ElementsAre("workspace: written past its end"));
}

TEST(Worker, FlushToZeroLeftOnIsReportedAndUndone) {
  for (const bool in_process : {false, true}) {
    Runner runner({.in_process = in_process});
    EXPECT_TRUE(runner.run(hostile("flush_to_zero"), tried()).environment_changed);
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
  const std::optional<pid_t> worker = child_of(host);
  std::this_thread::sleep_for(200ms);
  kill(host, SIGKILL);
  waitpid(host, nullptr, 0);
  ASSERT_TRUE(worker.has_value());
  bool dead = false;
  for (int i = 0; i < 500 && !dead; ++i, std::this_thread::sleep_for(10ms))
    dead = is_dead(*worker);
  EXPECT_TRUE(dead);
}

TEST(Worker, OneThatWasKilledWhileIdleIsReplacedWithoutBlame) {
  Runner runner;
  expect_correct_run(runner);
  const std::optional<pid_t> worker = child_of(getpid());
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
