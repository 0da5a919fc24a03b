#include "output_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"

namespace normproof::ci {
namespace {

Failure unwritable(const std::string& path) {
  return could_not(fmt::format("cannot write '{}': {}", path, std::strerror(errno)));
}

bool write_all(int file, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(file, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

/// Pipes, terminals and /dev/null are written in place: there is nothing to rename over.
bool is_special(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

std::string temporary_beside(const std::string& path) {
  return fmt::format("{}.{}.part", path, getpid());
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// A file without a name in the folder of `path`, or -1: whoever kills us leaves nothing of it. Not all file
/// systems can.
int nameless_beside(const std::string& path) {
  return open(folder_of(path).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
}

/// Gives a nameless file a name, which must not exist.
bool give_name(int file, const std::string& name) {
  const std::string self = fmt::format("/proc/self/fd/{}", file);
  return linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  if (is_stdout() || is_special(path_))
    return;
  struct stat info{};
  if (stat(path_.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    throw unwritable(path_);
  }
  if (const int file = nameless_beside(path_); file >= 0) {
    close(file);
    return;
  }
  const std::string probe = temporary_beside(path_);
  const int file = open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0)
    throw unwritable(path_);
  close(file);
  unlink(probe.c_str());
}

void OutputFile::write(const std::string& text) const {
  if (is_stdout()) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw unwritable("stdout");
    return;
  }
  const bool in_place = is_special(path_);
  const std::string target = in_place ? path_ : temporary_beside(path_);
  int file = in_place ? -1 : nameless_beside(path_);
  const bool nameless = file >= 0;
  if (!nameless)
    file = open(target.c_str(), O_WRONLY | O_CLOEXEC | (in_place ? 0 : O_CREAT | O_TRUNC), 0666);
  if (file < 0)
    throw unwritable(path_);
  // The name appears when the text is complete; then one step replaces what was there.
  const bool written = write_all(file, text) && (!nameless || give_name(file, target));
  const bool closed = close(file) == 0;
  if (written && closed && (in_place || std::rename(target.c_str(), path_.c_str()) == 0))
    return;
  const int error = errno;
  if (!in_place)
    unlink(target.c_str());
  errno = error;
  throw unwritable(path_);
}

}  // namespace normproof::ci
