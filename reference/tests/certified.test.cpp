// The certified oracle against the multiprecision one: the same bits on random and on nasty data, and every
// way to certify too much is caught.
#include <array>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "cases.h"
#include "enclosure.h"
#include "lanes.h"
#include "normproof/reference/truth.h"
#include "random_cases.h"
#include "sums.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace normproof::reference {
namespace {

using testing_cases::channel;
using testing_cases::Numbers;
using testing_cases::random_case;

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

struct Comparison {
  std::int64_t compared = 0, differing = 0;
  Effort effort;
};

void compare(const Case& c, Comparison& comparison) {
  const Truth fast = truth_of(c);
  const Truth slow = multiprecision_truth_of(c);
  comparison.effort += fast.effort;
  EXPECT_EQ(fast.effort.elements, slow.effort.elements);
  EXPECT_EQ(slow.effort.certified, 0);
  for (const Output output : all_outputs)
    for (std::size_t i = 0; i < slow[output].rn.size(); ++i) {
      const double rn = slow[output].rn[i];
      const double off = slow[output].off[i];
      const bool near = std::abs(fast[output].off[i] - off) <= off_precision * std::max(1.0, std::abs(off));
      const bool same = same_bits(fast[output].rn[i], rn) && near &&
                        is_tie(format_of(c.problem, output), fast[output].rn[i], fast[output].off[i]) ==
                            is_tie(format_of(c.problem, output), rn, off);
      ++comparison.compared;
      comparison.differing += same ? 0 : 1;
    }
}

TEST(Certified, HasTheBitsOfTheMultiprecisionOracleInEveryPassAndFormat) {
  const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                          {f16, f16}, {bf16, f32}, {bf16, bf16}};
  Numbers numbers(21);
  for (const Pass pass : all_passes) {
    for (const auto& [data, stats] : types) {
      Comparison comparison;
      while (comparison.compared < 40000) {
        const Case c = random_case(numbers, pass, data, stats);
        compare(c, comparison);
        ASSERT_EQ(comparison.differing, 0) << to_string(pass) << " " << data.name << "/" << stats.name << " "
                                           << to_string(c.problem.shape) << " eps " << c.problem.eps;
      }
      std::printf("%s %s/%s: %lld compared, %.1f %% certified, %lld arbitrated\n",
                  std::string(to_string(pass)).c_str(), std::string(data.name).c_str(),
                  std::string(stats.name).c_str(), static_cast<long long>(comparison.compared),
                  100 * static_cast<double>(comparison.effort.certified) /
                      static_cast<double>(comparison.effort.elements),
                  static_cast<long long>(comparison.effort.arbitrated));
      EXPECT_GT(comparison.effort.certified, comparison.effort.elements / 4);
    }
  }
}

TEST(Certified, OrdinaryDataNeverNeedsMoreThanDoubleDoubles) {
  Numbers numbers(22);
  for (const Format& format : {f64, f32, f16, bf16}) {
    std::vector<double> x;
    for (int i = 0; i < 100000; ++i)
      x.push_back(numbers.number(format, -3, 1));
    const Truth truth =
        truth_of(testing_cases::with_affine(testing_cases::plain(format, 1, x, 1e-5), {1.5}, {0.25}));
    EXPECT_GE(truth.effort.certified, truth.effort.elements - 4) << format.name;
  }
}

TEST(Certified, NarrowSumsAreThoseOfTheDefinition) {
  Numbers numbers(23);
  const auto equal = [](const Dyadic& a, const Dyadic& b) {
    return compare(a, b) == 0;
  };
  int narrow = 0;
  for (int round = 0; round < 3000; ++round) {
    const Format& format = formats()[static_cast<std::size_t>(numbers.integer(0, 4))];
    const std::int64_t n = numbers.integer(1, 40);
    const auto x = channel(numbers, format, n);
    const auto w = channel(numbers, format, n);
    const ChannelSums a = sums_of(x.data(), n);
    const ChannelSums b = plain_sums_of(x.data(), n);
    ASSERT_EQ(a.finite, b.finite);
    if (!b.finite)
      continue;
    ASSERT_TRUE(equal(a.sum, b.sum) && equal(a.sum_abs, b.sum_abs) && equal(a.squares, b.squares));
    ASSERT_TRUE(same_bits(a.min, b.min) || (a.min == 0 && b.min == 0));
    ASSERT_TRUE(same_bits(a.max, b.max) || (a.max == 0 && b.max == 0));
    ASSERT_EQ(a.granularity, b.granularity);
    const WeightedSums c = weighted_sums_of(w.data(), x.data(), n, x[0], 0);
    const WeightedSums d = plain_weighted_sums_of(w.data(), x.data(), n, x[0], 0);
    ASSERT_EQ(c.finite, d.finite);
    ASSERT_TRUE(!d.finite ||
                (equal(c.sum, d.sum) && equal(c.sum_abs, d.sum_abs) && equal(c.with_x, d.with_x) &&
                 equal(c.folded, d.folded) && equal(c.folded_with_x, d.folded_with_x) &&
                 c.max_abs == d.max_abs && c.granularity == d.granularity));
    if (!d.finite)
      continue;
    const Dot e = dot_of(w.data(), x.data(), n);
    const Dot f = plain_dot_of(w.data(), x.data(), n);
    ASSERT_TRUE(equal(e.sum, f.sum) && equal(e.magnitude, f.magnitude));
    ++narrow;
  }
  EXPECT_GT(narrow, 2000);
}

TEST(Certified, EveryInstructionSetDecidesTheSameBits) {
  Numbers numbers(24);
  for (const Format& format : {f64, f32, f16, bf16}) {
    for (int round = 0; round < 40; ++round) {
      const std::int64_t n = numbers.integer(1, 700);
      std::vector<double> x, dy, v;
      for (std::int64_t i = 0; i < n; ++i) {
        x.push_back(numbers.number(format, -4, 1));
        dy.push_back(numbers.number(format, -4, 1));
        v.push_back(numbers.number(format, -4, 1));
      }
      Form form;
      form.shift = numbers.number(f64, -4, 1);
      for (int k = 0; k < 4; ++k) {
        form.hi[k] = numbers.number(f64, -4, 1);
        form.lo[k] = form.hi[k] * 0x1.23p-55;
        form.error[k] = std::abs(form.hi[k]) * (round % 2 == 0 ? form_error : 0x1p-40);
      }
      for (int terms = 1; terms <= 3; ++terms) {
        std::vector<double> rn, off;
        std::vector<std::int64_t> open;
        for (const Lanes* const* table = all_lanes(); *table != nullptr; ++table) {
          const auto size = static_cast<std::size_t>(n);
          std::vector<double> other_rn(size), other_off(size);
          std::vector<std::int64_t> other_open(size);
          const std::int64_t left = (*table)->decide_all(
              Grid(format), form, x.data(), terms > 1 ? dy.data() : nullptr, terms > 2 ? v.data() : nullptr,
              n, other_rn.data(), other_off.data(), other_open.data());
          other_open.resize(static_cast<std::size_t>(left));
          if (table == all_lanes()) {
            rn = other_rn, off = other_off, open = other_open;
            continue;
          }
          ASSERT_EQ(rn, other_rn) << (*table)->name;
          ASSERT_EQ(off, other_off) << (*table)->name;
          ASSERT_EQ(open, other_open) << (*table)->name;
        }
      }
    }
  }
}

/// A quotient near a midpoint of f32, off by 2^-distance of a spacing.
Quotient near_midpoint(Numbers& numbers, std::int64_t distance, int side) {
  const Integer whole = (std::int64_t{1} << 23) + numbers.integer(0, std::int64_t{1} << 23);
  const Integer scaled = (((whole << 1) + 1) << static_cast<std::size_t>(distance - 1)) + side;
  return {Dyadic(scaled * 3, -distance - 23), 3};
}

TEST(Certified, ATestThatTrustsItsBoundTooMuchIsCaughtAndTheRealOneIsNot) {
  // A double-double holds a quotient to 2^-106 or so: truths nearer to a midpoint than that are decided at
  // random by whoever believes in a bound of 2^-120.
  const auto wrong = [](double shrink) {
    Numbers numbers(25);
    int count = 0;
    for (int i = 0; i < 20000; ++i) {
      const std::int64_t distance = numbers.integer(60, 140);
      const int side = numbers.bits() % 2 == 0 ? 1 : -1;
      const Quotient third{near_midpoint(numbers, distance, side).numerator, 3};
      // A third of it times three, so that the double-double has something to round.
      auto value =
          enclosed(DoubleDouble(3.0) / DoubleDouble(7.0), Quotient{third.numerator * Integer(7), 9}, 0);
      value->error *= shrink;
      const auto got = certified(f32, value);
      if (got && ((got->off > 0) != (side < 0)))
        ++count;
    }
    return count;
  };
  EXPECT_EQ(wrong(1), 0);
  EXPECT_GT(wrong(0x1p-10), 0);
}

TEST(Certified, AnInfinityWithoutACoefficientIsNotAFiniteValue) {
  const double inf = std::numeric_limits<double>::infinity();
  const Case c = testing_cases::with_affine(
      testing_cases::inference(testing_cases::plain(f32, 1, {1, inf, 2, inf}, 1), {3}, {15}), {0}, {0.5});
  const Truth truth = truth_of(c);
  EXPECT_EQ(truth[Output::y].rn[0], 0.5);
  EXPECT_TRUE(std::isnan(truth[Output::y].rn[1]));
  EXPECT_EQ(truth[Output::y].rn[2], 0.5);
  EXPECT_TRUE(std::isnan(truth[Output::y].rn[3]));
}

TEST(Audit, FindsOneWrongBitAndPassesTheTruth) {
  Numbers numbers(26);
  std::int64_t audited = 0;
  for (const Pass pass : all_passes) {
    const Case c = random_case(numbers, pass, f32, f32);
    Truth truth = truth_of(c);
    const Audit right = audit(c, truth, 50, 1);
    EXPECT_EQ(right.disagreeing, 0) << right.first;
    audited += right.audited;
    for (Values& values : truth.outputs)
      for (double& rn : values.rn)
        rn = std::isfinite(rn) ? std::nextafter(rn, 1e300) : 0;
    const Audit wrong = audit(c, truth, 50, 1);
    EXPECT_EQ(wrong.disagreeing, wrong.audited);
    EXPECT_NE(wrong.first.find("by the definition"), std::string::npos);
  }
  EXPECT_GT(audited, 300);
}

TEST(Certified, RefusesToWorkWithoutTheArithmeticThatTheBoundsNeed) {
  const Case c = testing_cases::plain(f32, 1, {1, 2}, 1);
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  EXPECT_THROW(truth_of(c), std::runtime_error);
  std::fesetround(FE_TONEAREST);
#ifdef __SSE2__
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8000U);  // flush to zero
  EXPECT_THROW(truth_of(c), std::runtime_error);
  _mm_setcsr(before | 0x0040U);  // denormals are zero
  EXPECT_THROW(truth_of(c), std::runtime_error);
  _mm_setcsr(before);
#endif
  EXPECT_NO_THROW(truth_of(c));
}

}  // namespace
}  // namespace normproof::reference
