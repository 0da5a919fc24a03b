// A case on raw buffers against its truth, bit by bit: what the oracles of certified.h and of a device are
// held to.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"
#include "random_cases.h"
#include "raw_cases.h"

namespace normproof::testing_cases {

/// Shapes that walk runs, columns and gathered channels, with and without ends that fill no vector.
inline Shape shape_of(std::int64_t n, std::int64_t channels) {
  for (const std::int64_t plane : {48, 7, 5, 3, 2})
    if (n % plane == 0 && n > plane)
      return {n / plane, channels, {plane}};
  return {1, channels, {n}};
}

struct Tally {
  std::int64_t compared = 0, differing = 0, updated = 0;
  reference::CertifiedEffort effort;
  std::string first;
};

inline bool is_nan(const Format& format, std::uint64_t bits) {
  return std::isnan(decode(format, bits));
}
inline bool same_bits(const Format& format, std::uint64_t got, double want) {
  return std::isnan(want) ? is_nan(format, got) : got == encode(format, want);
}

/// Has `run` fill buffers of the layouts and compares every bit that is written, and that nothing else is.
template <class Run>
void compare_forward(const Case& c, Layout x_layout, Layout y_layout, Tally& tally, const Run& run) {
  const Problem& p = c.problem;
  const reference::Truth truth = reference::truth_of(c);
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
  reference::ForwardBuffers b;
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
  const bool running = training && p.running && p.momentum;
  const Stored running_mean = stored(p.stats, running ? c.running_mean : std::vector<double>());
  const Stored running_variance = stored(p.stats, running ? c.running_var : std::vector<double>());
  Stored new_mean = stored(p.stats, running ? none : std::vector<double>());
  Stored new_variance = stored(p.stats, running ? none : std::vector<double>());
  b.running_mean = data(running_mean);
  b.running_variance = data(running_variance);
  b.new_running_mean = data(new_mean);
  b.new_running_variance = data(new_variance);
  b.momentum = p.momentum.value_or(0);
  b.running_kind = p.semantics.running;
  run(b);
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
      if (running) {
        ++tally.updated;
        see("running mean", p.stats, new_mean.bits(k), truth[Output::running_mean].rn[at]);
        see("running variance", p.stats, new_variance.bits(k), truth[Output::running_var].rn[at]);
      }
    }
}

template <class Run>
void compare_backward(const Case& c, Layout x_layout, Layout y_layout, Tally& tally, const Run& run) {
  const Problem& p = c.problem;
  const reference::Truth truth = reference::truth_of(c);
  const Stored x = stored(p.shape, p.data, placement(p.shape, x_layout, 7, 0), c.x);
  const Stored dy = stored(p.shape, p.data, placement(p.shape, x_layout, 9, 2), c.dy);
  Stored dx = stored(p.data, placement(p.shape, y_layout, 8, 1));
  const Stored gamma = stored(p.stats, c.gamma);
  const Stored saved_mean = stored(p.stats, c.saved_mean);
  const Stored saved_invstd = stored(p.stats, c.saved_invstd);
  const std::vector<double> none(static_cast<std::size_t>(p.shape.channels));
  Stored dgamma = stored(p.stats, none);
  Stored dbeta = stored(p.stats, none);
  reference::BackwardBuffers b;
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
  run(b);
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
inline Case plain_case(Numbers& numbers, Pass pass, const Format& data_format, const Format& stats) {
  for (;;) {
    Case c = random_case(numbers, pass, data_format, stats);
    c.problem.semantics = {};
    c.problem.semantics.running = numbers.bits() % 2 == 0 ? VarianceKind::biased : VarianceKind::unbiased;
    c.problem.dialect = "documented";
    const std::int64_t n = c.problem.shape.per_channel();
    c.problem.shape = shape_of(n, c.problem.shape.channels);
    if (reference::must_reject(c).empty())
      return c;
  }
}

}  // namespace normproof::testing_cases
