#include "normproof/fuzz/exhaustive.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "normproof/properties/domain.h"
#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"

namespace normproof::fuzz {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool in_budget(const TableOptions& options, Clock::time_point start) {
  return !options.budget || Clock::now() - start < *options.budget;
}

Problem problem_of(Pass pass, const Format& dtype, std::int64_t n, std::int64_t channels) {
  Problem p;
  p.pass = pass;
  p.data = dtype;
  p.stats = f32;
  p.shape = {n, channels, {}};
  p.semantics = dialect_named(p.dialect)->semantics;
  p.running = pass == Pass::forward_inference;
  return p;
}

std::int64_t steps_between(const Format& format, double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) && std::isnan(b) ? 0 : INT64_MAX;
  return std::abs(reference::ordinal(format, a) - reference::ordinal(format, b));
}

/// One channel of a case.
Case channel_of(const Case& c, std::int64_t channel) {
  Case one = c;
  one.problem.shape.channels = 1;
  const std::int64_t n = c.problem.shape.per_channel();
  const auto cut = [&](std::vector<double>& values, std::int64_t width) {
    if (!values.empty())
      values = {values.begin() + channel * width, values.begin() + (channel + 1) * width};
  };
  cut(one.x, n);
  for (auto* values : {&one.gamma, &one.beta, &one.running_mean, &one.running_var})
    cut(*values, 1);
  return one;
}

/// What the judge says of the worst input.
void judge_worst(Exhausted& table, const impls::KernelInfo& kernel, impls::Runner& runner) {
  if (table.covered == 0)
    return;
  properties::Gate gate;
  gate.extended = true;
  const auto verdict =
      properties::judge(table.worst, reference::truth_of(table.worst), runner.run(kernel, table.worst), gate);
  table.ulps = verdict.accuracy[index(table.output)].max_raw;
  table.ratio = verdict.nearest[index(table.output)].ratio;
}

/// Statistics and parameters as they are met, and some that are not.
struct Setting {
  double mean, variance, gamma, beta;
};
constexpr std::array settings{Setting{0, 1, 1, 0},
                              Setting{0x1.8p-2, 0x1.1p-1, 0x1.4p+0, -0x1p-3},
                              Setting{-0x1.99999ap-4, 0x1.99999ap-4, 0x1.333334p-1, 0x1.99999ap-3},
                              Setting{0x1.47ae14p+3, 0x1.921fb6p+1, -0x1.5bf0a8p+0, 0x1.6a09e6p-1},
                              Setting{-0x1.f4p+9, 0x1.4p+16, 0x1.8p+0, 0x1p+0},
                              Setting{0x1.5555p-7, 0x1.0p-20, 0x1.ap-1, 0x1.1p-6},
                              Setting{0x1p-1, 0x1.fffffep-3, 0x1p-8, 0x1.0001p+1},
                              Setting{0x1.123456p+6, 0x1.6789aap-9, 0x1.9abcdep-3, -0x1.fedcbap+4}};

}  // namespace

Exhausted every_x(const impls::KernelInfo& kernel, const Format& dtype, const TableOptions& options) {
  const auto start = Clock::now();
  Exhausted table;
  table.most_steps = -1;
  impls::Runner runner(options.run);
  for (const Setting& s : settings) {
    Case c;
    c.problem = problem_of(Pass::forward_inference, dtype, 1, 1);
    c.gamma = {s.gamma};
    c.beta = {s.beta};
    c.running_mean = {s.mean};
    c.running_var = {s.variance};
    std::vector<double> core;
    for (std::uint64_t bits = 0; bits < 65536; ++bits) {
      c.x = {decode(dtype, bits)};
      if (properties::domain_of(c) == Domain::core)
        core.push_back(c.x[0]);
    }
    c.x = std::move(core);
    c.problem.shape.batch = static_cast<std::int64_t>(c.x.size());
    table.total += c.problem.shape.batch;
    const impls::Observation seen = runner.run(kernel, c);
    if (seen.outcome != impls::Outcome::completed) {
      table.reason = seen.detail;
      break;
    }
    const reference::Truth truth = reference::truth_of(c);
    for (std::size_t i = 0; i < c.x.size(); ++i) {
      const std::int64_t steps = steps_between(dtype, seen[Output::y][i], truth[Output::y].rn[i]);
      table.correctly_rounded += steps == 0 ? 1 : 0;
      if (steps <= table.most_steps)
        continue;
      table.most_steps = steps;
      table.worst = c;
      table.worst.problem.shape.batch = 1;
      table.worst.x = {c.x[i]};
    }
    table.covered += c.problem.shape.batch;
  }
  judge_worst(table, kernel, runner);
  table.seconds = seconds_since(start);
  return table;
}

Exhausted every_variance(const impls::KernelInfo& kernel, double eps, const TableOptions& options) {
  const auto start = Clock::now();
  constexpr std::uint64_t normal = 0x00800000, last = 0x7F7FFFFF, chunk = 1 << 18;
  constexpr std::uint64_t chunks = (last - normal) / chunk + 1;
  Exhausted table;
  table.total = last - normal + 1;
  long double furthest = -1;  // in ulps, by which the worst is chosen
  table.most_steps = -1;
  impls::Runner runner(options.run);
  for (std::uint64_t k = 0; k < chunks && (k == 0 || in_budget(options, start)); ++k) {
    const std::uint64_t first = normal + k * 5087 % chunks * chunk;  // a prime that does not divide the count
    Case c;
    std::vector<double>& v = c.running_var;
    for (std::uint64_t bits = first; bits < std::min(first + chunk, last + 1); ++bits)
      v.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    const auto channels = static_cast<std::int64_t>(v.size());
    c.problem = problem_of(Pass::forward_inference, f32, 1, channels);
    c.problem.eps = eps;
    c.x.assign(v.size(), 1);
    c.gamma.assign(v.size(), 1);
    c.beta.assign(v.size(), 0);
    c.running_mean.assign(v.size(), 0);
    const impls::Observation seen = runner.run(kernel, c);
    if (seen.outcome != impls::Outcome::completed) {
      table.reason = seen.detail;
      break;
    }
    for (std::size_t i = 0; i < v.size(); ++i) {
      const long double root = std::sqrt(static_cast<long double>(v[i]) + static_cast<long double>(eps));
      const auto want = static_cast<double>(static_cast<float>(1 / root));
      const double got = seen[Output::y][i];
      table.correctly_rounded += got == want ? 1 : 0;
      table.most_steps = std::max(table.most_steps, got == want ? 0 : steps_between(f32, got, want));
      const long double off = std::abs(static_cast<long double>(got) - 1 / root) /
                              static_cast<long double>(reference::ulp(f32, want, 0));
      if (!(off > furthest))
        continue;
      furthest = off;
      table.worst = channel_of(c, static_cast<std::int64_t>(i));
    }
    table.covered += channels;
  }
  judge_worst(table, kernel, runner);
  table.seconds = seconds_since(start);
  return table;
}

std::vector<Exhausted> every_pair(const impls::KernelInfo& kernel, const Format& dtype,
                                  const TableOptions& options) {
  const auto start = Clock::now();
  std::vector<double> values;  // in the order of their encodings
  Case twice;
  twice.problem = problem_of(Pass::forward_training, dtype, 2, 1);
  twice.gamma = {1};
  twice.beta = {0};
  for (std::uint64_t bits = 0; bits < 65536; ++bits) {
    const double value = decode(dtype, bits);
    twice.x = {value, value};
    if (properties::domain_of(twice) == Domain::core)
      values.push_back(value);
  }
  const std::size_t channels = values.size(),
                    firsts = channels / 2;  // the encodings without a sign come first

  std::vector<Exhausted> tables;
  for (const Output output : {Output::mean, Output::var, Output::invstd, Output::y}) {
    tables.emplace_back();
    tables.back().output = output;
    tables.back().total = static_cast<std::int64_t>(firsts * channels);
    tables.back().most_steps = -1;
  }

  Case c;
  c.problem = problem_of(Pass::forward_training, dtype, 2, static_cast<std::int64_t>(channels));
  c.gamma.assign(channels, 1);
  c.beta.assign(channels, 0);
  c.x.resize(2 * channels);
  for (std::size_t i = 0; i < channels; ++i)
    c.x[2 * i + 1] = values[i];

  std::vector<std::uint16_t> x(2 * channels), y(2 * channels);
  std::vector<float> ones(channels, 1), zeros(channels, 0), mean(channels), variance(channels),
      invstd(channels);
  reference::ForwardBuffers buffers;
  buffers.shape = c.problem.shape;
  buffers.data = dtype;
  buffers.stats = f32;
  buffers.x_placement = buffers.y_placement = placement(c.problem.shape, Layout::contiguous, 0, 0);
  buffers.x = x.data();
  buffers.y = y.data();
  buffers.gamma = ones.data();
  buffers.beta = zeros.data();
  buffers.eps = c.problem.eps;
  buffers.mean = mean.data();
  buffers.variance = variance.data();
  buffers.invstd = invstd.data();
  for (std::size_t i = 0; i < channels; ++i)  // [N, C]: the second row
    x[channels + i] = static_cast<std::uint16_t>(encode(dtype, values[i]));

  impls::Runner runner(options.run);
  for (std::size_t k = 0; k < firsts && (k == 0 || in_budget(options, start)); ++k) {
    const double first = values[k * 20011 % firsts];  // a prime that does not divide the count
    for (std::size_t i = 0; i < channels; ++i) {
      c.x[2 * i] = first;
      x[i] = static_cast<std::uint16_t>(encode(dtype, first));
    }
    const impls::Observation seen = runner.run(kernel, c);
    if (seen.outcome != impls::Outcome::completed) {
      for (Exhausted& table : tables)
        table.reason = seen.detail;
      break;
    }
    reference::certified_forward(buffers);
    for (Exhausted& table : tables) {
      const std::vector<double>& got = seen[table.output];
      if (got.empty()) {
        table.reason = "not reported";
        continue;
      }
      const bool element = table.output == Output::y;
      const Format format = format_of(c.problem, table.output);
      const std::vector<float>& statistic = table.output == Output::mean  ? mean
                                            : table.output == Output::var ? variance
                                                                          : invstd;
      for (std::size_t i = 0; i < channels; ++i) {
        std::int64_t steps = 0;
        if (element)
          for (std::size_t j = 0; j < 2; ++j)
            steps =
                std::max(steps, steps_between(format, got[2 * i + j], decode(format, y[j * channels + i])));
        else if (got[i] != static_cast<double>(statistic[i]))
          steps = steps_between(format, got[i], static_cast<double>(statistic[i]));
        table.correctly_rounded += steps == 0 ? 1 : 0;
        if (steps <= table.most_steps)
          continue;
        table.most_steps = steps;
        table.worst = channel_of(c, static_cast<std::int64_t>(i));
      }
      table.covered += static_cast<std::int64_t>(channels);
    }
  }
  for (Exhausted& table : tables) {
    table.seconds = seconds_since(start);
    judge_worst(table, kernel, runner);
  }
  return tables;
}

}  // namespace normproof::fuzz
