// Small cases for the tests of this folder, without any reference to recipes: those live above us.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/impls/kernels.h"
#include "normproof/spec/case.h"

namespace normproof::impls {

/// Multiples of 1/4 in -15.75 .. 15.75 from a linear congruence: exact in every format that has 6 bits and
/// more.
class Quarters {
public:
  explicit Quarters(std::uint32_t seed) : state_(seed) {}
  double operator()() {
    state_ = state_ * 1664525u + 1013904223u;
    return (static_cast<int>((state_ >> 16) % 127) - 63) / 4.0;
  }

private:
  std::uint32_t state_;
};

inline Case small_case(Shape shape, Format format = f32, Layout layout = Layout::contiguous,
                       std::string_view dialect = "documented") {
  Case c;
  c.problem.shape = std::move(shape);
  c.problem.layout = layout;
  c.problem.data = c.problem.stats = format;
  c.problem.dialect = dialect;
  c.problem.semantics = dialect_named(dialect).value().semantics;
  c.problem.eps = 0x1p-10;
  c.problem.momentum = 0.25;
  Quarters next(static_cast<std::uint32_t>(c.problem.shape.elements()));
  for (std::int64_t i = 0; i < c.problem.shape.elements(); ++i)
    c.x.push_back(next());
  for (std::int64_t k = 0; k < c.problem.shape.channels; ++k) {
    c.gamma.push_back(next());
    c.beta.push_back(next());
    c.running_mean.push_back(next());
    c.running_var.push_back(next() + 16);
  }
  return c;
}

inline std::filesystem::path built_module(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "lib" / (name + ".so");
}

inline KernelInfo kernel_of(const std::string& library, const std::string& name) {
  KernelInfo kernel;
  kernel.name = name;
  kernel.library = built_module(library);
  return kernel;
}

}  // namespace normproof::impls
