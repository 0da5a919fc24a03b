// Permitted errors: the derived bounds of spec/bounds/, as code.
//
// Every bound is on the error *before* the last rounding to the output's format (spec/bounds/model.md), for
// every algorithm of a class whose reductions are of a given depth. All are upper bounds as computed: each
// result is widened by 2^-40 of itself, far above the rounding of the few double operations that form it. An
// infinite bound means that nothing can be promised.
#pragma once

#include <cmath>
#include <cstdint>

#include "normproof/properties/grade.h"
#include "normproof/reference/truth.h"
#include "normproof/spec/case.h"

namespace normproof::properties {

/// k u / (1 - k u): the relative error of k roundings; infinite from k u >= 1/2 on.
double accumulated(double k, double u);

/// The reduction of a grade over n values in the accumulator format. Precondition: grade is not
/// correctly_rounded.
Reduction reduction(Grade grade, std::int64_t n, const Format& accumulator);
double depth(Grade grade, std::int64_t n);

/// What the bounds need of one channel: its exact facts, its parameters, its formats.
struct ChannelProblem {
  reference::ChannelFacts facts;
  double gamma = 1, beta = 0;
  double eps = 0;
  double weight = 0;                         ///< of the new batch in the running update
  double running_mean = 0, running_var = 0;  ///< before the update
  double running_stat_factor = 1;            ///< n/(n-1) where the unbiased variance feeds the running one
  bool training = true;
  Format stats = f32, data = f32;
};

/// B_i = constant + per_deviation |x_i - mean| + per_value |x_i|, for the elements of a channel.
struct LinearBound {
  double constant = 0, per_deviation = 0, per_value = 0;
  double at(double deviation, double value) const {
    const double b = constant + per_deviation * deviation + per_value * value;
    return b == b ? b : HUGE_VAL;  // infinite coefficients at a zero
  }
};

/// Permitted errors of one channel against exact statistics (BN-NUM-1 to BN-NUM-11). The bound of invstd is
/// two-sided: it saturates at eps.
struct Permitted {
  double mean = 0, variance = 0;
  double invstd_above = 0, invstd_below = 0;
  LinearBound y;
  double running_mean = 0, running_var = 0;

  /// What y's bound is made of: relative error rho of the invstd and absolute error e of the mean that the
  /// elementwise stage may use, and its own roundings F. BN-NUM-15 needs them apart.
  double rho = 0, mean_used = 0;
  LinearBound y_roundings;
};

/// rsqrt_ulps: error of the reciprocal square root in ulps of the accumulator; the grades admit 2.
Permitted permitted(const ChannelProblem& channel, const Reduction& reduction, const Class& c,
                    double rsqrt_ulps = 2);

/// A value that the kernel reported, with half an ulp of its format: the box that its own value before
/// storage lies in.
struct Reported {
  double value = 0;
  double half_ulp = 0;
};

/// BN-NUM-12: permitted error of invstd against (var + eps)^(-1/2) at the reported variance.
double permitted_invstd_link(const ChannelProblem& channel, const Reported& variance,
                             const Reduction& arithmetic, double rsqrt_ulps = 2);
/// BN-NUM-13: permitted error of y against gamma (x - m) r + beta at the reported m and r; deviations count
/// from m.
LinearBound permitted_y_link(const ChannelProblem& channel, const Reported& mean, const Reported& invstd,
                             const Reduction& arithmetic, Form form);
/// BN-NUM-14: permitted error of an updated running statistic against the update formula at the reported
/// statistic. `factor` is n/(n-1) or 1.
double permitted_running_link(const ChannelProblem& channel, double running, const Reported& statistic,
                              double factor, const Reduction& arithmetic);

}  // namespace normproof::properties
