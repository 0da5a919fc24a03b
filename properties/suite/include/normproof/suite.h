// The conformance suite in a GoogleTest program of yours. One line:
//
//   #include "normproof/suite.h"
//   NORMPROOF_CONFORMANCE_SUITE(Mine, {.library = "./libmine.so"})
//
// makes a test of every kernel of the library and every pass: does all that it computes keep its bounds? Each
// test records, by the id of the clause, how near to its bound the kernel came, or how often it broke it;
// GoogleTest's XML and JSON carry that. A pass that a kernel does not do is a skipped test with the kernel's
// reasons. Link normproof::suite, and gtest_main or a main of your own.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "normproof/impls/kernels.h"
#include "normproof/properties/grade.h"
#include "normproof/properties/profile.h"

namespace normproof::suite {

/// What to try, and how; the defaults are those of `normproof check`.
struct Options {
  std::filesystem::path library;  ///< behind normproof/kernel.h; relative to the working directory
  properties::Profile profile = properties::Profile::quick;
  properties::Gate gate;
  properties::Filter filter;  ///< e.g. {.dtypes = {"f32"}, .dialects = {"pytorch"}}
  std::uint64_t seed = 1;
  impls::RunOptions run;
  int threads = 1;
};

/// One test: a kernel in a pass, or a library that could not be loaded, which fails.
struct Trial {
  Options options;
  impls::KernelInfo kernel;
  Pass pass = Pass::forward_training;
  std::string trouble;
};
void PrintTo(const Trial& trial, std::ostream* os);

/// All tests of a library. `worker`: the program that holds kernels, where it is not beside this one;
/// NORMPROOF_WORKER in the environment wins.
std::vector<Trial> trials(Options options, const char* worker);
/// "cpu_welford_f32_forward_training"
std::string name_of(const testing::TestParamInfo<Trial>& info);

class Conformance : public testing::TestWithParam<Trial> {};

}  // namespace normproof::suite

#ifndef NORMPROOF_SUITE_WORKER
#define NORMPROOF_SUITE_WORKER nullptr
#endif

/// `name` sets the tests of several libraries apart; then designated initialisers of Options.
#define NORMPROOF_CONFORMANCE_SUITE(name, ...)                                                               \
  namespace normproof::suite {                                                                               \
  INSTANTIATE_TEST_SUITE_P(name, Conformance,                                                                \
                           testing::ValuesIn(trials(Options __VA_ARGS__, NORMPROOF_SUITE_WORKER)), name_of); \
  }
