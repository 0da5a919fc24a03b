// Names of passes and outputs, and which outputs a problem defines.
#include "normproof/spec/problem.h"

namespace normproof {

std::string_view to_string(Pass pass) {
  switch (pass) {
  case Pass::forward_training:
    return "forward-training";
  case Pass::forward_inference:
    return "forward-inference";
  case Pass::backward_training:
    return "backward-training";
  case Pass::backward_inference:
    return "backward-inference";
  case Pass::gradient:
    return "gradient";
  case Pass::double_backward:
    return "double-backward";
  case Pass::double_backward_inference:
    return "double-backward-inference";
  }
  return "?";
}

std::optional<Pass> parse_pass(std::string_view text) {
  for (const Pass pass : all_passes)
    if (text == to_string(pass))
      return pass;
  return std::nullopt;
}

std::string_view to_string(Output output) {
  switch (output) {
  case Output::y:
    return "y";
  case Output::mean:
    return "mean";
  case Output::var:
    return "var";
  case Output::invstd:
    return "invstd";
  case Output::running_mean:
    return "running_mean";
  case Output::running_var:
    return "running_var";
  case Output::dbeta:
    return "dbeta";
  case Output::dgamma:
    return "dgamma";
  case Output::dx:
    return "dx";
  case Output::grad_dy:
    return "grad_dy";
  case Output::grad_x:
    return "grad_x";
  case Output::grad_gamma:
    return "grad_gamma";
  }
  return "?";
}

std::optional<Output> parse_output(std::string_view text) {
  for (const Output output : all_outputs)
    if (text == to_string(output))
      return output;
  return std::nullopt;
}

const Format& format_of(const Problem& problem, Output output) {
  return per_element(output) ? problem.data : problem.stats;
}

bool is_defined(const Problem& problem, Output output) {
  switch (problem.pass) {
  case Pass::forward_training:
    if (output == Output::running_mean || output == Output::running_var)
      return problem.running;
    return output == Output::y || output == Output::mean || output == Output::var || output == Output::invstd;
  case Pass::forward_inference:
    return output == Output::y;
  case Pass::backward_training:
  case Pass::backward_inference:
  case Pass::gradient:
    return output == Output::dbeta || output == Output::dgamma || output == Output::dx;
  case Pass::double_backward:
  case Pass::double_backward_inference:
    return output == Output::grad_dy || output == Output::grad_x || output == Output::grad_gamma;
  }
  return false;
}

}  // namespace normproof
