// Small helpers to write cases down.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "normproof/spec/case.h"

namespace normproof::testing_cases {

/// A case of [n, 1] or [n, channels] without affine parameters and running statistics; x is channel-major.
inline Case plain(const Format& format, std::int64_t channels, std::vector<double> x, double eps) {
  Case c;
  c.problem.data = c.problem.stats = format;
  c.problem.shape.batch = static_cast<std::int64_t>(x.size()) / channels;
  c.problem.shape.channels = channels;
  c.problem.affine = c.problem.running = false;
  c.problem.eps = eps;
  c.x = std::move(x);
  return c;
}

inline Case with_affine(Case c, std::vector<double> gamma, std::vector<double> beta) {
  c.problem.affine = true;
  c.gamma = std::move(gamma);
  c.beta = std::move(beta);
  return c;
}

inline Case with_running(Case c, std::vector<double> mean, std::vector<double> var,
                         std::optional<double> momentum) {
  c.problem.running = true;
  c.running_mean = std::move(mean);
  c.running_var = std::move(var);
  c.problem.momentum = momentum;
  return c;
}

inline Case inference(Case c, std::vector<double> mean, std::vector<double> var) {
  c.problem.pass = Pass::forward_inference;
  return with_running(std::move(c), std::move(mean), std::move(var), std::nullopt);
}

/// The case of a forward pass in training turned into one of its gradients: truth B.
inline Case gradient(Case c, std::vector<double> dy) {
  c.problem.pass = Pass::gradient;
  c.dy = std::move(dy);
  return c;
}

/// Truth A.
inline Case backward(Case c, std::vector<double> dy, std::vector<double> mean, std::vector<double> invstd) {
  c.problem.pass = Pass::backward_training;
  c.dy = std::move(dy);
  c.saved_mean = std::move(mean);
  c.saved_invstd = std::move(invstd);
  return c;
}

inline Case backward_inference(Case c, std::vector<double> dy, std::vector<double> mean,
                               std::vector<double> var) {
  c = inference(std::move(c), std::move(mean), std::move(var));
  c.problem.pass = Pass::backward_inference;
  c.dy = std::move(dy);
  return c;
}

/// Numbers of a format from integers: significand bits and exponent drawn separately, so every binade of the
/// range is as likely and no libm takes part.
class Numbers {
public:
  explicit Numbers(std::uint64_t seed) : random_(seed) {}
  std::uint64_t bits() { return random_(); }
  /// From low up to, and without, high.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(high - low));
  }
  double number(const Format& format, int lowest, int highest) {
    const std::int64_t m = integer(std::int64_t{1} << (format.p - 1), std::int64_t{1} << format.p);
    const double v =
        std::ldexp(static_cast<double>(m), static_cast<int>(integer(lowest, highest + 1)) - format.p + 1);
    return round_to(format, bits() % 2 == 0 ? v : -v);
  }

private:
  std::mt19937_64 random_;
};

}  // namespace normproof::testing_cases
