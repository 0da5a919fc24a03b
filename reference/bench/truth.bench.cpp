// Elements per second of truth_of, and of the naive oracle that one would write first: MPFR at 100 digits per
// element, two-pass sums and all, rounded by conversion (which decides ties at random: settle.test.cpp).
#include "normproof/reference/truth.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include <benchmark/benchmark.h>
#include <boost/multiprecision/mpfr.hpp>

namespace normproof::reference {
namespace {

/// Uniform multiples of 2^-20 in (-2, 2), the same everywhere.
Case sample(const Format& format, std::int64_t batch, std::int64_t channels) {
  Case c;
  c.problem.data = c.problem.stats = format;
  c.problem.shape = {batch, channels, {}};
  c.problem.running = false;
  std::uint64_t state = 1;
  const auto next = [&] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return std::ldexp(static_cast<double>(static_cast<std::int64_t>(state) >> 42), -20);
  };
  for (std::int64_t i = 0; i < batch * channels; ++i)
    c.x.push_back(next());
  for (std::int64_t k = 0; k < channels; ++k) {
    c.gamma.push_back(next());
    c.beta.push_back(next());
  }
  return c;
}

const Format& format_of_state(const benchmark::State& state) {
  return state.range(0) == 32 ? f32 : f64;
}

void oracle(benchmark::State& state) {
  const Case c = sample(format_of_state(state), state.range(1), state.range(2));
  for (auto _ : state)
    benchmark::DoNotOptimize(truth_of(c, static_cast<int>(state.range(3))));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(c.x.size()));
}
BENCHMARK(oracle)
    ->ArgNames({"bits", "n", "channels", "threads"})
    ->Args({32, 16384, 8, 1})
    ->Args({32, 16384, 8, 2})
    ->Args({64, 16384, 8, 1})
    ->Args({32, 128, 1024, 1})
    ->Args({32, 4, 4096, 1})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

/// The gradients: every output of the pass counts its elements.
void gradients(benchmark::State& state) {
  Case c = sample(format_of_state(state), state.range(1), state.range(2));
  c.problem.pass = all_passes[static_cast<std::size_t>(state.range(3))];
  c.dy = c.x;
  std::ranges::rotate(c.dy, c.dy.begin() + 1);
  if (state.range(4) != 0)
    std::ranges::fill(c.dy, 0.5);  // dx = 0 exactly: every element goes to the arbiter
  if (c.problem.pass != Pass::gradient)
    c.saved_mean = c.saved_invstd = c.gamma;
  if (c.problem.pass == Pass::double_backward)
    c.v_x = c.x;
  for (auto _ : state)
    benchmark::DoNotOptimize(truth_of(c));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(c.x.size()));
  state.SetLabel(std::string(to_string(c.problem.pass)));
}
BENCHMARK(gradients)
    ->ArgNames({"bits", "n", "channels", "pass", "constant"})
    ->Args({32, 16384, 8, static_cast<int>(Pass::backward_training), 0})
    ->Args({32, 16384, 8, static_cast<int>(Pass::gradient), 0})
    ->Args({32, 16384, 8, static_cast<int>(Pass::gradient), 1})
    ->Args({64, 16384, 8, static_cast<int>(Pass::gradient), 0})
    ->Args({64, 16384, 8, static_cast<int>(Pass::gradient), 1})
    ->Args({32, 4, 4096, static_cast<int>(Pass::gradient), 0})
    ->Args({32, 16384, 8, static_cast<int>(Pass::double_backward), 0})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

void naive(benchmark::State& state) {
  namespace mp = boost::multiprecision;
  using Real = mp::number<mp::mpfr_float_backend<100, mp::allocate_stack>, mp::et_off>;
  const Case c = sample(format_of_state(state), state.range(1), state.range(2));
  const std::int64_t n = c.problem.shape.per_channel();
  std::vector<double> y(c.x.size());
  for (auto _ : state) {
    for (std::int64_t k = 0; k < c.problem.shape.channels; ++k) {
      const double* x = c.channel(k);
      const auto place = static_cast<std::size_t>(k);
      Real mean = 0;
      for (std::int64_t i = 0; i < n; ++i)
        mean += x[i];
      mean /= n;
      Real v = 0;
      for (std::int64_t i = 0; i < n; ++i)
        v += (x[i] - mean) * (x[i] - mean);
      const Real r = 1 / sqrt(Real(v / n + c.problem.eps));
      for (std::int64_t i = 0; i < n; ++i) {
        const Real value = c.gamma[place] * ((x[i] - mean) * r) + c.beta[place];
        const auto target = place * static_cast<std::size_t>(n) + static_cast<std::size_t>(i);
        y[target] = c.problem.data == f32 ? static_cast<double>(static_cast<float>(value))
                                          : static_cast<double>(value);
      }
    }
    benchmark::DoNotOptimize(y.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(c.x.size()));
}
BENCHMARK(naive)
    ->ArgNames({"bits", "n", "channels"})
    ->Args({32, 16384, 8})
    ->Args({64, 16384, 8})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace normproof::reference
