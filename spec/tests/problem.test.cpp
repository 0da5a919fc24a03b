// Problems and dialects: what is defined where, and the two entry points of PyTorch told apart.
#include "normproof/spec/problem.h"

#include <set>

#include <gtest/gtest.h>

namespace normproof {
namespace {

TEST(Problem, InferenceReportsNoBatchStatistics) {
  Problem problem;
  for (const Output output : all_outputs)
    EXPECT_TRUE(is_defined(problem, output)) << to_string(output);
  problem.running = false;
  EXPECT_FALSE(is_defined(problem, Output::running_var));
  EXPECT_TRUE(is_defined(problem, Output::var));
  problem.pass = Pass::forward_inference;
  for (const Output output : all_outputs)
    EXPECT_EQ(is_defined(problem, output), output == Output::y);
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
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
    EXPECT_EQ(parse_pass(to_string(pass)), pass);
  EXPECT_FALSE(parse_output("variance").has_value());
  EXPECT_FALSE(parse_pass("").has_value());
}

TEST(Dialects, TheDocumentedOneComesFirstAndEveryNameIsItsOwn) {
  EXPECT_EQ(dialects().front().name, "documented");
  EXPECT_EQ(dialects().front().semantics, Semantics{});
  std::set<std::string_view> names;
  for (const Dialect& dialect : dialects()) {
    names.insert(dialect.name);
    EXPECT_EQ(dialect_named(dialect.name)->semantics, dialect.semantics);
  }
  EXPECT_EQ(names.size(), dialects().size());
  EXPECT_FALSE(dialect_named("torch").has_value());
}

TEST(Dialects, EntryPointsOfPyTorchDifferAtOneValuePerChannel) {
  const Semantics native = dialect_named("pytorch/native_batch_norm")->semantics;
  const Semantics functional = dialect_named("pytorch/F.batch_norm")->semantics;
  EXPECT_EQ(dialect_named("pytorch")->name, "pytorch/native_batch_norm");
  EXPECT_EQ(native.single_value, SingleValue::unbiased_is_nan);
  EXPECT_EQ(functional.single_value, SingleValue::rejected);
  for (const Semantics& s : {native, functional}) {
    EXPECT_EQ(s.eps, EpsPlacement::inside_root);
    EXPECT_EQ(s.normalising, VarianceKind::biased);
    EXPECT_EQ(s.running, VarianceKind::unbiased);
    EXPECT_EQ(s.momentum, MomentumSense::weight_of_new);
  }
}

}  // namespace
}  // namespace normproof
