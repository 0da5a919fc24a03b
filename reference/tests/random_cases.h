// Random and nasty cases of every pass: what the two oracles are compared on.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "cases.h"
#include "normproof/reference/truth.h"

namespace normproof::testing_cases {

/// Values of one channel of a family that some oracle would get wrong.
inline std::vector<double> channel(Numbers& numbers, const Format& format, std::int64_t n) {
  const std::int64_t family = numbers.integer(0, 12);
  const double offset = numbers.number(format, -2, 2);
  std::vector<double> x;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto value = [&]() -> double {
      switch (family) {
      case 0:
        return offset;
      case 1:
        return static_cast<double>(numbers.integer(-1, 2));
      case 2:  // mean / sigma up to 1e7
        return round_to(format, 1e7 + numbers.number(format, -2, 1));
      case 3:
        return numbers.number(format, format.emin - format.p + 1, format.emin);
      case 4:
        return numbers.number(format, format.emin, format.emin + 4);
      case 5:
        return numbers.number(format, format.emax / 2 - 2, format.emax);
      case 6:
        return numbers.number(format, format.emin / 2, format.emax / 2);
      case 7:  // one-hot
        return i == 0 ? 1.0 : 0.0;
      case 8:
        return i % 2 == 0 ? offset : -offset;
      case 9:
        return i == 1 && numbers.integer(0, 4) == 0 ? std::numeric_limits<double>::infinity()
                                                    : offset * (i % 3 == 0 ? 1 : 2);
      default:
        return numbers.number(format, -4, 1);
      }
    };
    x.push_back(round_to(format, value()));
    if (std::isinf(x.back()) && family != 9)
      x.back() = largest(format);
  }
  return x;
}

inline Case random_case(Numbers& numbers, Pass pass, const Format& data, const Format& stats) {
  const std::int64_t channels = numbers.integer(1, 5);
  const std::int64_t sizes[]{1, 2, 3, 4, 8, numbers.integer(5, 64), 128, numbers.integer(200, 400)};
  const std::int64_t n = sizes[numbers.integer(0, 8)];
  const double epsilons[]{0, 1, 1e-5, 0x1.4f8b58p-17, 0x1p-149, 0x1p-60, 0.25};
  Case c;
  Problem& p = c.problem;
  p.pass = pass;
  p.data = data;
  p.stats = stats;
  p.shape = {n, channels, {}};
  p.eps = epsilons[numbers.integer(0, 7)];
  const std::optional<double> momenta[]{0.0, 0x1.99999ap-4, 0.5, 1.0, std::nullopt};
  p.momentum = momenta[numbers.integer(0, 5)];
  c.num_batches_tracked = numbers.integer(0, 10);
  const auto dialect =
      static_cast<std::size_t>(numbers.integer(0, static_cast<std::int64_t>(dialects().size())));
  p.semantics = dialects()[dialect].semantics;
  p.dialect = dialects()[dialect].name;
  if (numbers.integer(0, 3) == 0)
    p.semantics.eps = static_cast<EpsPlacement>(numbers.integer(0, 6));
  if (numbers.integer(0, 3) == 0)
    p.semantics.normalising = VarianceKind::unbiased;
  const bool forward = pass == Pass::forward_training || pass == Pass::forward_inference;
  const bool saved = pass == Pass::backward_training || pass == Pass::double_backward;
  const auto number = [&] {
    const double special[]{0.0, -0.0, 1.0, -1.0};
    return numbers.integer(0, 4) == 0 ? special[numbers.integer(0, 4)] : numbers.number(stats, -3, 2);
  };
  for (std::int64_t k = 0; k < channels; ++k) {
    const auto x = channel(numbers, data, n);
    c.x.insert(c.x.end(), x.begin(), x.end());
    c.gamma.push_back(number());
    if (forward)
      c.beta.push_back(number());
    c.running_mean.push_back(numbers.integer(0, 2) == 0 ? round_to(stats, x[0]) : number());
    c.running_var.push_back(std::abs(number()));
    if (!forward) {
      const auto dy = channel(numbers, data, n);
      c.dy.insert(c.dy.end(), dy.begin(), dy.end());
    }
    if (saved) {
      c.saved_mean.push_back(numbers.integer(0, 2) == 0 ? round_to(stats, x[0]) : number());
      c.saved_invstd.push_back(std::abs(number()));
    }
    if (pass == Pass::double_backward) {
      const auto v = channel(numbers, data, n);
      c.v_x.insert(c.v_x.end(), v.begin(), v.end());
      c.v_gamma.push_back(number());
      c.v_beta.push_back(number());
    }
  }
  return reference::must_reject(c).empty() ? c : random_case(numbers, pass, data, stats);
}

}  // namespace normproof::testing_cases
