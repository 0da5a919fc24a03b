// The certified oracle on raw buffers: the bits of truth_of in every format and layout.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "form.h"
#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"
#include "random_cases.h"
#include "raw_cases.h"
#include "raw_trial.h"

namespace normproof::reference {
namespace {

using testing_cases::compare_backward;
using testing_cases::compare_forward;
using testing_cases::data;
using testing_cases::Numbers;
using testing_cases::plain_case;
using testing_cases::random_case;
using testing_cases::Stored;
using testing_cases::stored;
using testing_cases::Tally;

CertifiedEffort certified(const ForwardBuffers& b) {
  return certified_forward(b);
}
CertifiedEffort certified(const BackwardBuffers& b) {
  return certified_backward(b);
}

TEST(Raw, HasTheBitsOfTheTruthInEveryFormatAndLayout) {
  const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                          {f16, f16}, {bf16, f32}, {bf16, bf16}};
  Numbers numbers(31);
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference, Pass::backward_training})
    for (const auto& [data_format, stats] : types)
      for (const Layout x_layout : all_layouts) {
        Tally tally;
        while (tally.compared < 20000 || (pass == Pass::forward_training && tally.updated < 100)) {
          const Case c = plain_case(numbers, pass, data_format, stats);
          const Layout y_layout = numbers.integer(0, 4) == 0 ? Layout::contiguous : x_layout;
          const int threads = numbers.integer(0, 8) == 0 ? 3 : 1;
          const auto run = [&](auto& b) {
            b.threads = threads;
            tally.effort += certified(b);
          };
          if (pass == Pass::backward_training)
            compare_backward(c, x_layout, y_layout, tally, run);
          else
            compare_forward(c, x_layout, y_layout, tally, run);
          ASSERT_EQ(tally.differing, 0)
              << to_string(pass) << " " << data_format.name << "/" << stats.name << " " << to_string(x_layout)
              << " " << to_string(c.problem.shape) << ": " << tally.first;
        }
        std::printf(
            "%s %s/%s %s: %lld elements, %lld retested, %lld by double-double, %lld exactly\n",
            std::string(to_string(pass)).c_str(), std::string(data_format.name).c_str(),
            std::string(stats.name).c_str(), std::string(to_string(x_layout)).c_str(),
            static_cast<long long>(tally.effort.elements), static_cast<long long>(tally.effort.retested),
            static_cast<long long>(tally.effort.double_double), static_cast<long long>(tally.effort.exact));
      }
}

/// What a table makes of random values: stored bits and what it leaves open, in rows and in columns.
struct Made {
  std::vector<unsigned char> rows, columns, retested;
  std::vector<std::int64_t> open_rows, open_columns, still_open;
  std::int64_t most;
  friend bool operator==(const Made&, const Made&) = default;
};
Made made_by(const RawLanes& lanes_of_format, const Format& format, const Stored& x, const Stored* w,
             const Line& line) {
  const auto n = static_cast<std::int64_t>(x.bytes.size()) / format.bytes;
  const std::int64_t channels = n > 40 ? 19 : 3;  // fills no vector
  const std::int64_t rows = n / channels;
  Made made;
  made.rows.resize(x.bytes.size());
  made.columns.resize(x.bytes.size());
  made.open_rows.resize(static_cast<std::size_t>(n));
  made.open_columns.resize(static_cast<std::size_t>(n));
  const void* weights = w == nullptr ? nullptr : data(*w);
  const Rows run{1, n, n};
  made.open_rows.resize(static_cast<std::size_t>(lanes_of_format.row_elements(
      data(x), weights, run, made.rows.data(), run, line, made.open_rows.data())));
  // The same past the cache, from a place that no vector is aligned to.
  std::vector<unsigned char> past(x.bytes.size() + static_cast<std::size_t>(format.bytes));
  std::vector<std::int64_t> open_past(static_cast<std::size_t>(n));
  open_past.resize(static_cast<std::size_t>(lanes_of_format.row_elements(
      data(x), weights, run, past.data() + format.bytes, {1, n, n, true}, line, open_past.data())));
  EXPECT_TRUE(open_past == made.open_rows);
  EXPECT_TRUE(std::equal(made.rows.begin(), made.rows.end(), past.begin() + format.bytes));
  const auto arrays = [&]<class Number>(std::array<std::vector<Number>, 5>& to, double error) {
    const double of_line[] = {line.shift, line.slope, line.weight, line.constant - error,
                              line.constant + error};
    for (std::size_t k = 0; k < 5; ++k)
      to[k].assign(96, static_cast<Number>(of_line[k]));
    return LineArrays<Number>{to[0].data(), to[1].data(), to[2].data(), to[3].data(), to[4].data()};
  };
  std::array<std::vector<double>, 5> in_double;
  std::array<std::vector<float>, 5> in_float;
  const Lines lines{arrays(in_double, line.error), arrays(in_float, line.float_error)};
  made.open_columns.resize(static_cast<std::size_t>(
      lanes_of_format.column_elements(data(x), weights, rows, channels, made.columns.data(), channels, false,
                                      channels, lines, made.open_columns.data())));
  std::sort(made.open_columns.begin(), made.open_columns.end());
  // Columns past the cache, from a place that no vector is aligned to.
  constexpr std::int64_t wide = 53, pitch = 64;
  const auto in_wide_columns = [&](bool past_cache) {
    std::vector<unsigned char> y(x.bytes.size() * 2 + static_cast<std::size_t>(pitch * format.bytes));
    std::vector<std::int64_t> left(static_cast<std::size_t>(n));
    left.resize(static_cast<std::size_t>(
        lanes_of_format.column_elements(data(x), weights, n / wide, wide, y.data() + format.bytes, pitch,
                                        past_cache, wide, lines, left.data())));
    std::sort(left.begin(), left.end());
    return std::pair(y, left);
  };
  EXPECT_TRUE(in_wide_columns(true) == in_wide_columns(false));
  made.still_open = made.open_rows;
  made.retested = made.rows;
  made.still_open.resize(static_cast<std::size_t>(
      lanes_of_format.retest(Grid(format), data(x), weights, run, made.retested.data(), run, line,
                             made.still_open.data(), static_cast<std::int64_t>(made.still_open.size()))));
  made.most = lanes_of_format.steps(made.rows.data(), data(x), n).most;
  return made;
}

TEST(Raw, EveryInstructionSetWritesTheSameBitsAndLeavesTheSameOpen) {
  Numbers numbers(34);
  int open = 0;
  for (const Format& format : {f32, f16, bf16})
    for (int round = 0; round < 200; ++round) {
      const std::int64_t n = numbers.integer(1, 900);
      std::vector<double> values, weights;
      for (std::int64_t i = 0; i < n; ++i) {
        values.push_back(numbers.number(format, -4, 1));
        weights.push_back(numbers.number(format, -4, 1));
      }
      const bool weighted = round % 2 == 0;
      Moments m;
      m.most_d = 8;
      m.most_w = weighted ? 8 : 0;
      m.ww[0] = m.dd[0] = 1;
      m.w[0] = weighted ? numbers.number(f64, -1, 1) : 0;
      m.wd[0] = weighted ? numbers.number(f64, -1, 1) : 0;
      Statistics s{};
      s.variance = std::abs(numbers.number(f64, -1, 1));
      s.variance_error = round % 3 == 0 ? 0x1p-12 * s.variance.hi : 0;  // leaves much open
      const double shift = round % 5 == 0 ? 0 : numbers.number(bf16, -3, 0);
      const double gamma = numbers.number(f32, -1, 1);
      const auto line = weighted ? backward_line(m, n, shift, std::abs(numbers.number(f32, -1, 1)), gamma)
                                 : forward_line(s, m, shift, gamma, numbers.number(f32, -1, 1), 1e-5);
      ASSERT_TRUE(line);
      const Stored x = stored(format, values);
      const Stored w = stored(format, weights);
      const auto at = static_cast<std::size_t>(format == f32 ? 1 : format == f16 ? 2 : 3);
      const Made first = made_by(all_lanes()[0]->raw[at], format, x, weighted ? &w : nullptr, *line);
      open += static_cast<int>(first.open_rows.size());
      EXPECT_LE(first.still_open.size(), first.open_rows.size());
      for (const Lanes* const* table = all_lanes() + 1; *table != nullptr; ++table) {
        const Made other = made_by((*table)->raw[at], format, x, weighted ? &w : nullptr, *line);
        ASSERT_TRUE(other == first) << (*table)->name << " " << format.name << " n " << n;
      }
    }
  EXPECT_GT(open, 100);
}

TEST(Raw, StepsAreThoseOfTheNumberLineAndKindsAreNotMixed) {
  Numbers numbers(33);
  for (const Format& format : {f64, f32, f16, bf16}) {
    const double inf = std::numeric_limits<double>::infinity();
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double least = smallest(format);
    const std::vector<double> truth{1, 1, -least, 0.0, inf, nan, inf, nan, 1, -inf, 4};
    const std::vector<double> got{
        1, 1 + 2 * unit_roundoff(format) * 2, least, -0.0, inf, nan, -inf, 1, inf, nan, 4};
    const Stored a = stored(format, truth);
    const Stored b = stored(format, got);
    const Steps s = steps_between(format, data(a), data(b), static_cast<std::int64_t>(truth.size()));
    EXPECT_EQ(s.compared, 7) << format.name;
    EXPECT_EQ(s.differing_kind, 4) << format.name;
    EXPECT_EQ(s.differing, 2) << format.name;
    EXPECT_EQ(s.most, 2) << format.name;
    EXPECT_DOUBLE_EQ(s.mean, 4.0 / 5) << format.name;
    // The largest distance, and every one between neighbours.
    const Stored low = stored(format, {-largest(format)});
    const Stored high = stored(format, {largest(format)});
    const auto most = static_cast<double>(encode(format, largest(format))) * 2;
    EXPECT_GE(static_cast<double>(steps_between(format, data(low), data(high), 1).most), 0.49 * most);
  }
}

TEST(Raw, AnEmptyBatchLeavesTheRunningStatisticsAloneAndUpdatesNeedOldOnes) {
  // BN-FWD-11
  const float old[2] = {1.5F, -0.0F};
  float mean[2] = {9, 9};
  float variance[2] = {9, 9};
  const float unused = 0;
  float y = 0;
  ForwardBuffers b;
  b.shape = {0, 2, {}};
  b.x_placement = b.y_placement = placement(b.shape, Layout::contiguous, 0, 0);
  b.x = &unused, b.y = &y;
  b.running_mean = b.running_variance = old;
  b.new_running_mean = mean, b.new_running_variance = variance;
  certified_forward(b);
  const auto bits = [](const float(&v)[2]) {
    return std::array{std::bit_cast<std::uint32_t>(v[0]), std::bit_cast<std::uint32_t>(v[1])};
  };
  EXPECT_EQ(bits(mean), bits(old));
  EXPECT_EQ(bits(variance), bits(old));
  b.running_variance = nullptr;
  EXPECT_THROW(certified_forward(b), std::invalid_argument);
}

TEST(Raw, AMeanThatIsAskedForAloneIsThatOfValuesTooLargeForDoubleDoubles) {
  // Values near 2^300 hide between those that the shift is chosen from.
  std::vector<double> x(32, 3.0);
  x[1] = 0x1p301, x[3] = -0x1p300;
  std::vector<double> y(32);
  double mean = 0;
  ForwardBuffers b;
  b.shape = {1, 1, {32}};
  b.data = b.stats = f64;
  b.x_placement = b.y_placement = placement(b.shape, Layout::contiguous, 0, 0);
  b.x = x.data(), b.y = y.data();
  b.mean = &mean;
  certified_forward(b);
  EXPECT_EQ(mean, 0x1p295);
}

TEST(Raw, OrdinaryDataRarelyNeedsMoreThanTheFirstTest) {
  Numbers numbers(32);
  for (const Format& format : {f64, f32, f16, bf16})
    for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
      Case c = random_case(numbers, Pass::forward_training, format, format);
      c.problem.semantics = {};
      c.problem.dialect = "documented";
      c.problem.eps = 1e-5;
      c.problem.running = false;
      c.running_mean.clear(), c.running_var.clear();
      c.problem.shape = {32, 3, {49}};
      c.gamma = {1, 0.5, 1.25};
      c.beta = {0, 0.25, -1};
      c.x.resize(32 * 49 * 3);
      for (double& x : c.x)
        x = numbers.number(format, -4, 1);
      Tally tally;
      compare_forward(c, layout, layout, tally,
                      [&](const ForwardBuffers& b) { tally.effort += certified(b); });
      EXPECT_EQ(tally.differing, 0) << tally.first;
      EXPECT_EQ(tally.effort.exact_channels, 0);
      EXPECT_LE(tally.effort.retested, format == f16 ? 80 : format == bf16 ? 20 : 2) << format.name;
      EXPECT_EQ(tally.effort.exact, 0) << format.name;
    }
}

}  // namespace
}  // namespace normproof::reference
