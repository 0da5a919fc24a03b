#include "normproof/fuzz/hunt.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace normproof::fuzz {
namespace {

using Clock = std::chrono::steady_clock;

/// Counts down what may be spent.
class Meter {
public:
  Meter(const Probe& probe, const HuntOptions& options)
      : probe_(probe),
        options_(options),
        start_(Clock::now()),
        first_(probe.evaluations()) {}

  std::int64_t spent() const { return probe_.evaluations() - first_; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  /// Moves that the space refuses cost time but no evaluation: they count, at a lower rate, so that a space
  /// without a single case comes to an end.
  void count_refusal() { ++refused_; }
  double part() const {
    double part = 0;
    if (options_.effort.evaluations)
      part = (static_cast<double>(spent()) + 1e-2 * static_cast<double>(refused_)) /
             static_cast<double>(std::max<std::int64_t>(1, *options_.effort.evaluations));
    if (options_.effort.budget)
      part = std::max(part, seconds() / std::chrono::duration<double>(*options_.effort.budget).count());
    return part;
  }
  bool over() const { return part() >= 1; }
  void show(double best) {
    if (options_.progress && spent() >= next_) {
      options_.progress({spent(), seconds(), std::min(1.0, part()), best});
      next_ = spent() + 64;
    }
  }

private:
  const Probe& probe_;
  const HuntOptions& options_;
  Clock::time_point start_;
  std::int64_t first_, refused_ = 0, next_ = 0;
};

struct Member {
  Case at;
  Score score;
  std::string regime;  ///< what it grew from: keeps the beam diverse
  int radius = 12;
  int stuck = 0;
};

class Search {
public:
  Search(Probe& probe, const HuntOptions& options)
      : probe_(probe),
        options_(options),
        meter_(probe, options),
        dice_(options.seed) {
    found_.seed = options.seed;
  }

  Found random_only() {
    draw(1);
    return finish();
  }

  Found climb() {
    for (const Case& start : options_.starts)
      offer({start, score_of(start), start.origin});
    draw(0.1);
    std::size_t width = beam_.size();
    while (!beam_.empty() && !meter_.over() && std::isfinite(found_.score.value)) {
      const double left = 1 - std::min(1.0, meter_.part());
      width = std::clamp<std::size_t>(
          static_cast<std::size_t>(std::ceil(left * static_cast<double>(beam_.size()))), 1, beam_.size());
      std::ranges::stable_sort(beam_, std::greater{}, [](const Member& m) { return m.score.value; });
      beam_.resize(std::max<std::size_t>(std::min(beam_.size(), std::size_t{3}), width));
      for (std::size_t i = 0; i < beam_.size() && !meter_.over(); ++i)
        for (int turn = 0; turn < 32 && !meter_.over(); ++turn)
          advance(i);
    }
    return finish();
  }

private:
  Score score_of(const Case& c) {
    const std::int64_t before = meter_.spent();
    Score score = probe_(c);
    if (meter_.spent() == before)
      meter_.count_refusal();
    if (!score.counts())
      found_.reason = score.reason;
    if (score.counts() && score.value > found_.score.value) {
      found_.worst = c;
      found_.score = score;
      found_.from = c.origin;
    }
    meter_.show(found_.score.value);
    return score;
  }

  /// Random cases until that part of the effort is spent.
  void draw(double part) {
    while (!meter_.over() && meter_.part() < part) {
      const properties::Recipe recipe = random_recipe(options_.space, dice_);
      Case c = properties::expand(recipe);
      const Score score = score_of(c);
      offer({std::move(c), score, recipe.regime.name});
    }
  }

  /// Into the beam where it is among the best, three of a regime at most.
  void offer(Member member) {
    if (!member.score.counts())
      return;
    const auto worse = [](const Member& a, const Member& b) {
      return a.score.value < b.score.value;
    };
    std::vector<std::size_t> kin;
    for (std::size_t i = 0; i < beam_.size(); ++i)
      if (beam_[i].regime == member.regime)
        kin.push_back(i);
    Member* victim = nullptr;
    if (kin.size() >= 3)
      victim = &beam_[*std::ranges::min_element(
          kin, [&](std::size_t a, std::size_t b) { return worse(beam_[a], beam_[b]); })];
    else if (beam_.size() >= options_.beam)
      victim = &*std::ranges::min_element(beam_, worse);
    if (victim == nullptr)
      beam_.push_back(std::move(member));
    else if (worse(*victim, member))
      *victim = std::move(member);
  }

  void advance(std::size_t i) {
    Member& m = beam_[i];
    Case child = moved(m.at, options_.space, m.radius, dice_);
    const Score score = score_of(child);
    if (score.counts() && score.value >= m.score.value) {
      const bool better = score.value > m.score.value;
      m.at = std::move(child);
      m.score = score;
      if (better) {
        m.stuck = 0;
        m.radius = std::min(m.radius + 1, m.at.problem.data.p);
        return;
      }
    }
    if (++m.stuck % 24 == 0)
      m.radius = m.radius > 1 ? m.radius - 1 : m.at.problem.data.p;
    const int patience = 400 + 20 * static_cast<int>(m.at.problem.shape.per_channel());
    if (m.stuck < patience || i == 0)
      return;
    const Member& better = beam_[dice_.below(i)];
    m = better;
    m.stuck = 0;
    m.radius = static_cast<int>(dice_.between(1, m.at.problem.data.p));
  }

  Found finish() {
    found_.evaluations = meter_.spent();
    found_.seconds = meter_.seconds();
    return std::move(found_);
  }

  Probe& probe_;
  const HuntOptions& options_;
  Meter meter_;
  Dice dice_;
  std::vector<Member> beam_;
  Found found_;
};

}  // namespace

Found hunt(Probe& probe, const HuntOptions& options) {
  return Search(probe, options).climb();
}

Found random_search(Probe& probe, const HuntOptions& options) {
  return Search(probe, options).random_only();
}

std::string label(const Found& found) {
  return fmt::format("searched: {} evaluations, seed {}", found.evaluations, found.seed);
}

}  // namespace normproof::fuzz
