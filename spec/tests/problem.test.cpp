// Problems: what is defined where, in which format.
#include "normproof/spec/problem.h"

#include <gtest/gtest.h>

namespace normproof {
namespace {

TEST(Problem, InferenceReportsNoBatchStatistics) {
  Problem problem;
  for (const Output output :
       {Output::mean, Output::var, Output::invstd, Output::y, Output::running_mean, Output::running_var})
    EXPECT_TRUE(is_defined(problem, output)) << to_string(output);
  problem.running = false;
  EXPECT_FALSE(is_defined(problem, Output::running_var));
  EXPECT_TRUE(is_defined(problem, Output::var));
  problem.pass = Pass::forward_inference;
  for (const Output output : all_outputs)
    EXPECT_EQ(is_defined(problem, output), output == Output::y);
}

TEST(Problem, EveryOutputBelongsToOneKindOfPass) {
  for (const Output output : all_outputs) {
    int kinds = 0;
    Problem problem;
    for (const Pass pass : {Pass::forward_training, Pass::gradient, Pass::double_backward}) {
      problem.pass = pass;
      kinds += is_defined(problem, output);
    }
    EXPECT_EQ(kinds, 1) << to_string(output);
  }
}

TEST(Problem, StatisticsHaveAFormatOfTheirOwn) {
  Problem problem;
  problem.data = f16;
  problem.stats = f32;
  EXPECT_EQ(format_of(problem, Output::y), f16);
  EXPECT_EQ(format_of(problem, Output::invstd), f32);
  EXPECT_EQ(problem.accumulator(), f32);
  problem.data = f64;
  EXPECT_EQ(problem.accumulator(), f64);
}

TEST(Problem, DefaultsAreTheDocumentedConstantsAsAFloatHoldsThem) {
  EXPECT_EQ(Problem{}.eps, static_cast<double>(1e-5F));
  EXPECT_EQ(Problem{}.momentum, static_cast<double>(0.1F));
}

TEST(Problem, NamesRoundTrip) {
  for (const Output output : all_outputs)
    EXPECT_EQ(parse_output(to_string(output)), output);
  for (const Pass pass : all_passes)
    EXPECT_EQ(parse_pass(to_string(pass)), pass);
  EXPECT_FALSE(parse_output("variance").has_value());
  EXPECT_FALSE(parse_pass("").has_value());
}

}  // namespace
}  // namespace normproof
