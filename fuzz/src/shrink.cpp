#include "normproof/fuzz/shrink.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "normproof/fuzz/ordinals.h"
#include "tensors.h"

namespace normproof::fuzz {
namespace {

class Shrinker {
public:
  Shrinker(Probe& probe, const Case& c, const ShrinkOptions& options)
      : probe_(probe),
        first_(probe.evaluations()),
        limit_(options.evaluations) {
    best_.smallest = c;
    best_.score = probe(c);
    breaks_ = best_.score.ratio > 1;
    wanted_ = std::isfinite(best_.score.value) ? options.keep * best_.score.value : HUGE_VAL;
  }

  Shrunk run() {
    drop_channels();
    bool smaller = true;
    while (smaller && !over()) {
      smaller = drop_values();
      smaller = plain_parameters() || smaller;
      smaller = short_values() || smaller;
    }
    best_.evaluations = probe_.evaluations() - first_;
    return std::move(best_);
  }

private:
  bool over() const { return probe_.evaluations() - first_ >= limit_; }

  bool accept(Case c) {
    if (over())
      return false;
    Score score = probe_(c);
    if (!score.counts() || score.value < wanted_ || (breaks_ && !(score.ratio > 1)))
      return false;
    best_.smallest = std::move(c);
    best_.score = std::move(score);
    return true;
  }

  void drop_channels() {
    const std::int64_t channels = best_.smallest.problem.shape.channels;
    for (std::int64_t keep = 0; channels > 1 && keep < channels; ++keep) {
      Case one = best_.smallest;
      const std::int64_t n = one.problem.shape.per_channel();
      one.problem.shape.channels = 1;
      for (const Tensor& t : tensors(one)) {
        const std::int64_t width = t.per_element ? n : 1;
        *t.values = {t.values->begin() + keep * width, t.values->begin() + (keep + 1) * width};
      }
      if (accept(std::move(one)))
        return;
    }
  }

  /// Runs of half the values, of a quarter, ..., of one.
  bool drop_values() {
    bool any = false;
    const auto size = [&] {
      return static_cast<std::size_t>(best_.smallest.problem.shape.per_channel());
    };
    for (std::size_t run = size() / 2; run > 0; run /= 2)
      for (std::size_t first = 0; first + run <= size() && size() > run;) {
        std::vector<std::size_t> kept(size());
        std::iota(kept.begin(), kept.end(), 0);
        kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(first),
                   kept.begin() + static_cast<std::ptrdiff_t>(first + run));
        if (accept(with_values(best_.smallest, kept)))
          any = true;
        else
          first += run;
        if (over())
          return any;
      }
    return any;
  }

  /// 1 for scales, 0 for offsets, one thread, no running statistics where they are not needed.
  bool plain_parameters() {
    bool any = false;
    const auto attempt = [&](std::vector<double> Case::* tensor, double plain) {
      const std::vector<double>& now = best_.smallest.*tensor;
      if (now.empty() || std::ranges::all_of(now, [&](double v) { return v == plain; }))
        return;
      Case c = best_.smallest;
      std::ranges::fill(c.*tensor, plain);
      any = accept(std::move(c)) || any;
    };
    attempt(&Case::gamma, 1);
    attempt(&Case::beta, 0);
    attempt(&Case::running_mean, 0);
    attempt(&Case::running_var, 1);
    attempt(&Case::saved_mean, 0);
    attempt(&Case::saved_invstd, 1);
    if (best_.smallest.problem.threads > 1) {
      Case c = best_.smallest;
      c.problem.threads = 1;
      any = accept(std::move(c)) || any;
    }
    return any;
  }

  /// The shortest significand that each value can have.
  bool short_values() {
    bool any = false;
    const std::size_t count = tensors(best_.smallest).size();
    for (std::size_t t = 0; t < count; ++t) {
      const std::size_t size = tensors(best_.smallest)[t].values->size();
      for (std::size_t i = 0; i < size && !over(); ++i)
        any = shorten(t, i) || any;
    }
    return any;
  }

  bool shorten(std::size_t t, std::size_t i) {
    const Tensor now = tensors(best_.smallest)[t];
    const double value = (*now.values)[i];
    const int p = now.format.p;
    for (const int bits : {p - 1, p - 2, p - 4, (3 * p) / 4, p / 2, p / 4, 2, 1}) {
      const double candidate = shortened(now.format, value, bits);
      if (candidate == value)
        return false;
      if (now.positive && candidate <= 0)
        continue;
      Case c = best_.smallest;
      (*tensors(c)[t].values)[i] = candidate;
      if (accept(std::move(c)))
        return true;
    }
    return false;
  }

  Probe& probe_;
  const std::int64_t first_, limit_;
  Shrunk best_;
  double wanted_ = 0;
  bool breaks_ = false;
};

}  // namespace

Shrunk shrink(Probe& probe, const Case& c, const ShrinkOptions& options) {
  return Shrinker(probe, c, options).run();
}

}  // namespace normproof::fuzz
