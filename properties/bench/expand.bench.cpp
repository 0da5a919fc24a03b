// Expansion speed, one thread, 401,408 values: a ResNet layer of 8x64x28x28. A campaign must not wait for its
// data.
#include <benchmark/benchmark.h>

#include "normproof/properties/recipe.h"

namespace {

using namespace normproof::properties;

void expansion(benchmark::State& state, const char* regime) {
  Recipe recipe;
  recipe.shape = {8, 64, {28, 28}};
  recipe.regime = std::get<Recipe>(parse_recipe(std::string("np1 regime=") + regime)).regime;
  for (auto _ : state)
    benchmark::DoNotOptimize(expand(recipe).x.data());
  state.SetItemsProcessed(state.iterations() * recipe.shape.elements());
}
BENCHMARK_CAPTURE(expansion, normal, "normal");
BENCHMARK_CAPTURE(expansion, offset, "offset:1000");
BENCHMARK_CAPTURE(expansion, graded, "graded");
BENCHMARK_CAPTURE(expansion, mixture, "mixture");

void hashing(benchmark::State& state) {
  Recipe recipe;
  recipe.shape = {8, 64, {28, 28}};
  const normproof::Case c = expand(recipe);
  for (auto _ : state)
    benchmark::DoNotOptimize(fingerprint(c));
  state.SetItemsProcessed(state.iterations() * recipe.shape.elements());
}
BENCHMARK(hashing);

}  // namespace
