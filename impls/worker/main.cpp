// normproof-worker: holds one kernel library and runs its kernels on requests, away from the process that
// judges.
//
// Usage: normproof-worker LIBRARY, with a SOCK_SEQPACKET socket as descriptor 3, shared memory as 4 and the
// host's pipe as 5. It is started by normproof and of no use by hand. It never sees the truth, only inputs
// and poisoned outputs.
#include <cstdio>
#include <exception>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "execute.h"
#include "fp_environment.h"
#include "guard_pages.h"
#include "library.h"
#include "shared_memory.h"
#include "warden.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NORMPROOF_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define NORMPROOF_ADDRESS_SANITIZER
#endif
#if defined(NORMPROOF_ADDRESS_SANITIZER)
// A crash must reach the host as its signal, not as a report and an exit status.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0";
}
#endif

namespace {

using namespace normproof::impls;

/// Leaves without destructors and exit handlers: those of a foreign library may hang.
[[noreturn]] void leave(int status) {
  _exit(status);
}

template <class Record>
void answer(const Record& record, SharedMemory* memory = nullptr) {
  if (send(socket_descriptor, &record, sizeof record, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof record))
    return;
  if (memory != nullptr && memory->data() != nullptr)
    reinterpret_cast<Head*>(memory->data())->lost = 1;
  leave(1);
}

/// Threads of this process: the links of its folder, less two. One call, no reading.
nlink_t threads() {
  struct stat info{};
  return stat("/proc/self/task", &info) == 0 ? info.st_nlink : 0;
}
bool has_children() {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/// What a kernel leaves running can still write when its run is over. A thread that was joined may take a
/// moment to go.
bool left_running() {
  static nlink_t known = 3;  // "." and ".." and one thread
  nlink_t now = threads();
  for (int patience = 0; now > known && patience < 20; ++patience) {
    usleep(50);
    now = threads();
  }
  const bool more = now > known;
  known = now;
  return more || has_children();
}

std::optional<Library> load(const char* path) {
  Hello hello;
  std::optional<Library> library;
  const FpEnvironment before = current_environment();
  try {
    library.emplace(path);
    const np_library& table = library->table();
    hello.loaded = 1;
    hello.kernel_count = table.kernel_count;
    hello.library_name = table.name != nullptr ? table.name : "";
    hello.library_version = table.version != nullptr ? table.version : "";
  } catch (const std::exception& error) {
    hello.message = error.what();
  }
  hello.process = getpid();
  hello.environment = changes(before, current_environment());
  restore_environment(before);  // loading code built with -ffast-math switches FTZ on
  answer(hello);
  return library;
}

Description describe(const np_library& table, int index) {
  Description d;
  if (index < 0 || index >= table.kernel_count)
    return d;
  const np_kernel& kernel = *table.kernels[index];
  d.device_type = kernel.device_type;
  d.name = kernel.name;
  d.summary = kernel.summary != nullptr ? kernel.summary : "";
  d.worst_known = kernel.worst_known != nullptr ? kernel.worst_known : "";
  return d;
}

Reply run(const Library& library, const Request& request, SharedMemory& memory) {
  Reply reply;
  const np_kernel* const kernel = library.find(request.kernel.view());
  if (kernel == nullptr) {
    reply.kernel_found = 0;
    return reply;
  }
  try {
    if (request.memory_bytes > memory.mapped())
      forget_protection();
    memory.follow(request.memory_bytes);
  } catch (const std::exception& error) {
    reply.message = error.what();
    return reply;
  }
  const pid_t self = getpid();
  protect(memory.data(), memory.mapped(), request);
  reply = execute(*kernel, request, memory.data());
  if (getpid() != self) {  // the kernel forked, and came back twice
    reinterpret_cast<Head*>(memory.data())->returned_twice = 1;
    leave(0);
  }
  reply.left_running = left_running() ? 1 : 0;
  return reply;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || fcntl(socket_descriptor, F_GETFD) < 0 || fcntl(life_descriptor, F_GETFD) < 0) {
    std::fputs("normproof-worker is started by normproof; see impls/worker/main.cpp\n", stderr);
    return 2;
  }
  become_worker_under_warden(life_descriptor);
  fcntl(socket_descriptor, F_SETFD, FD_CLOEXEC);
  fcntl(memory_descriptor, F_SETFD, FD_CLOEXEC);
  if (std::FILE* const score = std::fopen("/proc/self/oom_score_adj", "w")) {
    std::fputs("1000", score);  // if the system must end somebody, then this process and not its host
    std::fclose(score);
  }

  setvbuf(stdout, nullptr, _IOLBF, 0);  // what a kernel printed before it crashed is worth having
  watch_faults();
  const std::optional<Library> library = load(argv[1]);
  if (!library)
    leave(0);
  left_running();  // what loading started is not the kernels' doing
  SharedMemory memory(memory_descriptor);
  Request request;
  while (recv(socket_descriptor, &request, sizeof request, 0) == static_cast<ssize_t>(sizeof request)) {
    if (request.command == Request::Command::describe)
      answer(describe(library->table(), request.kernel_index));
    else
      answer(run(*library, request, memory), &memory);
  }
  leave(0);
}
