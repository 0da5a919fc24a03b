#include "normproof/properties/comparison.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <tuple>

#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using Clock = std::chrono::steady_clock;

bool same_bits(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

std::int64_t steps_between(const Format& format, double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return -1;
  // Ordinals of f64 fill their type: the difference of opposite signs is taken unsigned, and cut off.
  const auto from = static_cast<std::uint64_t>(reference::ordinal(format, std::min(a, b)));
  const auto to = static_cast<std::uint64_t>(reference::ordinal(format, std::max(a, b)));
  return static_cast<std::int64_t>(std::min(to - from, std::uint64_t{1} << 62));
}

/// A NaN against a number is further than any number.
std::uint64_t rank(std::int64_t steps) {
  return steps < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(steps);
}

double error_of(const Format& format, double got, double rn, double off) {
  const double ulps = reference::ulps_off(format, got, rn, off);
  return std::isnan(ulps) ? HUGE_VAL : ulps;
}

class Tally {
public:
  void add(const Case& c, const reference::Truth& truth, const impls::Observation& first,
           const impls::Observation& second) {
    std::string dtype(c.problem.data.name);
    if (!(c.problem.stats == c.problem.data))
      dtype += "/" + std::string(c.problem.stats.name);
    const Key key{c.problem.pass, dtype, c.problem.layout};
    for (const Output output : all_outputs) {
      const std::vector<double>& a = first[output];
      const std::vector<double>& b = second[output];
      const reference::Values& want = truth[output];
      if (a.empty() || a.size() != b.size() || want.rn.size() != a.size())
        continue;
      ComparisonRow& row = rows_[{key, output}];
      row.key = key;
      row.output = output;
      const Format& format = format_of(c.problem, output);
      const std::size_t per_channel =
          per_element(output) ? static_cast<std::size_t>(c.problem.shape.per_channel()) : 1;
      for (std::size_t i = 0; i < a.size(); ++i)
        element(row, format, a[i], b[i], want.rn[i], want.off[i], i / per_channel, i % per_channel, c.origin);
    }
  }

  std::vector<ComparisonRow> rows() && {
    std::vector<ComparisonRow> all;
    for (auto& [id, row] : rows_)
      all.push_back(std::move(row));
    return all;
  }

private:
  static void element(ComparisonRow& row, const Format& format, double a, double b, double rn, double off,
                      std::size_t channel, std::size_t place, const std::string& origin) {
    ++row.elements;
    const double a_ulps = error_of(format, a, rn, off);
    const double b_ulps = error_of(format, b, rn, off);
    if (std::isfinite(a_ulps))
      row.first_max = std::max(row.first_max, a_ulps);
    if (std::isfinite(b_ulps))
      row.second_max = std::max(row.second_max, b_ulps);
    if (same_bits(a, b)) {
      ++row.same;
      return;
    }
    ++(a_ulps < b_ulps ? row.first_nearer : b_ulps < a_ulps ? row.second_nearer : row.equally_near);
    const std::int64_t steps = steps_between(format, a, b);
    if (row.largest && rank(row.largest->steps) >= rank(steps))
      return;
    row.largest = {static_cast<std::int64_t>(channel),
                   static_cast<std::int64_t>(place),
                   a,
                   b,
                   rn,
                   a_ulps,
                   b_ulps,
                   steps,
                   origin};
  }

  std::map<std::tuple<Key, Output>, ComparisonRow> rows_;
};

void record(Contestant& contestant, const impls::Observation& seen, const CaseVerdict& verdict) {
  if (seen.outcome == impls::Outcome::completed)
    ++contestant.completed;
  else
    ++contestant.other[std::string(impls::to_string(seen.outcome)) +
                       (seen.detail.empty() ? "" : ": " + seen.detail)];
  contestant.failed += verdict.failed() ? 1 : 0;
}

}  // namespace

bool Comparison::differ() const {
  return std::ranges::any_of(rows, [](const ComparisonRow& row) { return row.same < row.elements; });
}

Comparison compare(std::size_t count, const std::function<Case(std::size_t)>& make,
                   const impls::KernelInfo& first, const impls::KernelInfo& second,
                   const TrialOptions& options) {
  Comparison comparison;
  comparison.first.kernel = first;
  comparison.second.kernel = second;
  Tally tally;
  impls::Runner runner(options.run);
  const auto start = Clock::now();
  Progress progress{0, static_cast<std::int64_t>(count), 0, 0, 0};
  for (std::size_t i = 0; i < count && (!options.budget || Clock::now() - start < *options.budget); ++i) {
    const Case c = make(i);
    const reference::Truth truth =
        reference::must_reject(c).empty() ? reference::truth_of(c) : reference::Truth{};
    const impls::Observation a = runner.run(first, c);
    const impls::Observation b = runner.run(second, c);
    record(comparison.first, a, judge(c, truth, a, options.gate));
    record(comparison.second, b, judge(c, truth, b, options.gate));
    ++comparison.cases;
    if (a.outcome == impls::Outcome::completed && b.outcome == impls::Outcome::completed) {
      ++comparison.both;
      tally.add(c, truth, a, b);
    }
    ++progress.done;
    progress.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (options.progress)
      options.progress(progress);
  }
  comparison.rows = std::move(tally).rows();
  return comparison;
}

}  // namespace normproof::properties
