// The truth of a case: every output correctly rounded, its value to far below an ulp, and the facts about
// each channel that the bounds need. Computed once per case and shared by all kernels judged on it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "normproof/spec/case.h"

namespace normproof::reference {

/// How far `off` may be from what it stands for, in spacings.
inline constexpr double off_precision = 0x1p-30;

/// An output of the specification: truth[i] = rn[i] + off[i] * spacing(format, rn[i]) (see ulp.h). rn is
/// correctly rounded to nearest, ties to even, and exact: a tie is decided as a tie (is_tie, and nothing else
/// looks like one); off is right to off_precision. A truth of exactly 0 is +0, one that rounds to 0 keeps its
/// sign. NaN and infinities of the specification itself stand in rn with off = 0. Empty when the output is
/// not defined for the problem.
struct Values {
  std::vector<double> rn;
  std::vector<double> off;

  bool empty() const { return rn.empty(); }
};

/// What is exactly summable in a channel, so that kernels of a class have no error at all
/// (spec/bounds/exact.md). For the accumulator format of the problem; decided on integers.
struct Exactness {
  bool mean = false;      ///< every tree of sums of x, and its quotient by n, is exact
  bool variance = false;  ///< mean, and every tree of sums of (x - mean)^2 and its quotient, is exact
  bool pair = false;      ///< n = 2, x = K +- d with K+-d, 2d and d^2 representable (BN-NUM-10)
  bool constant = false;  ///< all values equal (BN-NUM-11)
};

/// Of the gradients, at the mean m and invstd r that they are judged at (spec/bounds/backward.md,
/// double_backward.md). Exact sums rounded once, so they are good where they cancel. Sums of a tensor with a
/// non-finite value are NaN; those with x also where x, m or r is not finite.
struct GradientFacts {
  double mean_hi = 0, mean_lo = 0, invstd = 0;                       ///< m = mean_hi + mean_lo and r
  double G = 0, G1 = 0;                                              ///< sum dy, sum |dy|
  double H = 0, H1 = 0;                                              ///< sum dy xhat, sum |dy xhat|
  double max_deviation = 0;                                          ///< X = max |x - m|
  double max_dy = 0;                                                 ///< max |dy|
  bool exact_dbeta = false, exact_dgamma = false, exact_dx = false;  ///< J1, J2, J3 of BN-NUM-26
  /// Double backward, with v = v_x, 0 where it is absent.
  double V = 0, V1 = 0;  ///< sum v, sum |v|
  double W = 0, W1 = 0;  ///< sum v xhat, sum |v xhat|
  double Z = 0, Z1 = 0;  ///< sum v dy, sum |v dy|
  double max_v = 0;      ///< max |v|
  bool finite = true;    ///< every dy and every v is finite
};

/// Facts of one channel under the statistics that normalise it (the batch's in training, the given ones in
/// inference), each with a relative error below 2^-45 where a normal double holds it; mean = mean_hi +
/// mean_lo to 2^-90 of |mean|. Facts that do not exist (sums of a channel with a non-finite value) are NaN.
struct ChannelFacts {
  std::int64_t n = 0;
  double mean_hi = 0, mean_lo = 0;
  double variance = 0;   ///< normalising variance v
  double deviation = 0;  ///< sqrt(v)
  double invstd = 0;     ///< r of the problem's semantics
  double mean_abs = 0;   ///< A = sum |x| / n
  double rms = 0;        ///< R = sqrt(sum x^2 / n)
  double max_abs = 0;
  bool finite = true;  ///< every x is finite
  Exactness exact;
  GradientFacts gradient;  ///< backward passes
};

/// How the truth was decided, for reports and audits.
struct Effort {
  std::int64_t elements = 0;    ///< rounded values decided
  std::int64_t certified = 0;   ///< of these, by double-doubles with a proven bound: no multiprecision number
  std::int64_t escalated = 0;   ///< of these, needed more than the first multiple precision
  std::int64_t arbitrated = 0;  ///< of these, decided by the exact arbiter

  Effort& operator+=(const Effort& b) {
    elements += b.elements;
    certified += b.certified;
    escalated += b.escalated;
    arbitrated += b.arbitrated;
    return *this;
  }
  friend Effort operator-(Effort a, const Effort& b) {
    a.elements -= b.elements;
    a.certified -= b.certified;
    a.escalated -= b.escalated;
    a.arbitrated -= b.arbitrated;
    return a;
  }
};

struct Truth {
  std::array<Values, output_count> outputs;
  std::vector<ChannelFacts> channels;
  Effort effort;

  const Values& operator[](Output output) const { return outputs[index(output)]; }
};

/// The truth by the certified oracle: double-doubles with a proven bound and a rounding test
/// (spec/bounds/certified.md); where these cannot decide, multiprecision balls, and the exact arbiter last.
/// Works channel by channel on up to `threads` threads. Throws std::runtime_error in a thread that does not
/// round to nearest or flushes subnormals. Throws std::invalid_argument for a case that is no case (wrong
/// lengths, values that their format does not hold, a problem that must be rejected). Thread-safe.
///
/// backward_training and double_backward evaluate the closed form at the saved statistics (truth A), gradient
/// at the exact statistics of x (truth B; for wrong EpsPlacement and normalising variance the gradient of
/// that wrong forward pass), backward_inference at the running statistics.
///
/// Special values follow IEEE arithmetic on the formula. In training a non-finite x concerns its channel
/// alone: the mean is that infinity if all non-finite values are it, else NaN; var, invstd and y are NaN. v +
/// eps = 0 gives invstd = inf (or what ZeroEps says), v + eps < 0 NaN. n = 1 gives y = beta, and NaN for an
/// unbiased variance. Where an infinity or a NaN enters a training-mode gradient (dgamma, dx and the second
/// order, by way of x, dy, v, gamma or the statistics), its truth is NaN and stands for "not finite": which
/// of the two it is depends on the order of operations (BN-BWD-10, -11). dbeta and the gradients of inference
/// are the formula's own. n = 0 leaves the running statistics and gives dbeta = dgamma = grad_gamma = 0.
/// EpsPlacement::outside_root and added_to_deviation have no exact arbiter: there a value that agrees with a
/// midpoint to some 4000 bits counts as the tie.
Truth truth_of(const Case& c, int threads = 1);

/// The same truth by the definition alone: exact sums digit by digit, balls and the arbiter. rn is bit for
/// bit that of truth_of, off agrees to what Values promises. Some fifty times slower.
Truth multiprecision_truth_of(const Case& c, int threads = 1);

/// How a random sample of a truth fared against the multiprecision oracle.
struct Audit {
  std::int64_t audited = 0;      ///< values decided a second time
  std::int64_t disagreeing = 0;  ///< of these, with another rn (or off further away than Values promises)
  std::string first;             ///< the first that disagrees: output, place, both values
};

/// Decides about `sample` values of the truth of a case again by the definition: one channel drawn by `seed`,
/// its per-channel values, and elements of it drawn by `seed`. Costs the exact sums of one channel and a
/// microsecond for each value.
Audit audit(const Case& c, const Truth& truth, std::int64_t sample, std::uint64_t seed);

/// What the specification demands of the entry point: to compute the case, to refuse it, or either of the two
/// (implementation-defined).
enum class Ruling { accept, reject, either };
struct Admission {
  Ruling ruling = Ruling::accept;
  std::string reason;  ///< for `reject` and `either`
};
Admission admission_of(const Case& c);

/// The reason for which a kernel must refuse the case (for instance F.batch_norm with one value per channel),
/// else empty.
std::string must_reject(const Case& c);

}  // namespace normproof::reference
