// The statistics that a channel is normalised with: exact quotients, or the infinity or NaN that the
// specification gives them; and their balls at each tier of precision.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "arbiter.h"
#include "ball.h"
#include "enclosure.h"
#include "forward.h"
#include "settle.h"
#include "sums.h"

namespace normproof::reference {

inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The same for a double: its sign, or the infinity or NaN that it is.
inline double kind_of(double v) {
  return std::isfinite(v) ? static_cast<double>((v > 0) - (v < 0)) : v;
}

struct Statistic {
  Quotient exact;
  std::optional<double> special;

  Statistic(Quotient q) : exact(std::move(q)) {}  // NOLINT(google-explicit-constructor)
  Statistic(double v) {                           // NOLINT(google-explicit-constructor)
    if (std::isfinite(v))
      exact = {Dyadic(v), 1};
    else
      special = v;
  }
  bool is_finite() const { return !special; }
  /// A double of the same class: the special value, 0, or the sign.
  double kind() const { return special.value_or(exact.numerator.sign()); }
};

Statistic mean_of(const ChannelSums& sums);
Statistic variance_of(const ChannelSums& sums, VarianceKind kind);

Rounded settled(const Format& format, const Statistic& s, Effort& effort);

inline Side side_of(int sign) {
  return static_cast<Side>(sign);
}

/// What normalises a channel: mean m, variance v and invstd r.
class Normaliser {
public:
  /// r of the variance, by the semantics; `training` where v is the batch's own (BN-FWD-9).
  Normaliser(Statistic mean, Statistic variance, double eps, const Semantics& semantics, bool training);
  /// r as given.
  Normaliser(Statistic mean, double invstd);

  const Statistic& mean() const { return mean_; }
  const Statistic& variance() const { return variance_; }
  /// r, where it is no root to be computed: infinity, NaN, 0.
  const std::optional<double>& special_invstd() const { return special_invstd_; }
  /// r, where it is a given number.
  const std::optional<Quotient>& given_invstd() const { return given_; }
  /// 1/r^2, where r is a root of something rational.
  const std::optional<Quotient>& root() const { return root_; }
  /// The mean, where a double holds it: there x - mean can be 0.
  const std::optional<double>& representable_mean() const { return representable_mean_; }
  /// The double nearest to the mean.
  double centre() const { return centre_; }
  /// r to 2^-100, where it is a number within range.
  const std::optional<DoubleDouble>& scale() const { return scale_; }

  template <class Real>
  struct Balls {
    Ball<Real> mean, variance, invstd;
  };
  template <std::size_t Tier>
  const Balls<RealOf<Tier>>& at();

private:
  void find_representable_mean();
  void find_scale();

  Statistic mean_;
  Statistic variance_;
  double eps_ = 0;
  EpsPlacement placement_ = EpsPlacement::inside_root;
  std::optional<double> special_invstd_;
  std::optional<Quotient> given_;
  std::optional<Quotient> root_;
  std::optional<double> representable_mean_;
  double centre_ = 0;
  std::optional<DoubleDouble> scale_;
  std::tuple<std::optional<Balls<RealOf<0>>>, std::optional<Balls<RealOf<1>>>,
             std::optional<Balls<RealOf<2>>>>
      tiers_;
};

template <std::size_t Tier>
const Normaliser::Balls<RealOf<Tier>>& Normaliser::at() {
  using Real = RealOf<Tier>;
  auto& stored = std::get<Tier>(tiers_);
  if (!stored) {
    Balls<Real> balls;
    balls.mean = ball<Real>(mean_.exact);
    if (given_) {
      balls.invstd = ball<Real>(*given_);
    } else {
      balls.variance = ball<Real>(variance_.exact);
      balls.invstd = reference::invstd(balls.variance, Ball<Real>(eps_), placement_);
    }
    stored = std::move(balls);
  }
  return *stored;
}

}  // namespace normproof::reference
