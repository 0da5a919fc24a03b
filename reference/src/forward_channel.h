// The truths of one channel in the forward passes.
#pragma once

#include "normproof/reference/truth.h"
#include "statistic.h"

namespace normproof::reference {

/// Facts of the channel under its normaliser, exactness and gradients left out.
ChannelFacts facts_of(const ChannelSums& sums, Normaliser& normaliser);

class ForwardChannel {
public:
  ForwardChannel(const Case& c, std::int64_t channel);

  Rounded mean() { return settled(problem_.stats, normaliser_.mean(), effort); }
  Rounded variance() { return settled(problem_.stats, normaliser_.variance(), effort); }
  Rounded invstd();
  Rounded y(double x);
  Rounded running_mean();
  Rounded running_variance();
  ChannelFacts facts();

  Effort effort;

private:
  bool training() const { return problem_.pass == Pass::forward_training; }
  Rounded running(double before, const Statistic& batch);
  /// The IEEE value of y when an infinity or NaN takes part.
  Rounded special_y(double x) const;
  /// x - mean, as a double of the same sign.
  double difference_kind(double x) const;

  const Case& case_;
  const Problem& problem_;
  std::size_t channel_;
  const double* x_;
  ChannelSums sums_;
  Normaliser normaliser_;
  double gamma_;
  double beta_;
};

}  // namespace normproof::reference
