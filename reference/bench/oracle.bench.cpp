// Speed of the certified oracle beside LibTorch's kernels, memcpy and MPFR at 100 digits: ratios of one run.
//
//   oracle_bench [--json] [--repeat N] [--only WORK]
//
// Every figure is the best of N interleaved runs, in ns per element, fallbacks included; malloc keeps its
// pages, so that page faults flatter nobody. "last" is channels-last.
#include <algorithm>
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
#include <time.h>

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
  double goal;         ///< times LibTorch's speed, 0 for none
  double memcpy_goal;  ///< times memcpy's time, 0 for none
};

const std::string small_forward = "f32 32x64x28x28";
const std::string small_forward_by_two = "f32 32x64x28x28, 2 threads";

struct Row {
  Work work;
  double certified = 0, libtorch = 0, memcpy = 0;  ///< ns per element
  CertifiedEffort effort;
};

/// Of one thread its own time, so that others on the machine disturb less; of several the clock's.
double now(int threads) {
  timespec t{};
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
}

/// Best time in ns of one call of each, the calls interleaved.
std::vector<double> best_of(int repeat, int threads, const std::vector<std::function<void()>>& calls) {
  std::vector<double> best(calls.size(), std::numeric_limits<double>::infinity());
  for (int k = 0; k < repeat; ++k)
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const double start = now(threads);
      calls[i]();
      best[i] = std::min(best[i], now(threads) - start);
    }
  return best;
}

/// Normal numbers, rounded once into storage; beyond a million they repeat.
std::vector<unsigned char> normal_bytes(const Format& format, std::int64_t count, std::uint64_t seed) {
  constexpr std::int64_t period = 1'000'003;
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<unsigned char> bytes(static_cast<std::size_t>(count * format.bytes));
  for (std::int64_t i = 0; i < std::min(count, period); ++i) {
    const std::uint64_t bits = encode(format, round_to(format, normal(random)));
    std::memcpy(bytes.data() + i * format.bytes, &bits, static_cast<std::size_t>(format.bytes));
  }
  for (std::int64_t i = period; i < count; i += period)
    std::memcpy(bytes.data() + i * format.bytes, bytes.data(),
                static_cast<std::size_t>(std::min(period, count - i) * format.bytes));
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
  const std::vector<double> best = best_of(repeat, work.threads, calls);
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
  const double best = best_of(3, 1, {[&] {
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

/// ns per element of a verdict on every y of a kernel's f32 forward pass: ours, and the usual one.
struct Verdict {
  double ours = 0, usual = 0;
};
Verdict verdict(int repeat) {
  const Shape shape{32, 64, {28, 28}};
  const std::int64_t count = shape.elements();
  std::vector<unsigned char> x = normal_bytes(f32, count, 6);
  std::vector<unsigned char> y(x.size());
  ForwardBuffers f;
  f.shape = shape;
  f.x_placement = f.y_placement = placement(shape, Layout::contiguous, 0, 0);
  f.x = x.data(), f.y = y.data();
  std::vector<std::function<void()>> calls;
#ifdef NORMPROOF_BENCH_WITH_LIBTORCH
  at::set_num_threads(1);
  const at::Tensor tx = at::from_blob(x.data(), {shape.batch, shape.channels, 28, 28}, at::kFloat);
  const at::Tensor got =
      std::get<0>(at::native_batch_norm(tx, {}, {}, {}, {}, true, 0.1, f.eps)).contiguous();
  calls.push_back([&] {
    certified_forward(f);
    const Steps steps = steps_between(f32, y.data(), got.data_ptr(), count);
    if (steps.differing_kind != 0)
      std::fprintf(stderr, "LibTorch's y has infinities or NaN of its own\n");
  });
  calls.push_back([&] {
    const at::Tensor want =
        std::get<0>(at::native_batch_norm(tx.to(at::kDouble), {}, {}, {}, {}, true, 0.1, f.eps));
    if (!at::allclose(got.to(at::kDouble), want, 1.3e-6, 1e-5))
      std::fprintf(stderr, "LibTorch disagrees with itself\n");
  });
  const std::vector<double> best = best_of(repeat, 1, calls);
  return {best[0] / static_cast<double>(count), best[1] / static_cast<double>(count)};
#else
  (void)repeat;
  return {};
#endif
}

/// One line of the table: ours beside something else, in ns per element.
struct Goal {
  std::string work, other;
  double ours, theirs;
  double ratio;  ///< as the goal has it
  double goal;
  bool at_most;
  bool met() const { return at_most ? ratio <= goal : ratio >= goal; }
};

std::vector<Goal> goals_of(const std::vector<Row>& rows, double hundred, const Verdict& verdict) {
  std::vector<Goal> goals;
  const auto faster = [&](const std::string& work, const std::string& other, double ours, double theirs,
                          double goal) {
    if (theirs > 0)
      goals.push_back({work, other, ours, theirs, theirs / ours, goal, false});
  };
  for (const Row& r : rows) {
    if (r.work.goal > 0)
      faster(r.work.name, "LibTorch", r.certified, r.libtorch, r.work.goal);
    if (r.work.memcpy_goal > 0)
      goals.push_back(
          {r.work.name, "memcpy", r.certified, r.memcpy, r.certified / r.memcpy, r.work.memcpy_goal, true});
  }
  const auto named = [&](const std::string& name) {
    return std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.work.name == name; });
  };
  const auto one = named(small_forward);
  const auto two = named(small_forward_by_two);
  if (one != rows.end() && two != rows.end())
    faster(small_forward_by_two, "1 thread", two->certified, one->certified, 1.8);
  if (one != rows.end())
    faster(small_forward, "MPFR 100", one->certified, hundred, 1000);
  faster("verdict on f32 y 32x64x28x28", "allclose", verdict.ours, verdict.usual, 2);
  return goals;
}

void print_table(const std::vector<Row>& rows, const std::vector<Goal>& goals) {
  std::printf("%-38s %-8s %7s %7s %6s %7s\n", "ns per element", "against", "ours", "theirs", "ratio", "goal");
  for (const Goal& g : goals)
    std::printf("%-38s %-8s %7.3f %7.3f %6.*f %s%4g %s\n", g.work.c_str(), g.other.c_str(), g.ours, g.theirs,
                g.ratio >= 100 ? 0 : 2, g.ratio, g.at_most ? "<=" : ">=", g.goal, g.met() ? "met" : "MISSED");
  std::printf("\n%-38s %9s %9s %9s %9s\n", "of the elements", "all", "retested", "dbl-dbl", "exactly");
  for (const Row& r : rows) {
    const auto rate = [&](std::int64_t k) {
      return static_cast<double>(k) / static_cast<double>(std::max<std::int64_t>(1, r.effort.elements));
    };
    std::printf("%-38s %9lld %9.2g %9.2g %9.2g\n", r.work.name.c_str(),
                static_cast<long long>(r.effort.elements), rate(r.effort.retested),
                rate(r.effort.double_double), rate(r.effort.exact));
  }
}

void print_json(const std::vector<Row>& rows, const std::vector<Goal>& goals) {
  std::printf("{\"unit\": \"ns per element\", \"goals\": [");
  const char* separator = "";
  for (const Goal& g : goals) {
    std::printf(
        "%s\n  {\"work\": \"%s\", \"against\": \"%s\", \"ours\": %.4f, \"theirs\": %.4f, \"ratio\": %.3f, "
        "\"goal\": \"%s %g\", \"met\": %s}",
        separator, g.work.c_str(), g.other.c_str(), g.ours, g.theirs, g.ratio,
        g.at_most ? "<=" : ">=", g.goal, g.met() ? "true" : "false");
    separator = ",";
  }
  std::printf("\n], \"rows\": [");
  separator = "";
  for (const Row& r : rows) {
    std::printf("%s\n  {\"work\": \"%s\", \"threads\": %d, \"certified\": %.4f, \"libtorch\": %.4f, "
                "\"memcpy\": %.4f, "
                "\"elements\": %lld, \"retested\": %lld, \"double_double\": %lld, \"exact\": %lld}",
                separator, r.work.name.c_str(), r.work.threads, r.certified, r.libtorch, r.memcpy,
                static_cast<long long>(r.effort.elements), static_cast<long long>(r.effort.retested),
                static_cast<long long>(r.effort.double_double), static_cast<long long>(r.effort.exact));
    separator = ",";
  }
  std::printf("\n]}\n");
}

std::vector<Work> all_works() {
  const Shape small{32, 64, {28, 28}};
  const Shape large{32, 256, {56, 56}};
  const Shape flat{128, 1024, {}};
  const Layout c = Layout::contiguous;
  const Layout last = Layout::channels_last;
  return {
      {small_forward, false, f32, small, c, 1, 7, 2.5},
      {small_forward_by_two, false, f32, small, c, 2, 0, 0},
      {"f32 32x256x56x56, 2 threads", false, f32, large, c, 2, 5, 1.5},
      {"f32 128x1024", false, f32, flat, c, 1, 1.3, 0},
      {"f32 32x64x28x28 last", false, f32, small, last, 1, 1.3, 0},
      {"f32 32x256x56x56 last, 2 threads", false, f32, large, last, 2, 1, 0},
      {"f16 32x64x28x28", false, f16, small, c, 1, 1, 0},
      {"f16 32x64x28x28 last", false, f16, small, last, 1, 1, 0},
      {"bf16 32x64x28x28", false, bf16, small, c, 1, 1, 0},
      {"bf16 32x64x28x28 last", false, bf16, small, last, 1, 1, 0},
      {"f64 32x64x28x28", false, f64, small, c, 1, 1.5, 0},
      {"f32 backward 32x64x28x28", true, f32, small, c, 1, 1.3, 0},
      {"f32 backward 32x64x28x28 last", true, f32, small, last, 1, 1.3, 0},
      {"f32 backward 32x256x56x56", true, f32, large, c, 1, 1.3, 0},
      {"f32 backward 32x256x56x56 last", true, f32, large, last, 1, 1.3, 0},
  };
}

int run(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  bool json = false;
  int repeat = 15;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--repeat" && i + 1 < argc) {
      repeat = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      std::fprintf(stderr, "oracle_bench: '%s' is not known; it takes --json, --repeat N and --only WORK\n",
                   argument.c_str());
      return 2;
    }
  }
  std::vector<Row> rows;
  for (const Work& work : all_works())
    if (only.empty() || work.name == only)
      rows.push_back(measure(work, work.shape.elements() > 10'000'000 ? std::max(1, repeat / 3) : repeat));
  if (rows.empty()) {
    std::fprintf(stderr, "oracle_bench: there is no work '%s'; the table's first column names them\n",
                 only.c_str());
    return 2;
  }
  const bool all = only.empty();
  const std::vector<Goal> goals =
      goals_of(rows, all ? mpfr_hundred_digits() : 0, all ? verdict(repeat) : Verdict{});
  if (json)
    print_json(rows, goals);
  else
    print_table(rows, goals);
  return 0;
}

}  // namespace
}  // namespace normproof::reference

int main(int argc, char** argv) {
  return normproof::reference::run(argc, argv);
}
