// normproof-worker: holds one kernel library and runs its kernels on requests, away from the process that
// judges.
//
// Usage: normproof-worker LIBRARY HOST_PID, with a SOCK_SEQPACKET socket as descriptor 3 and shared memory
// as 4. It is started by normproof and of no use by hand. It never sees the truth, only inputs and poisoned
// outputs.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <exception>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "execute.h"
#include "fp_environment.h"
#include "library.h"
#include "shared_memory.h"

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
void answer(const Record& record) {
  if (send(socket_descriptor, &record, sizeof record, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof record))
    leave(1);
}

/// Dies with the host, even in the middle of a kernel.
void tie_to(std::string_view host) {
  pid_t expected = 0;
  std::from_chars(host.data(), host.data() + host.size(), expected);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != expected)  // it died before the call above
    leave(1);
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
    memory.require(request.memory_bytes, false);
  } catch (const std::exception& error) {
    reply.message = error.what();
    return reply;
  }
  return execute(*kernel, request, memory.data());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || fcntl(socket_descriptor, F_GETFD) < 0) {
    std::fputs("normproof-worker is started by normproof; see impls/worker/main.cpp\n", stderr);
    return 2;
  }
  tie_to(argv[2]);
  fcntl(socket_descriptor, F_SETFD, FD_CLOEXEC);
  fcntl(memory_descriptor, F_SETFD, FD_CLOEXEC);

  setvbuf(stdout, nullptr, _IOLBF, 0);  // what a kernel printed before it crashed is worth having
  const std::optional<Library> library = load(argv[1]);
  if (!library)
    leave(0);
  SharedMemory memory(memory_descriptor);
  Request request;
  while (recv(socket_descriptor, &request, sizeof request, 0) == static_cast<ssize_t>(sizeof request)) {
    if (request.command == Request::Command::describe)
      answer(describe(library->table(), request.kernel_index));
    else
      answer(run(*library, request, memory));
  }
  leave(0);
}
