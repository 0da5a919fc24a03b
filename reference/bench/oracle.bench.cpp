// Speed of the certified oracle beside LibTorch's kernels, memcpy and MPFR at 100 digits: ratios of one run.
//
//   oracle_bench [--json] [--repeat N]
//
// Every figure is the best of N interleaved runs, in ns per element, fallbacks included; malloc keeps its
// pages, so that page faults flatter nobody.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <malloc.h>

#ifdef NORMPROOF_BENCH_WITH_LIBTORCH
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#endif
#include <boost/multiprecision/mpfr.hpp>

#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"

namespace normproof::reference {
namespace {

struct Work {
  std::string name;
  bool backward;
  Format format;
  Shape shape;
  Layout layout;
  int threads;
  double goal;         ///< times LibTorch's speed
  double memcpy_goal;  ///< times memcpy's time, 0 for none
};

struct Row {
  Work work;
  double certified = 0, libtorch = 0, memcpy = 0;  ///< ns per element
  CertifiedEffort effort;
};

using Clock = std::chrono::steady_clock;

/// Best time of one call of each, the calls interleaved.
std::vector<double> best_of(int repeat, const std::vector<std::function<void()>>& calls) {
  std::vector<double> best(calls.size(), std::numeric_limits<double>::infinity());
  for (int k = 0; k < repeat; ++k)
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const auto start = Clock::now();
      calls[i]();
      best[i] = std::min(best[i], std::chrono::duration<double, std::nano>(Clock::now() - start).count());
    }
  return best;
}

/// Normal numbers, rounded once into storage.
std::vector<unsigned char> normal_bytes(const Format& format, std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<unsigned char> bytes(static_cast<std::size_t>(count * format.bytes));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t bits = encode(format, round_to(format, normal(random)));
    std::memcpy(bytes.data() + i * format.bytes, &bits, static_cast<std::size_t>(format.bytes));
  }
  return bytes;
}

#ifdef NORMPROOF_BENCH_WITH_LIBTORCH
at::ScalarType scalar_type(const Format& format) {
  return format == f64    ? at::kDouble
         : format == f16  ? at::kHalf
         : format == bf16 ? at::kBFloat16
                          : at::kFloat;
}

/// A tensor over our bytes in the layout.
at::Tensor tensor(std::vector<unsigned char>& bytes, const Work& work) {
  std::vector<std::int64_t> sizes{work.shape.batch, work.shape.channels};
  sizes.insert(sizes.end(), work.shape.spatial.begin(), work.shape.spatial.end());
  return at::from_blob(bytes.data(), sizes, strides(work.shape, work.layout),
                       at::TensorOptions().dtype(scalar_type(work.format)));
}
#endif

Row measure(const Work& work, int repeat) {
  const std::int64_t count = work.shape.elements();
  const std::int64_t channels = work.shape.channels;
  const Format stats = work.format.p > 24 ? f64 : f32;
  std::vector<unsigned char> x = normal_bytes(work.format, count, 1);
  std::vector<unsigned char> dy = normal_bytes(work.format, work.backward ? count : 0, 2);
  std::vector<unsigned char> y(x.size());
  std::vector<unsigned char> gamma = normal_bytes(stats, channels, 3);
  std::vector<unsigned char> beta = normal_bytes(stats, channels, 4);
  std::vector<unsigned char> mean(gamma.size()), invstd(gamma.size()), dgamma(gamma.size()),
      dbeta(gamma.size());
  const Placement where = placement(work.shape, work.layout, 0, 0);
  Row row{work};

  ForwardBuffers f;
  f.shape = work.shape;
  f.data = work.format;
  f.stats = stats;
  f.x_placement = f.y_placement = where;
  f.x = x.data(), f.y = y.data(), f.gamma = gamma.data(), f.beta = beta.data();
  f.mean = mean.data(), f.invstd = invstd.data();
  f.threads = work.threads;
  BackwardBuffers b;
  b.shape = work.shape;
  b.data = work.format;
  b.stats = stats;
  b.x_placement = b.dy_placement = b.dx_placement = where;
  b.x = x.data(), b.dy = dy.data(), b.dx = y.data(), b.gamma = gamma.data();
  b.saved_mean = mean.data(), b.saved_invstd = invstd.data(), b.dgamma = dgamma.data(),
  b.dbeta = dbeta.data();
  b.threads = work.threads;
  if (work.backward)
    certified_forward(f);  // the statistics

  std::vector<std::function<void()>> calls;
  calls.push_back([&] { row.effort = work.backward ? certified_backward(b) : certified_forward(f); });
  std::vector<unsigned char> copy(x.size());
  calls.push_back([&] {
    if (work.threads == 1) {
      std::memcpy(copy.data(), x.data(), x.size());
    } else {
#ifdef NORMPROOF_BENCH_WITH_LIBTORCH
      at::parallel_for(
          0, static_cast<std::int64_t>(x.size()), 1 << 16, [&](std::int64_t from, std::int64_t to) {
            std::memcpy(copy.data() + from, x.data() + from, static_cast<std::size_t>(to - from));
          });
#else
      std::memcpy(copy.data(), x.data(), x.size());
#endif
    }
  });
#ifdef NORMPROOF_BENCH_WITH_LIBTORCH
  at::set_num_threads(work.threads);
  const at::Tensor tx = tensor(x, work);
  const at::Tensor tdy = work.backward ? tensor(dy, work) : at::Tensor();
  const auto vector = [&](std::vector<unsigned char>& bytes) {
    return at::from_blob(bytes.data(), {channels}, at::TensorOptions().dtype(scalar_type(stats)));
  };
  const at::Tensor tgamma = vector(gamma);
  const at::Tensor tbeta = vector(beta);
  const at::Tensor tmean = vector(mean);
  const at::Tensor tinvstd = vector(invstd);
  calls.push_back([&] {
    if (work.backward)
      at::native_batch_norm_backward(tdy, tx, tgamma, {}, {}, tmean, tinvstd, true, f.eps,
                                     {true, true, true});
    else
      at::native_batch_norm(tx, tgamma, tbeta, {}, {}, true, 0.1, f.eps);
  });
#endif
  const std::vector<double> best = best_of(repeat, calls);
  const auto per_element = [&](std::size_t k) {
    return k < best.size() ? best[k] / static_cast<double>(count) : 0;
  };
  row.certified = per_element(0);
  row.memcpy = per_element(1);
  row.libtorch = per_element(2);
  return row;
}

/// ns per element of the oracle that one writes first: every element in 100 digits.
double mpfr_hundred_digits() {
  namespace mp = boost::multiprecision;
  using Real = mp::number<mp::mpfr_float_backend<100, mp::allocate_stack>, mp::et_off>;
  constexpr std::int64_t n = 25088;
  const std::vector<unsigned char> bytes = normal_bytes(f32, n, 5);
  std::vector<float> x(n), y(n);
  std::memcpy(x.data(), bytes.data(), bytes.size());
  const double best = best_of(3, {[&] {
                                Real mean = 0;
                                for (const float v : x)
                                  mean += v;
                                mean /= n;
                                Real variance = 0;
                                for (const float v : x)
                                  variance += (v - mean) * (v - mean);
                                const Real r = 1 / sqrt(Real(variance / n + 1e-5));
                                for (std::size_t i = 0; i < x.size(); ++i)
                                  y[i] = static_cast<float>(Real(1.5 * ((x[i] - mean) * r) + 0.5));
                              }})[0];
  return best / static_cast<double>(n);
}

/// Seconds of a judge's usual check, LibTorch in f64 and allclose, against the certified verdict: ratio.
void print_table(const std::vector<Row>& rows, double hundred) {
  std::printf("%-44s %9s %9s %9s %9s %6s %9s %6s %10s %10s %7s\n", "ns per element", "certified", "LibTorch",
              "memcpy", "x LibTor", "goal", "x memcpy", "goal", "retested", "dbl-dbl", "exact");
  for (const Row& r : rows) {
    const auto rate = [&](std::int64_t k) {
      return static_cast<double>(k) / static_cast<double>(std::max<std::int64_t>(1, r.effort.elements));
    };
    std::printf("%-44s %9.3f %9.3f %9.3f %9.2f %6.1f %9.2f %6.1f %10.2g %10.2g %7.2g\n", r.work.name.c_str(),
                r.certified, r.libtorch, r.memcpy, r.libtorch / r.certified, r.work.goal,
                r.certified / r.memcpy, r.work.memcpy_goal, rate(r.effort.retested),
                rate(r.effort.double_double), rate(r.effort.exact));
  }
  std::printf("%-44s %9.1f: %.0f times the first row's (goal 1000)\n", "MPFR, 100 digits", hundred,
              hundred / rows.front().certified);
}

void print_json(const std::vector<Row>& rows, double hundred) {
  std::printf("{\"unit\": \"ns per element\", \"mpfr_100_digits\": %.3f, \"rows\": [", hundred);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    std::printf("%s\n  {\"work\": \"%s\", \"threads\": %d, \"certified\": %.4f, \"libtorch\": %.4f, "
                "\"memcpy\": %.4f, "
                "\"goal\": %.2f, \"memcpy_goal\": %.2f, \"elements\": %lld, \"retested\": %lld, "
                "\"double_double\": %lld, "
                "\"exact\": %lld}",
                i == 0 ? "" : ",", r.work.name.c_str(), r.work.threads, r.certified, r.libtorch, r.memcpy,
                r.work.goal, r.work.memcpy_goal, static_cast<long long>(r.effort.elements),
                static_cast<long long>(r.effort.retested), static_cast<long long>(r.effort.double_double),
                static_cast<long long>(r.effort.exact));
  }
  std::printf("\n]}\n");
}

int run(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  bool json = false;
  int repeat = 15;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--repeat" && i + 1 < argc) {
      repeat = std::max(1, std::atoi(argv[++i]));
    } else {
      std::fprintf(stderr, "oracle_bench: '%s' is not known; it takes --json and --repeat N\n",
                   argument.c_str());
      return 2;
    }
  }
  const Shape small{32, 64, {28, 28}};
  const Shape large{32, 256, {56, 56}};
  const Shape flat{128, 1024, {}};
  const Layout c = Layout::contiguous;
  const Layout last = Layout::channels_last;
  std::vector<Work> works{
      {"forward f32 32x64x28x28", false, f32, small, c, 1, 7, 2.5},
      {"forward f32 32x64x28x28, 2 threads", false, f32, small, c, 2, 0, 0},
      {"forward f32 32x256x56x56, 2 threads", false, f32, large, c, 2, 5, 1.5},
      {"forward f32 128x1024", false, f32, flat, c, 1, 1.3, 0},
      {"forward f32 32x64x28x28 channels-last", false, f32, small, last, 1, 1.3, 0},
      {"forward f32 32x256x56x56 channels-last, 2 thr", false, f32, large, last, 2, 1, 0},
      {"forward f16 32x64x28x28", false, f16, small, c, 1, 1, 0},
      {"forward f16 32x64x28x28 channels-last", false, f16, small, last, 1, 1, 0},
      {"forward bf16 32x64x28x28", false, bf16, small, c, 1, 1, 0},
      {"forward bf16 32x64x28x28 channels-last", false, bf16, small, last, 1, 1, 0},
      {"forward f64 32x64x28x28", false, f64, small, c, 1, 1.5, 0},
      {"backward f32 32x64x28x28", true, f32, small, c, 1, 1.3, 0},
      {"backward f32 32x64x28x28 channels-last", true, f32, small, last, 1, 1.3, 0},
      {"backward f32 32x256x56x56", true, f32, large, c, 1, 1.3, 0},
      {"backward f32 32x256x56x56 channels-last", true, f32, large, last, 1, 1.3, 0},
  };
  std::vector<Row> rows;
  for (const Work& work : works)
    rows.push_back(measure(work, work.shape.elements() > 10'000'000 ? std::max(1, repeat / 3) : repeat));
  const double hundred = mpfr_hundred_digits();
  if (json)
    print_json(rows, hundred);
  else
    print_table(rows, hundred);
  return 0;
}

}  // namespace
}  // namespace normproof::reference

int main(int argc, char** argv) {
  return normproof::reference::run(argc, argv);
}
