// One batch-normalisation problem: everything but the numbers.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "normproof/spec/format.h"
#include "normproof/spec/semantics.h"
#include "normproof/spec/shape.h"

namespace normproof {

/// backward_training is judged at the saved statistics that it is given (truth A), gradient is forward
/// training and then the same kernel's backward with whatever it saved, judged against the true gradient of x
/// (truth B). double_backward is the second order at given saved statistics, double_backward_inference that
/// of backward_inference.
enum class Pass {
  forward_training,
  forward_inference,
  backward_training,
  backward_inference,
  gradient,
  double_backward,
  double_backward_inference
};
inline constexpr std::array all_passes{
    Pass::forward_training, Pass::forward_inference, Pass::backward_training,        Pass::backward_inference,
    Pass::gradient,         Pass::double_backward,   Pass::double_backward_inference};

/// The running statistics are given and normalise; none is taken of x, none is saved, none is updated.
constexpr bool is_inference(Pass pass) {
  return pass == Pass::forward_inference || pass == Pass::backward_inference ||
         pass == Pass::double_backward_inference;
}
constexpr bool is_forward(Pass pass) {
  return pass == Pass::forward_training || pass == Pass::forward_inference;
}
/// dy is given.
constexpr bool takes_dy(Pass pass) {
  return !is_forward(pass);
}
/// Whether a reading has the pass at all: some have no gradient at given statistics.
constexpr bool has_pass(const Semantics& semantics, Pass pass) {
  return semantics.inference_gradient || is_forward(pass) || !is_inference(pass);
}
/// v_x, v_gamma and v_beta are given; grad_dy, grad_x and grad_gamma are asked for.
constexpr bool is_second_order(Pass pass) {
  return pass == Pass::double_backward || pass == Pass::double_backward_inference;
}
/// saved_mean and saved_invstd are given.
constexpr bool takes_saved(Pass pass) {
  return pass == Pass::backward_training || pass == Pass::double_backward;
}

std::string_view to_string(Pass pass);
std::optional<Pass> parse_pass(std::string_view text);

/// What a kernel may report, in the order of the algorithm. grad_dy, grad_x and grad_gamma are the second
/// order: the gradients of <v_x, dx> + <v_gamma, dgamma> + <v_beta, dbeta> with respect to dy, x and gamma.
enum class Output {
  mean,
  var,
  invstd,
  y,
  running_mean,
  running_var,
  dbeta,
  dgamma,
  dx,
  grad_dy,
  grad_x,
  grad_gamma
};
inline constexpr std::array all_outputs{
    Output::mean,  Output::var,    Output::invstd, Output::y,       Output::running_mean, Output::running_var,
    Output::dbeta, Output::dgamma, Output::dx,     Output::grad_dy, Output::grad_x,       Output::grad_gamma};
inline constexpr std::size_t output_count = all_outputs.size();
constexpr std::size_t index(Output output) {
  return static_cast<std::size_t>(output);
}
/// One value per element of x (else one per channel).
constexpr bool per_element(Output output) {
  return output == Output::y || output == Output::dx || output == Output::grad_dy || output == Output::grad_x;
}

std::string_view to_string(Output output);
std::optional<Output> parse_output(std::string_view text);

/// `data` is the format of x and y; `stats` that of gamma, beta, mean, var, invstd and the running
/// statistics.
struct Problem {
  Pass pass = Pass::forward_training;
  Format data = f32;
  Format stats = f32;
  Shape shape;
  Layout layout = Layout::contiguous;
  /// Layout::strided only: which strides, gaps, offsets and misalignments each tensor has (shape.h).
  std::uint64_t layout_seed = 0;
  std::string dialect = "documented";
  Semantics semantics;

  /// The exact value that the interface under test receives (BN-FWD: eps inside the root).
  double eps = 0x1.4f8b58p-17;
  /// Weight of the update; absent: cumulative average with weight 1/(num_batches_tracked + 1).
  std::optional<double> momentum = 0x1.99999ap-4;
  bool affine = true;   ///< gamma and beta are given
  bool running = true;  ///< running statistics are given (always so in inference)
  int threads = 1;      ///< threads that the kernel may use

  /// Roundoff-bearing format of sums, statistics and elementwise arithmetic in the grades: f32 for data of 32
  /// bits and less, f64 for f64 (spec/bounds/model.md).
  Format accumulator() const { return data.p > f32.p ? f64 : f32; }
};

/// The format in which that output is stored.
const Format& format_of(const Problem& problem, Output output);
/// Whether the specification gives that output a value in this problem.
bool is_defined(const Problem& problem, Output output);

}  // namespace normproof
