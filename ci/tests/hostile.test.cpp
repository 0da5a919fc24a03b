// The hostile bank through the program: every hostile kernel becomes the status that it deserves, the run
// goes on, the report is whole, and a program that is killed leaves neither half a file nor a process. Prints
// the table of the bank.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <thread>

#include <gmock/gmock.h>

#include "program.h"
#include "schema.h"
#include "xml.h"

namespace normproof::ci {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::ordered_json;

/// Statuses that a kernel may have beside PASS, and a part of the report's words for it.
struct Deserved {
  std::vector<std::string> statuses;
  std::string words;
};

const std::map<std::string, Deserved>& deserved() {
  static const std::map<std::string, Deserved> all{
      {"segfault", {{"CRASHED"}, "SIGSEGV in run"}},
      {"abort", {{"CRASHED"}, "SIGABRT in run"}},
      {"exit_zero", {{"CRASHED"}, "exited with status 0 in run"}},
      {"endless_loop", {{"TIMED_OUT"}, "ms in run"}},
      {"stopped", {{"TIMED_OUT"}, "ms in run"}},
      {"memory", {{"CRASHED"}, "of resident memory in run"}},
      {"stack", {{"CRASHED"}, "its stack is used up"}},
      {"closed_descriptors", {{"CRASHED"}, "closed its worker's descriptors"}},
      {"fork_returns_twice", {{"CORRUPTED"}, "returned in the child too"}},
      {"fork_daemon", {{}, ""}},
      {"thread_writes", {{"CORRUPTED"}, "still writing"}},
      {"thread_sleeps", {{}, ""}},
      {"unwritten_output", {{"CORRUPTED"}, "left unwritten"}},
      {"accumulates", {{"CORRUPTED"}, "or added to"}},
      {"nan_everywhere", {{"FAIL"}, "the wrong kind of value"}},
      {"changed_input", {{"CORRUPTED"}, "x: an input was changed"}},
      {"input_put_back", {{"CORRUPTED"}, "x: an input was written to"}},
      {"flush_to_zero", {{"CORRUPTED"}, "run left "}},
      {"flush_to_zero_at_load", {{"CORRUPTED"}, "loading left "}},
      {"rounding", {{"CORRUPTED"}, "run left rounding mode other"}},
      {"other_bits", {{"CLAIM_BROKEN", "FAIL"}, "a repeat run gave other bits"}},
      {"state_kept", {{"FAIL", "CLAIM_BROKEN"}, ""}},
      {"claims", {{"CLAIM_BROKEN"}, "the kernel's own claim"}},
      {"throws", {{"FAIL"}, "an exception crossed the interface"}},
      {"prints", {{}, ""}},
      {"struct_size", {{"FAIL"}, "query changed struct_size"}},
      {"huge_workspace", {{"FAIL"}, "bytes of workspace"}},
      {"fails", {{"FAIL"}, "out of luck"}}};
  return all;
}

/// Of a kernel that reads or writes beside a tensor. The scratch memory is aligned, and so not always flush
/// at its tail: a read there may be seen by nothing.
Deserved of_touch(const std::string& name) {
  const bool scratch = name.ends_with("workspace") || name.ends_with("reserve");
  if (scratch)
    return name.starts_with("read_past") ? Deserved{{"CRASHED", ""}, ""}
                                         : Deserved{{"CRASHED", "CORRUPTED"}, ""};
  const bool past = name.find("_past_") != std::string::npos;
  const std::string tensor = name.substr(name.find(past ? "_past_" : "_before_") + (past ? 6 : 8));
  return {{"CRASHED"}, (past ? "past the end of " : "before the start of ") + tensor + ", at byte "};
}

std::vector<std::string> recipes() {
  std::vector<std::string> words;
  for (const std::string pass : {"forward-training", "backward-training", "double-backward"})
    for (const char* const seed : {"1", "2"}) {
      words.push_back("--case");
      words.push_back("np1 pass=" + pass + " shape=8x3x5 regime=normal seed=" + seed);
    }
  words.insert(words.end(), {"--case", "np1 shape=64x3x5 regime=offset:1000 seed=1"});
  return words;
}

std::vector<std::string> words_of_failures(const Json& kernel) {
  std::vector<std::string> words;
  for (const Json& failure : kernel["failures"])
    words.push_back(failure["note"]);
  return words;
}

TEST(Hostile, a_kernel_that_gets_another_status_than_it_deserves_or_ends_the_run) {
  const Scratch scratch;
  std::vector<std::string> call{"check",
                                NORMPROOF_HOSTILE,
                                NORMPROOF_HOSTILE_AT_LOAD,
                                "--timeout",
                                "300ms",
                                "--memory",
                                "300M",
                                "--repeats",
                                "2",
                                "--threads",
                                "1",
                                "--json",
                                scratch / "r.json",
                                "--junit",
                                scratch / "r.xml"};
  const std::vector<std::string> cases = recipes();
  call.insert(call.end(), cases.begin(), cases.end());
  const Ended ended = normproof(call);
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("DOES NOT CONFORM"));
  EXPECT_EQ(xml_error(file_text(scratch / "r.xml")), "");
  const Json report = Json::parse(file_text(scratch / "r.json"));
  const Schema schema(Json::parse(file_text(NORMPROOF_SCHEMAS "/report-1.json")));
  EXPECT_THAT(schema.breaches(report), IsEmpty());

  std::size_t listed = 0;
  std::size_t touching = 0;
  for (const Json& kernel : report["kernels"]) {
    const std::string name = std::string(kernel["name"]).substr(std::string("hostile.").size());
    const auto found = deserved().find(name);
    found == deserved().end() ? ++touching : ++listed;
    const Deserved wanted = found == deserved().end() ? of_touch(name) : found->second;
    const std::vector<std::string> words = words_of_failures(kernel);
    std::vector<std::string> statuses;
    for (const Json& failure : kernel["failures"])
      if (const std::string status = failure["status"]; std::ranges::find(statuses, status) == statuses.end())
        statuses.push_back(status);
    EXPECT_EQ(kernel["cases"], 7) << name;
    const bool must_fail = !wanted.statuses.empty() && !wanted.statuses.back().empty();
    EXPECT_TRUE(!must_fail || !statuses.empty()) << name << " was let through";
    std::string shown;
    for (const std::string& status : statuses) {
      EXPECT_THAT(wanted.statuses, Contains(status)) << name;
      shown += (shown.empty() ? "" : ", ") + status;
    }
    const auto said = [&](const std::string& note) {
      return note.find(wanted.words) != std::string::npos;
    };
    EXPECT_TRUE(wanted.words.empty() || std::ranges::any_of(words, said))
        << name << ": no report says '" << wanted.words << "'";
    if (shown.empty())
      shown = "PASS";
    shown.resize(std::max<std::size_t>(shown.size(), 22), ' ');
    std::string line = name;
    line.resize(34, ' ');
    std::cout << line << shown << ' '
              << (words.empty() ? "" : words.front().substr(0, words.front().find("; it printed"))) << '\n';
  }
  EXPECT_EQ(listed, deserved().size());
  EXPECT_EQ(touching, 4U * 24U);
}

/// Processes that inherited our mark.
std::vector<std::string> marked(const std::string& mark) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc"))
    if (file_text((entry.path() / "environ").string()).find(mark) != std::string::npos)
      found.push_back(entry.path().filename().string());
  return found;
}

/// Killed at some moment of its start, of its workers' starts, of a run, or of its writing.
TEST(Hostile, a_killed_program_that_leaves_half_a_file_or_a_process) {
  const std::string mark = "NORMPROOF_KILL_TEST=" + std::to_string(getpid());
  int before_the_end = 0;
  for (int moment = 0; moment < 24; ++moment) {
    const Scratch scratch;
    const std::string path = scratch / "r.json";
    std::ofstream(path) << "{\"old\": true}\n";
    const pid_t child = fork();
    if (child == 0) {
      putenv(const_cast<char*>(mark.c_str()));
      // Short runs that end by writing, and long ones with something of everything left behind.
      const bool brief = moment % 2 == 0;
      const char* const kernel = brief ? "cpu.welford_f32" : "hostile.fork_daemon";
      const int nothing = open("/dev/null", O_WRONLY);
      dup2(nothing, STDOUT_FILENO);
      dup2(nothing, STDERR_FILENO);
      execl(NORMPROOF_PROGRAM, "normproof", "check", NORMPROOF_HOSTILE, "--impl", kernel, "--impl",
            brief ? kernel : "hostile.endless_loop", "--case", "np1 shape=8x3x5 seed=1", "--case",
            "np1 shape=8x3x5 seed=2", "--json", path.c_str(), static_cast<char*>(nullptr));
      _exit(126);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(moment * moment / 2));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    before_the_end += WIFSIGNALED(status) ? 1 : 0;
    for (const std::string& file : scratch.files())
      EXPECT_FALSE(Json::parse(file_text(scratch / file), nullptr, false).is_discarded())
          << "half a file after " << moment * moment / 2 << " ms: " << file;
    std::vector<std::string> left = marked(mark);
    for (int patience = 0; !left.empty() && patience < 300; ++patience, left = marked(mark))
      std::this_thread::sleep_for(10ms);
    EXPECT_THAT(left, IsEmpty()) << "after " << moment * moment / 2 << " ms";
  }
  EXPECT_GE(before_the_end, 8) << "too few were killed at work";
}

}  // namespace
}  // namespace normproof::ci
