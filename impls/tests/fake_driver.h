// For tests: the fake CUDA driver (fake_cuda/) before the real one, for workers that are started meanwhile.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "cases.h"

namespace normproof::impls {

/// An environment variable for as long as this lives.
class Setting {
public:
  Setting(const char* name, const std::string& value) : name_(name) {
    if (const char* const before = std::getenv(name); before != nullptr)
      before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Setting() { setenv(name_, before_.c_str(), 1); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

private:
  const char* name_;
  std::string before_;
};

/// Workers started while this lives find the fake driver; `broken` is what it is told (fake_cuda.cpp).
class FakeDriver {
public:
  explicit FakeDriver(const std::string& broken = "", const std::filesystem::path& folder = own_folder())
      : path_("LD_LIBRARY_PATH", folder.string()),
        words_("FAKE_CUDA", broken) {}

private:
  static std::filesystem::path own_folder() { return built_module("fake_cuda").replace_extension() / ""; }
  Setting path_;
  Setting words_;
};

}  // namespace normproof::impls
