#include "warden.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol.h"

namespace normproof::impls {
namespace {

/// The parent of a process, or 0. The name in stat is in brackets and may hold anything.
pid_t parent_of(const char* process) {
  char path[64] = "/proc/";
  std::size_t length = 6;
  for (; *process != '\0' && length < 40; ++process)
    path[length++] = *process;
  for (const char c : {'/', 's', 't', 'a', 't', '\0'})
    path[length++] = c;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  char text[512];
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0)
    return 0;
  text[got] = '\0';
  const char* end = text + got;
  while (end > text && *end != ')')
    --end;
  return end == text ? 0 : static_cast<pid_t>(std::strtol(end + 3, nullptr, 10));  // ") S PPID"
}

/// Kills our children; what they leave becomes ours in turn.
void kill_children() {
  DIR* const processes = opendir("/proc");
  if (processes == nullptr)
    return;
  while (const dirent* const entry = readdir(processes))
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && parent_of(entry->d_name) == getpid())
      kill(static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10)), SIGKILL);
  closedir(processes);
}

/// Until there is nobody below us. Bounded: something that cannot be killed is left to the system.
void end_all(pid_t worker, int& status) {
  kill(-worker, SIGKILL);
  kill(worker, SIGKILL);
  for (int round = 0; round < 2000; ++round) {
    int ended = 0;
    pid_t reaped = 0;
    while ((reaped = waitpid(-1, &ended, WNOHANG)) > 0)
      if (reaped == worker)
        status = ended;
    if (reaped < 0)
      return;  // ECHILD
    kill_children();
    const timespec pause{0, 500'000};
    nanosleep(&pause, nullptr);
  }
}

[[noreturn]] void end_like(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    ::signal(signal, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigprocmask(SIG_UNBLOCK, &only, nullptr);
    raise(signal);
  }
  _exit(WEXITSTATUS(status));
}

[[noreturn]] void guard(pid_t worker, int life, int child_events) {
  int status = 0;
  for (bool over = false; !over;) {
    pollfd watched[2] = {{life, POLLIN, 0}, {child_events, POLLIN, 0}};
    if (poll(watched, 2, -1) < 0 && errno != EINTR)
      break;
    over = watched[0].revents != 0;
    signalfd_siginfo event;
    while (read(child_events, &event, sizeof event) > 0) {
    }
    int ended = 0;
    for (pid_t reaped = 0; (reaped = waitpid(-1, &ended, WNOHANG)) > 0;)
      if (reaped == worker) {
        status = ended;
        over = true;
      }
  }
  end_all(worker, status);
  end_like(status);
}

}  // namespace

void become_worker_under_warden(int life) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);  // a crash on purpose leaves no file behind
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t child;
  sigset_t before;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  const pid_t warden = getpid();
  const pid_t worker = fork();
  if (worker < 0)
    _exit(1);
  if (worker > 0) {
    const int events = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
    // The other ends must close when the worker goes.
    close(socket_descriptor);
    close(memory_descriptor);
    const int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (const int output : {STDOUT_FILENO, STDERR_FILENO})
      dup2(nothing, output);
    guard(worker, life, events);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != warden)  // it died before the call above
    _exit(1);
  setpgid(0, 0);
  close(life);
}

}  // namespace normproof::impls
