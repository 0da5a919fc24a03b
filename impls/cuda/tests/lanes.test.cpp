// The executor itself: what it has to make visible, it does; what a device guarantees, it keeps.
#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/reduce.h"

namespace normproof::impls::cuda {
namespace {

constexpr std::uint64_t seeds = 100;

/// Each lane gives its square to the lane before it, by way of shared memory.
template <bool barrier>
struct Neighbours {
  static constexpr bool loops = true;
  Index* out;

  void operator()(Block& block, Index) const {
    Index* const shared = block.shared<Index>(block.threads());
    const auto write = [&](Lane l) {
      shared[l.index] = l.index * l.index;
    };
    const auto read = [&](Lane l) {
      out[l.index] = shared[(l.index + 1) % block.threads()];
    };
    if constexpr (barrier) {
      block.each(write);
      block.each(read);
    } else {
      block.each(write, read);
    }
  }
};
template <bool barrier>
bool passes_squares_on(std::uint64_t seed, int threads) {
  Stream stream(seed);
  std::vector<Index> out(static_cast<std::size_t>(threads));
  launch(stream, 1, threads, threads * 8, Neighbours<barrier>{out.data()});
  for (int l = 0; l < threads; ++l)
    if (const Index other = (l + 1) % threads; out[static_cast<std::size_t>(l)] != other * other)
      return false;
  return true;
}
TEST(Lanes, a_lost_barrier_that_goes_unseen) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed)
    for (const int threads : {32, 64, 256}) {
      EXPECT_TRUE(passes_squares_on<true>(seed, threads)) << seed;
      EXPECT_FALSE(passes_squares_on<false>(seed, threads)) << seed;
    }
}

template <class Body>
struct Once {
  static constexpr bool loops = true;
  Body body;
  void operator()(Block& block, Index task) const { body(block, task); }
};
template <class Body>
void run_once(int threads, int shared_bytes, Body body, Index tasks = 1, std::uint64_t seed = 1) {
  Stream stream(seed);
  launch(stream, tasks, threads, shared_bytes, Once<Body>{body});
}

TEST(Lanes, a_lane_that_takes_no_part_and_brings_a_number) {
  run_once(64, 0, [](Block& block, Index) {
    Lanes<double> v = block.lanes(0.0);
    block.each([&](Lane l) { v[l] = l.index; });
    const Lanes<double> down = block.shuffle_down(v, 1, 0xFF);
    for (int warp_begin : {0, 32}) {
      for (int l = 0; l < 7; ++l)
        EXPECT_EQ(down[Lane{warp_begin + l}], warp_begin + l + 1);
      EXPECT_TRUE(std::isnan(down[Lane{warp_begin + 7}])) << "its source is masked";
      EXPECT_TRUE(std::isnan(down[Lane{warp_begin + 8}])) << "it is masked itself";
    }
  });
}

TEST(Lanes, a_shuffle_that_leaves_its_warp) {
  run_once(64, 0, [](Block& block, Index) {
    Lanes<Index> v = block.lanes(Index{0});
    block.each([&](Lane l) { v[l] = l.index; });
    const Lanes<Index> down = block.shuffle_down(v, 16);
    EXPECT_EQ(down[Lane{15}], 31);
    EXPECT_EQ(down[Lane{16}], 16) << "past the warp's end: what the lane has";
    EXPECT_EQ(down[Lane{32}], 48);
  });
}

TEST(Lanes, a_warp_that_is_not_full_and_reads_past_its_last_lane) {
  run_once(40, 0, [](Block& block, Index) {
    const Lanes<double> ones = block.lanes(1.0);
    const Lanes<double> down = block.shuffle_down(ones, 4);
    EXPECT_EQ(down[Lane{32}], 1);
    EXPECT_TRUE(std::isnan(down[Lane{36}]));
  });
}

TEST(Lanes, shared_memory_that_is_zero_before_anybody_wrote) {
  bool seen_stale = false;
  for (std::uint64_t seed = 0; seed < seeds; ++seed)
    run_once(
        32, 256,
        [&](Block& block, Index task) {
          float* const shared = block.shared<float>(32);
          const bool stale = shared[0] == static_cast<float>(task - 1) || shared[0] > 0;
          EXPECT_TRUE(std::isnan(shared[0]) || stale) << "poison, or what an earlier task left";
          seen_stale |= stale;
          block.each([&](Lane l) { shared[l.index] = static_cast<float>(task + 1); });
        },
        6, seed);
  EXPECT_TRUE(seen_stale);
}

TEST(Lanes, shared_memory_that_was_not_asked_for) {
  EXPECT_THROW(run_once(32, 64, [](Block& block, Index) { block.shared<double>(9); }), std::logic_error);
}

TEST(Lanes, a_task_that_is_lost_or_done_twice) {
  std::set<std::vector<Index>> orders;
  for (std::uint64_t seed = 0; seed < seeds; ++seed)
    for (const Index tasks : {1, 2, 7, 25, 300}) {
      std::vector<Index> order;
      run_once(32, 0, [&](Block&, Index task) { order.push_back(task); }, tasks, seed);
      EXPECT_EQ(std::set(order.begin(), order.end()).size(), static_cast<std::size_t>(tasks));
      EXPECT_EQ(order.size(), static_cast<std::size_t>(tasks));
      if (tasks == 7)
        orders.insert(order);
    }
  EXPECT_GT(orders.size(), 30U) << "blocks come in any order";
}

TEST(Lanes, an_order_of_lanes_that_is_always_the_same) {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    std::vector<int> order;
    run_once(
        32, 0, [&](Block& block, Index) { block.each([&](Lane l) { order.push_back(l.index); }); }, 1, seed);
    EXPECT_EQ(std::set(order.begin(), order.end()).size(), 32U);
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 80U);
}

TEST(Lanes, a_load_of_16_bytes_from_an_unaligned_address_that_works) {
  alignas(16) const float values[8]{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(load_pack<Pack<float>>(values + 4).value[1], 5);
  EXPECT_TRUE(std::isnan(load_pack<Pack<float>>(values + 1).value[0]));
}

}  // namespace
}  // namespace normproof::impls::cuda
