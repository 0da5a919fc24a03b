// The certified oracle on raw buffers: the bits of truth_of in every format and layout, and no bound that
// could be a fourth of what it is.
#include <array>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "arbiter.h"
#include "line.h"
#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"
#include "random_cases.h"
#include "raw_cases.h"
#include "real.h"
#include "sums.h"

namespace normproof::reference {
namespace {

using testing_cases::data;
using testing_cases::each_place;
using testing_cases::Numbers;
using testing_cases::random_case;
using testing_cases::Stored;
using testing_cases::stored;

/// Shapes that walk runs, columns and gathered channels, with and without ends that fill no vector.
Shape shape_of(std::int64_t n, std::int64_t channels) {
  for (const std::int64_t plane : {48, 7, 5, 3, 2})
    if (n % plane == 0 && n > plane)
      return {n / plane, channels, {plane}};
  return {1, channels, {n}};
}

struct Tally {
  std::int64_t compared = 0, differing = 0;
  CertifiedEffort effort;
  std::string first;
};

bool is_nan(const Format& format, std::uint64_t bits) {
  return std::isnan(decode(format, bits));
}
bool same_bits(const Format& format, std::uint64_t got, double want) {
  return std::isnan(want) ? is_nan(format, got) : got == encode(format, want);
}

/// Runs the case on buffers of the layouts and compares every bit that is written, and that nothing else is.
void compare_forward(Case c, Layout x_layout, Layout y_layout, int threads, Tally& tally) {
  const Problem& p = c.problem;
  const Truth truth = truth_of(c);
  const bool training = p.pass == Pass::forward_training;
  const Stored x = stored(p.shape, p.data, placement(p.shape, x_layout, 7, 0), c.x);
  Stored y = stored(p.data, placement(p.shape, y_layout, 8, 1));
  const Stored gamma = stored(p.stats, c.gamma);
  const Stored beta = stored(p.stats, c.beta);
  const Stored given_mean = stored(p.stats, training ? std::vector<double>() : c.running_mean);
  const Stored given_variance = stored(p.stats, training ? std::vector<double>() : c.running_var);
  const std::vector<double> none(training ? static_cast<std::size_t>(p.shape.channels) : 0);
  Stored mean = stored(p.stats, none);
  Stored variance = stored(p.stats, none);
  Stored invstd = stored(p.stats, none);
  ForwardBuffers b;
  b.shape = p.shape;
  b.data = p.data;
  b.stats = p.stats;
  b.x_placement = x.where;
  b.y_placement = y.where;
  b.x = data(x);
  b.y = data(y);
  b.gamma = data(gamma);
  b.beta = data(beta);
  b.eps = p.eps;
  b.given_mean = data(given_mean);
  b.given_variance = data(given_variance);
  b.mean = data(mean);
  b.variance = data(variance);
  b.invstd = data(invstd);
  b.threads = threads;
  tally.effort += certified_forward(b);
  std::vector<bool> written(y.bytes.size());
  const auto see = [&](const char* what, const Format& format, std::uint64_t got, double want) {
    ++tally.compared;
    if (same_bits(format, got, want))
      return;
    if (tally.differing++ == 0)
      tally.first =
          std::string(what) + " " + std::to_string(decode(format, got)) + " for " + std::to_string(want);
  };
  each_place(p.shape, y.where, [&](std::int64_t place, std::size_t i) {
    see("y", p.data, y.bits(place), truth[Output::y].rn[i]);
    for (int k = 0; k < p.data.bytes; ++k)
      written[static_cast<std::size_t>(place * p.data.bytes + k)] = true;
  });
  for (std::size_t i = 0; i < written.size(); ++i)
    ASSERT_TRUE(written[i] || y.bytes[i] == 0xa5) << "written between the elements";
  if (training)
    for (std::int64_t k = 0; k < p.shape.channels; ++k) {
      const auto at = static_cast<std::size_t>(k);
      see("mean", p.stats, mean.bits(k), truth[Output::mean].rn[at]);
      see("var", p.stats, variance.bits(k), truth[Output::var].rn[at]);
      see("invstd", p.stats, invstd.bits(k), truth[Output::invstd].rn[at]);
    }
}

void compare_backward(const Case& c, Layout x_layout, Layout y_layout, int threads, Tally& tally) {
  const Problem& p = c.problem;
  const Truth truth = truth_of(c);
  const Stored x = stored(p.shape, p.data, placement(p.shape, x_layout, 7, 0), c.x);
  const Stored dy = stored(p.shape, p.data, placement(p.shape, x_layout, 9, 2), c.dy);
  Stored dx = stored(p.data, placement(p.shape, y_layout, 8, 1));
  const Stored gamma = stored(p.stats, c.gamma);
  const Stored saved_mean = stored(p.stats, c.saved_mean);
  const Stored saved_invstd = stored(p.stats, c.saved_invstd);
  const std::vector<double> none(static_cast<std::size_t>(p.shape.channels));
  Stored dgamma = stored(p.stats, none);
  Stored dbeta = stored(p.stats, none);
  BackwardBuffers b;
  b.shape = p.shape;
  b.data = p.data;
  b.stats = p.stats;
  b.x_placement = x.where;
  b.dy_placement = dy.where;
  b.dx_placement = dx.where;
  b.x = data(x);
  b.dy = data(dy);
  b.dx = data(dx);
  b.gamma = data(gamma);
  b.saved_mean = data(saved_mean);
  b.saved_invstd = data(saved_invstd);
  b.dgamma = data(dgamma);
  b.dbeta = data(dbeta);
  b.threads = threads;
  tally.effort += certified_backward(b);
  const auto see = [&](const char* what, const Format& format, std::uint64_t got, double want) {
    ++tally.compared;
    if (same_bits(format, got, want))
      return;
    if (tally.differing++ == 0)
      tally.first =
          std::string(what) + " " + std::to_string(decode(format, got)) + " for " + std::to_string(want);
  };
  each_place(p.shape, dx.where, [&](std::int64_t place, std::size_t i) {
    see("dx", p.data, dx.bits(place), truth[Output::dx].rn[i]);
  });
  for (std::int64_t k = 0; k < p.shape.channels; ++k) {
    const auto at = static_cast<std::size_t>(k);
    see("dgamma", p.stats, dgamma.bits(k), truth[Output::dgamma].rn[at]);
    see("dbeta", p.stats, dbeta.bits(k), truth[Output::dbeta].rn[at]);
  }
}

/// A case as the buffers can state it: documented semantics.
Case plain_case(Numbers& numbers, Pass pass, const Format& data_format, const Format& stats) {
  for (;;) {
    Case c = random_case(numbers, pass, data_format, stats);
    c.problem.semantics = {};
    c.problem.dialect = "documented";
    const std::int64_t n = c.problem.shape.per_channel();
    c.problem.shape = shape_of(n, c.problem.shape.channels);
    if (must_reject(c).empty())
      return c;
  }
}

TEST(Raw, HasTheBitsOfTheTruthInEveryFormatAndLayout) {
  const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                          {f16, f16}, {bf16, f32}, {bf16, bf16}};
  Numbers numbers(31);
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference, Pass::backward_training})
    for (const auto& [data_format, stats] : types)
      for (const Layout x_layout : all_layouts) {
        Tally tally;
        while (tally.compared < 20000) {
          const Case c = plain_case(numbers, pass, data_format, stats);
          const Layout y_layout = numbers.integer(0, 4) == 0 ? Layout::contiguous : x_layout;
          const int threads = numbers.integer(0, 8) == 0 ? 3 : 1;
          if (pass == Pass::backward_training)
            compare_backward(c, x_layout, y_layout, threads, tally);
          else
            compare_forward(c, x_layout, y_layout, threads, tally);
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
      compare_forward(c, layout, layout, 1, tally);
      EXPECT_EQ(tally.differing, 0) << tally.first;
      EXPECT_EQ(tally.effort.exact_channels, 0);
      EXPECT_LE(tally.effort.retested, format.p < 24 ? 40 : 2) << format.name;
      EXPECT_EQ(tally.effort.exact, 0) << format.name;
    }
}

// --- the bounds: never exceeded, and never far too large ---

/// |got - want| / bound, with the truth as an exact number or a ball of thousands of bits.
using Precise = RealOf<2>;
double ratio(const Precise& got, const Precise& want, double bound) {
  return static_cast<double>(Precise(abs(Precise(got - want)) / bound));
}
Precise precise(const Dyadic& v) {
  return ball<Precise>(v).value;
}

/// One lane's worth of values that make plain sums err: every addition rounds, all in one direction.
std::vector<double> adverse(Numbers& numbers, std::int64_t n) {
  std::vector<double> x;
  const double size = std::ldexp(1.0, static_cast<int>(numbers.integer(0, 3)));
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t low = numbers.integer(0, 3);
    x.push_back(size * (1 + static_cast<double>(numbers.integer(0, 4)) * 0x1p-3) +
                std::ldexp(static_cast<double>(low) * 0x1p-52, 0));
  }
  return x;
}

TEST(Bounds, OfPlainSumsAreNeverExceededAndAnEighthWouldBe) {
  Numbers numbers(41);
  double worst_sum = 0;
  double worst_squares = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::int64_t n = 256;  // one fold of every lane at eight lanes
    // Doubles: the loops of f32 get the same additions from differences with a shift.
    std::vector<double> x = adverse(numbers, n);
    Moments m;
    raw_lanes(f64).row_moments(x.data(), nullptr, {1, n, n}, 0, m);
    const ChannelSums sums = plain_sums_of(x.data(), n);
    const double squares = static_cast<double>(precise(sums.squares));
    worst_sum = std::max(worst_sum, ratio(Precise(m.d[0]) + m.d[1], precise(sums.sum),
                                          plain_errors.first * std::sqrt(static_cast<double>(n) * squares)));
    worst_squares = std::max(worst_squares, ratio(Precise(m.dd[0]) + m.dd[1], precise(sums.squares),
                                                  plain_errors.second * squares));
  }
  std::printf("sums reach %.3f, squares %.3f of their bounds\n", worst_sum, worst_squares);
  EXPECT_LE(worst_sum, 1);
  EXPECT_LE(worst_squares, 1);
  EXPECT_GT(worst_sum, 0.125);
  EXPECT_GT(worst_squares, 0.0625);
}

TEST(Bounds, OfPreciseSumsHold) {
  Numbers numbers(42);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t n = numbers.integer(1, 600);
    std::vector<double> x, w;
    const double offset = round % 3 == 0 ? 1e7 : 0;
    for (std::int64_t i = 0; i < n; ++i) {
      x.push_back(offset + numbers.number(f64, -20, 1));
      w.push_back(numbers.number(f64, -20, 1));
    }
    const double shift = round % 2 == 0 ? 0 : x[0];
    Moments m;
    raw_lanes(f64).row_moments_precise(x.data(), w.data(), {1, n, n}, shift, m);
    Precise d = 0, dd = 0, wd = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Precise one = Precise(x[i]) - shift;
      d += one;
      dd += one * one;
      wd += one * w[i];
    }
    const SumErrors g = precise_errors(n);
    const double squares = static_cast<double>(dd) + 1e-300;
    EXPECT_LE(ratio(Precise(m.d[0]) + m.d[1], d, g.first * std::sqrt(static_cast<double>(n) * squares)), 1);
    EXPECT_LE(ratio(Precise(m.dd[0]) + m.dd[1], dd, g.second * squares), 1);
    EXPECT_LE(ratio(Precise(m.wd[0]) + m.wd[1], wd, g.second * std::sqrt(squares * m.ww[0])), 1);
  }
}

/// The largest share of their bounds that lines and forms of given statistics use up.
TEST(Bounds, OfLinesAndFormsAreNeverExceededAndAFourthOfALinesWouldBe) {
  Numbers numbers(43);
  double line_ratio = 0;
  double form_ratio = 0;
  for (int round = 0; round < 60000; ++round) {
    Statistics s{};
    s.variance = std::abs(numbers.number(f32, -2, 2));
    const double gamma = numbers.number(f32, -1, 1);
    const double beta = round % 4 == 0 ? 0 : numbers.number(f32, -3, 1);
    const double shift = numbers.number(f32, -1, 1);
    const double x = numbers.number(f32, -2, 2);
    const double eps = 0x1.4f8b58p-17;
    Moments m;
    m.most_d = std::abs(x - shift);
    const auto line = forward_line(s, m, shift, gamma, beta, eps);
    const auto form = forward_form(s, shift, gamma, beta, eps);
    ASSERT_TRUE(line && form);
    const Precise truth =
        Precise(gamma) * (Precise(x) - shift) / sqrt(Precise(Precise(s.variance.hi) + eps)) + beta;
    const double d = x - shift;
    const double value = line->constant + line->slope * d;
    const double error =
        line->error_0 + line->error_d * std::abs(d - line->centre) + line->error_own * std::abs(d);
    line_ratio = std::max(line_ratio, ratio(Precise(value), truth, error));
    const DoubleDouble t = DoubleDouble(form->hi[0], form->lo[0]) +
                           DoubleDouble(form->hi[1], form->lo[1]) * (DoubleDouble(x) - DoubleDouble(shift));
    form_ratio = std::max(form_ratio,
                          ratio(Precise(t.hi) + t.lo, truth, form->error[0] + form->error[1] * std::abs(d)));
  }
  std::printf("lines reach %.3f, forms %.4f of their bounds\n", line_ratio, form_ratio);
  EXPECT_LE(line_ratio, 1);
  EXPECT_GT(line_ratio, 0.25);
  EXPECT_LE(form_ratio, 1);
  EXPECT_GT(form_ratio, 0.004);
}

TEST(Bounds, OfQuotientsAndRootsHold) {
  Numbers numbers(44);
  double quotient = 0;
  double root = 0;
  for (int round = 0; round < 20000; ++round) {
    const Quotient q{Dyadic(std::abs(numbers.number(f64, -30, 30))) + Dyadic(0x1p-70),
                     numbers.integer(1, 1 << 30)};
    const DoubleDouble value = *double_double(q);
    const Precise want = ball<Precise>(q).value;
    quotient = std::max(quotient, ratio(Precise(value.hi) + value.lo, want, quotient_error * value.hi));
    const DoubleDouble r = inverse_root(value);
    root = std::max(root, ratio(Precise(r.hi) + r.lo, Precise(1 / sqrt(want)), root_error * r.hi));
  }
  std::printf("quotients reach %.3f, roots %.3f of their bounds\n", quotient, root);
  EXPECT_LE(quotient, 1);
  EXPECT_LE(root, 1);
  EXPECT_GT(root, 0.05);
}

/// Elements that lie ever nearer to a midpoint of f32, x = +-c: y = gamma c / sqrt(c^2 + eps) + beta is below
/// gamma + beta, a midpoint, by about gamma eps / (2 c^2).
int wrong_near_ties(double scale) {
  Numbers numbers(45);
  int wrong = 0;
  for (int k = 20; k <= 110; ++k) {
    const double eps = std::ldexp(1.0, -k);
    for (int round = 0; round < 64; ++round) {
      const double c = std::abs(numbers.number(f32, 0, 0));
      const double gamma = std::abs(numbers.number(f32, 0, 0));
      const double beta = numbers.bits() % 2 == 0 ? 0x1p-24 : 3 * 0x1p-24;
      std::vector<double> values(8, c);
      for (std::size_t i = 0; i < 4; ++i)
        values[i] = -c;
      Moments sums;
      raw_lanes(f64).row_moments(values.data(), nullptr, {1, 8, 8}, 0, sums);
      const auto line = forward_line(plain_statistics(sums, 8), sums, 0, gamma, beta, eps, scale);
      if (!line)
        continue;
      const Decided got = lanes().round(Grid(f32), {line->constant + line->slope * c, 0, line->error});
      if (!got.certain)
        continue;
      Effort effort;
      const Quotient root{Dyadic(c) * Dyadic(c) + Dyadic(eps), 1};
      const Rounded truth = settle(
          f32,
          [&](auto tier) {
            using Number = Ball<RealOf<tier>>;
            return Number(gamma) * (Number(c) / sqrt(Number(c) * Number(c) + Number(eps))) + Number(beta);
          },
          [&](const Dyadic& m) {
            return static_cast<Side>(
                compare_scaled_root({Dyadic(gamma) * Dyadic(c), 1}, root, Dyadic(beta), m));
          },
          effort);
      wrong += got.rn == truth.rn ? 0 : 1;
    }
  }
  return wrong;
}

TEST(Bounds, GradedNearTiesPassWithTheRealBoundAndNotWithOneThatIsTooSmall) {
  EXPECT_EQ(wrong_near_ties(1), 0);
  double smallest = 1;
  while (smallest > 0x1p-12 && wrong_near_ties(smallest) == 0)
    smallest /= 2;
  std::printf("graded near-ties find a bound of 2^%d of the real one\n", std::ilogb(smallest));
  EXPECT_GT(smallest, 0x1p-12);
}

}  // namespace
}  // namespace normproof::reference
