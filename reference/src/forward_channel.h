// The truths of one channel in the forward passes.
#pragma once

#include "enclosure.h"
#include "memo.h"
#include "normproof/reference/truth.h"
#include "route.h"
#include "statistic.h"

namespace normproof::reference {

/// Facts of the channel under its normaliser, exactness and gradients left out.
ChannelFacts facts_of(const ChannelSums& sums, Normaliser& normaliser);

class ForwardChannel {
public:
  ForwardChannel(const Case& c, std::int64_t channel, Route route);

  Rounded mean() { return rational(normaliser_.mean()); }
  Rounded variance() { return rational(normaliser_.variance()); }
  Rounded invstd();
  Rounded y(double x);
  /// Every y of the channel.
  void all_y(double* rn, double* off);
  Rounded running_mean();
  Rounded running_variance();
  ChannelFacts facts();

  Effort effort;

private:
  bool training() const { return problem_.pass == Pass::forward_training; }
  Rounded rational(const Statistic& s);
  Rounded running(double before, const Statistic& batch);
  /// y as the loops evaluate it, where they may.
  std::optional<Form> form() const;
  /// The IEEE value of y when an infinity or NaN takes part.
  Rounded special_y(double x) const;
  /// x - mean, as a double of the same sign.
  double difference_kind(double x) const;

  const Case& case_;
  const Problem& problem_;
  Route route_;
  std::size_t channel_;
  const double* x_;
  ChannelSums sums_;
  Normaliser normaliser_;
  double gamma_;
  double beta_;
};

}  // namespace normproof::reference
