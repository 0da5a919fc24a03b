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
  Shrinker(const Case& c, const Keeps& keeps, std::int64_t evaluations)
      : keeps_(keeps),
        left_(evaluations),
        smallest_(c) {}

  Case run() {
    bool smaller = true;
    while (smaller && left_ > 0) {
      smaller = drop_channels();
      smaller = drop_values() || smaller;
      smaller = plain_parameters() || smaller;
      smaller = short_values() || smaller;
    }
    return std::move(smallest_);
  }

private:
  bool accept(Case c) {
    if (left_-- <= 0 || !keeps_(c))
      return false;
    smallest_ = std::move(c);
    return true;
  }

  static Case with_channels(const Case& c, std::int64_t first, std::int64_t count, bool kept) {
    Case some = c;
    const std::int64_t n = c.problem.shape.per_channel(), all = c.problem.shape.channels;
    some.problem.shape.channels = kept ? count : all - count;
    for (const Tensor& t : tensors(some)) {
      const std::int64_t width = t.per_element ? n : 1;
      const auto begin = t.values->begin() + first * width, end = begin + count * width;
      if (kept)
        *t.values = std::vector<double>(begin, end);
      else
        t.values->erase(begin, end);
    }
    return some;
  }

  /// To one channel, or without runs of half of them, of a quarter, ..., of one.
  bool drop_channels() {
    const auto channels = [&] {
      return smallest_.problem.shape.channels;
    };
    for (std::int64_t keep = 0; channels() > 1 && keep < channels(); ++keep)
      if (accept(with_channels(smallest_, keep, 1, true)))
        return true;
    bool any = false;
    for (std::int64_t run = channels() / 2; run > 0; run /= 2)
      for (std::int64_t first = 0; first + run <= channels() && channels() > run && left_ > 0;) {
        if (accept(with_channels(smallest_, first, run, false)))
          any = true;
        else
          first += run;
      }
    return any;
  }

  /// Runs of half the values, of a quarter, ..., of one.
  bool drop_values() {
    bool any = false;
    const auto size = [&] {
      return static_cast<std::size_t>(smallest_.problem.shape.per_channel());
    };
    for (std::size_t run = size() / 2; run > 0; run /= 2)
      for (std::size_t first = 0; first + run <= size() && size() > run;) {
        std::vector<std::size_t> kept(size());
        std::iota(kept.begin(), kept.end(), 0);
        kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(first),
                   kept.begin() + static_cast<std::ptrdiff_t>(first + run));
        if (accept(with_values(smallest_, kept)))
          any = true;
        else
          first += run;
        if (left_ <= 0)
          return any;
      }
    return any;
  }

  /// 1 for scales, 0 for offsets, one thread, no running statistics where they are not needed.
  bool plain_parameters() {
    bool any = false;
    const auto attempt = [&](std::vector<double> Case::* tensor, double plain) {
      const std::vector<double>& now = smallest_.*tensor;
      if (now.empty() || std::ranges::all_of(now, [&](double v) { return v == plain; }))
        return;
      Case c = smallest_;
      std::ranges::fill(c.*tensor, plain);
      any = accept(std::move(c)) || any;
    };
    attempt(&Case::gamma, 1);
    attempt(&Case::beta, 0);
    attempt(&Case::running_mean, 0);
    attempt(&Case::running_var, 1);
    attempt(&Case::saved_mean, 0);
    attempt(&Case::saved_invstd, 1);
    if (smallest_.problem.threads > 1) {
      Case c = smallest_;
      c.problem.threads = 1;
      any = accept(std::move(c)) || any;
    }
    return any;
  }

  /// The shortest significand that each value can have.
  bool short_values() {
    bool any = false;
    const std::size_t count = tensors(smallest_).size();
    for (std::size_t t = 0; t < count; ++t) {
      const std::size_t size = tensors(smallest_)[t].values->size();
      for (std::size_t i = 0; i < size && left_ > 0; ++i)
        any = shorten(t, i) || any;
    }
    return any;
  }

  bool shorten(std::size_t t, std::size_t i) {
    const Tensor now = tensors(smallest_)[t];
    const double value = (*now.values)[i];
    const int p = now.format.p;
    for (const int bits : {p - 1, p - 2, p - 4, (3 * p) / 4, p / 2, p / 4, 2, 1}) {
      const double candidate = shortened(now.format, value, bits);
      if (candidate == value)
        return false;
      if (now.positive && candidate <= 0)
        continue;
      Case c = smallest_;
      (*tensors(c)[t].values)[i] = candidate;
      if (accept(std::move(c)))
        return true;
    }
    return false;
  }

  const Keeps& keeps_;
  std::int64_t left_;
  Case smallest_;
};

}  // namespace

Case shrink(const Case& c, const Keeps& keeps, std::int64_t evaluations) {
  return Shrinker(c, keeps, evaluations).run();
}

Shrunk shrink(Probe& probe, const Case& c, const ShrinkOptions& options) {
  const std::int64_t before = probe.evaluations();
  Shrunk out{c, probe(c), 0};
  const bool breaks = out.score.ratio > 1;
  const double wanted = std::isfinite(out.score.value) ? options.keep * out.score.value : HUGE_VAL;
  out.smallest = shrink(
      c,
      [&](const Case& smaller) {
        Score score = probe(smaller);
        if (!score.counts() || score.value < wanted || (breaks && !(score.ratio > 1)))
          return false;
        out.score = std::move(score);
        return true;
      },
      options.evaluations);
  out.evaluations = probe.evaluations() - before;
  return out;
}

}  // namespace normproof::fuzz
