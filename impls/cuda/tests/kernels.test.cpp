// The device's kernels lane by lane: tails, geometry, depth, order.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "trial.h"

namespace normproof::impls::cuda {

/// A number that knows the longest chain of additions behind it. Zero adds nothing; a product is a new term.
struct Counted {
  double value = 0;
  Index depth = 0;

  Counted() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  explicit constexpr Counted(T v) : value(static_cast<double>(v)) {}
  explicit operator double() const { return value; }
  explicit operator float() const { return static_cast<float>(value); }
  explicit operator F16() const { return F16(value); }
  explicit operator BF16() const { return BF16(value); }

  static Counted with_depth(double v, Index d) {
    Counted c(v);
    c.depth = d;
    return c;
  }
  friend Counted operator+(Counted a, Counted b) {
    if (a.value == 0 || b.value == 0)
      return a.value == 0 ? b : a;
    return with_depth(a.value + b.value, std::max(a.depth, b.depth) + 1);
  }
  friend Counted operator-(Counted a, Counted b) { return a + with_depth(-b.value, b.depth); }
  friend Counted operator*(Counted a, Counted b) { return Counted(a.value * b.value); }
  friend Counted operator/(Counted a, Counted b) {
    return with_depth(a.value / b.value, std::max(a.depth, b.depth));
  }
  friend Counted sqrt(Counted a) { return with_depth(std::sqrt(a.value), a.depth); }
  Counted& operator+=(Counted b) { return *this = *this + b; }
  friend bool operator==(Counted a, int b) { return a.value == b; }
};

namespace {

struct Counting {
  template <class>
  using type = Counted;
};

/// x of the channels k = 0, 1...: a mean of k + 2 and deviations +-1, +-2, ..., all sums exact in 8 bits and
/// more whatever their order; an odd n has one value at the mean.
double exact_value(Index k, Index i, Index n) {
  const auto middle = static_cast<double>(k + 2);
  if (i == n - 1 && n % 2 == 1)
    return middle;
  return middle + (i % 2 == 0 ? 1 : -1) * static_cast<double>(1 + i / 2 % 2);
}

template <class Kernel, class Data>
void expect_exact(Index batch, Index plane, Index shift, std::uint64_t seed, const char* name) {
  Trial<Data> t(batch, 3, plane);
  t.shift = shift;
  t.seed = seed;
  const Index n = t.n();
  std::vector<double> m2(3, 0);
  for (Index k = 0; k < 3; ++k)
    for (Index i = 0; i < n; ++i) {
      const double value = exact_value(k, i, n);
      t.set(t.x, k, i, value);
      m2[static_cast<std::size_t>(k)] +=
          (value - static_cast<double>(k + 2)) * (value - static_cast<double>(k + 2));
    }
  t.eps = 1;
  t.template run<Kernel>();
  using Acc = typename cpu::Accumulator<Data>::type;
  for (std::size_t k = 0; k < 3; ++k) {
    const Acc variance = static_cast<Acc>(m2[k]) / static_cast<Acc>(n);
    EXPECT_EQ(t.mean[k], static_cast<Acc>(k + 2)) << name << ' ' << batch << 'x' << plane << '+' << shift;
    EXPECT_EQ(t.var[k], variance) << name << ' ' << batch << 'x' << plane << '+' << shift;
    const Acc invstd = Acc{1} / std::sqrt(variance + Acc{1});
    for (Index i = 0; i < n; ++i) {
      const auto centred =
          static_cast<Acc>(exact_value(static_cast<Index>(k), i, n)) - static_cast<Acc>(k + 2);
      const auto at = static_cast<std::size_t>((i / plane * 3 + static_cast<Index>(k)) * plane + i % plane);
      ASSERT_EQ(static_cast<double>(t.y[at]),
                static_cast<double>(static_cast<Data>(centred * invstd + Acc{1})))
          << name << ' ' << batch << 'x' << plane << '+' << shift << " value " << i;
    }
  }
}

template <class Data>
void expect_every_tail() {
  for (Index plane = 1; plane <= 4 * Pack<Data>::size + 3; ++plane)
    for (Index shift = 0; shift < Pack<Data>::size; ++shift)
      expect_exact<TrainingByBlocks<VectorTwoPass>, Data>(plane == 1 ? 1 : 2, plane, shift, 7,
                                                          "two_pass_wide");
  expect_exact<TrainingByBlocks<VectorTwoPass>, Data>(3, 1031, 1, 7, "two_pass_wide");
}
TEST(Tails, a_value_before_or_behind_the_wide_loads_that_is_lost) {
  expect_every_tail<double>();
  expect_every_tail<float>();
  expect_every_tail<F16>();
  expect_every_tail<BF16>();
}

TEST(Tails, a_window_that_is_counted_twice_or_left_out) {
  alignas(16) F16 memory[128];
  for (Index shift = 0; shift < 8; ++shift)
    for (Index count = 1; count < 70; ++count) {
      Index next = 0;
      for (Index w = 0; w < windows<F16>(count); ++w) {
        const Window seen = window<F16, Sound>(memory + shift, count, w);
        if (seen.begin >= seen.end)
          continue;
        EXPECT_EQ(seen.begin, next);
        EXPECT_EQ((seen.begin + shift) / 8, (seen.end - 1 + shift) / 8) << "one stretch of 16 bytes";
        next = seen.end;
      }
      EXPECT_EQ(next, count);
    }
}

TEST(Tails, a_part_or_a_lane_whose_values_are_lost) {
  for (const Index plane : {1, 2, 3, 31, 32, 33, 63, 65, 127, 129, 255, 257, 1023, 1025, 2049, 5003}) {
    const auto seed = static_cast<std::uint64_t>(plane);
    for (const Index batch : {1, 3}) {
      expect_exact<TrainingByBlocks<TwoPass>, float>(batch, plane, 0, seed, "two_pass");
      expect_exact<TrainingByBlocks<TwoPass>, F16>(batch, plane, 0, seed, "two_pass");
    }
  }
}

TEST(Geometry, parts_that_leave_out_a_value_or_share_one) {
  for (Index n = 1; n < 6000; n = n < 300 ? n + 1 : n * 11 / 10)
    for (const Parts p : {SplitSums<false>::parts(n), ChanTree::chunks(n), Tiles::parts(n)}) {
      Index next = 0;
      for (Index part = 0; part < p.count; ++part) {
        EXPECT_EQ(part * p.size, next);
        EXPECT_GT(Sound::count_of_part(part, p.size, n), 0) << "an empty part of " << n;
        EXPECT_LE(Sound::count_of_part(part, p.size, n), Sound::count_of_part(0, p.size, n));
        next = Sound::end_of_part(part, p.size, n);
      }
      EXPECT_EQ(next, n);
    }
}

// --- depth ---

/// Values whose deviations from any mean of theirs are not 0.
Trial<float> uneven(Index batch, Index plane) {
  Trial<float> t(batch, 2, plane);
  for (Index k = 0; k < 2; ++k)
    for (Index i = 0; i < t.n(); ++i)
      t.set(t.x, k, i, 1 + static_cast<double>(i * i % 1013) / 512 + static_cast<double>(i + k) / 65536);
  return t;
}
Geometry geometry_of(const Trial<float>& t) {
  const std::int64_t shape[3]{t.batch, t.channels, t.plane};
  const std::int64_t strides[3]{t.channels * t.plane, t.plane, 1};
  return cpu::geometry_of(3, shape, strides);
}

/// The moments of one channel by one block.
template <class Algorithm>
struct MomentsAlone {
  static constexpr bool loops = true;
  Values<const float> x;
  Index n;
  Part<Counted>* out;
  void operator()(Block& block, Index channel) const {
    *out = Algorithm::template moments<Sound, Counted>(block, x, channel, n);
  }
};
template <class Algorithm>
Part<Counted> moments_by_a_block(const Trial<float>& t) {
  Stream stream(3);
  Part<Counted> out;
  const int threads = threads_for(t.n());
  launch(stream, 1, threads, Algorithm::template shared<Counted>(threads),
         MomentsAlone<Algorithm>{{t.x.data(), geometry_of(t)}, t.n(), &out});
  return out;
}
/// The depth behind mean and invstd of channel 0: the first values that a kernel of several launches keeps,
/// behind `skipped` others.
template <class Algorithm, Affine form>
Part<Counted> moments_by_launches(Trial<float> t, Index skipped = 0) {
  std::vector<std::uint64_t> workspace(static_cast<std::size_t>(2 * Algorithm::workspace(t.channels, t.n())),
                                       ~std::uint64_t{0});
  t.template run<TrainingByLaunches<Algorithm, form, Counting>>(workspace);
  const auto* const kept = reinterpret_cast<const Counted*>(workspace.data()) + skipped;
  return {kept[0], kept[t.channels], t.n()};
}

const std::vector<Index> counts{2,   3,   5,    31,   32,   33,   64,    100,   255,   256,
                                257, 511, 1000, 2048, 2049, 4100, 10000, 40000, 150000};

TEST(Depth, a_claim_of_sums_that_is_not_the_depth_measured) {
  for (const Index n : counts) {
    const Trial<float> t = uneven(1, n);
    const Part<Counted> by_block = moments_by_a_block<TwoPass>(t);
    EXPECT_EQ(by_block.mean.depth, TwoPass::depth(geometry_of(t), 4)) << n;
    EXPECT_EQ(by_block.m2.depth, TwoPass::depth(geometry_of(t), 4)) << n;
    const Part<Counted> split = moments_by_launches<SplitSums<false>, Affine::folded>(t);
    EXPECT_EQ(split.mean.depth, SplitSums<false>::depth(n)) << n;
    EXPECT_EQ(split.m2.depth, SplitSums<false>::depth(n)) << n;
    // Added in any order: the last part may be the one with the longest chain, and is the one measured then.
    const Part<Counted> atomic = moments_by_launches<SplitSums<true>, Affine::folded>(t);
    EXPECT_LE(atomic.m2.depth, SplitSums<true>::depth(n)) << n;
    EXPECT_GE(atomic.m2.depth, SplitSums<true>::depth(n) - 1) << n;
  }
}

TEST(Depth, a_claim_of_wide_loads_that_is_below_the_depth_measured) {
  for (const Index n : counts)
    for (const Index batch : {1, 7}) {
      const Trial<float> t = uneven(batch, n);
      const Part<Counted> wide = moments_by_a_block<VectorTwoPass>(t);
      const Index claimed = VectorTwoPass::depth(geometry_of(t), 4);
      EXPECT_LE(wide.m2.depth, claimed) << n;
      EXPECT_GE(wide.m2.depth, claimed - 2 * Pack<float>::size) << n;
    }
}

/// A merge of groups is two additions for the group that joins and one for the one that grows, so that a row
/// of merges in one lane (`in_a_row`) takes one each; the claim counts two. It has also to cover how errors
/// of means spread (model.md).
TEST(Depth, a_claim_of_merges_that_is_below_the_depth_measured) {
  const auto expect = [](Index n, const Part<Counted>& measured, Index chain, Index merges, Index in_a_row,
                         Index claimed, const char* name) {
    EXPECT_LE(measured.m2.depth, chain + 2 * merges) << name << ' ' << n;
    EXPECT_GE(measured.m2.depth, std::min(n - 1, chain + 2 * merges - in_a_row - 2)) << name << ' ' << n;
    EXPECT_LE(measured.m2.depth, claimed) << name << ' ' << n;
  };
  for (const Index n : counts) {
    if (n < 1000)
      continue;  // lanes with a value each: merges of single values are one addition
    const Trial<float> t = uneven(1, n);
    const Index threads = threads_for(n);
    expect(n, moments_by_a_block<Welford>(t), ceil_div(n, threads) - 1, tree_depth(threads), 0,
           Welford::depth(geometry_of(t), 4), "welford");
    const Parts chunks = ChanTree::chunks(n);
    expect(n, moments_by_launches<ChanTree, Affine::centred>(t), 1,
           1 + tree_depth(ChanTree::chunk_threads(n)) + block_depth(chunks.count, threads_for(chunks.count)),
           ceil_div(chunks.count, threads_for(chunks.count)), ChanTree::depth(n), "chan_tree");
    const Parts rows = Tiles::parts(n);
    expect(n, moments_by_launches<Tiles, Affine::centred>(t, 2 * Tiles::tiles(t.channels)),
           ceil_div(rows.size, tile_rows) - 1, tree_depth(tile_rows) + block_depth(rows.count, tile_rows),
           ceil_div(rows.count, tile_rows) - 1, Tiles::depth(n), "channels_last");
  }
}

// --- order ---

template <class Data>
Trial<Data> irregular(Index batch, Index channels, Index plane, std::int32_t pass) {
  Trial<Data> t(batch, channels, plane);
  std::uint64_t state = 5;
  const auto next = [&] {
    state = state * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state >> 40) / 0x1p23 - 1;
  };
  for (auto* values : {&t.x, &t.dy})
    for (Data& value : *values)
      value = static_cast<Data>(next());
  for (auto* values : {&t.gamma, &t.beta, &t.running_mean})
    for (auto& value : *values)
      value = static_cast<typename Trial<Data>::Stat>(next());
  t.pass = pass;
  t.eps = 1e-5;
  return t;
}
template <class Kernel>
bool bits_follow_the_order(std::int32_t pass) {
  const Trial<float> given = irregular<float>(3, 5, 2111, pass);
  Trial<float> first = given;
  first.run<Kernel>();
  for (std::uint64_t seed = 2; seed < 30; ++seed) {
    Trial<float> again = given;
    again.seed = seed;
    again.run<Kernel>();
    if (again.y != first.y || again.mean != first.mean || again.var != first.var ||
        again.running_var != first.running_var || again.dgamma != first.dgamma || again.dbeta != first.dbeta)
      return true;
  }
  return false;
}
TEST(Order, a_kernel_that_claims_determinism_and_follows_the_order) {
  EXPECT_FALSE(bits_follow_the_order<TrainingByBlocks<TwoPass>>(NP_FORWARD_TRAINING));
  EXPECT_FALSE(bits_follow_the_order<TrainingByBlocks<VectorTwoPass>>(NP_FORWARD_TRAINING));
  EXPECT_FALSE(bits_follow_the_order<TrainingByBlocks<Welford>>(NP_FORWARD_TRAINING));
  EXPECT_FALSE(
      (bits_follow_the_order<TrainingByLaunches<SplitSums<false>, Affine::folded>>(NP_FORWARD_TRAINING)));
  EXPECT_FALSE((bits_follow_the_order<TrainingByLaunches<ChanTree, Affine::centred>>(NP_FORWARD_TRAINING)));
  EXPECT_FALSE((bits_follow_the_order<TrainingByLaunches<Tiles, Affine::centred>>(NP_FORWARD_TRAINING)));
  EXPECT_FALSE((bits_follow_the_order<Inference<Affine::folded, true>>(NP_FORWARD_INFERENCE)));
  for (const std::int32_t pass : {NP_BACKWARD_TRAINING, NP_BACKWARD_INFERENCE, NP_GRADIENT}) {
    EXPECT_FALSE(bits_follow_the_order<Backward<OneBlockBackward>>(pass));
    EXPECT_FALSE(bits_follow_the_order<Backward<SplitBackward>>(pass));
  }
}
TEST(Order, atomic_sums_that_pretend_to_an_order) {
  EXPECT_TRUE(
      (bits_follow_the_order<TrainingByLaunches<SplitSums<true>, Affine::folded>>(NP_FORWARD_TRAINING)));
}

TEST(Order, a_batch_that_is_counted_by_every_block) {
  Trial<float> t = irregular<float>(3, 70, 40, NP_FORWARD_TRAINING);
  t.batches = 4;
  t.run<TrainingByLaunches<Tiles, Affine::centred>>();
  EXPECT_EQ(t.batches, 5);
}

}  // namespace
}  // namespace normproof::impls::cuda
