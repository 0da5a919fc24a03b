// Case files: what is written is read back bit for bit, and whatever is wrong is named.
#include "normproof/properties/case_file.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "normproof/properties/arbitrary_recipe.h"
#include "normproof/properties/recipe.h"

namespace normproof::properties {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A case of two channels and three values each; tests change one thing.
nlohmann::ordered_json small() {
  nlohmann::ordered_json object;
  object["normproof_case"] = 1;
  object["pass"] = to_string(Pass::forward_training);
  object["dtype"] = "f32";
  object["shape"] = {3, 2};
  object["layout"] = "contiguous";
  object["dialect"] = "documented";
  object["eps"] = "0x1.4f8b58p-17";
  object["momentum"] = nullptr;
  object["x"] = {"0x1p+1", "0x1p+2", "0x1.8p+2", "-0x0p+0", "0x1p-149", "0x1.fffffep+127"};
  object["gamma"] = {"0x1p+0", "-0x1p-1"};
  object["beta"] = {"0x0p+0", "0x1p+0"};
  object["running_mean"] = {"0x0p+0", "0x1p+0"};
  object["running_var"] = {"0x1p+0", "0x1p+1"};
  object["num_batches_tracked"] = 3;
  return object;
}

std::string error_of(const std::string& text) {
  try {
    parse_case(text, "some.json");
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

TEST(CaseFile, ChannelMajorWhateverTheLayout) {
  auto object = small();
  object["shape"] = {1, 2, 3};
  object["layout"] = to_string(Layout::channels_last);
  const Case c = parse_case(object.dump(), "some.json");
  EXPECT_EQ(c.channel(0)[2], 6.0);
  EXPECT_TRUE(std::signbit(c.channel(1)[0]));
  EXPECT_EQ(c.problem.momentum, std::nullopt);
  EXPECT_EQ(c.problem.layout, Layout::channels_last);
  EXPECT_EQ(c.num_batches_tracked, 3);
  EXPECT_EQ(c.origin, "some.json");
  EXPECT_EQ(c.domain, Domain::extended);  // a subnormal, and a square that overflows
}

TEST(CaseFile, WhatIsAbsentIsAbsent) {
  auto object = small();
  for (const char* field : {"gamma", "beta", "running_mean", "running_var", "num_batches_tracked"})
    object.erase(field);
  const Case c = parse_case(object.dump(), "some.json");
  EXPECT_FALSE(c.problem.affine);
  EXPECT_FALSE(c.problem.running);
  EXPECT_TRUE(c.gamma.empty());
  EXPECT_TRUE(c.running_var.empty());
}

TEST(CaseFile, AProblemThatMustBeRefusedIsStillACase) {
  auto object = small();
  object["eps"] = "-0x1p+0";
  EXPECT_EQ(parse_case(object.dump(), "some.json").problem.eps, -1.0);
}

TEST(CaseFile, TheDialectBringsItsSemantics) {
  auto object = small();
  object["dialect"] = "pytorch";
  const Case c = parse_case(object.dump(), "some.json");
  EXPECT_EQ(c.problem.dialect, "pytorch/native_batch_norm");
  EXPECT_EQ(c.problem.semantics, dialect_named("pytorch/native_batch_norm")->semantics);
}

/// The small case as one of second order: statistics of f32 beside tensors of f16.
nlohmann::ordered_json small_second() {
  auto object = small();
  object["pass"] = to_string(Pass::double_backward);
  object["dtype"] = "f16";
  object["layout"] = "strided";
  object["layout_seed"] = 18446744073709551615U;
  object["x"] = {"0x1p+1", "0x1p+2", "0x1.8p+2", "-0x0p+0", "0x1p-24", "0x1.ffcp+15"};
  object["dy"] = {"0x1p+1", "-0x1p+2", "0x1.8p+2", "-0x0p+0", "0x1p+0", "0x1p+3"};
  object["saved_mean"] = {"0x1.000002p+2", "0x1p+1"};
  object["saved_invstd"] = {"0x1p+0", "0x1p-1"};
  object["v_gamma"] = {"0x1p+0", "0x1p-2"};
  return object;
}

TEST(CaseFile, TheBackwardPassesHaveTensorsOfTheirOwn) {
  auto object = small_second();
  Case c = parse_case(object.dump(), "some.json");
  EXPECT_EQ(c.dy[5], 8.0);
  EXPECT_EQ(c.saved_mean[0], 0x1.000002p+2);
  EXPECT_EQ(c.saved_invstd[1], 0.5);
  EXPECT_EQ(c.v_gamma[1], 0.25);
  EXPECT_TRUE(c.v_x.empty() && c.v_beta.empty());
  EXPECT_EQ(c.problem.layout_seed, 18446744073709551615U);
  EXPECT_EQ(c.problem.stats, f32);
  object["stats_dtype"] = "f16";
  EXPECT_THAT(error_of(object.dump()), HasSubstr("'saved_mean[0]'"));  // which f16 does not hold
  object["saved_mean"][0] = "0x1p+2";
  EXPECT_EQ(parse_case(object.dump(), "some.json").problem.stats, f16);
}

RC_GTEST_PROP(CaseFile, WrittenAndReadBackBitForBit, (const Recipe& r)) {
  const Case c = expand(r);
  const Case back = parse_case(write_case(c), "file");
  RC_ASSERT(fingerprint(back) == fingerprint(c));
  RC_ASSERT(write_case(back) == write_case(c));
}

TEST(CaseFile, AFileAndItsMistakesAreNamed) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "normproof_case_file_test.json";
  std::ofstream(path) << small().dump();
  EXPECT_EQ(read_case_file(path).origin, path.string());
  std::filesystem::remove(path);
  const auto error = [](const std::filesystem::path& p) -> std::string {
    try {
      read_case_file(p);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(error(path), StartsWith(path.string()));
  EXPECT_THAT(error(::testing::TempDir()), HasSubstr("directory"));
}

struct Mistake {
  const char* field;
  nlohmann::ordered_json value;
  const char* wanted;
};

TEST(CaseFile, EveryMistakeNamesFileFieldAndOffendingText) {
  const std::vector<Mistake> mistakes{
      {"normproof_case", 2, "version 1"},
      {"normproof_case", "1", "integer"},
      {"pass", "forwrd", "forward"},
      {"pass", 3, "string"},
      {"dtype", "f33", "'f32'"},
      {"shape", {3}, "2 to 6"},
      {"shape", {3, 0}, "channel"},
      {"shape", {-3, 2}, "at least 0"},
      {"shape", {3.0, 2}, "integer"},
      {"shape", "3x2", "array"},
      {"shape", {3, 3}, "9 values"},
      {"layout", "nhwc", "nearest"},
      {"dialect", "pytorhc", "pytorch"},
      {"eps", 1e-5, "hex float"},
      {"eps", "1e-5", "hex float"},
      {"eps", "nan", "finite"},
      {"momentum", 0.1, "hex float"},
      {"momentum", "inf", "finite"},
      {"threads", 0, "at least 1"},
      {"x", {"0x1p+1"}, "6 values"},
      {"x", {1, 2, 3, 4, 5, 6}, "hex float"},
      {"x", {"0x1p+1", "0x1p+1", "0x1.000001p+0", "0x1p+1", "0x1p+1", "0x1p+1"}, "x[2]"},
      {"x", {"0x1p+1", "0x1p+1", "0x1p+128", "0x1p+1", "0x1p+1", "0x1p+1"}, "f32 does not hold it"},
      {"x", "0x1p+1", "array"},
      {"gamma", {"0x1p+0"}, "2 values"},
      {"running_var", {"0x1p+0", nullptr}, "running_var[1]"},
      {"num_batches_tracked", -1, "at least 0"},
      {"num_batches_tracked", 1.5, "integer"},
  };
  for (const Mistake& m : mistakes) {
    auto object = small();
    object[m.field] = m.value;
    const std::string error = error_of(object.dump());
    EXPECT_THAT(error, StartsWith("some.json: ")) << m.field << " " << m.value;
    EXPECT_THAT(error, HasSubstr(m.wanted)) << m.field << " " << m.value;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

TEST(CaseFile, EveryMistakeOfTheBackwardPassesIsNamed) {
  const std::vector<Mistake> mistakes{
      {"stats_dtype", "f64", "f16 or f32"},
      {"stats_dtype", "f17", "'f16'"},
      {"layout_seed", -1, "at least 0"},
      {"layout_seed", "7", "at least 0"},
      {"layout", "contiguous", "only the layout 'strided'"},
      {"dy", {"0x1p+0"}, "6 values"},
      {"dy", {"0x1p+1", "0x1.001p+0", "0x1p+0", "0x1p+0", "0x1p+0", "0x1p+0"}, "f16 does not hold it"},
      {"saved_mean", {"0x1p+0"}, "2 values"},
      {"v_x", {"0x1p+0"}, "6 values"},
      {"v_beta", {"0x1p+0"}, "2 values"},
      {"pass", "backward-training", "the pass backward-training takes none"},  // v_gamma
      {"pass", "gradient", "the pass gradient takes none"},                    // saved statistics
      {"pass", "forward-inference", "the pass forward-inference takes none"},  // dy
      {"pass", "double-backwards", "'double-backward'"},
  };
  for (const Mistake& m : mistakes) {
    auto object = small_second();
    object[m.field] = m.value;
    const std::string error = error_of(object.dump());
    EXPECT_THAT(error, StartsWith("some.json: ")) << m.field << " " << m.value;
    EXPECT_THAT(error, HasSubstr(m.wanted)) << m.field << " " << m.value;
  }
  for (const char* field : {"dy", "saved_mean", "saved_invstd", "v_gamma"}) {
    auto object = small_second();
    object.erase(field);
    EXPECT_THAT(error_of(object.dump()), HasSubstr("is missing")) << field;
  }
}

TEST(CaseFile, AMissingUnknownOrRepeatedFieldIsNamed) {
  for (const char* field : {"normproof_case", "pass", "dtype", "shape", "eps", "x"}) {
    auto object = small();
    object.erase(field);
    EXPECT_THAT(error_of(object.dump()), HasSubstr("'" + std::string(field) + "' is missing"));
  }
  for (const char* field : {"gamma", "beta", "running_mean", "running_var"}) {
    auto object = small();
    object.erase(field);
    EXPECT_THAT(error_of(object.dump()), HasSubstr("both or none"));
  }
  auto object = small();
  object["runing_var"] = 1;
  EXPECT_THAT(error_of(object.dump()), HasSubstr("'runing_var'; the nearest is 'running_var'"));
  std::string text = small().dump();
  text.insert(1, "\"eps\": \"0x1p+0\", ");
  EXPECT_THAT(error_of(text), HasSubstr("'eps' is given twice"));
  object = small();
  object["pass"] = to_string(Pass::forward_inference);
  object.erase("running_mean");
  object.erase("running_var");
  EXPECT_THAT(error_of(object.dump()), HasSubstr("inference"));
}

TEST(CaseFile, TextThatIsNoJsonIsNamedByLine) {
  EXPECT_THAT(error_of("{\n\"x\": [1,\n}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of(""), HasSubstr("no JSON"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("object"));
  EXPECT_THAT(error_of("{} {}"), HasSubstr("no JSON"));
  EXPECT_THAT(error_of(R"({"eps": 1e999})"), HasSubstr("larger than any double"));
  EXPECT_THAT(error_of(R"({"eps": )" + std::string(1000000, '[')), HasSubstr("levels of brackets"));
}

}  // namespace
}  // namespace normproof::properties
