// The dialects in force, as points in the space of semantics (spec/batch_norm.md names the clauses they
// differ in).
#include "normproof/spec/semantics.h"

#include <array>

namespace normproof {
namespace {

constexpr Semantics documented{};

/// PyTorch feeds the unbiased variance into the running one and normalises by the biased one.
constexpr Semantics pytorch_functional{
    .running = VarianceKind::unbiased, .single_value = SingleValue::rejected, .zero_eps = ZeroEps::rejected};
constexpr Semantics pytorch_native{.running = VarianceKind::unbiased,
                                   .single_value = SingleValue::unbiased_is_nan,
                                   .zero_eps = ZeroEps::zero_invstd};

constexpr std::array all_dialects{
    Dialect{"documented", documented,
            "biased variance normalises and runs, eps inside the root, momentum weighs the new batch",
            "the published explanations that spec/claims.md lists"},
    Dialect{"pytorch/native_batch_norm", pytorch_native,
            "unbiased running variance, NaN at one value per channel; v = eps = 0 gives invstd 0 in training",
            "torch.native_batch_norm: aten/src/ATen/native/Normalization.cpp"},
    Dialect{"pytorch/F.batch_norm", pytorch_functional,
            "unbiased running variance; refuses one value per channel in training, and eps = 0",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html"},
};

}  // namespace

std::span<const Dialect> dialects() {
  return all_dialects;
}

std::optional<Dialect> dialect_named(std::string_view name) {
  if (name == "pytorch")
    name = "pytorch/native_batch_norm";
  for (const Dialect& dialect : all_dialects)
    if (dialect.name == name)
      return dialect;
  return std::nullopt;
}

}  // namespace normproof
