// Small cases for the tests of this folder, without any reference to recipes: those live above us.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
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

/// A pair of formats of data and statistics (spec/bounds/formats.md).
struct Formats {
  Format data;
  Format stats;
};
inline const std::vector<Formats> all_formats{{f64, f64}, {f32, f32},  {f16, f32},
                                              {f16, f16}, {bf16, f32}, {bf16, bf16}};

/// A case of any pass on which every sum, quotient and product of a correct kernel is exact, whatever the
/// order: x is K + {1, -1, 0, 0} over and over (n a multiple of 4; where gradients are divided, a power of
/// two), mean K, variance 1/2, eps 1/2, invstd 1 in training and 1/2 where statistics are given.
inline Case exact_case(Pass pass, Shape shape, Formats formats, Layout layout = Layout::contiguous) {
  Case c = small_case(std::move(shape), formats.data, layout);
  Problem& problem = c.problem;
  problem.pass = pass;
  problem.stats = formats.stats;
  problem.layout_seed = 7;
  problem.eps = 0.5;
  const std::int64_t n = problem.shape.per_channel();
  const auto at = [](std::int64_t i, std::initializer_list<double> values) {
    return values.begin()[static_cast<std::size_t>(i) % values.size()];
  };
  c.x.clear();
  for (std::int64_t k = 0; k < problem.shape.channels; ++k) {
    for (std::int64_t i = 0; i < n; ++i)
      c.x.push_back(static_cast<double>(k % 7) + at(i + k, {1, -1, 0, 0}));
    c.gamma[static_cast<std::size_t>(k)] = at(k, {1, -2, 0.5});
    c.running_mean[static_cast<std::size_t>(k)] = static_cast<double>(k % 5);
    c.running_var[static_cast<std::size_t>(k)] = 3.5;
  }
  if (is_forward(pass))
    return c;
  for (std::int64_t i = 0; i < problem.shape.elements(); ++i) {
    c.dy.push_back(at(i * i / 3, {1, 0, -1, 2, -2, 1, 3}));
    if (is_second_order(pass))
      c.v_x.push_back(at(i * i / 5, {0, 1, 2, -1, -1}));
  }
  if (takes_saved(pass))
    for (std::int64_t k = 0; k < problem.shape.channels; ++k) {
      c.saved_mean.push_back(static_cast<double>(k % 7));
      c.saved_invstd.push_back(0.5);
    }
  if (is_second_order(pass))
    for (std::int64_t k = 0; k < problem.shape.channels; ++k) {
      c.v_gamma.push_back(at(k, {1, 0.5, -1}));
      c.v_beta.push_back(at(k, {-1, 2}));
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
