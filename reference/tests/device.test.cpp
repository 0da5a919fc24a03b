// The device oracle's stages, carried out by the host thread by thread: the bits of the truth whatever the
// number and the order of threads, and a wrong stage shows.
#include <cfenv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cases.h"
#include "form.h"
#include "normproof/reference/ulp.h"
#include "raw_trial.h"
#include "real.h"
#include "scrambled_machine.h"

namespace normproof::reference {
namespace {

using testing_cases::compare_backward;
using testing_cases::compare_forward;
using testing_cases::data;
using testing_cases::Numbers;
using testing_cases::plain_case;
using testing_cases::ScrambledMachine;
using testing_cases::Stored;
using testing_cases::stored;
using testing_cases::Tally;
using Meddle = ScrambledMachine::Meddle;

DeviceEffort certified(const ForwardBuffers& b, StageMachine& machine) {
  return certified_forward(b, machine);
}
DeviceEffort certified(const BackwardBuffers& b, StageMachine& machine) {
  return certified_backward(b, machine);
}

/// What a number of cases came to.
struct Trial {
  Tally tally;
  std::int64_t elements = 0, doubtful = 0, channels = 0, host_channels = 0;
};

/// The case on a machine, against its truth.
void try_case(const Case& c, Layout x_layout, Layout y_layout, ScrambledMachine& machine, Trial& trial) {
  const auto run = [&](auto& b) {
    b.threads = 2;
    const DeviceEffort effort = certified(b, machine);
    trial.elements += effort.elements;
    trial.doubtful += effort.doubtful;
    trial.channels += effort.channels;
    trial.host_channels += effort.host_channels;
  };
  if (c.problem.pass == Pass::backward_training)
    compare_backward(c, x_layout, y_layout, trial.tally, run);
  else
    compare_forward(c, x_layout, y_layout, trial.tally, run);
}

/// Any width: one thread, a share of a few values for each, more threads than values.
ScrambledMachine any_machine(Numbers& numbers) {
  const std::int64_t widths[]{1, 7, 64, 100, 1 << 18};
  return {widths[numbers.integer(0, 5)], numbers.bits()};
}

constexpr std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                            {f16, f16}, {bf16, f32}, {bf16, bf16}};
constexpr Pass passes[]{Pass::forward_training, Pass::forward_inference, Pass::backward_training};
constexpr Layout dense[]{Layout::contiguous, Layout::channels_last};

TEST(DeviceOracle, HasTheBitsOfTheTruthWhateverTheThreadsAndTheirOrder) {
  Numbers numbers(61);
  for (const Pass pass : passes)
    for (const auto& [data_format, stats] : types)
      for (const Layout layout : dense) {
        Trial trial;
        while (trial.tally.compared < 20000 ||
               (pass == Pass::forward_training && trial.tally.updated < 100)) {
          const Case c = plain_case(numbers, pass, data_format, stats);
          ScrambledMachine machine = any_machine(numbers);
          try_case(c, layout, dense[numbers.bits() % 2], machine, trial);
          ASSERT_EQ(trial.tally.differing, 0)
              << to_string(pass) << " " << data_format.name << "/" << stats.name << " " << to_string(layout)
              << " " << to_string(c.problem.shape) << ": " << trial.tally.first;
        }
        std::printf(
            "%s %s/%s %s: %lld compared; %lld elements, %lld doubtful; %lld channels, %lld the host's\n",
            std::string(to_string(pass)).c_str(), std::string(data_format.name).c_str(),
            std::string(stats.name).c_str(), std::string(to_string(layout)).c_str(),
            static_cast<long long>(trial.tally.compared), static_cast<long long>(trial.elements),
            static_cast<long long>(trial.doubtful), static_cast<long long>(trial.channels),
            static_cast<long long>(trial.host_channels));
        // Half of the families of random_case are made for the host; the device has to do the other half.
        EXPECT_LT(trial.host_channels, trial.channels * 9 / 10);
      }
}

// --- what the stages are made of ---

template <class T>
void try_storage(const Format& format) {
  using Bits = typename T::Bits;
  Numbers numbers(62);
  const bool all = format.bytes == 2;
  for (std::uint64_t k = 0; k < (all ? 1U << 16 : 200000); ++k) {
    const auto stored_bits = static_cast<Bits>(all ? k : numbers.bits());
    const double value = decode(format, stored_bits);
    const double loaded = T::load(stored_bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(loaded)) << format.name << " " << k;
      continue;
    }
    ASSERT_EQ(encode(f64, loaded), encode(f64, value)) << format.name << " " << k;
    ASSERT_EQ(T::narrow(value), stored_bits) << format.name << " " << k;
    if (T::wide || std::isinf(value))
      continue;
    // Midpoints and what is next to them, in every binade and beyond the largest number.
    const double half = value + std::copysign(spacing(format, value) / 2, value);
    for (const double v : {half, std::nextafter(half, 0), std::nextafter(half, 2 * half)})
      ASSERT_EQ(T::narrow(v), encode(format, round_to(format, v)))
          << format.name << " " << std::hexfloat << v;
  }
}

TEST(DeviceStorage, LoadsEveryNumberAndRoundsOnceWithTiesToEven) {
  try_storage<stages::StoredF64>(f64);
  try_storage<stages::StoredF32>(f32);
  try_storage<stages::StoredF16>(f16);
  try_storage<stages::StoredBf16>(bf16);
}

// --- bounds: never exceeded, and a fourth of them would be ---

using Precise = RealOf<2>;

double share(const Precise& got, const Precise& want, double bound) {
  return static_cast<double>(Precise(abs(Precise(got - want)) / bound));
}
Precise precise(const double (&v)[2]) {
  return Precise(v[0]) + v[1];
}

/// One thread's sums of the values (and weights), from 0.
DeviceSums summed(const std::vector<double>& x, bool weighted) {
  StageArguments a{.grid = Grid(f64)};
  const auto n = static_cast<std::int64_t>(x.size());
  const double shift = 0;
  DeviceSums sums{};
  a.channels = a.parts = 1;
  a.n = a.plane = n;
  a.x = a.w = {const_cast<double*>(x.data()), n, n, 1};
  a.shifts = const_cast<double*>(&shift);
  a.sums = &sums;
  if (weighted)
    stages::SumStage<stages::StoredF64, true, 1>{a}(0, 1);
  else
    stages::SumStage<stages::StoredF64, false, 1>{a}(0, 1);
  return sums;
}

/// Values chosen one by one so that every addition errs upward as far as one of 16 makes it: 1, and then what
/// all but vanishes beside it.
template <class Candidate, class Error>
std::vector<double> adverse(std::int64_t n, const Candidate& candidate, const Error& error) {
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    double chosen = 0;
    double most = -1e300;
    x.push_back(0);
    for (int k = 0; k < 16; ++k) {
      x.back() = candidate(i);
      const double e = error(x);
      if (e > most)
        most = e, chosen = x.back();
    }
    x.back() = chosen;
  }
  return x;
}

TEST(DeviceBounds, OfTheSumsAreNeverExceededAndAFourthOfThemWouldBe) {
  Numbers numbers(63);
  double most[3] = {};
  for (int round = 0; round < 3; ++round)
    for (const bool squares : {false, true}) {
      const std::int64_t n = 49;  // three times renormalised
      const auto candidate = [&](std::int64_t i) {
        const double d = 1 - static_cast<double>(numbers.integer(0, std::int64_t{1} << 50)) * 0x1p-53;
        return i == 0 ? 1 + 0x1p-30 : squares ? std::sqrt(d * 0x1p-53) : d * 0x1p-53;
      };
      const auto truth = [&](const std::vector<double>& x) {
        Precise sum = 0;
        for (const double v : x)
          sum += squares ? Precise(Precise(v) * v) : Precise(v);
        return sum;
      };
      const std::vector<double> x = adverse(n, candidate, [&](const std::vector<double>& some) {
        const DeviceSums s = summed(some, false);
        return static_cast<double>(Precise((squares ? precise(s.second) : precise(s.first)) - truth(some)));
      });
      const double bound = precise_errors(n).first * static_cast<double>(truth(x));
      const DeviceSums s = summed(x, false);
      if (squares) {
        most[1] = std::max(most[1], share(precise(s.second), truth(x), bound));
        most[2] = std::max(most[2], share(precise(summed(x, true).second), truth(x), bound));
      } else {
        most[0] = std::max(most[0], share(precise(s.first), truth(x), bound));
      }
    }
  const char* const what[] = {"sum d", "sum d^2", "sum w d"};
  for (int k = 0; k < 3; ++k) {
    std::printf("%s of a thread: reached to %.3f\n", what[k], most[k]);
    EXPECT_LE(most[k], 1) << what[k];
    EXPECT_GT(most[k], 0.25) << what[k];
  }
}

/// What joining them makes of partial sums.
DeviceSums joined(const std::vector<DeviceSums>& parts) {
  StageArguments a{.grid = Grid(f64)};
  DeviceSums to{};
  a.parts_from = static_cast<std::int64_t>(parts.size());
  a.parts_to = 1;
  a.from = parts.data();
  a.to = &to;
  stages::JoinStage{a}(0, 1);
  return to;
}

TEST(DeviceBounds, OfTheJoinsAreNeverExceededAndAFourthOfThemWouldBe) {
  Numbers numbers(64);
  double most = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<DeviceSums> parts;
    Precise truth = 0;
    for (std::int64_t i = 0; i < join_width; ++i) {
      DeviceSums chosen{};
      double furthest = -1e300;
      Precise own = 0;
      for (int k = 0; k < 400; ++k) {
        // As far below the first as makes the low parts wide.
        const double hi = i == 0 ? 1 + std::ldexp(static_cast<double>(numbers.integer(0, 1 << 20)), -40)
                                 : std::ldexp(static_cast<double>(numbers.integer(1, 1 << 30)), -30 - 6);
        const double lo =
            std::ldexp(static_cast<double>(numbers.integer(-(std::int64_t{1} << 52), std::int64_t{1} << 52)),
                       std::ilogb(hi) - 53 - 52);
        parts.push_back({{hi, lo}, {hi, lo}, 0, 0});
        const Precise with = Precise(truth + hi) + lo;
        const auto e = static_cast<double>(Precise(precise(joined(parts).first) - with));
        if (e > furthest)
          furthest = e, chosen = parts.back(), own = Precise(hi) + lo;
        parts.pop_back();
      }
      parts.push_back(chosen);
      truth += own;
    }
    const double bound = 11 * static_cast<double>(join_depth) * unit * unit * static_cast<double>(truth);
    const DeviceSums all = joined(parts);
    most =
        std::max({most, share(precise(all.first), truth, bound), share(precise(all.second), truth, bound)});
  }
  std::printf("a level of joins: reached to %.3f\n", most);
  EXPECT_LE(most, 1);
  EXPECT_GT(most, 0.25);
}

/// What of its bound the test of an element uses up: how far an end is off from where the bound puts it.
double end_share(const Line& line, double d, double w, const Precise& truth) {
  using Test = stages::Test<stages::StoredF32, true>;
  const Test::Ends e = Test::ends(line, d, w);
  const double own = line.error_0 + line.error_d * std::abs(line.centre) +
                     std::abs(d) * (line.error_d + line.error_own) + std::abs(w) * line.error_w;
  return std::max(share(Precise(e.low) + own, truth, own), share(Precise(e.high) - own, truth, own));
}
double any_double(Numbers& numbers, int lowest, int highest) {
  return numbers.number(f64, lowest, highest);
}

TEST(DeviceBounds, OfAnElementAreNeverExceededAndAFourthOfThemWouldBe) {
  Numbers numbers(65);
  const auto forward = [&](double gamma, double beta, double shift, double x, double mean) {
    Statistics s{};
    s.variance = std::abs(any_double(numbers, -2, 2));
    s.mean = mean;
    const double eps = 0x1.4f8b58p-17;
    const Line line = *forward_line(s, {}, shift, gamma, beta, eps);
    const Precise r = 1 / sqrt(Precise(Precise(s.variance.hi) + eps));
    return end_share(line, x - shift, 0, Precise(Precise(gamma) * (Precise(x) - shift - mean) * r + beta));
  };
  const auto backward = [&](double sum, double dot, double d, double w) {
    const std::int64_t n = numbers.integer(2, 1000);
    const double gamma = any_double(numbers, -1, 1);
    const double r = std::abs(any_double(numbers, -1, 1));
    Moments m;
    m.w[0] = sum;
    m.wd[0] = dot;
    const Line line = *backward_line(m, n, 0, r, gamma);
    return end_share(
        line, d, w,
        Precise(Precise(gamma) * r * (Precise(w) - Precise(sum) / n - Precise(r) * r * d * dot / n)));
  };
  const auto number = [&](int low, int high) {
    return any_double(numbers, low, high);
  };
  struct Row {
    const char* what;
    std::function<double()> share;
  };
  const Row rows[] = {
      {"slope",
       [&] {
         return forward(number(-1, 1), 0, number(-1, 1), number(-2, 2), 0);
       }},
      {"constant",
       [&] {
         return forward(0x1p-90 * number(0, 0), number(-1, 1), 0, 1, 0);
       }},
      {"mean",
       [&] {
         const double shift = number(-1, 1);
         return forward(number(-1, 1), 0, shift, shift, number(-2, 2));
       }},
      {"c1 of dx",
       [&] {
         return backward(0, number(-2, 2), number(-2, 2), 0);
       }},
      {"c0 of dx",
       [&] {
         return backward(number(-2, 2), 0, 0, 0);
       }},
      {"c2 of dx",
       [&] {
         return backward(0, 0, 0, number(-2, 2));
       }},
  };
  for (const Row& row : rows) {
    double most = 0;
    for (int round = 0; round < 20000; ++round)
      most = std::max(most, row.share());
    std::printf("an element's ends, %s: reached to %.3f\n", row.what, most);
    EXPECT_LE(most, 1) << row.what;
    EXPECT_GT(most, 0.25) << row.what;
  }
}

// --- stages that are wrong, and machines that are ---

/// One thread after another changes what a stage is told: what stands for a larger or smaller bound.
Meddle scaled(double of_lines, double of_forms) {
  return [=](Stage stage, std::int64_t, StageArguments& a) {
    if (stage != Stage::elements)
      return;
    for (std::int64_t c = 0; c < a.channels; ++c) {
      auto& known = const_cast<DeviceChannel&>(a.known[c]);
      Line& line = known.line;
      for (double* const e : {&line.error_0, &line.error_d, &line.error_own, &line.error_w})
        *e *= of_lines;
      for (double& e : known.form.error)
        e *= of_forms;
    }
  };
}

/// Ordinary data, of which a line with bounds 2^20 times too large leaves some.
Case ordinary(Numbers& numbers, Pass pass, const Format& format, std::int64_t n, double mean) {
  for (;;) {
    Case c = plain_case(numbers, pass, format, f32);
    if (c.problem.shape.channels != 3)
      continue;
    c.problem.eps = 0x1p-17;
    c.problem.momentum = 0x1.99999ap-4;
    c.problem.shape = testing_cases::shape_of(n, 3);
    c.x.clear(), c.dy.clear();
    for (std::int64_t i = 0; i < 3 * n; ++i) {
      c.x.push_back(round_to(format, mean + numbers.number(format, -3, 1)));
      if (!is_forward(pass))
        c.dy.push_back(numbers.number(format, -3, 1));
    }
    for (std::size_t k = 0; k < 3; ++k) {
      c.gamma[k] = round_to(f32, 1 + 0.1 * static_cast<double>(k));
      if (is_forward(pass))
        c.beta[k] = round_to(f32, 0.3 - 0.2 * static_cast<double>(k));
      if (is_forward(pass))
        c.running_mean[k] = round_to(f32, mean + 0.01), c.running_var[k] = round_to(f32, 0.3);
      if (!is_forward(pass))
        c.saved_mean[k] = round_to(f32, mean + 0.01), c.saved_invstd[k] = round_to(f32, 1.3);
    }
    return c;
  }
}

/// Runs ordinary cases of a pass with the machine meddled with.
Trial ordinary_trial(Pass pass, const Format& format, const Meddle& before, const Meddle& after,
                     double mean = 0) {
  Numbers numbers(66);
  Trial trial;
  for (int round = 0; round < 4; ++round)
    for (const Layout layout : dense) {
      ScrambledMachine machine(round % 2 == 0 ? 100 : 1 << 18, numbers.bits());
      machine.before = before;
      machine.after = after;
      try_case(ordinary(numbers, pass, format, 960, mean), layout, layout, machine, trial);
    }
  return trial;
}

TEST(DeviceOracle, DecidesOrdinaryDataItself) {
  for (const Pass pass : passes)
    for (const Format& format : {f64, f32, f16, bf16})
      for (const double mean : {0.0, format == bf16 ? 4.0 : format == f16 ? 100.0 : 1e4}) {
        const Trial trial = ordinary_trial(pass, format, {}, {}, mean);
        EXPECT_EQ(trial.tally.differing, 0) << trial.tally.first;
        EXPECT_EQ(trial.host_channels, 0) << to_string(pass) << " " << format.name << " " << mean;
        EXPECT_LE(trial.doubtful, 2) << to_string(pass) << " " << format.name << " " << mean;
      }
}

TEST(DeviceOracle, LargerBoundsOfTheFirstTestLeaveMoreToTheSecondAndChangeNoBit) {
  for (const Pass pass : passes)
    for (const Format& format : {f32, f16, bf16}) {
      const double wider = format == f32 ? 0x1p20 : format == f16 ? 0x1p34 : 0x1p37;
      const Trial trial = ordinary_trial(pass, format, scaled(wider, 1), {});
      EXPECT_EQ(trial.tally.differing, 0) << trial.tally.first;
      EXPECT_GT(trial.doubtful, 100) << to_string(pass) << " " << format.name;
      EXPECT_EQ(trial.host_channels, 0) << to_string(pass) << " " << format.name;
    }
}

TEST(DeviceOracle, WhatTheSecondTestLeavesIsDecidedOnTheHost) {
  for (const Pass pass : passes)
    for (const Format& format : {f64, f32, f16, bf16}) {
      const Trial trial = ordinary_trial(pass, format, scaled(0x1p37, 0x1p100), {});
      EXPECT_EQ(trial.tally.differing, 0) << trial.tally.first;
      EXPECT_EQ(trial.host_channels, trial.channels) << to_string(pass) << " " << format.name;
    }
}

/// y of a case in training, and nothing else, between placements.
void try_y(const Case& c, const Placement& from, const Placement& to, ScrambledMachine& machine,
           Trial& trial) {
  const Shape& shape = c.problem.shape;
  const Format& format = c.problem.data;
  const Stored x = stored(shape, format, from, c.x);
  Stored y = stored(format, to);
  const Stored gamma = stored(c.problem.stats, c.gamma);
  const Stored beta = stored(c.problem.stats, c.beta);
  ForwardBuffers b;
  b.shape = shape;
  b.data = format, b.stats = c.problem.stats;
  b.x_placement = from, b.y_placement = to;
  b.x = data(x), b.y = data(y);
  b.gamma = data(gamma), b.beta = data(beta);
  b.eps = c.problem.eps;
  const DeviceEffort effort = certified_forward(b, machine);
  trial.doubtful += effort.doubtful;
  trial.channels += effort.channels;
  trial.host_channels += effort.host_channels;
  const Truth truth = truth_of(c);
  testing_cases::each_place(shape, to, [&](std::int64_t at, std::size_t i) {
    ++trial.tally.compared;
    trial.tally.differing += y.bits(at) == encode(format, truth[Output::y].rn[i]) ? 0 : 1;
  });
}
void try_y(const Case& c, Layout layout, ScrambledMachine& machine, Trial& trial) {
  const Placement where = placement(c.problem.shape, layout, 0, 0);
  try_y(c, where, where, machine, trial);
}

TEST(DeviceOracle, AListThatIsFullSendsItsChannelsToTheHost) {
  // y = 0 exactly, which no interval decides: more values than the list has room for.
  Case c = testing_cases::plain(f32, 2, std::vector<double>(12000, 3.0), 0.25);
  c.problem.affine = true;
  c.gamma = {1, 1};
  c.beta = {0, 1};
  c.problem.dialect = "documented";
  for (std::size_t i = 6000; i < 12000; ++i)
    c.x[i] = i % 2 == 0 ? 0.3 : 0.7;
  for (double& v : c.x)
    v = round_to(f32, v);
  for (const Layout layout : dense) {
    ScrambledMachine machine(64, 5);
    Trial trial;
    try_y(c, layout, machine, trial);
    EXPECT_EQ(trial.tally.differing, 0);
    EXPECT_GE(trial.doubtful, 6000);
    EXPECT_EQ(trial.host_channels, 1);
  }
}

TEST(DeviceOracle, JoinsTheSumsOfThousandsOfThreadsOverSeveralLevels) {
  Numbers numbers(69);
  for (const Pass pass : {Pass::forward_training, Pass::backward_training})
    for (const Format& format : {f64, f32, bf16}) {
      Trial trial;
      for (const Layout layout : dense) {
        ScrambledMachine machine(3 * 2048, numbers.bits());
        std::int64_t levels = 0;
        machine.after = [&](Stage stage, std::int64_t, StageArguments&) {
          levels += stage == Stage::join ? 1 : 0;
        };
        try_case(ordinary(numbers, pass, format, 48 * 700, format == bf16 ? 2 : 1e3), layout, layout, machine,
                 trial);
        EXPECT_EQ(levels, 3);
      }
      EXPECT_EQ(trial.tally.differing, 0)
          << to_string(pass) << " " << format.name << ": " << trial.tally.first;
      EXPECT_EQ(trial.host_channels, 0) << to_string(pass) << " " << format.name;
    }
}

/// A rewrite of a stage that a pass must show.
struct Wrong {
  const char* what;
  Pass pass;
  Meddle before, after;
};

TEST(DeviceOracle, AWrongStageShows) {
  const Meddle wide = scaled(0x1p24, 1);        // much in doubt
  const Meddle open = scaled(0x1p24, 0x1p100);  // all of it left to the host
  const auto when = [](Stage stage,
                       const std::function<void(std::int64_t, StageArguments&)>& change) -> Meddle {
    return [=](Stage at, std::int64_t threads, StageArguments& a) {
      if (at == stage)
        change(threads, a);
    };
  };
  const auto both = [](const Meddle& a, const Meddle& b) -> Meddle {
    return [=](Stage at, std::int64_t threads, StageArguments& arguments) {
      a(at, threads, arguments);
      b(at, threads, arguments);
    };
  };
  const Meddle none = [](Stage, std::int64_t, StageArguments&) {
  };
  const Pass training = Pass::forward_training, gradient = Pass::backward_training;
  const Wrong all[] = {
      {"a shift moves after the sums", training, none,
       when(Stage::sums, [](std::int64_t, StageArguments& a) { a.shifts[a.channels - 1] += 1; })},
      {"the last thread's partial sums are lost", training, none,
       when(Stage::sums, [](std::int64_t threads, StageArguments& a) { a.sums[threads - 1] = {}; })},
      {"the last thread's partial sums are lost", gradient, none,
       when(Stage::sums, [](std::int64_t threads, StageArguments& a) { a.sums[threads - 1] = {}; })},
      {"sums end before the last value", training,
       when(Stage::sums, [](std::int64_t, StageArguments& a) { a.n -= 1; }), none},
      {"sums drop their low parts", training, none,
       when(Stage::sums,
            [](std::int64_t threads, StageArguments& a) {
              for (std::int64_t k = 0; k < threads; ++k)
                a.sums[k].second[1] += 0x1p-40 * a.sums[k].second[0];
            })},
      {"a join counts its first part twice", training,
       when(Stage::join,
            [](std::int64_t, StageArguments& a) {
              if (a.parts_from > 1)
                const_cast<DeviceSums*>(a.from)[1] = a.from[0];
            }),
       none},
      {"the last join forgets half of a sum", gradient, none,
       when(Stage::join, [](std::int64_t threads, StageArguments& a) { a.to[threads - 1].first[0] /= 2; })},
      {"the second level of joins stops a part early", training,
       when(Stage::join, [](std::int64_t threads,
                            StageArguments& a) { a.parts_from -= a.parts_to == 1 && threads == 3 ? 1 : 0; }),
       none},
      {"a channel reads its neighbour's line", training,
       when(Stage::elements,
            [](std::int64_t, StageArguments& a) { const_cast<DeviceChannel*>(a.known)[0] = a.known[1]; }),
       none},
      {"an index in doubt is lost", training, wide,
       when(Stage::elements, [](std::int64_t, StageArguments& a) { *a.doubts /= 2; })},
      {"an index in doubt is lost", gradient, wide,
       when(Stage::elements, [](std::int64_t, StageArguments& a) { *a.doubts /= 2; })},
      {"an index in doubt is another's", training, wide,
       when(Stage::elements,
            [](std::int64_t, StageArguments& a) {
              for (std::uint64_t k = 0; k < *a.doubts; ++k)
                a.doubtful[k] = (a.doubtful[k] + 1) % (a.channels * a.n);
            })},
      {"what the second test left is lost", training, open,
       when(Stage::retest,
            [](std::int64_t, StageArguments& a) {
              for (std::int64_t c = 0; c < a.channels; ++c)
                a.open[c] = 0;
            })},
      {"the list's end is forgotten by the second test", training,
       both(wide, when(Stage::retest, [](std::int64_t, StageArguments& a) { a.capacity = 5; })), none},
      {"a fetched channel is another", training,
       both(open,
            when(Stage::gather,
                 [](std::int64_t, StageArguments& a) { a.of_channel = (a.of_channel + 1) % a.channels; })),
       none},
      {"a settled channel is not brought back wholly", training,
       both(open, when(Stage::scatter, [](std::int64_t, StageArguments& a) { a.count -= 1; })), none},
  };
  for (const Wrong& wrong : all) {
    const Trial trial = ordinary_trial(wrong.pass, f32, wrong.before, wrong.after);
    EXPECT_GT(trial.tally.differing, 0) << wrong.what;
  }
}

/// Channels x = +-c, whose y misses a midpoint of f32 by a hair, as eps becomes smaller: what a bound of 0,
/// of the first test or the second, decides wrongly.
std::int64_t wrong_near_ties(double of_lines, double of_forms) {
  Numbers numbers(67);
  Trial trial;
  for (int k = 24; k <= 110; ++k)
    for (int round = 0; round < (k > 44 && k < 60 ? 12 : k > 95 ? 12 : 2); ++round) {
      const std::int64_t channels = 24;
      Case c = testing_cases::plain(f32, channels, {}, std::ldexp(1.0, -k));
      c.problem.affine = true;
      c.problem.dialect = "documented";
      c.problem.shape.batch = 32;
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        const double v = std::abs(numbers.number(f32, 0, 0));
        for (int i = 0; i < 32; ++i)
          c.x.push_back(i % 2 == 0 ? v : -v);
        c.gamma.push_back(std::abs(numbers.number(f32, 0, 0)));
        c.beta.push_back(numbers.bits() % 2 == 0 ? 0x1p-24 : 3 * 0x1p-24);
      }
      ScrambledMachine machine(64, numbers.bits());
      machine.before = scaled(of_lines, of_forms);
      try_y(c, Layout::contiguous, machine, trial);
    }
  std::printf(
      "near-ties with %g and %g of the bounds: %lld of %lld wrong, %lld doubtful, %lld channels the host's\n",
      of_lines, of_forms, static_cast<long long>(trial.tally.differing),
      static_cast<long long>(trial.tally.compared), static_cast<long long>(trial.doubtful),
      static_cast<long long>(trial.host_channels));
  return trial.tally.differing;
}

TEST(DeviceOracle, GradedNearTiesComeOutRightAndWithoutABoundDoNot) {
  EXPECT_EQ(wrong_near_ties(1, 1), 0);
  EXPECT_GT(wrong_near_ties(0, 1), 0);
  EXPECT_GT(wrong_near_ties(1, 0), 0);
}

TEST(DeviceOracle, RefusesAPlacementWhoseSpaceIsNoOneAxisAndNamesIt) {
  ForwardBuffers b;
  b.shape = {2, 3, {4, 5}};
  std::vector<float> x(1000), y(1000);
  b.x = x.data();
  b.y = y.data();
  b.y_placement = placement(b.shape, Layout::contiguous, 0, 0);
  b.x_placement = {{60, 20, 7, 1}, 0, 200};
  ScrambledMachine machine(8, 1);
  try {
    certified_forward(b, machine);
    FAIL() << "no refusal";
  } catch (const std::invalid_argument& refusal) {
    EXPECT_NE(std::string(refusal.what()).find("those of x, 2x3x4x5 with strides 60 20 7 1"),
              std::string::npos)
        << refusal.what();
  }
  EXPECT_EQ(y, std::vector<float>(1000));
  b.x_placement = {{60, 20, 5}, 0, 200};
  EXPECT_THROW(certified_forward(b, machine), std::invalid_argument);
}

TEST(DeviceOracle, TakesSlicesOfChannelsAndReversedAxes) {
  Numbers numbers(68);
  Trial trial;
  const Case c = ordinary(numbers, Pass::forward_training, f32, 960, 0);
  // [20, 3, 48]: every second of six channels; rows of a plane 3 apart; the batch innermost.
  const Placement places[]{{{6 * 48, 2 * 48, 1}, 48, 20 * 6 * 48},
                           {{3 * 48 * 3, 48 * 3, 3}, 1, 20 * 3 * 48 * 3},
                           {{1, 20 * 48, 20}, 0, 20 * 48 * 3}};
  for (const Placement& from : places)
    for (const Placement& to : places) {
      ScrambledMachine machine(100, numbers.bits());
      try_y(c, from, to, machine, trial);
    }
  EXPECT_EQ(trial.tally.differing, 0);
  EXPECT_EQ(trial.host_channels, 0);
}

TEST(DeviceOracle, RefusesAMachineThatFlushesOrFusesAndAHostThatDoes) {
  ScrambledMachine machine(8, 1);
  EXPECT_NO_THROW(require_ieee_arithmetic(machine));
  for (int k = 0; k < stages::probes; ++k) {
    machine.after = [&](Stage, std::int64_t, StageArguments& a) {
      a.answers[k] = a.answers[k] == 0 ? 0x1p-60 : 0;
    };
    EXPECT_THROW(require_ieee_arithmetic(machine), std::runtime_error) << k;
  }
  ForwardBuffers b;
  float value = 1;
  b.shape = {1, 1, {}};
  b.x_placement = b.y_placement = placement(b.shape, Layout::contiguous, 0, 0);
  b.x = b.y = &value;
  ScrambledMachine good(8, 1);
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  EXPECT_THROW(certified_forward(b, good), std::runtime_error);
  std::fesetround(FE_TONEAREST);
  EXPECT_NO_THROW(certified_forward(b, good));
}

}  // namespace
}  // namespace normproof::reference
