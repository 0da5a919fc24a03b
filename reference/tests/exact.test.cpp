// The exact ground: sums in integers, dyadics, and the arbiter, against rationals.
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "arbiter.h"
#include "cases.h"
#include "second_route.h"
#include "sums.h"

namespace normproof::reference {
namespace {

using second_route::exact;
using second_route::Rational;
using testing_cases::Numbers;

Rational rational(const Dyadic& v) {
  return Rational(v.significand) * second_route::power_of_two(static_cast<int>(v.exponent));
}

TEST(Sums, NoAdditionRoundsOverTheWholeRangeOfDoubles) {
  Numbers numbers(1);
  for (int round = 0; round < 200; ++round) {
    const int spread = round % 4 == 0 ? 1000 : 40;
    std::vector<double> x;
    for (std::int64_t i = numbers.integer(1, 40); i > 0; --i)
      x.push_back(numbers.number(f64, -spread, spread));
    if (round % 3 == 0)
      x.push_back(std::numeric_limits<double>::denorm_min());
    if (round % 5 == 0)
      x.push_back(-std::numeric_limits<double>::max());
    if (round % 7 == 0)
      x.push_back(0);
    Rational sum, sum_abs, squares;
    for (const double v : x) {
      sum += exact(v);
      sum_abs += exact(std::abs(v));
      squares += exact(v) * exact(v);
    }
    const ChannelSums sums = sums_of(x.data(), static_cast<std::int64_t>(x.size()));
    ASSERT_EQ(rational(sums.sum), sum);
    ASSERT_EQ(rational(sums.sum_abs), sum_abs);
    ASSERT_EQ(rational(sums.squares), squares);
    ASSERT_EQ(sums.min, *std::min_element(x.begin(), x.end()));
    ASSERT_EQ(sums.max, *std::max_element(x.begin(), x.end()));
  }
}

TEST(Sums, CarriesAreNotLostWhereDigitsOverflow) {
  ExactSum sum(-100, 100);
  const std::uint64_t m = 0x1fffffffffffffULL;
  for (int i = 0; i < 100000; ++i)
    sum.add(m, 3);
  EXPECT_EQ(rational(sum.value()), Rational(Integer(m) * 100000 * 8));
}

TEST(Sums, GranularityIsTheCommonPowerOfTwo) {
  for (const auto& [x, g] : std::vector<std::pair<std::vector<double>, int>>{
           {{4, 12, -8}, 2}, {{0, 0.75, 3}, -2}, {{0x1p-1074, 1e300}, -1074}, {{0, -0.0}, 0}})
    EXPECT_EQ(sums_of(x.data(), static_cast<std::int64_t>(x.size())).granularity, g);
}

TEST(Sums, NonFiniteValuesFollowTheirIeeeSum) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const auto special = [](std::vector<double> x) {
    const ChannelSums sums = sums_of(x.data(), static_cast<std::int64_t>(x.size()));
    EXPECT_FALSE(sums.finite);
    return sums.special;
  };
  EXPECT_EQ(special({1, inf, 2, inf}), inf);
  EXPECT_EQ(special({-inf, 1}), -inf);
  EXPECT_TRUE(std::isnan(special({-inf, inf})));
  EXPECT_TRUE(std::isnan(special({1, std::nan("")})));
}

TEST(Dyadic, ArithmeticIsThatOfRationals) {
  Numbers numbers(2);
  for (int i = 0; i < 2000; ++i) {
    const double a = i % 10 == 0 ? 0 : numbers.number(f64, -300, 300);
    const double b = i % 7 == 0 ? -a : numbers.number(f64, -300, 300);
    const Dyadic x(a);
    const Dyadic y(b);
    ASSERT_EQ(rational(x), exact(a));
    ASSERT_EQ(rational(x + y), Rational(exact(a) + exact(b)));
    ASSERT_EQ(rational(x - y), Rational(exact(a) - exact(b)));
    ASSERT_EQ(rational(x * y), Rational(exact(a) * exact(b)));
    ASSERT_EQ(compare(x, y), (a > b) - (a < b));
  }
}

TEST(Arbiter, EverySignCombinationOfARationalRoot) {
  // 3/sqrt(9/4) = 2 and its mirror image, with shifts and comparisons on all sides of them and of 0.
  const Quotient root{Dyadic(9.0), 4};
  for (const double scale : {-3.0, 0.0, 3.0}) {
    for (const double shift : {-5.0, -2.0, 0.0, 2.0, 0.25}) {
      for (const double d : {-4.0, -2.0, -0x1p-60, 0.0, 0x1p-60, 2.0, 4.0}) {
        const double truth = scale / 1.5 + shift;
        const Dyadic m = Dyadic(truth) + Dyadic(d);
        ASSERT_EQ(compare_scaled_root({Dyadic(scale), 1}, root, Dyadic(shift), m), (d < 0) - (d > 0))
            << scale << " " << shift << " " << d;
      }
    }
  }
}

TEST(Arbiter, AgreesWithBracketsOfTheRoot) {
  Numbers numbers(3);
  for (int i = 0; i < 3000; ++i) {
    const double scale = numbers.number(f64, -20, 20);
    const double s = std::abs(numbers.number(f64, -20, 20));
    const double shift = numbers.number(f64, -20, 20);
    const Integer denominator = numbers.integer(1, 1000);
    const double m = scale / std::sqrt(s / static_cast<double>(denominator)) + shift;  // near the truth
    const unsigned bits = 300;
    const Rational low = Rational(second_route::root_below(exact(s) / Rational(denominator), bits)) *
                         second_route::power_of_two(-300);
    const Rational rest = exact(scale) * low + exact(shift) - exact(m);
    ASSERT_EQ(compare_scaled_root({Dyadic(scale), 1}, {Dyadic(s), denominator}, Dyadic(shift), Dyadic(m)),
              rest.sign());
  }
}

TEST(Arbiter, ThePlacementsThatHaveARationalRoot) {
  const Quotient v{Dyadic(3.0), 4};
  const auto is = [&](EpsPlacement placement, double eps, double four_times) {
    return compare(*root_of(v, eps, placement), Quotient{Dyadic(four_times), 4}) == 0;
  };
  EXPECT_TRUE(is(EpsPlacement::inside_root, 0.25, 4));
  EXPECT_TRUE(is(EpsPlacement::doubled, 0.25, 5));
  EXPECT_TRUE(is(EpsPlacement::omitted, 0.25, 3));
  EXPECT_TRUE(is(EpsPlacement::clamped, 0.25, 3));
  EXPECT_TRUE(is(EpsPlacement::clamped, 2, 8));
  EXPECT_FALSE(root_of(v, 0.25, EpsPlacement::outside_root).has_value());
  EXPECT_FALSE(root_of(v, 0.25, EpsPlacement::added_to_deviation).has_value());
}

}  // namespace
}  // namespace normproof::reference
