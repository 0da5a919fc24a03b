// Names of passes and outputs, and which outputs a problem defines.
#include "normproof/spec/problem.h"

namespace normproof {

std::string_view to_string(Pass pass) {
  return pass == Pass::forward_training ? "forward-training" : "forward-inference";
}

std::optional<Pass> parse_pass(std::string_view text) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
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
  return output == Output::y ? problem.data : problem.stats;
}

bool is_defined(const Problem& problem, Output output) {
  switch (output) {
  case Output::y:
    return true;
  case Output::mean:
  case Output::var:
  case Output::invstd:
    return problem.pass == Pass::forward_training;
  case Output::running_mean:
  case Output::running_var:
    return problem.pass == Pass::forward_training && problem.running;
  }
  return false;
}

}  // namespace normproof
