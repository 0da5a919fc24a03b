// Values travel into a kernel's buffers and back without losing a bit, in every format and layout.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "arena.h"
#include "cases.h"
#include "layout.h"

namespace normproof::impls {
namespace {

const std::vector<Shape> shapes{{1, 1, {}},        {7, 1, {}},       {1, 5, {}},     {6, 4, {}},
                                {3, 2, {5}},       {1, 17, {2, 3}},  {2, 1, {4, 4}}, {2, 3, {2, 3, 4}},
                                {40, 33, {1}},     {0, 3, {2}},      {2, 3, {0}},    {3, 1, {1, 1}},
                                {1, 2, {1, 1000}}, {2, 300, {9, 15}}};

std::vector<double> specials(const Format& format) {
  const double inf = std::numeric_limits<double>::infinity();
  return {0.0,
          -0.0,
          inf,
          -inf,
          std::numeric_limits<double>::quiet_NaN(),
          largest(format),
          -largest(format),
          smallest(format),
          -smallest(format),
          smallest_normal(format),
          1.0,
          -1.5};
}

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

/// Every element of x copied to y by the kernel must come back with its bits: fails when writing and reading
/// disagree on the place or the format of an element.
TEST(Buffers, EveryFormatAndLayoutRoundTripsBitForBit) {
  for (const Format& format : formats())
    for (const Layout layout : {Layout::contiguous, Layout::channels_last})
      for (const Shape& shape : shapes) {
        Case c = small_case(shape, format, layout);
        const std::vector<double> special = specials(format);
        for (std::size_t i = 0; i < c.x.size(); i += 3)
          c.x[i] = special[(i / 3) % special.size()];
        Arena arena(c);
        std::vector<std::byte> memory(arena.bytes());
        arena.fill(memory.data());
        const Extent x = arena.slots()[index(Slot::x)];
        std::memcpy(memory.data() + arena.slots()[index(Slot::y)].offset, memory.data() + x.offset, x.bytes);
        Observation seen;
        arena.inspect(memory.data(), NP_OUT_Y, seen);
        arena.collect(memory.data(), NP_OUT_Y, seen);
        ASSERT_THAT(seen.breaches, ::testing::IsEmpty()) << format.name << ' ' << to_string(shape);
        ASSERT_EQ(seen[Output::y].size(), c.x.size());
        for (std::size_t i = 0; i < c.x.size(); ++i)
          ASSERT_TRUE(bits(seen[Output::y][i]) == bits(c.x[i]) ||
                      (std::isnan(c.x[i]) && std::isnan(seen[Output::y][i])))
              << format.name << ' ' << to_string(layout) << ' ' << to_string(shape) << " element " << i;
      }
}

/// The element (batch, channel, position) must lie where the strides say: a transposition that is wrong both
/// ways would pass the round trip.
TEST(Buffers, EveryElementLiesWhereTheStridesSay) {
  for (const Format& format : formats())
    for (const Layout layout : {Layout::contiguous, Layout::channels_last})
      for (const Shape& shape : shapes) {
        const Case c = small_case(shape, format, layout);
        Arena arena(c);
        std::vector<std::byte> memory(arena.bytes());
        arena.fill(memory.data());
        const std::byte* const x = memory.data() + arena.slots()[index(Slot::x)].offset;
        const auto width = static_cast<std::size_t>(format.bytes);
        std::size_t i = 0;
        for (std::int64_t channel = 0; channel < shape.channels; ++channel)
          for (std::int64_t batch = 0; batch < shape.batch; ++batch)
            for (std::int64_t position = 0; position < shape.plane(); ++position, ++i) {
              const std::int64_t element =
                  layout == Layout::contiguous
                      ? (batch * shape.channels + channel) * shape.plane() + position
                      : (batch * shape.plane() + position) * shape.channels + channel;
              std::uint64_t stored = 0;
              std::memcpy(&stored, x + static_cast<std::size_t>(element) * width, width);
              ASSERT_EQ(stored, encode(format, c.x[i])) << format.name << ' ' << to_string(shape);
            }
      }
}

/// Strides of a view into a larger tensor: gaps between rows and between elements.
TEST(Buffers, GapsBetweenElementsAreSkipped) {
  const View view{{2, 3, 2, 2}, {60, 18, 8, 3}};
  std::vector<double> values(24);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(i) + 1;
  std::vector<float> buffer(120, -1.0f);
  scatter(f32, view, values.data(), 8, reinterpret_cast<std::byte*>(buffer.data()));
  EXPECT_EQ(std::count(buffer.begin(), buffer.end(), -1.0f), 120 - 24);
  std::size_t i = 0;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t b = 0; b < 2; ++b)
      for (std::size_t h = 0; h < 2; ++h)
        for (std::size_t w = 0; w < 2; ++w)
          EXPECT_EQ(buffer[60 * b + 18 * c + 8 * h + 3 * w], static_cast<float>(values[i++]));
  std::vector<double> back(24);
  gather(f32, view, reinterpret_cast<const std::byte*>(buffer.data()), 8, 0, back.data());
  EXPECT_EQ(back, values);
}

TEST(Buffers, OutputsOfEveryFormatStartPoisonedThroughout) {
  for (const Format& format : formats())
    for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
      const Case c = small_case({3, 5, {2, 3}}, format, layout);
      Arena arena(c);
      std::vector<std::byte> memory(arena.bytes());
      arena.fill(memory.data());
      Observation seen;
      arena.collect(memory.data(), NP_OUT_Y | NP_OUT_MEAN | NP_OUT_VAR | NP_OUT_INVSTD, seen);
      ASSERT_EQ(seen.breaches.size(), 4u) << format.name;
      EXPECT_THAT(seen.breaches[0], ::testing::StartsWith("y: 90 of 90 elements left unwritten"));
      for (const double y : seen[Output::y])
        ASSERT_TRUE(std::isnan(y));
    }
}

/// A NaN that arithmetic makes is an output like any other, not an element left unwritten.
TEST(Buffers, AComputedNaNIsNotTakenForPoison) {
  Case c = small_case({4, 2, {}});
  c.x[0] = std::numeric_limits<double>::quiet_NaN();
  c.x[5] = std::numeric_limits<double>::infinity();
  for (const char* const name :
       {"cpu.two_pass_f64", "cpu.pairwise_f32", "cpu.welford_f32", "cpu.chan_threads_f32"}) {
    const Observation seen = Runner().run(kernel_of("libnormproof_cpu", name), c);
    EXPECT_EQ(seen.outcome, Outcome::completed);
    EXPECT_THAT(seen.breaches, ::testing::IsEmpty()) << name;
    EXPECT_TRUE(std::isnan(seen[Output::mean][0])) << name;
  }
}

/// Each single byte of every guard zone is watched, on both sides of every buffer.
TEST(Buffers, EveryByteOfAGuardZoneIsWatched) {
  const Case c = small_case({3, 5, {7}});
  Arena arena(c);
  std::vector<std::byte> memory(arena.bytes());
  arena.fill(memory.data());
  std::vector<bool> data(arena.bytes(), false);
  for (const Extent& extent : arena.slots())
    for (std::uint64_t at = extent.offset; at < extent.offset + extent.bytes; ++at)
      data[at] = true;
  for (std::size_t at = 4096; at < arena.bytes(); ++at) {
    if (data[at])
      continue;
    memory[at] ^= std::byte{1};
    Observation seen;
    arena.inspect(memory.data(), ~0u, seen);
    memory[at] ^= std::byte{1};
    ASSERT_EQ(seen.breaches.size(), 1u) << at;
  }
}

/// Data that end just before a page: the guard after them must not be left out for lack of room.
TEST(Buffers, AGuardZoneFollowsDataOfEverySize) {
  for (std::int64_t n = 900; n < 1100; ++n) {
    const Case c = small_case({n, 1, {}});
    Arena arena(c);
    std::vector<std::byte> memory(arena.bytes());
    arena.fill(memory.data());
    const Extent x = arena.slots()[index(Slot::x)];
    memory[x.offset + x.bytes] ^= std::byte{1};
    memory[x.offset - 1] ^= std::byte{1};
    Observation seen;
    arena.inspect(memory.data(), ~0u, seen);
    ASSERT_THAT(seen.breaches,
                ::testing::ElementsAre("x: written before its start", "x: written past its end"))
        << n;
  }
}

TEST(Buffers, ACaseWhoseSizesDisagreeIsRefused) {
  Case c = small_case({3, 2, {}});
  c.gamma.pop_back();
  EXPECT_THROW(Arena{c}, std::invalid_argument);
  c = small_case({3, 2, {}});
  c.problem.affine = false;  // but gamma and beta are there
  EXPECT_THROW(Arena{c}, std::invalid_argument);
}

}  // namespace
}  // namespace normproof::impls
