// What normalisation does not see, and what it commutes with: scale and shift of x, the order of the values,
// the other channels, the scale of gamma, beta and dy. Each test is named after the wrong rewrite it catches.
#include <gmock/gmock.h>

#include "relations.h"

namespace normproof::properties {
namespace {

using impls::Observation;

const std::vector<Pass> all{all_passes.begin(), all_passes.end()};
const std::vector<Pass> forward{Pass::forward_training, Pass::forward_inference};
const std::vector<Pass> backward{Pass::backward_training, Pass::backward_inference, Pass::gradient};
const std::vector<Pass> first_order{Pass::forward_training, Pass::forward_inference, Pass::backward_training,
                                    Pass::backward_inference, Pass::gradient};

void times(std::vector<double>& values, int k) {
  for (double& v : values)
    v = std::ldexp(v, k);
}

// --- scale (C12: the normalised value of a x with eps is that of x with eps / a^2, exactly) ---

int power(const Input& in) {
  const int k = static_cast<int>(in.draw % 17) - 8;
  return k == 0 ? 3 : k;
}

/// x 2^k with eps 4^k: every step of every algorithm is scaled by a power of two, so that no bit changes.
Relation scale(const Input& in) {
  return [k = power(in)](const Case& c, const Kernel& kernel) -> std::string {
    Case scaled = c;
    scaled.problem.eps = std::ldexp(c.problem.eps, 2 * k);
    for (auto* values : {&scaled.x, &scaled.running_mean, &scaled.saved_mean, &scaled.v_x})
      times(*values, k);
    times(scaled.running_var, 2 * k);
    times(scaled.saved_invstd, -k);
    const Observation want = each_value(kernel(c), [k](Output o, double v) {
      const bool of_x = o == Output::mean || o == Output::running_mean;
      const bool of_squares = o == Output::var || o == Output::running_var;
      const bool inverse = o == Output::invstd || o == Output::dx || o == Output::grad_x;
      return std::ldexp(v, of_x ? k : of_squares ? 2 * k : inverse ? -k : 0);
    });
    return difference(want, kernel(scaled));
  };
}

RC_GTEST_PROP(Scale, a_constant_that_does_not_scale_with_x, ()) {  // BN-FWD-3
  const Input in = *any_input(all);
  keep(in, scale(in), 1);
}

TEST(Scale, eps_in_another_place_or_a_limit_of_its_own) {  // BN-FWD-3
  EXPECT_FALSE(breaks(perfect, scale, any_input(all)));
  for (const char* name : {"eps_outside_root", "eps_added_to_deviation"})
    EXPECT_TRUE(breaks(mutant(name), scale, any_input(forward))) << name;
  const Kernel own_eps = [](const Case& c) {
    Case other = c;
    other.problem.eps = 0x1.4f8b58p-17;
    return perfect(other);
  };
  EXPECT_TRUE(breaks(own_eps, scale, any_input(forward)));
}

TEST(Scale, a_class_of_inputs_that_is_never_drawn) {
  expect_reached(any_input(all),
                 {"pass forward-training", "pass forward-inference", "pass backward-training",
                  "pass backward-inference", "pass gradient", "pass double-backward", "data f32", "data f64",
                  "data bf16", "layout contiguous", "layout channels-last", "layout strided", "one value",
                  "a few values", "an odd tail", "whole vectors", "more channels than lanes",
                  "without gamma and beta"});
  expect_reached(exact_input(first_order),
                 {"pass forward-training", "pass forward-inference", "pass backward-training",
                  "pass backward-inference", "pass gradient", "data f32", "data f64", "data f16", "data bf16",
                  "layout contiguous", "layout channels-last", "layout strided", "a few values",
                  "an odd tail", "whole vectors", "more channels than lanes", "without gamma and beta"});
}

// --- shift ---

/// x + c on exactly summable data: the mean follows, all else keeps its bits.
Relation shift(const Input& in) {
  return [by = static_cast<double>(in.draw % 100) - 50](const Case& c, const Kernel& kernel) -> std::string {
    Case shifted = c;
    for (auto* values : {&shifted.x, &shifted.running_mean, &shifted.saved_mean})
      for (double& v : *values)
        v += by;
    const Observation want =
        each_value(kernel(c), [by](Output o, double v) { return o == Output::mean ? v + by : v; });
    return difference(want, kernel(shifted));
  };
}

RC_GTEST_PROP(Shift, digits_that_cancel_or_a_sum_that_is_not_centred, ()) {  // BN-NUM-9, BN-NUM-26
  const Input in = *exact_input(first_order);
  keep(in, shift(in), 1, two_pass);
}

/// Far away: not bit for bit, but within what the judge permits there.
RC_GTEST_PROP(Shift, a_large_mean_that_costs_more_than_it_must, ()) {  // BN-NUM-2
  Input in = *any_input({Pass::forward_training, Pass::gradient});
  const double by = std::ldexp(1, static_cast<int>(in.draw % 12));
  for (double& v : in.c.x)
    v = round_to(in.c.problem.data, v + by);
  in.c.origin += " shifted";
  keep(in, [](const Case& c, const Kernel& kernel) { return judged(c, kernel(c)); }, 1);
}

TEST(Shift, the_textbook_variance_and_gradients_that_are_not_centred) {  // BN-NUM-2, BN-NUM-9, BN-NUM-26
  EXPECT_FALSE(breaks(perfect, shift, exact_input(first_order)));
  for (const char* name : {"dgamma_uncentred", "tail_dropped"})
    EXPECT_TRUE(breaks(mutant(name), shift, exact_input(first_order))) << name;
  const auto far = [](const Input&) -> Relation {
    return [](const Case& c, const Kernel& kernel) {
      Case there = c;
      for (double& v : there.x)
        v = round_to(there.problem.data, v + 4096);
      return judged(there, kernel(there));
    };
  };
  EXPECT_TRUE(breaks(mutant("textbook_variance"), far, any_input({Pass::forward_training})));
}

// --- order ---

std::vector<std::size_t> order_of(std::size_t n, std::uint32_t draw) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Numbers next(draw);
  for (std::size_t i = n; i > 1; --i)
    std::swap(order[i - 1], order[next.below(i)]);
  return order;
}

/// The values of every channel in another order: the elements follow, the channels keep their bits.
Relation permutation(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    const std::vector<std::size_t> order = order_of(n, draw);
    const auto reordered = [&](std::vector<double>& values) {
      const std::vector<double> before = values;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = before[i / n * n + order[i % n]];
    };
    Case other = c;
    for (auto* values : {&other.x, &other.dy, &other.v_x})
      reordered(*values);
    Observation want = kernel(c);
    for (const Output o : all_outputs)
      if (per_element(o))
        reordered(want.outputs[index(o)]);
    return difference(want, kernel(other));
  };
}

RC_GTEST_PROP(Permutation, a_value_that_counts_by_its_place, ()) {  // BN-FWD-1, BN-BWD-1
  const Input in = *exact_input(first_order);
  keep(in, permutation(in), 1, two_pass);
}

/// In inference an element is by itself: on any data.
RC_GTEST_PROP(Permutation, an_element_that_looks_at_its_neighbours, ()) {  // BN-INF-4
  const Input in = *any_input({Pass::forward_inference});
  keep(in, permutation(in), 2);
}

TEST(Permutation, values_missing_from_a_sum_and_an_oracle_with_an_order) {  // BN-FWD-1, BN-BWD-1
  EXPECT_FALSE(breaks(perfect, permutation, any_input(all)));
  for (const char* name : {"tail_dropped", "dbeta_misses_a_batch_item", "gradients_over_batch_only"})
    EXPECT_TRUE(breaks(mutant(name), permutation, exact_input(first_order))) << name;
}

// --- channels ---

/// Other inputs in one channel, a NaN among them: no other channel has other bits.
Relation isolation(const Input& in) {
  return [draw = in.draw](const Case& c, const Kernel& kernel) -> std::string {
    const auto channels = static_cast<std::size_t>(c.problem.shape.channels);
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    const std::size_t k = draw % channels;
    const double poison = std::array{nan_value, inf_value, -inf_value, 1.0, 0.0, 1e3}[draw / 64 % 6];
    Case changed = c;
    changed.x[k * n + draw / 8 % n] = poison;
    for (auto* values : {&changed.dy, &changed.v_x})
      if (!values->empty())
        (*values)[k * n + draw / 16 % n] *= -2;
    for (auto* values : {&changed.gamma, &changed.beta, &changed.running_mean, &changed.saved_mean})
      if (!values->empty())
        (*values)[k] = -(*values)[k];
    const Observation a = kernel(c), b = kernel(changed);
    if (b.outcome != impls::Outcome::completed)
      return "not computed: " + b.detail;
    for (const Output o : all_outputs)
      for (std::size_t i = 0; i < a[o].size(); ++i)
        if (channel_of(c, o, i) != k && !same(a[o][i], b[o][i]))
          return std::string(to_string(o)) + " of channel " + std::to_string(channel_of(c, o, i)) +
                 " follows channel " + std::to_string(k);
    return {};
  };
}

RC_GTEST_PROP(Isolation, a_channel_that_leaks_into_another, ()) {  // BN-FWD-14, BN-FWD-13
  const Input in = *any_input(all);
  keep(in, isolation(in), 1);
}

TEST(Isolation, a_nan_that_spreads_or_statistics_of_the_neighbour) {  // BN-FWD-14, BN-FWD-13
  EXPECT_FALSE(breaks(perfect, isolation, any_input(all)));
  EXPECT_TRUE(breaks(mutant("nan_spreads"), isolation, any_input(forward)));
  const Kernel neighbour = [](const Case& c) {
    Case shifted = c;
    if (shifted.gamma.size() > 1)
      std::rotate(shifted.gamma.begin(), shifted.gamma.begin() + 1, shifted.gamma.end());
    return perfect(shifted);
  };
  EXPECT_TRUE(breaks(neighbour, isolation, any_input(forward)));
}

// --- gamma, beta, dy ---

/// gamma and beta times 2^k: so y; dy times 2^k: so every gradient; gamma times 2^k: so dx.
Relation equivariance(const Input& in) {
  return [k = power(in)](const Case& c, const Kernel& kernel) -> std::string {
    const Observation first = kernel(c);
    if (!c.gamma.empty()) {
      Case scaled = c;
      times(scaled.gamma, k);
      if (c.dy.empty())
        times(scaled.beta, k);
      const bool second = is_second_order(c.problem.pass);
      const Observation want = each_value(first, [&](Output o, double v) {
        return std::ldexp(v, o == Output::y || o == Output::dx ? k : 0);
      });
      if (!second)
        if (const std::string found = difference(want, kernel(scaled)); !found.empty())
          return "gamma times 2^k: " + found;
    }
    if (!c.dy.empty()) {
      Case scaled = c;
      times(scaled.dy, k);
      const Observation want = each_value(first, [&](Output o, double v) {
        const bool linear = o == Output::dbeta || o == Output::dgamma || o == Output::dx ||
                            o == Output::grad_x || o == Output::grad_gamma;
        return std::ldexp(v, linear ? k : 0);
      });
      if (const std::string found = difference(want, kernel(scaled)); !found.empty())
        return "dy times 2^k: " + found;
    }
    return {};
  };
}

RC_GTEST_PROP(Equivariance, a_constant_beside_gamma_or_dy, ()) {  // BN-FWD-4, BN-BWD-4, BN-BWD-1
  const Input in = *any_input(all);
  keep(in, equivariance(in), 1);
}

TEST(Equivariance, gamma_left_out_or_squared_or_a_gradient_with_an_offset) {  // BN-FWD-4, BN-BWD-4, BN-BWD-1
  EXPECT_FALSE(breaks(perfect, equivariance, any_input(all)));
  EXPECT_TRUE(breaks(mutant("dx_gamma_missing"), equivariance, any_input(backward)));
  const Kernel squared = [](const Case& c) {
    Case other = c;
    for (double& g : other.gamma)
      g = round_to(other.problem.stats, g * g);
    return perfect(other);
  };
  EXPECT_TRUE(breaks(squared, equivariance, any_input(forward)));
  // Values below a constant threshold are taken for nothing.
  const Kernel threshold = [](const Case& c) {
    Case other = c;
    for (double& v : other.dy)
      v = std::abs(v) < 0x1p-6 ? 0 : v;
    return perfect(other);
  };
  EXPECT_TRUE(breaks(threshold, equivariance, any_input(backward)));
}

// --- moments, identity, mean ---

/// C10: with gamma = 1 and beta = 0 the mean of y is 0 and its variance var / (var + eps), here 2 / 4.
Relation moments(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    Case plain = c;
    std::ranges::fill(plain.gamma, 1);
    std::ranges::fill(plain.beta, 0);
    const Observation seen = kernel(plain);
    if (seen.outcome != impls::Outcome::completed)
      return "not computed";
    const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
    for (std::size_t first = 0; first < c.x.size(); first += n) {
      double sum = 0, squares = 0;
      for (std::size_t i = first; i < first + n; ++i) {
        sum += seen[Output::y][i];
        squares += seen[Output::y][i] * seen[Output::y][i];
      }
      if (sum != 0 || squares != 0.5 * static_cast<double>(n))
        return "mean or variance of y in channel " + std::to_string(first / n);
    }
    return {};
  };
}

/// C11: gamma = sqrt(var + eps) = 2 and beta = mean undo the normalisation; and y is beta where x is the
/// mean.
Relation identity(const Input&) {
  return [](const Case& c, const Kernel& kernel) -> std::string {
    if (c.gamma.empty())
      return {};
    Case undone = c;
    const Observation first = kernel(c);
    const std::vector<double>& mean =
        c.problem.pass == Pass::forward_inference ? c.running_mean : first[Output::mean];
    if (mean.size() != c.gamma.size())
      return "no mean";
    std::ranges::fill(undone.gamma, 2);
    undone.beta = mean;
    const Observation seen = kernel(undone);
    for (std::size_t i = 0; i < c.x.size(); ++i) {
      const std::size_t k = channel_of(c, Output::y, i);
      if (seen[Output::y][i] != c.x[i])
        return "y is not x at " + std::to_string(i);
      if (c.x[i] == mean[k] && first[Output::y][i] != c.beta[k])
        return "y is not beta where x is the mean";
    }
    return {};
  };
}

RC_GTEST_PROP(Moments, a_normalised_batch_that_is_not_normal, ()) {  // BN-FWD-2, BN-NUM-9
  const Input in = *exact_input(forward);
  keep(in, moments(in), 2, two_pass);
}

RC_GTEST_PROP(Identity, parameters_that_do_not_undo_the_normalisation, ()) {  // BN-FWD-4, BN-NUM-9
  const Input in = *exact_input(forward);
  keep(in, identity(in), 2, two_pass);
}

TEST(Moments, an_unbiased_variance_a_dropped_tail_or_a_poor_root) {  // BN-FWD-2, BN-NUM-9
  EXPECT_FALSE(breaks(perfect, moments, exact_input(forward)));
  EXPECT_FALSE(breaks(perfect, identity, exact_input(forward)));
  for (const char* name : {"tail_dropped", "invstd_seven_ulps", "eps_added_to_deviation"}) {
    EXPECT_TRUE(breaks(mutant(name), moments, exact_input(forward))) << name;
    EXPECT_TRUE(breaks(mutant(name), identity, exact_input(forward))) << name;
  }
  const Kernel unbiased = [](const Case& c) {
    Case other = c;
    other.problem.semantics.normalising = VarianceKind::unbiased;
    return perfect(other);
  };
  EXPECT_TRUE(breaks(unbiased, moments, exact_input({Pass::forward_training})));
  EXPECT_TRUE(breaks(unbiased, identity, exact_input({Pass::forward_training})));
}

}  // namespace
}  // namespace normproof::properties
