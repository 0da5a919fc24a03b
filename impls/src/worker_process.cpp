// Starting, hearing and ending a worker process.
#include "worker_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace normproof::impls {
namespace {

constexpr std::size_t words_kept = 4096;
constexpr std::int64_t memory_watch_ms = 10;

[[noreturn]] void raise(std::string_view what, int error = errno) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(error)));
}

/// A descriptor above those that a worker inherits, so that placing one never overwrites another.
int lift(int descriptor) {
  const int lifted = fcntl(descriptor, F_DUPFD_CLOEXEC, 16);
  close(descriptor);
  if (lifted < 0)
    raise("no descriptor left for a worker");
  return lifted;
}

struct Pair {
  int host;
  int worker;
};
Pair make_socket() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    raise("socketpair");
  return {ends[0], lift(ends[1])};
}
Pair make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    raise("pipe");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return {ends[0], lift(ends[1])};
}

/// Nothing is ever written: the reader learns when the other end, the host's, is gone.
Pair make_life() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    raise("pipe");
  return {ends[1], lift(ends[0])};
}

std::string signal_name(int signal) {
  const char* const name = sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : fmt::format("signal {}", signal);
}

}  // namespace

WorkerProcess::WorkerProcess(const std::filesystem::path& program, const std::filesystem::path& library) {
  const Pair channel = make_socket();
  const Pair output = make_pipe();
  const Pair life = make_life();
  socket_ = channel.host;
  output_ = output.host;
  life_ = life.host;
  const int memory = lift(dup(memory_.descriptor()));

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.worker, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.worker, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, channel.worker, socket_descriptor);
  posix_spawn_file_actions_adddup2(&actions, memory, memory_descriptor);
  posix_spawn_file_actions_adddup2(&actions, life.worker, life_descriptor);

  // A host that blocks or ignores signals must not hand that on.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  sigdelset(&defaults, SIGKILL);
  sigdelset(&defaults, SIGSTOP);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);  // a terminal's signals end the host, which ends the rest
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  std::string name = program.filename();
  std::string file = std::filesystem::absolute(library);
  const std::array<char*, 3> arguments{name.data(), file.data(), nullptr};
  const int error = posix_spawn(&process_, program.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  for (const int descriptor : {channel.worker, output.worker, life.worker, memory})
    close(descriptor);
  if (error != 0) {
    close(socket_);
    close(output_);
    close(life_);
    raise(fmt::format("cannot start the worker {}", program.string()), error);
  }
}

WorkerProcess::~WorkerProcess() {
  reap(true);
  close(socket_);
  close(output_);
  if (life_ >= 0)
    close(life_);
}

WorkerProcess::Answer WorkerProcess::await_hello(Hello& hello, Clock::time_point deadline) {
  const Answer answer = receive(hello, deadline);
  if (answer == Answer::received)
    worker_ = hello.process;
  return answer;
}

bool WorkerProcess::send(const Request& request) {
  return ::send(socket_, &request, sizeof request, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof request);
}

WorkerProcess::Answer WorkerProcess::receive(void* record, std::size_t size, Clock::time_point deadline) {
  std::array<pollfd, 2> watched{pollfd{socket_, POLLIN, 0}, pollfd{output_, POLLIN, 0}};
  Clock::time_point next_look = Clock::now() + std::chrono::milliseconds(memory_watch_ms);
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const std::int64_t longest = memory_limit_ != 0 ? memory_watch_ms : 1'000'000;
    const int wait = static_cast<int>(std::clamp<std::int64_t>(left, 0, longest));
    const int ready = poll(watched.data(), watched.size(), wait);
    if (ready < 0 && errno != EINTR)
      raise("poll");
    if (ready == 0 && left <= 0) {
      reap(true);
      return Answer::timed_out;
    }
    if (memory_limit_ != 0 && Clock::now() >= next_look) {
      next_look = Clock::now() + std::chrono::milliseconds(memory_watch_ms);
      if (is_over_memory()) {
        reap(true);
        return Answer::over_memory;
      }
    }
    if (ready <= 0)
      continue;
    if (watched[1].revents != 0)
      drain_output();
    if (watched[0].revents == 0)
      continue;
    if (recv(socket_, record, size, MSG_TRUNC) == static_cast<ssize_t>(size))
      return Answer::received;
    // End of the stream, or a record that no worker of ours sends.
    reap(false);
    drain_output();
    return Answer::died;
  }
}

void WorkerProcess::drain_output() {
  std::array<char, 65536> chunk{};
  for (;;) {
    const ssize_t got = read(output_, chunk.data(), chunk.size());
    if (got <= 0)
      return;
    words_.append(chunk.data(), static_cast<std::size_t>(got));
    if (words_.size() > words_kept)
      words_.erase(0, words_.size() - words_kept);
  }
}

std::string WorkerProcess::last_words() const {
  std::string_view text = words_;
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  return std::string(text);
}

bool WorkerProcess::is_over_memory() const {
  const std::string path = fmt::format("/proc/{}/statm", worker_);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return false;
  std::array<char, 128> text{};
  const ssize_t got = read(file, text.data(), text.size() - 1);
  close(file);
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::uint64_t shared = 0;
  if (got <= 0 ||
      std::sscanf(text.data(), "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
    return false;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return (resident - std::min(shared, resident)) * page > memory_limit_;
}

void WorkerProcess::reap(bool end_first) {
  if (process_ < 0)
    return;
  // The warden ends with its worker, and ends it when this pipe closes; in either case after all that the
  // kernels started. It is waited for, but not for ever.
  if (end_first) {
    close(life_);
    life_ = -1;
  }
  int status = 0;
  const Clock::time_point patience = Clock::now() + std::chrono::seconds(2);
  pid_t reaped = 0;
  while ((reaped = waitpid(process_, &status, WNOHANG)) == 0 && Clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  if (reaped == 0 && !end_first) {
    reap(true);
    death_ = "closed its connection";
    return;
  }
  if (reaped == 0) {
    kill(process_, SIGKILL);
    waitpid(process_, &status, 0);
  }
  if (WIFSIGNALED(status))
    death_ = signal_name(WTERMSIG(status));
  else
    death_ = fmt::format("exited with status {}", WEXITSTATUS(status));
  process_ = -1;
}

}  // namespace normproof::impls
