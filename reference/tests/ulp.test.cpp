// Distances: exhaustively on a toy format against brute force over its numbers, then at the edges of the real
// formats against exact rationals.
#include "normproof/reference/ulp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "second_route.h"

namespace normproof::reference {
namespace {

using second_route::exact;
using second_route::Rational;

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr Format toy{"toy", 4, -6, 7, 1};

/// The numbers of a small format in order, infinities as +-2^(emax+1) at the ends.
struct Line {
  std::vector<double> numbers;

  explicit Line(const Format& format) {
    for (std::uint64_t bits = 0; std::isfinite(decode(format, bits)); ++bits)
      numbers.push_back(decode(format, bits));
    numbers.push_back(std::ldexp(1.0, format.emax + 1));
    for (std::size_t i = numbers.size() - 1; i > 0; --i)
      numbers.push_back(-numbers[i]);
    std::sort(numbers.begin(), numbers.end());
  }
  std::size_t at_or_below(double y) const {
    return static_cast<std::size_t>(std::upper_bound(numbers.begin(), numbers.end(), y) - numbers.begin()) -
           1;
  }
  /// Harrison by its definition, over all pairs that enclose y.
  double harrison(double y) const {
    double best = inf;
    for (std::size_t i = 0; i + 1 < numbers.size(); ++i)
      if (numbers[i] <= y && y <= numbers[i + 1])
        best = std::min(best, numbers[i + 1] - numbers[i]);
    return best;
  }
  /// Distance from y to the closed interval of reals nearest to number i.
  double to_interval(std::size_t i, double y) const {
    const double low = i == 0 ? -inf : (numbers[i - 1] + numbers[i]) / 2;
    const double high = i + 1 == numbers.size() ? inf : (numbers[i] + numbers[i + 1]) / 2;
    return std::max({0.0, low - y, y - high});
  }
};

double as_stored(const Format& format, double number) {
  return std::abs(number) > largest(format) ? std::copysign(inf, number) : number;
}

/// Truths on a grid of 1/16 of the spacing everywhere in the format, midpoints and numbers included.
std::vector<double> truths(const Line& line) {
  std::vector<double> result;
  for (std::size_t i = 0; i + 1 < line.numbers.size(); ++i)
    for (int k = 0; k < 16; ++k)
      result.push_back(line.numbers[i] + (line.numbers[i + 1] - line.numbers[i]) * k / 16);
  return result;
}

double off_of(const Format& format, double y, double rn) {
  const double number = std::isinf(rn) ? std::copysign(std::ldexp(1.0, format.emax + 1), rn) : rn;
  return (y - number) / spacing(format, rn);
}

TEST(Ulp, HarrisonOnEveryTruthOfAToyFormat) {
  const Line line(toy);
  ASSERT_EQ(line.numbers.size(), 241U);
  for (const double y : truths(line)) {
    const double rn = round_to(toy, y);
    ASSERT_EQ(ulp(toy, rn, off_of(toy, y, rn)), line.harrison(y)) << y;
  }
}

TEST(Ulp, DistancesOnEveryPairOfAToyFormat) {
  const Line line(toy);
  for (const double y : truths(line)) {
    const double rn = round_to(toy, y);
    const double off = off_of(toy, y, rn);
    const std::size_t below = line.at_or_below(y);
    const bool between = line.numbers[below] != y;
    for (std::size_t i = 0; i < line.numbers.size(); ++i) {
      const double got = as_stored(toy, line.numbers[i]);
      if (std::isinf(got) && got == rn)
        continue;  // its own test
      ASSERT_EQ(distance(toy, got, rn, off), std::abs(line.numbers[i] - y)) << got << " " << y;
      ASSERT_EQ(ulps_off(toy, got, rn, off), std::abs(line.numbers[i] - y) / line.harrison(y))
          << got << " " << y;
      ASSERT_EQ(distance_to_rounding_interval(toy, got, rn, off), line.to_interval(i, y)) << got << " " << y;
      ASSERT_EQ(is_faithful(toy, got, rn, off), i == below || (between && i == below + 1)) << got << " " << y;
    }
  }
}

TEST(Ulp, ATieIsNoErrorForEitherNeighbour) {
  const Line line(toy);
  for (std::size_t i = 0; i + 1 < line.numbers.size(); ++i) {
    const double y = (line.numbers[i] + line.numbers[i + 1]) / 2;
    const double rn = round_to(toy, y);
    const double off = off_of(toy, y, rn);
    ASSERT_TRUE(is_tie(toy, rn, off)) << y;
    ASSERT_FALSE(is_tie(toy, rn, std::nextafter(off, 0))) << y;
    for (const std::size_t k : {i, i + 1})
      ASSERT_EQ(distance_to_rounding_interval(toy, as_stored(toy, line.numbers[k]), rn, off), 0) << y;
  }
}

TEST(Ulp, OrdinalsAreStepsAndZeroHasNoSign) {
  const Line line(toy);
  for (std::size_t i = 0; i + 1 < line.numbers.size(); ++i)
    ASSERT_EQ(
        ordinal(toy, as_stored(toy, line.numbers[i + 1])) - ordinal(toy, as_stored(toy, line.numbers[i])), 1);
  for (const Format& format : formats()) {
    EXPECT_EQ(ordinal(format, -0.0), ordinal(format, 0.0));
    EXPECT_EQ(ordinal(format, smallest(format)) - ordinal(format, -smallest(format)), 2);
    EXPECT_EQ(ordinal(format, inf) - ordinal(format, largest(format)), 1);
  }
}

TEST(Ulp, AnInfinityMatchesATruthBeyondTheRangeAndNothingElse) {
  for (const Format& format : formats()) {
    EXPECT_EQ(ulps_off(format, inf, inf, 1e9), 0);
    EXPECT_EQ(distance(format, -inf, -inf, 0), 0);
    EXPECT_EQ(distance_to_rounding_interval(format, inf, inf, 1e9), 0);
    EXPECT_EQ(ulps_off(format, largest(format), inf, 0), 1);
    EXPECT_EQ(ulps_off(format, inf, largest(format), 0.25), 0.75);
    EXPECT_EQ(distance_to_rounding_interval(format, inf, largest(format), 0.25), spacing(format, inf) / 4);
    EXPECT_GT(ulps_off(format, -inf, inf, 0), 1e2);
    EXPECT_TRUE(is_faithful(format, largest(format), inf, 3));
    EXPECT_FALSE(is_faithful(format, largest(format), inf, 0));  // the specification's own infinity
    EXPECT_EQ(distance(format, std::nan(""), std::nan(""), 0), 0);
    EXPECT_EQ(distance(format, 1, std::nan(""), 0), inf);
    EXPECT_EQ(ulps_off(format, std::nan(""), 1, 0), inf);
    EXPECT_EQ(distance_to_rounding_interval(format, std::nan(""), 1, 0), inf);
    EXPECT_FALSE(is_faithful(format, std::nan(""), 1, 0.1));
  }
}

/// Edges of a format: zero, the subnormal border, binade boundaries and their neighbours, the largest number.
std::vector<double> edges(const Format& format) {
  std::vector<double> result{0.0,
                             smallest(format),
                             2 * smallest(format),
                             smallest_normal(format),
                             smallest_normal(format) - smallest(format),
                             2 * smallest_normal(format),
                             largest(format)};
  for (const int k : {format.emin + 3, -1, 0, 1, 5, format.emax - 1, format.emax}) {
    const std::uint64_t bits = encode(format, std::ldexp(1.0, k));
    for (const std::uint64_t near : {bits - 1, bits, bits + 1})
      result.push_back(decode(format, near));
  }
  const std::size_t positive = result.size();
  for (std::size_t i = 0; i < positive; ++i)
    result.push_back(-result[i]);
  return result;
}

TEST(Ulp, NothingOverflowsOrUnderflowsAtTheEdgesOfAnyFormat) {
  for (const Format& format : formats()) {
    for (const double rn : edges(format)) {
      for (const double off : {0.0, 0.25, -0.25, 0.125, 0x1p-40, -0x1p-40, 0.5, -0.5}) {
        // Below 2^k the next number is half a spacing away: a larger off belongs to that number.
        const bool starts = rn != 0 && std::abs(rn) > smallest_normal(format) &&
                            std::ilogb(rn) != std::ilogb(std::nextafter(rn, 0));
        if (starts && off * rn < 0 && std::abs(off) > 0.25)
          continue;
        const Rational truth = exact(rn) + exact(off) * exact(spacing(format, rn));
        const bool above = off * (rn < 0 ? -1 : 1) > 0;
        const Rational unit = exact(spacing(format, rn)) / (starts && !above ? 2 : 1);
        for (int step = -2; step <= 2; ++step) {
          const std::int64_t place = ordinal(format, rn) + step;
          const auto bits = static_cast<std::uint64_t>(std::abs(place));
          const double got = place < 0 ? -decode(format, bits) : decode(format, bits);
          if (!std::isfinite(got))
            continue;
          const Rational error = abs(Rational(exact(got) - truth));
          const auto want = static_cast<double>(Rational(error / unit));
          EXPECT_NEAR(ulps_off(format, got, rn, off), want, want * 0x1p-50)
              << format.name << rn << " " << off;
          const auto absolute = static_cast<double>(error);
          EXPECT_NEAR(distance(format, got, rn, off), absolute, absolute * 0x1p-50)
              << format.name << rn << " " << off;
        }
      }
    }
  }
}

TEST(Ulp, TheNeighbourBelowAPowerOfTwoIsHalfAnUlpAwayAndStillWrong) {
  // Goldberg's ulp would call the predecessor of 1 half an ulp off, as if it were a correct rounding.
  const double below = 1 - 0x1p-24;
  EXPECT_EQ(ulps_off(f32, below, 1, 0), 1);
  EXPECT_EQ(distance_to_rounding_interval(f32, below, 1, 0), 0x1p-25);
  EXPECT_FALSE(is_faithful(f32, below, 1, 0));
  // Kahan's would double the ulp just above 1.
  EXPECT_EQ(ulps_off(f32, 1 + 0x1p-23, 1, 0x1p-10), 1 - 0x1p-10);
}

}  // namespace
}  // namespace normproof::reference
