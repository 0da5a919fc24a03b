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

/// The place of element (batch, channel, position) in the storage of a buffer, by its strides alone.
std::size_t byte_of(const Buffer& buffer, const Shape& shape, std::int64_t batch, std::int64_t channel,
                    std::int64_t position, const Format& format) {
  std::int64_t element = batch * buffer.strides[0] + channel * buffer.strides[1];
  for (std::size_t axis = shape.spatial.size(); axis-- > 0; position /= shape.spatial[axis])
    element += position % shape.spatial[axis] * buffer.strides[axis + 2];
  return buffer.offset + buffer.byte_offset + static_cast<std::size_t>(element * format.bytes);
}

/// Calls visit(i, batch, channel, position) in channel-major order.
template <class Visit>
void for_each_element(const Shape& shape, Visit&& visit) {
  std::size_t i = 0;
  for (std::int64_t channel = 0; channel < shape.channels; ++channel)
    for (std::int64_t batch = 0; batch < shape.batch; ++batch)
      for (std::int64_t position = 0; position < shape.plane(); ++position)
        visit(i++, batch, channel, position);
}

/// Every element of x copied to y by the kernel must come back with its bits, and lie where the strides say:
/// fails when writing and reading disagree on the place or the format of an element, and when both have the
/// same wrong idea of the place.
TEST(Buffers, EveryFormatAndLayoutRoundTripsBitForBit) {
  for (const Format& format : formats())
    for (const Layout layout : all_layouts)
      for (const Shape& shape : shapes) {
        Case c = small_case(shape, format, layout);
        c.problem.layout_seed = static_cast<std::uint64_t>(shape.elements());
        const std::vector<double> special = specials(format);
        for (std::size_t i = 0; i < c.x.size(); i += 3)
          c.x[i] = special[(i / 3) % special.size()];
        Arena arena(c);
        std::vector<std::byte> memory(arena.bytes());
        arena.fill(memory.data());
        const Buffer& x = arena.slots()[index(Slot::x)];
        const Buffer& y = arena.slots()[index(Slot::y)];
        for_each_element(shape, [&](std::size_t i, std::int64_t b, std::int64_t k, std::int64_t s) {
          const auto width = static_cast<std::size_t>(format.bytes);
          const std::byte* const from = memory.data() + byte_of(x, shape, b, k, s, format);
          std::uint64_t stored = 0;
          std::memcpy(&stored, from, width);
          ASSERT_EQ(stored, encode(format, c.x[i])) << format.name << ' ' << to_string(shape);
          std::memcpy(memory.data() + byte_of(y, shape, b, k, s, format), from, width);
        });
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

/// The dense layouts are what the words say.
TEST(Buffers, ContiguousIsRowMajorAndChannelsLastHasThemInnermost) {
  for (const Layout layout : {Layout::contiguous, Layout::channels_last})
    for (const Shape& shape : shapes) {
      const Case c = small_case(shape, f32, layout);
      const Arena arena(c);
      const Buffer& x = arena.slots()[index(Slot::x)];
      for_each_element(shape, [&](std::size_t, std::int64_t b, std::int64_t k, std::int64_t s) {
        const std::int64_t element = layout == Layout::contiguous
                                         ? (b * shape.channels + k) * shape.plane() + s
                                         : (b * shape.plane() + s) * shape.channels + k;
        ASSERT_EQ(byte_of(x, shape, b, k, s, f32), x.offset + 4 * static_cast<std::size_t>(element));
      });
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
    for (const Layout layout : all_layouts) {
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

/// Each single byte that belongs to no element is watched: before and after every buffer, and in its gaps.
TEST(Buffers, EveryByteOutsideTheElementsIsWatched) {
  for (const Pass pass : all_passes)
    for (const Layout layout : {Layout::contiguous, Layout::strided}) {
      const Case c = exact_case(pass, {4, 3, {2}}, {bf16, f32}, layout);
      Arena arena(c);
      std::vector<std::byte> memory(arena.bytes());
      arena.fill(memory.data());
      std::vector<bool> element(arena.bytes(), false);
      const auto take = [&](std::size_t first, std::size_t width) {
        std::fill_n(element.begin() + static_cast<std::ptrdiff_t>(first), width, true);
      };
      for (const Slot slot : all_slots) {
        const Buffer& buffer = arena.slots()[index(slot)];
        if (buffer.offset == 0)
          continue;
        if (slot == Slot::num_batches_tracked)
          take(buffer.offset, 8);
        else if (is_activation(slot))
          for_each_element(c.problem.shape, [&](std::size_t, std::int64_t b, std::int64_t k, std::int64_t s) {
            take(byte_of(buffer, c.problem.shape, b, k, s, bf16), 2);
          });
        else
          for (std::int64_t k = 0; k < 3; ++k)
            take(buffer.offset + buffer.byte_offset + static_cast<std::size_t>(4 * k * buffer.strides[0]), 4);
      }
      for (std::size_t at = 4096; at < arena.bytes(); ++at) {
        if (element[at])
          continue;
        memory[at] ^= std::byte{1};
        Observation seen;
        arena.inspect(memory.data(), ~0u, seen);
        memory[at] ^= std::byte{1};
        ASSERT_EQ(seen.breaches.size(), 1u) << to_string(pass) << ' ' << to_string(layout) << ' ' << at;
      }
    }
}

/// Data that end just before a page: the guard after them must not be left out for lack of room.
TEST(Buffers, AGuardZoneFollowsDataOfEverySize) {
  for (std::int64_t n = 900; n < 1100; ++n) {
    const Case c = small_case({n, 1, {}});
    Arena arena(c);
    std::vector<std::byte> memory(arena.bytes());
    arena.fill(memory.data());
    const Buffer x = arena.slots()[index(Slot::x)];
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
