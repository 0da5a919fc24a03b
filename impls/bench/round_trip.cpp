// What the worker costs: a tiny case there and back (aim: 100 us), the same call in process, and a large
// tensor, where laying out, hashing and reading back are the cost.
#include <benchmark/benchmark.h>

#include "cases.h"

namespace normproof::impls {
namespace {

Case sized(std::int64_t size, Layout layout) {
  return size == 0 ? small_case({4, 1, {}}) : small_case({size, 16, {64, 64}}, f32, layout);
}

void run(benchmark::State& state, RunOptions options, Layout layout) {
  const Case c = sized(state.range(0), layout);
  const KernelInfo kernel = kernel_of("libnormproof_cpu", "cpu.pairwise_f32");
  Runner runner(options);
  double inside = 0;
  for (auto _ : state) {
    const Observation seen = runner.run(kernel, c);
    if (seen.outcome != Outcome::completed)
      state.SkipWithError(seen.detail.c_str());
    inside += seen.seconds;
  }
  state.SetItemsProcessed(state.iterations() * c.problem.shape.elements());
  state.counters["kernel_us"] = benchmark::Counter(inside * 1e6, benchmark::Counter::kAvgIterations);
}

BENCHMARK_CAPTURE(run, worker, {}, Layout::contiguous)->Arg(0)->Arg(64)->UseRealTime();
BENCHMARK_CAPTURE(run, worker_channels_last, {}, Layout::channels_last)->Arg(64)->UseRealTime();
BENCHMARK_CAPTURE(run, in_process, {.in_process = true}, Layout::contiguous)->Arg(0)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace normproof::impls
