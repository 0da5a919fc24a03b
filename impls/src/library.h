// A loaded kernel library: dlopen, the one exported symbol, and a table whose every entry has been looked at.
#pragma once

#include <filesystem>
#include <string_view>

#include "normproof/kernel.h"

namespace normproof::impls {

/// Loads on construction; never unloads, since threads and exit handlers of foreign code may still run.
/// Throws std::runtime_error with one line that says what is wrong.
class Library {
public:
  explicit Library(const std::filesystem::path& path);

  const np_library& table() const { return *table_; }
  /// The kernel of that name, or nullptr.
  const np_kernel* find(std::string_view name) const;

private:
  const np_library* table_ = nullptr;
};

}  // namespace normproof::impls
