// Shapes and layouts: one text per shape, strides as libraries lay tensors out.
#include "normproof/spec/shape.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace normproof {
namespace {

using testing::ElementsAre;

TEST(Shape, TextRoundTrips) {
  for (const char* text : {"4x3", "8x16x14x14", "0x3", "1x1x1x1x1x1", "2x0x5", "1048576x1048576"}) {
    const std::optional<Shape> shape = parse_shape(text);
    ASSERT_TRUE(shape.has_value()) << text;
    EXPECT_EQ(to_string(*shape), text);
  }
}

TEST(Shape, NothingElseIsAShape) {
  for (const char* text :
       {"", "4", "x", "4x", "x4", "4xx3", "4x-3", "-0x3", "4x+3", "4 x3", "4X3", "4x3.0", "04x3", "4x3x",
        "1x1x1x1x1x1x1", "99999999999999999999x1", "1048576x1048577", "0x1048576x1048577"})
    EXPECT_FALSE(parse_shape(text).has_value()) << text;
}

TEST(Shape, TheReductionRunsOverBatchAndSpaceNotChannels) {
  const Shape shape = *parse_shape("8x16x5x7");
  EXPECT_EQ(shape.plane(), 35);
  EXPECT_EQ(shape.per_channel(), 280);
  EXPECT_EQ(shape.elements(), 4480);
  EXPECT_EQ(parse_shape("8x16")->per_channel(), 8);
}

TEST(Layout, StridesAreDense) {
  const Shape shape = *parse_shape("2x3x5x7");
  EXPECT_THAT(strides(shape, Layout::contiguous), ElementsAre(105, 35, 7, 1));
  EXPECT_THAT(strides(shape, Layout::channels_last), ElementsAre(105, 1, 21, 3));
  EXPECT_THAT(strides(*parse_shape("4x3"), Layout::contiguous), ElementsAre(3, 1));
  EXPECT_THAT(strides(*parse_shape("4x3"), Layout::channels_last), ElementsAre(3, 1));
}

TEST(Layout, EveryElementHasItsOwnPlace) {
  const Shape shape = *parse_shape("2x3x4x5");
  for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
    const std::vector<std::int64_t> s = strides(shape, layout);
    std::set<std::int64_t> places;
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t h = 0; h < 4; ++h)
          for (std::int64_t w = 0; w < 5; ++w)
            places.insert(n * s[0] + c * s[1] + h * s[2] + w * s[3]);
    EXPECT_EQ(places.size(), 120U);
    EXPECT_EQ(*places.rbegin(), 119);
  }
}

TEST(Layout, NamesRoundTrip) {
  for (const Layout layout : {Layout::contiguous, Layout::channels_last})
    EXPECT_EQ(parse_layout(to_string(layout)), layout);
  EXPECT_FALSE(parse_layout("nhwc").has_value());
}

}  // namespace
}  // namespace normproof
