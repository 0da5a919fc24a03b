// A kernel library made of several files: each gives its kernels, one of them joins the tables.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "normproof/kernel.h"

namespace normproof::impls::cpu {

using Table = std::span<const np_kernel>;

/// The pointers that np_library wants.
inline std::vector<const np_kernel*> joined(std::initializer_list<Table> tables) {
  std::vector<const np_kernel*> all;
  for (const Table& table : tables)
    for (const np_kernel& kernel : table)
      all.push_back(&kernel);
  return all;
}

/// What normproof_library() returns for them.
inline const np_library* library_of(const std::vector<const np_kernel*>& kernels, const char* name,
                                    std::uint32_t host_abi_major) {
  static const np_library library{.struct_size = sizeof(np_library),
                                  .abi_major_minimum = 1,
                                  .name = name,
                                  .version = "1",
                                  .kernel_count = static_cast<std::int32_t>(kernels.size()),
                                  .kernels = kernels.data()};
  return host_abi_major >= library.abi_major_minimum ? &library : nullptr;
}

}  // namespace normproof::impls::cpu
