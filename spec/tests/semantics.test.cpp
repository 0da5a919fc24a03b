// The dialects: that the embedded table is the one of spec/dialects.json, and what tells its rows apart.
#include "normproof/spec/semantics.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace normproof {
namespace {

Semantics semantics(std::string_view name) {
  return dialect_named(name).value().semantics;
}

TEST(Dialects, TheDocumentedOneComesFirstAndEveryNameIsItsOwn) {
  EXPECT_EQ(dialects().front().name, "documented");
  EXPECT_EQ(dialects().front().semantics, Semantics{});
  EXPECT_TRUE(dialects().front().not_applicable.empty());
  std::set<std::string_view> names;
  for (const Dialect& dialect : dialects()) {
    names.insert(dialect.name);
    EXPECT_EQ(dialect_named(dialect.name)->semantics, dialect.semantics);
    EXPECT_FALSE(dialect.summary.empty());
  }
  EXPECT_EQ(names,
            (std::set<std::string_view>{"documented", "pytorch/F.batch_norm", "pytorch/native_batch_norm",
                                        "keras", "keras-fused", "onnx", "cudnn", "onednn", "stablehlo"}));
  EXPECT_FALSE(dialect_named("torch").has_value());
}

TEST(Dialects, EntryPointsOfPyTorchDifferAtOneValuePerChannel) {
  const Semantics native = semantics("pytorch/native_batch_norm");
  const Semantics functional = semantics("pytorch/F.batch_norm");
  EXPECT_EQ(dialect_named("pytorch")->name, "pytorch/native_batch_norm");
  EXPECT_EQ(native.single_value, SingleValue::unbiased_is_nan);
  EXPECT_EQ(functional.single_value, SingleValue::rejected);
  EXPECT_EQ(native.empty_batch, EmptyBatch::rejected);
  EXPECT_EQ(functional.empty_batch, EmptyBatch::accepted);
  EXPECT_EQ(native.zero_eps, ZeroEps::zero_invstd);
  EXPECT_EQ(functional.zero_eps, ZeroEps::rejected);
  EXPECT_EQ(functional.saved, SavedStatistic::none);
}

TEST(Dialects, EveryOneNormalisesByTheBiasedVarianceWithEpsInsideTheRoot) {
  for (const Dialect& dialect : dialects()) {
    EXPECT_EQ(dialect.semantics.eps, EpsPlacement::inside_root) << dialect.name;
    EXPECT_EQ(dialect.semantics.normalising, VarianceKind::biased) << dialect.name;
  }
}

TEST(Dialects, MomentumAndTheRunningVarianceAreWhereTheyDiffer) {
  const auto named = [](auto&& predicate) {
    std::vector<std::string_view> names;
    for (const Dialect& dialect : dialects())
      if (predicate(dialect.semantics))
        names.push_back(dialect.name);
    return names;
  };
  using Names = std::vector<std::string_view>;
  EXPECT_EQ(named([](const Semantics& s) { return s.momentum == MomentumSense::weight_of_old; }),
            (Names{"keras", "keras-fused", "onnx"}));
  EXPECT_EQ(named([](const Semantics& s) { return s.running == VarianceKind::unbiased; }),
            (Names{"pytorch/F.batch_norm", "pytorch/native_batch_norm", "keras-fused", "cudnn"}));
  EXPECT_EQ(named([](const Semantics& s) { return s.saved == SavedStatistic::variance; }),
            (Names{"keras-fused", "onednn", "stablehlo"}));
  EXPECT_EQ(named([](const Semantics& s) { return s.cumulative_average; }),
            (Names{"documented", "pytorch/F.batch_norm", "pytorch/native_batch_norm"}));
  EXPECT_EQ(named([](const Semantics& s) { return !s.inference_gradient; }),
            (Names{"onnx", "cudnn", "stablehlo"}));
  EXPECT_EQ(named([](const Semantics& s) { return s.may_refuse_single_value; }), (Names{"cudnn"}));
}

TEST(Dialects, WhatADialectHasNotIsListedAndHoldsTheDocumentedValue) {
  for (const std::string_view name : {"onednn", "stablehlo"}) {
    const Dialect dialect = dialect_named(name).value();
    for (const std::string_view knob : {"running-variance", "momentum-sense", "momentum-none"})
      EXPECT_EQ(std::ranges::count(dialect.not_applicable, knob), 1) << name << " " << knob;
    EXPECT_EQ(dialect.semantics.running, Semantics{}.running);
    EXPECT_EQ(dialect.semantics.momentum, Semantics{}.momentum);
  }
  EXPECT_EQ(std::ranges::count(dialect_named("onnx")->not_applicable, "running-variance"), 0);
}

}  // namespace
}  // namespace normproof
