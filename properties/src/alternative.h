// Alternative truths: the algorithm with one knob turned, the neighbours of the point that was asked for.
//
// The knobs of spec/semantics.h are here and those that no dialect has: values missing from a sum, terms
// dropped from a gradient, parameters exchanged. Every alternative is evaluated in double-double with a
// running error bound (tracked.h), stage by stage: where the kernel reports a statistic the next stage may
// start from what it reported, so that the noise of long sums does not cover a wrong formula.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/properties/bounds.h"
#include "normproof/properties/grade.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/case.h"
#include "tracked.h"

namespace normproof::properties {

/// Which values of a channel enter no sum. The channel's values run over the batch, then over space.
enum class Missing {
  none,
  last,
  rest_of_4,
  rest_of_8,
  rest_of_16,
  rest_of_32,
  last_item,
  all_but_N,
  beyond_1024
};
/// What invstd is made of the variance, beside the places of eps.
enum class Root { reciprocal, none, squared, reciprocal_of_variance };
/// What stands in the place of a statistic.
enum class Source { as_specified, batch, running, all_channels, saved };
enum class Parameter { as_given, ignored, other, next_channel, first_channel, negated, plus_one };
/// What a reported statistic means.
enum class Meaning { itself, unbiased, deviation, invstd, variance, with_eps, sum };
enum class Weight {
  as_specified,
  inverted,
  all_new,
  none_new,
  fixed_tenth,
  count_before,
  count_after,
  cumulative
};
enum class Storing { nearest, truncated, flushed, nan_is_zero, nan_spreads };
enum class Narrow { none, mean, squares, statistics, gamma_beta, invstd };

struct Alternative {
  // Forward.
  EpsPlacement eps = EpsPlacement::inside_root;
  std::optional<double> eps_value;  ///< in place of the one given
  Root root = Root::reciprocal;
  VarianceKind normalising = VarianceKind::biased;
  bool other_running = false;  ///< the variance of the other kind feeds the running one
  bool running_with_eps = false, running_by_batch_size = false;
  Weight weight = Weight::as_specified;
  Missing missing = Missing::none;
  Source mean = Source::as_specified, variance = Source::as_specified;
  Parameter gamma = Parameter::as_given, beta = Parameter::as_given;
  bool uncentred_y = false, uncentred_variance = false;
  Meaning var_means = Meaning::itself, invstd_means = Meaning::itself;
  Meaning running_means = Meaning::itself;  ///< what feeds the running variance
  // Backward.
  Missing dbeta_missing = Missing::none, dgamma_missing = Missing::none;
  Meaning saved_means = Meaning::itself;  ///< variance: the saved invstd is taken for a variance
  bool no_mean_term = false, no_xhat_term = false, xhat_added = false, mean_added = false;
  int divided_by = 0;  ///< dx: 0 as specified, 1 n - 1, 2 not at all, 3 batch size
  bool dgamma_uncentred = false, dgamma_without_invstd = false, dgamma_of_x = false;
  bool dbeta_is_mean = false, dgamma_is_mean = false;
  bool dx_without_invstd = false, dx_invstd_twice = false;
  std::optional<bool> constant_statistics;  ///< dx: as in inference, or as in training
  // Second order.
  bool no_v_x = false, no_v_gamma = false, no_v_beta = false;
  bool triple_once = false, grad_gamma_of_products = false, grad_gamma_without_invstd = false;
  /// These three and grad_gamma_of_products: as in inference; in inference, as in training.
  bool second_constant = false, grad_x_constant = false, invstd_once = false;
  bool no_q_term = false, no_p_term = false;
  // Everywhere.
  Storing storing = Storing::nearest;
  Narrow narrow = Narrow::none;
  /// Later stages start from the alternative's own values, not from what the kernel reported; dx then from
  /// sums as specified.
  bool from_own = false;
};

/// An alternative with its name. Alternatives of one family are one bug to whoever reads the name.
struct Suspect {
  std::string_view family;
  std::string text;  ///< what the kernel then computes
  std::string_view clause;
  Alternative alternative;
};

/// All neighbours of the point that the case asks for.
std::vector<Suspect> suspects(const Problem& problem);

/// Predicted values of one channel; what is not finite stands for anything that is not.
struct Prediction {
  std::array<std::vector<Tracked>, output_count> outputs;
  const std::vector<Tracked>& operator[](Output output) const { return outputs[index(output)]; }
};

/// Whose roundings a value may be off by: the grade's, the kernel's own claims', or those of one chain of
/// additions.
enum class Roundings { of_grade, claimed, one_chain };

/// Evaluates alternatives on one case, against one observation.
class Model {
public:
  /// The truth says which sums are exact in every order; empty where there is none. as_claimed: the roundings
  /// are those of the kernel's own claims, not those of the grade.
  Model(const Case& c, const reference::Truth& truth, const impls::Observation& seen, const Gate& gate,
        Roundings roundings = Roundings::of_grade);
  Prediction predict(const Alternative& alternative, std::int64_t channel) const;
  /// What the roundings permit a value to be off.
  double noise(const Tracked& value) const { return 1.01 * sum_.u * value.slack + eta_; }
  /// Of the batch, exactly; NaN for channels that are not finite.
  const reference::ChannelFacts& facts(std::int64_t channel) const {
    return facts_[static_cast<std::size_t>(channel)];
  }

private:
  std::int64_t n() const { return case_.problem.shape.per_channel(); }
  void forward(const Alternative& a, std::int64_t channel, Prediction& out) const;
  void backward(const Alternative& a, std::int64_t channel, Prediction& out) const;
  void second(const Alternative& a, std::int64_t channel, Prediction& out) const;

  struct Statistics {
    Tracked mean, variance;
  };
  Statistics batch(const Alternative& a, std::int64_t channel) const;
  Tracked invstd(const Alternative& a, const Tracked& variance) const;
  std::optional<Tracked> reported(Output output, std::int64_t channel, double reach) const;
  /// With the rounding to the format of the statistics, which a kernel may or may not do.
  Tracked stored(const Tracked& value) const;
  /// The slack of a statistic whose sums are exact where that is 0: one rounding if it needs one.
  double slack_of(double of_sums, const reference::DoubleDouble& value) const;
  double parameter(const std::vector<double>& of, const std::vector<double>& other, Parameter which,
                   std::int64_t channel, double absent) const;
  const double* values(const std::vector<double>& of, std::int64_t channel) const {
    return of.empty() ? nullptr : case_.channel(of, channel);
  }

  const Case& case_;
  const impls::Observation& seen_;
  const Gate gate_;
  Reduction sum_;
  double eta_ = 0;  ///< all that underflow may add
  std::vector<reference::ChannelFacts> facts_;
  std::vector<double> mean_slack_, variance_slack_;  ///< of a channel's sums, in units of u
  std::vector<reference::GradientFacts> exact_;      ///< for its flags
  Tracked all_mean_, all_variance_;                  ///< of all channels as if they were one
};

}  // namespace normproof::properties
