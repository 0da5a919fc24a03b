#include "normproof/properties/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "alternative.h"
#include "channel_judge.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using reference::DoubleDouble;

constexpr double infinite = std::numeric_limits<double>::infinity();
/// Beyond this an alternative is out, however it does elsewhere.
constexpr double hopeless = 8;
/// Of two alternatives that fit, the one that is this many times farther off is not it. Below a sixteenth of
/// the roundings nothing is told apart.
constexpr double apart = 8, indistinct = 1.0 / 16;
constexpr std::size_t most_names = 3;

struct Place {
  Output output = Output::y;
  std::int64_t channel = -1, element = 0;
};

/// One value against its prediction.
struct Compared {
  double residual = 0, noise = 0;
  bool informative = true;
  double ratio() const {
    if (!informative || residual == 0)
      return 0;
    return noise > 0 ? residual / noise : infinite;
  }
};

double got_at(const Case& c, const impls::Observation& seen, const Place& at) {
  const std::int64_t first = per_element(at.output) ? at.channel * c.problem.shape.per_channel() : at.channel;
  return seen[at.output][static_cast<std::size_t>(first + at.element)];
}

double ulps_between(const Format& format, double got, const Tracked& predicted) {
  const double off = std::abs(static_cast<double>(DoubleDouble(got) - predicted.v));
  return off / reference::spacing(format, round_to(format, predicted.v.hi));
}

Compared compare(const Format& format, double got, const Tracked& predicted, double noise, Storing storing) {
  const double value = predicted.v.hi;
  if (!std::isfinite(value)) {
    const bool right = storing == Storing::nan_is_zero ? got == 0 : !std::isfinite(got);
    return {right ? 0 : infinite, 0, true};
  }
  if (!std::isfinite(noise))
    return {0, noise, false};
  if (std::abs(value) > largest(format))
    return {std::abs(got) >= largest(format) ? 0 : infinite, noise, true};
  if (!std::isfinite(got))
    return {infinite, noise, true};
  if (storing == Storing::flushed && got == 0 && std::abs(value) < smallest_normal(format))
    return {0, noise, true};
  if (storing == Storing::truncated) {
    const double beyond = static_cast<double>(DoubleDouble(std::abs(value)) - DoubleDouble(std::abs(got)));
    const double gap = reference::spacing(format, got);
    return {std::max({0.0, -beyond, beyond - gap}), noise, true};
  }
  return {Reading{got, value, 0, format}.distance_to(predicted.v), noise, true};
}

/// An alternative against the whole observation.
struct Score {
  double misfit = 0;
  Place worst;
  bool informed = true;  ///< wherever the specification was
};

class Scorer {
public:
  Scorer(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
         Roundings roundings = Roundings::of_grade)
      : case_(c),
        seen_(seen),
        model_(c, truth, seen, gate, roundings),
        format_of_output_([&](Output o) { return format_of(c.problem, o); }) {
    order_.resize(static_cast<std::size_t>(c.problem.shape.channels));
    std::iota(order_.begin(), order_.end(), 0);
    spec_ = score({}, infinite, true);
    std::ranges::stable_sort(order_, std::greater{},
                             [&](std::int64_t k) { return channel_misfit_[static_cast<std::size_t>(k)]; });
    if (spec_.worst.channel >= 0) {
      at_worst_ = here({}, spec_.worst);
      spec_ulps_ = ulps({});
    }
  }

  const Score& spec() const { return spec_; }
  double spec_ulps() const { return spec_ulps_; }
  const Model& model() const { return model_; }
  /// Values that the specification does not explain.
  std::int64_t wrong_values() const {
    std::int64_t wrong = 0;
    for (const std::int64_t channel : order_) {
      const Prediction spec = model_.predict({}, channel);
      for (const Output output : all_outputs)
        if (!seen_[output].empty())
          for (std::size_t i = 0; i < spec[output].size(); ++i) {
            const double got = got_at(case_, seen_, {output, channel, static_cast<std::int64_t>(i)});
            const Tracked& value = spec[output][i];
            wrong += compare(format_of_output_(output), got, value, model_.noise(value), Storing::nearest)
                         .ratio() > 1;
          }
    }
    return wrong;
  }
  const std::vector<double>& channel_misfit() const { return channel_misfit_; }

  Score score(const Alternative& a, double limit = hopeless, bool remember = false) {
    Score score;
    if (remember)
      channel_misfit_.assign(order_.size(), 0);
    for (const std::int64_t channel : order_) {
      const Prediction prediction = spread(a, channel, model_.predict(a, channel));
      for (const Output output : all_outputs) {
        if (seen_[output].empty() || prediction[output].empty())
          continue;
        const auto [misfit, at] = worst_of(a, output, channel, prediction);
        if (remember)
          channel_misfit_[static_cast<std::size_t>(channel)] =
              std::max(channel_misfit_[static_cast<std::size_t>(channel)], misfit);
        if (misfit > score.misfit || score.worst.channel < 0) {
          score.misfit = misfit;
          score.worst = {output, channel, at};
        }
        if (score.misfit > limit)
          return score;
      }
    }
    return score;
  }

  /// Whether the roundings that the alternative brings would not by themselves cover what is wrong.
  bool explains(const Alternative& a) const {
    const Compared there = here(a, spec_.worst);
    return there.informative && (std::isinf(at_worst_.residual) || there.noise <= at_worst_.residual);
  }

  /// Off at the value where the specification is worst.
  double ulps(const Alternative& a) const {
    const Place& at = spec_.worst;
    const double got = got_at(case_, seen_, at);
    const Prediction p = spread(a, at.channel, model_.predict(a, at.channel));
    const Tracked& value = p[at.output][static_cast<std::size_t>(at.element)];
    if (!std::isfinite(value.v.hi) || !std::isfinite(got))
      return compare(format_of_output_(at.output), got, value, 0, a.storing).residual;
    return ulps_between(format_of_output_(at.output), got, value);
  }

  std::pair<double, std::int64_t> worst_of(const Alternative& a, Output output, std::int64_t channel,
                                           const Prediction& prediction) const {
    double worst = 0;
    std::int64_t at = 0;
    const Format format = format_of_output_(output);
    const auto& values = prediction[output];
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto element = static_cast<std::int64_t>(i);
      const double got = got_at(case_, seen_, {output, channel, element});
      const double ratio = compare(format, got, values[i], model_.noise(values[i]), a.storing).ratio();
      if (ratio > worst) {
        worst = ratio;
        at = element;
      }
    }
    return {worst, at};
  }

private:
  Compared here(const Alternative& a, const Place& at) const {
    const Prediction p = spread(a, at.channel, model_.predict(a, at.channel));
    const Tracked& value = p[at.output][static_cast<std::size_t>(at.element)];
    return compare(format_of_output_(at.output), got_at(case_, seen_, at), value, model_.noise(value),
                   a.storing);
  }

  Prediction spread(const Alternative& a, std::int64_t channel, Prediction p) const {
    if (a.storing == Storing::nan_spreads && channel > 0 && !model_.facts(channel - 1).finite)
      for (Tracked& y : p.outputs[index(Output::y)])
        y = Tracked(std::numeric_limits<double>::quiet_NaN());
    return p;
  }

  const Case& case_;
  const impls::Observation& seen_;
  Model model_;
  std::function<Format(Output)> format_of_output_;
  std::vector<std::int64_t> order_;
  Score spec_;
  std::vector<double> channel_misfit_;
  Compared at_worst_;
  double spec_ulps_ = 0;
};

std::string short_number(double value) {
  if (std::isinf(value))
    return "infinitely many";
  return value < 0.01 ? "0.01" : fmt::format("{:.2g}", value);
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names)
    out += (out.empty() ? "" : " or ") + name;
  return out;
}

void conclude(Diagnosis& d, std::string name, std::string clause, std::string sentence) {
  d.names = {std::move(name)};
  d.clause = std::move(clause);
  d.sentence = d.names.front() + ": " + std::move(sentence);
}

/// How far the specification is from what the kernel does on that case.
double misfit_of(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                 const Gate& gate, Roundings roundings) {
  if (seen.outcome != impls::Outcome::completed || !seen.breaches.empty())
    return infinite;
  return Scorer(c, truth, seen, gate, roundings).spec().misfit;
}

/// The question that needs no alternative truth: is it right as soon as the tensors are dense, or one thread
/// works?
bool depends_on_manner(const Case& c, const reference::Truth& truth, const Gate& gate, Roundings roundings,
                       const DiagnosisOptions& options, Diagnosis& d) {
  if (!options.run)
    return false;
  // Clearly: what is off by little more than its roundings may be so by chance.
  const auto right = [&](const Case& other) {
    const double misfit = misfit_of(other, truth, options.run(other), gate, roundings);
    return misfit <= 1 && d.spec_misfit >= apart * std::max(misfit, indistinct);
  };
  if (c.problem.layout != Layout::contiguous && options.without != "layout") {
    Case dense = c;
    dense.problem.layout = Layout::contiguous;
    dense.problem.layout_seed = 0;
    if (right(dense)) {
      conclude(d, "layout", "BN-FWD-15",
               fmt::format("the same numbers are right when contiguous, wrong when {}",
                           to_string(c.problem.layout)));
      return true;
    }
  }
  if (c.problem.threads > 1 && options.without != "threads") {
    Case alone = c;
    alone.problem.threads = 1;
    if (right(alone)) {
      conclude(d, "threads", "BN-FWD-16",
               fmt::format("the same numbers are right with 1 thread, wrong with {}", c.problem.threads));
      return true;
    }
  }
  return false;
}

/// Numerical bugs, which have no alternative truth but a signature.
class Signatures {
public:
  Signatures(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
             const Scorer& scorer)
      : case_(c),
        truth_(truth),
        seen_(seen),
        gate_(gate),
        scorer_(scorer) {}

  bool textbook(Diagnosis& d) const {
    if (case_.problem.pass != Pass::forward_training || seen_[Output::var].empty())
      return false;
    const double u = unit_roundoff(case_.problem.accumulator());
    bool seen = false;
    double largest_error = 0, condition = 0;
    for (std::int64_t k = 0; k < case_.problem.shape.channels; ++k) {
      const reference::ChannelFacts& f = scorer_.model().facts(k);
      if (!f.finite)
        continue;
      const Prediction spec = scorer_.model().predict({}, k);
      for (const Output output : all_outputs) {
        if (output == Output::var || seen_[output].empty() || spec[output].empty())
          continue;
        if (scorer_.worst_of({}, output, k, spec).first > 1 &&
            seen_[Output::var][static_cast<std::size_t>(k)] > 0)
          return false;  // something else is wrong too
      }
      const double got = seen_[Output::var][static_cast<std::size_t>(k)];
      const double squares = f.rms * f.rms;
      const double off = std::abs(got - f.variance);
      ChannelProblem problem;
      problem.facts = f;
      const Reduction any = reduction(Grade::sequential, f.n, case_.problem.accumulator());
      const double allowed = permitted(problem, any, {Family::textbook, Form::centred}).variance;
      if (!(off <= allowed + 0.5 * reference::spacing(case_.problem.stats, got)))
        return false;
      if (scorer_.worst_of({}, Output::var, k, spec).first <= 1)
        continue;
      // Roundings of the mean square, as many as sums of n terms collect by chance: no fewer, not many more.
      if (squares < 16 * f.variance || off < u * squares / 64 ||
          off > 8 * std::sqrt(static_cast<double>(f.n)) * u * squares)
        return false;
      seen = true;
      if (off > largest_error) {
        largest_error = off;
        condition = squares / std::max(f.variance, std::numeric_limits<double>::min());
      }
      largest_units_ = std::max(largest_units_, off / (u * squares));
    }
    if (!seen)
      return false;
    conclude(d, "textbook variance", "BN-NUM-2",
             fmt::format(
                 "var is off by {} roundings of the mean square, which is {:.2g} times the variance, and all "
                 "else follows from it",
                 short_number(largest_units_), condition));
    return true;
  }

  /// Everything as specified, but with the roundings of a narrower format.
  bool narrow(Diagnosis& d) const {
    const Output worst = scorer_.spec().worst.output;
    if (per_element(worst) || case_.problem.shape.per_channel() < 8 || elementwise_wrong())
      return false;  // not sums
    const double u = unit_roundoff(case_.problem.accumulator());
    for (const Format& format : {f32, f16, bf16}) {
      const double wider = unit_roundoff(format) / u;
      if (wider <= 1 || format.p < case_.problem.data.p)
        continue;
      const double misfit = scorer_.spec().misfit / wider;
      if (!(misfit <= 1) || misfit < 0x1p-7)
        continue;
      conclude(
          d, "narrower arithmetic", "",
          fmt::format("off as sums in {} may be: {} of their roundings", format.name, short_number(misfit)));
      return true;
    }
    return false;
  }

  /// One factor for all values of a channel: on all channels, or on some.
  bool factor(Diagnosis& d) const {
    for (const Output output : {Output::y, Output::dx, Output::grad_dy, Output::grad_x}) {
      if (seen_[output].empty())
        continue;
      if (!alone(output))
        continue;
      const double u = unit_roundoff(format_of(case_.problem, output));
      std::vector<std::int64_t> wrong;
      double common = 0;
      for (std::int64_t k = 0; k < case_.problem.shape.channels; ++k) {
        if (scorer_.channel_misfit()[static_cast<std::size_t>(k)] <= 1)
          continue;
        const auto gain = gain_of(output, k);
        if (!gain || (common != 0 && std::abs(*gain - common) > 1e-3 * std::abs(common) + 4 * u))
          return false;
        common = *gain;
        wrong.push_back(k);
      }
      if (wrong.empty())
        continue;
      // That others are right says much; a factor on all by a few ulps may be anything.
      const bool some = static_cast<std::int64_t>(wrong.size()) < case_.problem.shape.channels;
      if (std::abs(common - 1) < (some ? 4 : 64) * u)
        return false;
      conclude(
          d, some ? "a factor on some channels" : "a factor on all channels", "",
          fmt::format("{} is {:.6g} times what is specified in {}", to_string(output), common,
                      some ? fmt::format("channel {}{} of {}", wrong.front(),
                                         wrong.size() > 1 ? ", ..." : " alone", case_.problem.shape.channels)
                           : "every channel"));
      return true;
    }
    return false;
  }

  /// The same few ulps everywhere.
  bool ulps(Diagnosis& d) const {
    for (const Output output : all_outputs) {
      if (seen_[output].empty() || !per_element(output))
        continue;
      std::int64_t most = 0;
      std::map<std::int64_t, std::int64_t> steps;
      std::int64_t counted = 0;
      const Format format = format_of(case_.problem, output);
      for (std::int64_t k = 0; k < case_.problem.shape.channels; ++k) {
        const Prediction spec = scorer_.model().predict({}, k);
        for (std::size_t i = 0; i < spec[output].size(); ++i) {
          const Tracked& value = spec[output][i];
          const double got = got_at(case_, seen_, {output, k, static_cast<std::int64_t>(i)});
          const double rn = round_to(format, value.v.hi);
          if (!std::isfinite(got) || !std::isfinite(rn) || rn == 0 ||
              scorer_.model().noise(value) > 16 * reference::spacing(format, rn))
            continue;
          ++counted;
          if (std::signbit(got) != std::signbit(rn))
            continue;  // no few steps, and in f64 perhaps more than an integer counts
          const std::int64_t step =
              (reference::ordinal(format, got) - reference::ordinal(format, rn)) * (rn < 0 ? -1 : 1);
          ++steps[step];
        }
      }
      for (const auto& [step, count] : steps)
        if (count > steps[most])
          most = step;
      if (std::abs(most) < 2 || std::abs(most) > 64)
        continue;
      std::int64_t near = 0;
      for (const auto& [step, count] : steps)
        near += std::abs(step - most) <= 2 && (step > 0) == (most > 0) && step != 0 ? count : 0;
      if (counted < 8 || near * 10 < counted * 9)
        continue;
      conclude(d, "a few ulps throughout", "",
               fmt::format("the values of {} are {} ulp too {} in magnitude, one as the other",
                           to_string(output), std::abs(most), most > 0 ? "large" : "small"));
      return true;
    }
    return false;
  }

  bool long_chains(Diagnosis& d) const {
    const std::int64_t n = case_.problem.shape.per_channel();
    const Grade grade = std::max(gate_.grade, Grade::tree);
    if (depth(Grade::sequential, n) < 2 * depth(grade, n))
      return false;  // it would be the same sums
    const double misfit = misfit_of(case_, truth_, seen_, gate_, Roundings::one_chain);
    if (misfit > 1)
      return false;
    conclude(
        d, "long chains of additions", "",
        fmt::format(
            "the specified formulas fit if sums are one chain of additions ({} of its roundings), not at "
            "grade {}",
            short_number(misfit), to_string(grade)));
    return true;
  }

  /// An output that is NaN throughout, where all others are right: what was there before has entered it.
  bool old_content(Diagnosis& d) const {
    for (const Output output : all_outputs) {
      if (seen_[output].empty() || !alone(output))
        continue;
      const bool nothing = std::ranges::all_of(seen_[output], [](double v) { return std::isnan(v); });
      if (!nothing)
        continue;
      conclude(d, "old content of an output", output == Output::y ? "BN-FWD-6" : "BN-BWD-7",
               fmt::format("{} is NaN throughout, as the buffer was before, and all else is right",
                           to_string(output)));
      return true;
    }
    return false;
  }

private:
  /// Some element does not follow from the statistics or sums that were reported.
  bool elementwise_wrong() const {
    for (std::int64_t k = 0; k < case_.problem.shape.channels; ++k) {
      const Prediction spec = scorer_.model().predict({}, k);
      for (const Output output : all_outputs)
        if (per_element(output) && !seen_[output].empty() && !spec[output].empty() &&
            scorer_.worst_of({}, output, k, spec).first > 1)
          return true;
    }
    return false;
  }

  /// No other output is wrong.
  bool alone(Output output) const {
    for (std::int64_t k = 0; k < case_.problem.shape.channels; ++k) {
      Alternative own;
      own.from_own = true;
      const Prediction reported = scorer_.model().predict({}, k);
      const Prediction true_sums = scorer_.model().predict(own, k);
      for (const Output other : all_outputs)
        if (other != output && !seen_[other].empty() && !reported[other].empty() &&
            std::min(scorer_.worst_of({}, other, k, reported).first,
                     scorer_.worst_of({}, other, k, true_sums).first) > 1)
          return false;
    }
    return true;
  }

  std::optional<double> gain_of(Output output, std::int64_t channel) const {
    const Prediction spec = scorer_.model().predict({}, channel);
    double gain = 0, weight = 0;
    const auto& values = spec[output];
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double got = got_at(case_, seen_, {output, channel, static_cast<std::int64_t>(i)});
      if (!std::isfinite(got) || !std::isfinite(values[i].v.hi))
        return std::nullopt;
      if (values[i].size() > weight) {
        weight = values[i].size();
        gain = got / values[i].v.hi;
      }
    }
    // Few values, or a factor far from 1, would be many bugs.
    if (values.size() < 8 || weight == 0 || !(std::abs(gain - 1) < 0.25))
      return std::nullopt;
    const Format format = format_of(case_.problem, output);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double got = got_at(case_, seen_, {output, channel, static_cast<std::int64_t>(i)});
      const double allowed = std::abs(gain) * scorer_.model().noise(values[i]) +
                             reference::spacing(format, got) +
                             reference::spacing(format, weight) * values[i].size() / weight;
      if (std::abs(got - gain * values[i].v.hi) > allowed)
        return std::nullopt;
    }
    return gain;
  }

  const Case& case_;
  const reference::Truth& truth_;
  const impls::Observation& seen_;
  const Gate& gate_;
  const Scorer& scorer_;
  mutable double largest_units_ = 0;
};

}  // namespace

Diagnosis diagnose(const Case& c, const reference::Truth& truth, const impls::Observation& seen,
                   const Gate& gate, const DiagnosisOptions& options) {
  Diagnosis d;
  const auto known = [&](std::string_view family) {
    return family != options.without;
  };
  if (seen.outcome == impls::Outcome::crashed) {  // a wrong stride may lead out of the storage
    d.spec_misfit = infinite;
    if (!depends_on_manner(c, truth, gate, Roundings::of_grade, options, d))
      d.spec_misfit = 0;
    return d;
  }
  if (seen.outcome != impls::Outcome::completed)
    return d;
  if (!seen.breaches.empty()) {
    if (seen.breaches.front().find("unwritten") != std::string::npos && known("old content of an output"))
      conclude(d, "old content of an output", "BN-FWD-6", seen.breaches.front());
    return d;
  }
  const std::int64_t n = c.problem.shape.per_channel();
  if (c.problem.pass == Pass::forward_training && c.problem.running && n > 0 && seen.num_batches_tracked &&
      *seen.num_batches_tracked != c.num_batches_tracked + 1 && known("batches not counted")) {
    conclude(d, "batches not counted", "BN-RUN-4",
             fmt::format("num_batches_tracked is {} after the call, {} before it", *seen.num_batches_tracked,
                         c.num_batches_tracked));
    return d;
  }
  if (seen.running_changed && known("running statistics updated in inference")) {
    conclude(d, "running statistics updated in inference", "BN-INF-2", "they have other bits after the call");
    return d;
  }
  if (n == 0)
    return d;
  if (c.problem.shape.elements() > diagnosis_limit) {
    d.sentence = fmt::format("not diagnosed: more than {} values", diagnosis_limit);
    return d;
  }

  // What the grade permits first; if that covers everything it was the kernel's own claim that was broken.
  Scorer by_grade(c, truth, seen, gate);
  std::optional<Scorer> by_claim;
  if (by_grade.spec().misfit <= 1)
    by_claim.emplace(c, truth, seen, gate, Roundings::claimed);
  Scorer& scorer = by_claim ? *by_claim : by_grade;
  d.spec_misfit = scorer.spec().misfit;
  d.spec_ulps = scorer.spec_ulps();
  if (d.spec_misfit <= 1) {
    d.sentence = fmt::format(
        "no finite value is off by more than the roundings {} ({} of them): too little to name a bug",
        by_claim ? "that the kernel claims" : "of the grade", short_number(d.spec_misfit));
    return d;
  }
  Diagnosis of_manner = d;
  const bool manner = depends_on_manner(c, truth, gate, by_claim ? Roundings::claimed : Roundings::of_grade,
                                        options, of_manner);
  for (const Suspect& suspect : suspects(c.problem)) {
    if (!known(suspect.family))
      continue;
    const Score score = scorer.score(suspect.alternative);
    Candidate candidate{std::string(suspect.family),
                        suspect.text,
                        std::string(suspect.clause),
                        score.misfit,
                        score.worst.output,
                        0,
                        false};
    // A single value may lie where it does by chance.
    const bool enough = suspect.alternative.storing != Storing::truncated || scorer.wrong_values() >= 3;
    candidate.fits = score.misfit <= 1 && enough && scorer.explains(suspect.alternative);
    candidate.ulps = scorer.ulps(suspect.alternative);
    d.ranking.push_back(std::move(candidate));
  }
  std::ranges::stable_sort(d.ranking, [](const Candidate& a, const Candidate& b) {
    return std::pair(!a.fits, a.misfit) < std::pair(!b.fits, b.misfit);
  });

  if (manner && (d.ranking.empty() || !d.ranking.front().fits)) {
    of_manner.ranking = std::move(d.ranking);
    return of_manner;
  }
  const Signatures signatures(c, truth, seen, gate, scorer);
  if (d.ranking.empty() || !d.ranking.front().fits) {
    const bool found = (known("textbook variance") && signatures.textbook(d)) ||
                       (known("old content of an output") && signatures.old_content(d)) ||
                       (known("a few ulps throughout") && signatures.ulps(d)) ||
                       (known("long chains of additions") && signatures.long_chains(d)) ||
                       (known("narrower arithmetic") && signatures.narrow(d)) ||
                       (known("a factor on some channels") && signatures.factor(d));
    if (!found) {
      d.sentence = fmt::format("nothing known fits: {} alternatives tried", d.ranking.size());
      if (!d.ranking.empty() && std::isfinite(d.ranking.front().misfit) &&
          d.ranking.front().misfit < hopeless)
        d.sentence += fmt::format(", the nearest ({}) off by {} times its roundings",
                                  d.ranking.front().family, short_number(d.ranking.front().misfit));
    }
    return d;
  }

  const Candidate& best = d.ranking.front();
  const double limit = apart * std::max(best.misfit, indistinct);
  for (const Candidate& candidate : d.ranking)
    if (candidate.fits && candidate.misfit <= limit &&
        std::ranges::find(d.names, candidate.family) == d.names.end())
      d.names.push_back(candidate.family);
  if (manner)  // both, or a formula that is right by chance in another order of additions
    d.names.push_back(of_manner.names.front());
  const auto off = [](double ulps) {
    return std::isinf(ulps)             ? "another kind of value"
           : ulps > 100 && ulps < 1e300 ? fmt::format("{:.2g} ulp off", ulps)
                                        : short_number(ulps) + " ulp off";
  };
  const std::string evidence =
      fmt::format("all {} channels to {} of its roundings ({}: {}), where the specification is {}",
                  c.problem.shape.channels, short_number(best.misfit), to_string(scorer.spec().worst.output),
                  off(best.ulps), off(d.spec_ulps));
  if (d.names.size() == 1) {
    d.clause = best.clause;
    d.sentence = fmt::format("{}: {} ({}) fits {}", best.family, best.text, best.clause, evidence);
  } else if (d.names.size() <= most_names) {
    d.sentence = fmt::format("cannot be told apart here: {}; fits {}", joined(d.names), evidence);
  } else {
    d.sentence = fmt::format("{} different bugs would explain this case equally well", d.names.size());
    d.names.clear();
  }
  return d;
}

Diagnosis combined(std::span<const Diagnosis> cases) {
  Diagnosis d;
  std::map<std::string, std::size_t> support;
  std::size_t diagnosed = 0;
  for (const Diagnosis& one : cases) {
    if (one.sentence.empty())
      continue;
    ++diagnosed;
    for (const std::string& name : one.names)
      ++support[name];
  }
  std::size_t most = 0;
  for (const auto& [name, count] : support)
    most = std::max(most, count);
  if (most * 3 < diagnosed * 2 || most == 0) {
    d.sentence = diagnosed == 0 ? "" : fmt::format("no one bug explains the {} failing cases", diagnosed);
    return d;
  }
  for (const auto& [name, count] : support)
    if (count == most)
      d.names.push_back(name);
  if (d.names.size() > most_names)
    d.names.clear();
  for (const Diagnosis& one : cases)
    if (d.named() && one.names == d.names && d.clause.empty())
      d.clause = one.clause;
  d.sentence = d.names.empty() ? "too many bugs explain the failing cases equally well"
                               : fmt::format("{} ({} of {} failing cases)", joined(d.names), most, diagnosed);
  return d;
}

std::vector<std::string> families() {
  std::set<std::string> all{"batches not counted",       "running statistics updated in inference",
                            "one rounding too many",     "layout",
                            "old content of an output",  "threads",
                            "textbook variance",         "a few ulps throughout",
                            "a factor on some channels", "a factor on all channels",
                            "long chains of additions",  "narrower arithmetic"};
  for (const Pass pass : all_passes) {
    Problem problem;
    problem.pass = pass;
    for (const Suspect& suspect : suspects(problem))
      all.emplace(suspect.family);
  }
  return {all.begin(), all.end()};
}

}  // namespace normproof::properties
