// The host's end of one worker: a persistent process that holds one kernel library.
//
// Started by posix_spawn (exec, never a bare fork: CUDA and thread pools do not survive one) under a warden
// (warden.h), spoken to over a SOCK_SEQPACKET pair, ended with all that it started when a limit passes.
// Whatever it prints goes to a pipe of which the last lines are kept.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

#include "protocol.h"
#include "shared_memory.h"

namespace normproof::impls {

class WorkerProcess {
public:
  using Clock = std::chrono::steady_clock;
  enum class Answer { received, died, timed_out, over_memory };

  /// Starts the program; throws std::runtime_error when that fails. The library loads meanwhile.
  WorkerProcess(const std::filesystem::path& program, const std::filesystem::path& library);
  /// Kills and reaps.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// Waits for the library to be loaded. Unless it is `received` the process is gone.
  Answer await_hello(Hello& hello, Clock::time_point deadline);

  /// The most resident memory of its own (not shared: neither tensors nor code), in bytes, from now on; 0: no
  /// limit. It is looked at every few milliseconds.
  void limit_memory(std::uint64_t bytes) { memory_limit_ = bytes; }

  /// False when the process was gone before it could take the request.
  bool send(const Request& request);
  template <class Record>
  Answer receive(Record& record, Clock::time_point deadline) {
    return receive(&record, sizeof record, deadline);
  }

  /// The block that the worker maps too.
  SharedMemory& memory() { return memory_; }

  /// How it ended: "SIGSEGV", "exited with status 0". Only after `died`.
  const std::string& death() const { return death_; }
  /// The last of what it printed (4 KB at most), or empty.
  std::string last_words() const;
  void forget_words() { words_.clear(); }

private:
  Answer receive(void* record, std::size_t size, Clock::time_point deadline);
  void drain_output();
  void reap(bool end_first);

  SharedMemory memory_;
  bool is_over_memory() const;

  pid_t process_ = -1;  ///< the warden
  pid_t worker_ = -1;   ///< known when it has said hello
  std::uint64_t memory_limit_ = 0;
  int life_ = -1;
  int socket_ = -1;
  int output_ = -1;
  std::string words_;
  std::string death_;
};

}  // namespace normproof::impls
