// Kernels by name for the tests of this folder, wrong and hostile ones too.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "normproof/impls/kernels.h"

namespace normproof::fuzz {

inline impls::KernelInfo kernel_of(const std::string& name) {
  static const impls::Catalogue all = [] {
    std::vector<std::filesystem::path> libraries = impls::bundled_libraries();
    libraries.push_back(impls::mutant_library());
    libraries.emplace_back(NORMPROOF_HOSTILE);
    return impls::discover(libraries);
  }();
  for (const impls::KernelInfo& kernel : all.kernels)
    if (kernel.name == name)
      return kernel;
  throw std::runtime_error("no kernel " + name);
}

}  // namespace normproof::fuzz
