// Lists of real layers, and what a user's own file of shapes may say.
#include "normproof/properties/shapes.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace normproof::properties {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> texts(const ShapeList& list) {
  std::vector<std::string> result;
  for (const Shape& shape : list.shapes)
    result.push_back(to_string(shape));
  return result;
}

bool holds(const ShapeList& list, const std::string& text) {
  const auto lines = texts(list);
  return std::ranges::find(lines, text) != lines.end();
}

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

/// Written down from the published tables by hand: a stride at the wrong convolution gives other planes.
TEST(ShapeLists, AreTheLayersOfThePublishedNetworks) {
  EXPECT_EQ(
      texts(shape_list("resnet18", 8)),
      (std::vector<std::string>{"8x64x112x112", "8x64x56x56", "8x128x28x28", "8x256x14x14", "8x512x7x7"}));
  EXPECT_EQ(texts(shape_list("resnet50", 1)),
            (std::vector<std::string>{"1x64x112x112", "1x64x56x56", "1x256x56x56", "1x128x56x56",
                                      "1x128x28x28", "1x512x28x28", "1x256x28x28", "1x256x14x14",
                                      "1x1024x14x14", "1x512x14x14", "1x512x7x7", "1x2048x7x7"}));
  EXPECT_EQ(texts(shape_list("mobilenet_v2", 2)),
            (std::vector<std::string>{"2x32x112x112", "2x16x112x112", "2x96x112x112", "2x96x56x56",
                                      "2x24x56x56", "2x144x56x56", "2x144x28x28", "2x32x28x28", "2x192x28x28",
                                      "2x192x14x14", "2x64x14x14", "2x384x14x14", "2x96x14x14", "2x576x14x14",
                                      "2x576x7x7", "2x160x7x7", "2x960x7x7", "2x320x7x7", "2x1280x7x7"}));
  EXPECT_EQ(texts(shape_list("unet", 1)),
            (std::vector<std::string>{"1x64x570x570", "1x64x568x568", "1x128x282x282", "1x128x280x280",
                                      "1x256x138x138", "1x256x136x136", "1x512x66x66", "1x512x64x64",
                                      "1x1024x30x30", "1x1024x28x28", "1x512x54x54", "1x512x52x52",
                                      "1x256x102x102", "1x256x100x100", "1x128x198x198", "1x128x196x196",
                                      "1x64x390x390", "1x64x388x388"}));
  const ShapeList dense = shape_list("densenet121", 4);
  // 1; 6 + 1; 12 + 1; 24 + 1 + 1; 16 + 1 + 1: the bottleneck of 128 is a concatenation too in the first two
  // blocks.
  EXPECT_EQ(dense.shapes.size(), 65U);
  for (const char* shape :
       {"4x64x112x112", "4x64x56x56", "4x224x56x56", "4x256x56x56", "4x128x56x56", "4x480x28x28",
        "4x512x28x28", "4x992x14x14", "4x1024x14x14", "4x992x7x7", "4x1024x7x7"})
    EXPECT_TRUE(holds(dense, shape)) << shape;
  EXPECT_FALSE(holds(dense, "4x1056x14x14"));
  EXPECT_TRUE(holds(shape_list("bert", 16), "16x768x512"));
  EXPECT_TRUE(holds(shape_list("bert", 16), "16x1024"));
}

TEST(ShapeLists, HoldNoShapeTwiceAndNameTheirSource) {
  for (const ShapeListInfo& info : shape_lists()) {
    const ShapeList list = shape_list(info.name, 3);
    const auto lines = texts(list);
    EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()).size(), lines.size()) << info.name;
    EXPECT_GE(list.shapes.size(), 5U);
    EXPECT_THAT(list.source, HasSubstr("20"));
    for (const Shape& shape : list.shapes)
      EXPECT_EQ(shape.batch, 3);
  }
}

TEST(ShapeLists, AnUnknownNameOrBatchIsNamed) {
  EXPECT_THAT(error_of([] { shape_list("resnet-50", 8); }), HasSubstr("'resnet50'"));
  EXPECT_THAT(error_of([] { shape_list("resnet50", 0); }), HasSubstr("at least 1"));
  EXPECT_THAT(error_of([] { shape_list("resnet50", std::int64_t{1} << 39); }), HasSubstr("2^40"));
}

TEST(ShapeFiles, CommentsAndBlanksAreNoShapes) {
  const ShapeList list = parse_shapes("# ours\n\n 8x64x56x56 # first\r\n4x3\n  \t\n1x2x3x4x5", "my.txt");
  EXPECT_EQ(texts(list), (std::vector<std::string>{"8x64x56x56", "4x3", "1x2x3x4x5"}));
}

TEST(ShapeFiles, AMistakeIsNamedWithFileLineAndText) {
  for (const auto& [text, line, offending] :
       {std::tuple{"8x4\n8x\n", "line 2", "'8x'"}, std::tuple{"[8, 4]", "line 1", "'[8, 4]'"},
        std::tuple{"\n\n8x4x-1", "line 3", "'8x4x-1'"}, std::tuple{"8x4 4x8", "line 1", "'8x4 4x8'"},
        std::tuple{"3x0", "line 1", "'3x0'"}}) {
    const std::string error = error_of([&, body = text] { parse_shapes(body, "my.txt"); });
    EXPECT_THAT(error, StartsWith("my.txt: "));
    EXPECT_THAT(error, HasSubstr(line));
    EXPECT_THAT(error, HasSubstr(offending));
  }
  EXPECT_THAT(error_of([] { parse_shapes("# nothing\n", "my.txt"); }), HasSubstr("no line holds a shape"));
}

TEST(ShapeFiles, AreReadFromDisk) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "normproof_shapes_test.txt";
  std::ofstream(path) << "2x3x4\n";
  EXPECT_EQ(texts(read_shapes(path)), std::vector<std::string>{"2x3x4"});
  std::filesystem::remove(path);
  EXPECT_THAT(error_of([&] { read_shapes(path); }), HasSubstr("no such file"));
  EXPECT_THAT(error_of([&] { read_shapes(::testing::TempDir()); }), HasSubstr("directory"));
}

TEST(ShapeRecipes, EveryShapeInEveryPassOnceAndKindsTurn) {
  const ShapeList list = shape_list("mobilenet_v2", 2);
  const auto recipes = recipes_for_shapes(list, 1);
  EXPECT_EQ(recipes.size(), list.shapes.size() * all_passes.size());
  std::set<std::pair<std::string, Pass>> met;
  std::set<std::tuple<Pass, std::string, std::string, Layout>> kinds;
  std::set<std::string> dialects_met, regimes_met;
  for (const Recipe& r : recipes) {
    EXPECT_EQ(impossible(r), "");
    EXPECT_TRUE(met.insert({to_string(r.shape), r.pass}).second);
    kinds.insert({r.pass, std::string(r.dtype.name), std::string(stats_of(r).name), r.layout});
    dialects_met.insert(r.dialect);
    regimes_met.insert(to_string(r.regime));
  }
  EXPECT_EQ(kinds.size(), 6 * 6 * 3U);  // passes, pairs of formats, layouts
  EXPECT_EQ(dialects_met.size(), dialects().size());
  EXPECT_EQ(regimes_met.size(), 4U);
  EXPECT_EQ(recipes_for_shapes(list, 1), recipes);
  EXPECT_NE(recipes_for_shapes(list, 2)[0].seed, recipes[0].seed);
}

TEST(ShapeRecipes, AFilterNarrowsTheChoicesAndKeepsTheShapes) {
  const ShapeList list = shape_list("resnet18", 2);
  Filter filter;
  filter.passes = {Pass::backward_inference, Pass::gradient};
  filter.dtypes = {"f16"};
  filter.layouts = {"channels-last"};
  filter.regimes = {"offset:100", "exact"};
  filter.dialects = {"onnx", "pytorch"};
  const auto recipes = recipes_for_shapes(list, 1, filter);
  EXPECT_EQ(recipes.size(), 10U);
  for (const Recipe& r : recipes) {
    EXPECT_EQ(r.dtype, f16);
    EXPECT_EQ(r.layout, Layout::channels_last);
    // 7 * 7 values a channel are no power of two: the regime that can be stands in.
    EXPECT_TRUE(r.regime == (Regime{"offset", 100}) || r.regime.name == "exact");
    EXPECT_TRUE(r.pass == Pass::gradient || r.dialect.starts_with("pytorch/"));  // onnx has no such gradient
  }
  filter.dialects = {"onnx"};
  EXPECT_EQ(recipes_for_shapes(list, 1, filter).size(), 5U);
  filter.passes = {Pass::backward_inference};
  EXPECT_THAT(error_of([&] { recipes_for_shapes(list, 1, filter); }), HasSubstr("onnx"));
  filter = {};
  filter.dtypes = {"f61"};
  EXPECT_THAT(error_of([&] { recipes_for_shapes(list, 1, filter); }), HasSubstr("'f61'"));
  filter = {};
  filter.regimes = {"ofset"};
  EXPECT_THAT(error_of([&] { recipes_for_shapes(list, 1, filter); }), HasSubstr("offset"));
}

}  // namespace
}  // namespace normproof::properties
