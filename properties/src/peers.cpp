#include "normproof/properties/peers.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using nlohmann::json;

template <class Value, class Parse>
Value word(const json& entry, const Parse& parse, const char* what) {
  const auto text = entry.get<std::string>();
  if (const std::optional<Value> value = parse(text))
    return *value;
  throw std::invalid_argument(fmt::format("'{}' is no {}", text, what));
}

std::optional<PeerMetric> parse_metric(const std::string& text) {
  constexpr std::pair<std::string_view, PeerMetric> names[] = {
      {"elementwise", PeerMetric::elementwise},
      {"either", PeerMetric::either},
      {"relative-or-absolute", PeerMetric::relative_or_absolute},
      {"rms", PeerMetric::rms},
      {"l2", PeerMetric::l2},
      {"ulps", PeerMetric::ulps}};
  for (const auto& [name, metric] : names)
    if (name == text)
      return metric;
  return std::nullopt;
}

PeerRule read_rule(const json& entry) {
  PeerRule rule;
  for (const json& pass : entry.at("passes"))
    rule.passes.push_back(word<Pass>(pass, [](const std::string& t) { return parse_pass(t); }, "pass"));
  for (const json& output : entry.at("outputs"))
    rule.outputs.push_back(
        word<Output>(output, [](const std::string& t) { return parse_output(t); }, "output"));
  rule.metric = word<PeerMetric>(entry.at("metric"), parse_metric, "metric");
  for (const Format& format : formats())
    if (const auto found = entry.find(std::string(format.name)); found != entry.end())
      rule.by_format[std::string(format.name)] = {found->at("rtol"), found->value("atol", 0.0)};
  if (rule.by_format.empty())
    throw std::invalid_argument("a rule without a format");
  return rule;
}

bool accepts(PeerMetric metric, const PeerTolerance& limit, const Format& format,
             const std::vector<double>& got, const std::vector<double>& want) {
  double squares = 0, expected = 0, most = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(want[i])) {
      if (metric == PeerMetric::l2)
        continue;  // benchdnn leaves such points out of its norm
      if (std::isnan(want[i]) ? !std::isnan(got[i]) : got[i] != want[i])
        return false;
      continue;
    }
    if (!std::isfinite(got[i]))
      return false;
    const double d = std::abs(got[i] - want[i]);
    const double size = std::abs(want[i]);
    squares += d * d;
    expected += size * size;
    most = std::max({most, size, std::abs(got[i])});
    if (metric == PeerMetric::elementwise && !(d <= limit.atol + limit.rtol * size))
      return false;
    if (metric == PeerMetric::either && !(d <= std::max(limit.atol, limit.rtol * size)))
      return false;
    if (metric == PeerMetric::relative_or_absolute) {
      const bool small = size <= limit.atol;
      if (!(small && d < 0x1p-23) && !(d <= limit.rtol * (small ? 1 : size)))
        return false;
    }
    if (metric == PeerMetric::ulps &&
        static_cast<double>(
            std::abs(reference::ordinal(format, got[i]) - reference::ordinal(format, want[i]))) > limit.rtol)
      return false;
  }
  if (metric == PeerMetric::rms)
    return most == 0 ||
           std::sqrt(squares) / (std::sqrt(static_cast<double>(want.size())) * most) <= limit.rtol;
  if (metric == PeerMetric::l2)
    return std::sqrt(squares) <= limit.rtol * (expected > 0 ? std::sqrt(expected) : 1);
  return true;
}

}  // namespace

std::vector<Peer> read_peers(std::string_view text) {
  try {
    const json table = json::parse(text);
    if (table.at("normproof_peers") != 1)
      throw std::invalid_argument("normproof_peers is not 1");
    std::vector<Peer> peers;
    for (const json& entry : table.at("peers")) {
      Peer peer{
          entry.at("name"), entry.at("title"), entry.at("source"), entry.value("finite_only", false), {}};
      for (const json& rule : entry.at("rules"))
        peer.rules.push_back(read_rule(rule));
      peers.push_back(std::move(peer));
    }
    return peers;
  } catch (const json::exception& error) {
    throw std::invalid_argument(fmt::format("not a table of peers: {}", error.what()));
  }
}

bool covers(const Peer& peer, const Problem& problem, Output output) {
  return std::ranges::any_of(peer.rules, [&](const PeerRule& rule) {
    return std::ranges::find(rule.passes, problem.pass) != rule.passes.end() &&
           std::ranges::find(rule.outputs, output) != rule.outputs.end() &&
           rule.by_format.contains(format_of(problem, output).name);
  });
}

PeerVerdict verdict_of(const Peer& peer, const Case& c, const reference::Truth& truth,
                       const impls::Observation& seen) {
  using impls::Outcome;
  const Problem& problem = c.problem;
  PeerVerdict verdict = PeerVerdict::not_covered;
  for (const PeerRule& rule : peer.rules) {
    if (std::ranges::find(rule.passes, problem.pass) == rule.passes.end())
      continue;
    for (const Output output : rule.outputs) {
      const Format& format = format_of(problem, output);
      const auto limit = rule.by_format.find(format.name);
      const std::vector<double>& want = truth[output].rn;
      if (limit == rule.by_format.end() || want.empty())
        continue;
      if (peer.finite_only && !std::ranges::all_of(want, [](double v) { return std::isfinite(v); }))
        continue;
      if (seen.outcome != Outcome::completed)
        return PeerVerdict::refuses;
      if (seen[output].empty())
        continue;
      if (!accepts(rule.metric, limit->second, format, seen[output], want))
        return PeerVerdict::refuses;
      verdict = PeerVerdict::accepts;
    }
  }
  return verdict;
}

}  // namespace normproof::properties
