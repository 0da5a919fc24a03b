// Files that the program writes: whole or not at all.
#pragma once

#include <string>

namespace normproof::ci {

/// Where a report goes: a path, or "-" for stdout. The constructor finds out whether the place can be
/// written, so that a run of hours does not end in an error; write() puts the text into a temporary file
/// beside it and renames that. Both throw Failure (exit 3) with the path and the reason.
class OutputFile {
public:
  explicit OutputFile(std::string path);
  void write(const std::string& text) const;
  bool is_stdout() const { return path_ == "-"; }

private:
  std::string path_;
};

}  // namespace normproof::ci
