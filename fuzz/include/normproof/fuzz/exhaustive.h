// Exhaustive tables: every input of a small space, so that a maximum is a maximum.
//
// The cost of each is bounded, and what a budget leaves out is said: `covered` of `total`. Inputs are taken
// in an order that spreads a part over the whole space. Specials are left to the recipes: a NaN has one
// encoding here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"
#include "normproof/spec/case.h"

namespace normproof::fuzz {

struct Exhausted {
  Output output = Output::y;
  std::int64_t total = 0, covered = 0;
  std::int64_t correctly_rounded = 0;
  std::int64_t most_steps = 0;  ///< numbers of the format between the output and the rounded truth
  Case worst;                   ///< where that was
  double ulps = 0;              ///< E_raw there
  double ratio = 0;             ///< measured/permitted there, at the default gate
  std::string reason;           ///< why the kernel was not tried
  double seconds = 0;

  bool exhaustive() const { return covered == total; }
};

struct TableOptions {
  impls::RunOptions run;
  std::optional<std::chrono::milliseconds> budget;
};

/// y in inference for every x of a format of 16 bits, under some statistics and parameters.
Exhausted every_x(const impls::KernelInfo& kernel, const Format& dtype, const TableOptions& options);

/// invstd for every normal f32 variance: y in inference at x = 1, mean 0, gamma 1, beta 0. The truth
/// is that of 64-bit significands; the worst is judged by the oracle.
Exhausted every_variance(const impls::KernelInfo& kernel, double eps, const TableOptions& options);

/// mean, var, invstd and y in training for n = 2 and every pair of values of a format of 16 bits,
/// against the certified oracle. x[0] >= 0: the other half is the negative of this one (bitwise negation is a
/// property of its own).
std::vector<Exhausted> every_pair(const impls::KernelInfo& kernel, const Format& dtype,
                                  const TableOptions& options);

}  // namespace normproof::fuzz
