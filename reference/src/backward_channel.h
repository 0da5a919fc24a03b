// The truths of one channel in the backward passes, at the statistics given (truth A, and inference) or at
// the exact ones of x (truth B).
#pragma once

#include "backward.h"
#include "elements.h"
#include "linear.h"
#include "normproof/reference/truth.h"
#include "route.h"
#include "statistic.h"

namespace normproof::reference {

class BackwardChannel {
public:
  BackwardChannel(const Case& c, std::int64_t channel, Route route);

  Rounded dbeta();
  Rounded dgamma();
  Rounded dx(std::int64_t i);
  Rounded grad_dy(std::int64_t i);
  Rounded grad_x(std::int64_t i);
  Rounded grad_gamma();
  /// Every element of one of the three.
  void all_dx(double* rn, double* off);
  void all_grad_dy(double* rn, double* off);
  void all_grad_x(double* rn, double* off);
  ChannelFacts facts();

  Effort effort;

private:
  bool constants() const { return is_inference(problem_.pass); }
  double v(std::int64_t i) const { return v_ == nullptr ? 0 : v_[i]; }
  /// Whether the statistics are numbers and r the root or the value of one.
  bool has_numbers() const;
  void take_cotangent(bool with_x, double mean_hi, double mean_lo);
  void take_coefficients();
  Quotient bessel() const;
  template <std::size_t Tier>
  const ChannelGradient<Ball<RealOf<Tier>>>& gradient_at();

  WeightedSums weighted(const double* w, bool with_x, double mean_hi, double mean_lo) const;
  /// The exact P of an element.
  template <class Formula>
  Linear linear(const Formula& formula) const;
  template <class Formula>
  std::optional<Form> form(const Formula& formula, double shift) const;
  template <class One>
  void all(const std::optional<Form>& form, const One& one, double* rn, double* off);
  Rounded rational(const Format& format, const Statistic& s);
  bool dx_is_finite() const;
  bool grad_dy_is_finite() const;
  bool grad_x_is_finite() const;

  /// The truth r P + shift, P exact.
  Rounded scaled(const Format& format, const Quotient& over_r, double shift);
  /// The same for an element: `formula` gives P, of balls and of linear forms.
  template <class Formula>
  Rounded element(std::optional<Linear>& stored, const Formula& formula, std::int64_t i, double shift);
  /// The IEEE value of sum dy (x - m) where an infinity or NaN takes part.
  double special_dot() const;
  /// Sign of x - m, or the infinity or NaN that it is.
  double kind_of_deviation(std::int64_t i) const;
  bool invstd_is_number() const;
  /// Its sign and kind: 1 where it is a number above 0.
  double kind_of_invstd() const;

  // The second order in inference (BN-DBL-5): no sum but one, and an absent cotangent takes its term along.
  bool with_v_gamma() const { return !case_.v_gamma.empty(); }
  bool constant_grad_dy_is_finite(std::int64_t i) const;
  Rounded constant_grad_dy(std::int64_t i);
  Rounded constant_grad_x(std::int64_t i);
  Rounded constant_grad_gamma();
  /// r times factor dy, with gamma or v_gamma for the factor: one element, and all.
  Rounded multiple_of_dy(double factor, std::int64_t i);
  void all_multiples_of_dy(double factor, const auto& one, double* rn, double* off);

  const Case& case_;
  const Problem& problem_;
  Route route_;
  std::size_t channel_;
  std::int64_t n_;
  const double* x_;
  const double* dy_;
  const double* v_;  ///< null where v_x is absent
  ChannelSums sums_;
  Normaliser normaliser_;
  double gamma_;
  double v_gamma_;
  double v_beta_;

  WeightedSums dy_sums_;
  WeightedSums v_sums_;
  Dyadic v_dy_, v_dy_abs_;
  Quotient dy_c_, v_c_;  ///< sum dy (x - m), sum v (x - m)

  ChannelGradient<Quotient> exact_;
  bool is_rational_ = true;  ///< r2 of exact_ is what it stands for
  std::optional<Linear> dx_form_, grad_dy_form_, grad_x_form_;
  std::tuple<std::optional<ChannelGradient<Ball<RealOf<0>>>>, std::optional<ChannelGradient<Ball<RealOf<1>>>>,
             std::optional<ChannelGradient<Ball<RealOf<2>>>>>
      tiers_;
};

}  // namespace normproof::reference
