// Files that the program writes: whole or not at all.
#pragma once

#include <string>

namespace normproof::ci {

/// Where a report goes: a path, or "-" for stdout. The constructor finds out whether the place can be
/// written, so that a run of hours does not end in an error; write() puts the text into a file
/// without a name beside it, names it when it is whole and renames that: a killed program leaves no half file
/// (on file systems that have nameless files; else perhaps a temporary one beside). Both throw Failure (exit
/// 3) with the path and the reason.
class OutputFile {
public:
  explicit OutputFile(std::string path);
  void write(const std::string& text) const;
  bool is_stdout() const { return path_ == "-"; }

private:
  std::string path_;
};

}  // namespace normproof::ci
