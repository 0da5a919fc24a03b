// Readings in vectors are those of ulp.h, on every instruction set that this machine runs.
#include "normproof/reference/readings.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lanes.h"
#include "normproof/reference/ulp.h"

namespace normproof::reference {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Value {
  double got, rn, off, scale;
};

/// Numbers at which a spacing, a neighbour or the range changes, and some in between.
std::vector<double> corners(const Format& format) {
  std::vector<double> values{0.0, -0.0, inf, -inf, nan};
  const double u = unit_roundoff(format);
  for (const double at : {smallest(format), smallest_normal(format), 2 * smallest_normal(format), 1.0, 1.5,
                          0x1p10, largest(format)})
    for (const double near : {1.0, 1 - u, 1 - 2 * u, 1 + 2 * u, 1 + 4 * u}) {
      const double v = round_to(format, at * near);
      values.push_back(v);
      values.push_back(-v);
    }
  return values;
}

const std::vector<double> offs{0.0,  0.25,    -0.25,    0.5,      -0.5,     0.125,
                               -0.3, 0x1p-30, -0x1p-60, 0x1p-699, 0x1p-701, -0x1p-1000};

/// Every pair of corners with every rest; scales from 0 to infinity.
std::vector<Value> cornered(const Format& format) {
  std::vector<double> scales{0.0, smallest(format) / 2, inf, nan, 3.7};
  for (const double v : corners(format))
    if (v > 0 && std::isfinite(v))
      for (const double near : {1.0, 0.75, 1 + 0x1p-52, 1 - 0x1p-53})
        scales.push_back(v * near);
  std::vector<Value> values;
  std::size_t turn = 0;
  for (const double got : corners(format))
    for (const double rn : corners(format))
      for (const double off : offs)
        values.push_back({got, rn, off, scales[turn++ % scales.size()]});
  return values;
}

/// What kernels give: the rounded truth or a few steps from it.
std::vector<Value> usual(const Format& format) {
  std::mt19937_64 bits(20261121);
  const auto share = [&] {
    return static_cast<double>(bits() >> 11) * 0x1p-53;
  };
  std::vector<Value> values;
  for (int k = 0; k < 200'000; ++k) {
    const int exponent = static_cast<int>(bits() % 20) - 14;
    const double rn = round_to(format, std::ldexp(2 * share() - 1, exponent));
    const auto steps = static_cast<double>(static_cast<std::int64_t>(bits() % 9) - 4);
    const double got = round_to(format, rn + steps * spacing(format, rn));
    values.push_back({got, rn, share() - 0.5, std::abs(rn) * (1 + 30 * share())});
  }
  return values;
}

class ReadingsOf : public testing::TestWithParam<Format> {};

void expect_alike(const Format& format, const Value& v, const Readings& read, std::int64_t i) {
  const auto same = [](double a, double b) {
    return a == b || (std::isnan(a) && std::isnan(b));
  };
  const double unit = round_to(format, v.scale);
  const double cond =
      unit > 0 && std::isfinite(unit) ? distance(format, v.got, v.rn, v.off) / ulp(format, unit, 0) : 0;
  ASSERT_PRED2(same, read.ulps[i], ulps_off(format, v.got, v.rn, v.off))
      << v.got << ' ' << v.rn << ' ' << v.off;
  ASSERT_PRED2(same, read.distance[i], distance(format, v.got, v.rn, v.off))
      << v.got << ' ' << v.rn << ' ' << v.off;
  ASSERT_PRED2(same, read.beyond[i], distance_to_rounding_interval(format, v.got, v.rn, v.off))
      << v.got << ' ' << v.rn << ' ' << v.off;
  ASSERT_EQ(read.faithful[i] != 0, is_faithful(format, v.got, v.rn, v.off))
      << v.got << ' ' << v.rn << ' ' << v.off;
  ASSERT_PRED2(same, read.condition_ulps[i], cond) << v.got << ' ' << v.rn << ' ' << v.off << ' ' << v.scale;
  if (std::isfinite(v.got)) {
    const double gap = spacing(format, v.got);
    ASSERT_GE(read.least_reach[i], format == f64 ? 0 : 0.25 * gap);
    // A real nearer than that rounds to got.
    const double reach = 0.99 * std::min(read.least_reach[i], gap);
    if (format.p < f64.p && std::abs(v.got) < largest(format)) {
      ASSERT_EQ(round_to(format, v.got + reach), v.got) << v.got;
      ASSERT_EQ(round_to(format, v.got - reach), v.got) << v.got;
    }
  }
}

/// How many of the values the vectors leave open.
std::int64_t expect_all_alike(const Format& format, const std::vector<Value>& values) {
  std::int64_t left = 0;
  for (std::size_t first = 0; first < values.size(); first += Readings::block) {
    const auto n = static_cast<std::int64_t>(std::min<std::size_t>(Readings::block, values.size() - first));
    double got[Readings::block], rn[Readings::block], off[Readings::block], scale[Readings::block];
    for (std::int64_t i = 0; i < n; ++i) {
      const Value& v = values[first + static_cast<std::size_t>(i)];
      got[i] = v.got, rn[i] = v.rn, off[i] = v.off, scale[i] = v.scale;
    }
    Readings whole;
    read(format, got, rn, off, scale, n, whole);
    for (std::int64_t i = 0; i < n; ++i) {
      expect_alike(format, values[first + static_cast<std::size_t>(i)], whole, i);
      if (testing::Test::HasFatalFailure())
        return left;
    }
    for (const Lanes* const* table = all_lanes(); *table != nullptr; ++table) {
      Readings part;
      std::int64_t open[Readings::block];
      const std::int64_t odd = (*table)->read(Grid(format), got, rn, off, scale, n, part, open);
      left += odd;
      std::vector<bool> is_open(static_cast<std::size_t>(n));
      for (std::int64_t k = 0; k < odd; ++k)
        is_open[static_cast<std::size_t>(open[k])] = true;
      for (std::int64_t i = 0; i < n; ++i) {
        if (!is_open[static_cast<std::size_t>(i)])
          expect_alike(format, values[first + static_cast<std::size_t>(i)], part, i);
        if (testing::Test::HasFatalFailure())
          return left;
      }
    }
  }
  return left;
}

TEST_P(ReadingsOf, corners_a_neighbour_below_a_power_of_two_counted_as_one_above) {
  EXPECT_GT(expect_all_alike(GetParam(), cornered(GetParam())), 0);
}

TEST_P(ReadingsOf, what_kernels_give_is_never_left_to_the_slow_way) {
  EXPECT_EQ(expect_all_alike(GetParam(), usual(GetParam())), 0);
}

INSTANTIATE_TEST_SUITE_P(Readings, ReadingsOf, testing::Values(f64, f32, f16, bf16),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace normproof::reference
