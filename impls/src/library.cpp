// Loading a kernel library, and refusing one whose table could not be used safely.
#include "library.h"

#include <cstddef>
#include <stdexcept>
#include <string>

#include <dlfcn.h>
#include <fmt/format.h>

namespace normproof::impls {
namespace {

constexpr std::string_view name_characters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool is_kernel_name(const char* name) {
  if (name == nullptr)
    return false;
  const std::string_view text(name);
  return !text.empty() && text.size() < 128 && text.find_first_not_of(name_characters) == text.npos;
}

void check(bool holds, const std::string& what) {
  if (!holds)
    throw std::runtime_error(what);
}

void check_kernel(const np_kernel* kernel, int index) {
  check(kernel != nullptr, fmt::format("kernel {} of its table is NULL", index));
  check(kernel->struct_size >= offsetof(np_kernel, destroy) + sizeof(kernel->destroy),
        fmt::format("kernel {} has struct_size {}, less than version 1 of the interface", index,
                    kernel->struct_size));
  check(is_kernel_name(kernel->name),
        fmt::format("kernel {} has no name of letters, digits, '.', '_' and '-'", index));
  check(kernel->query && kernel->create && kernel->run && kernel->destroy,
        fmt::format("{}: query, create, run or destroy is NULL", kernel->name));
}

}  // namespace

Library::Library(const std::filesystem::path& path) {
  // A path without a slash would be looked up in the system's folders.
  void* const handle = dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    throw std::runtime_error(reason != nullptr ? reason : "dlopen failed");
  }
  void* const symbol = dlsym(handle, "normproof_library");
  check(symbol != nullptr, "it exports no normproof_library (see normproof/kernel.h)");

  table_ = reinterpret_cast<decltype(&normproof_library)>(symbol)(NP_ABI_MAJOR);
  check(table_ != nullptr, fmt::format("it refuses interface version {}", NP_ABI_MAJOR));
  check(table_->abi_major_minimum <= NP_ABI_MAJOR,
        fmt::format("it needs interface version {}, this host speaks {}", table_->abi_major_minimum,
                    NP_ABI_MAJOR));
  check(
      table_->struct_size >= offsetof(np_library, kernels) + sizeof(table_->kernels),
      fmt::format("its table has struct_size {}, less than version 1 of the interface", table_->struct_size));
  check(table_->kernel_count > 0 && table_->kernels != nullptr, "its table holds no kernel");
  for (int k = 0; k < table_->kernel_count; ++k) {
    check_kernel(table_->kernels[k], k);
    check(find(table_->kernels[k]->name) == table_->kernels[k],
          fmt::format("its table holds {} twice", table_->kernels[k]->name));
  }
}

const np_kernel* Library::find(std::string_view name) const {
  for (int k = 0; k < table_->kernel_count; ++k)
    if (table_->kernels[k] != nullptr && name == table_->kernels[k]->name)
      return table_->kernels[k];
  return nullptr;
}

}  // namespace normproof::impls
