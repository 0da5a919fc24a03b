// The tensors of a case that a search may change, with their formats.
#pragma once

#include <vector>

#include "normproof/spec/case.h"

namespace normproof::fuzz {

struct Tensor {
  std::vector<double>* values;
  Format format;
  bool per_element;
  bool positive;  ///< variances and invstds
};

inline std::vector<Tensor> tensors(Case& c) {
  const Format& data = c.problem.data;
  const Format& stats = c.problem.stats;
  std::vector<Tensor> all{{&c.x, data, true, false},
                          {&c.dy, data, true, false},
                          {&c.v_x, data, true, false},
                          {&c.gamma, stats, false, false},
                          {&c.beta, stats, false, false},
                          {&c.running_mean, stats, false, false},
                          {&c.running_var, stats, false, true},
                          {&c.saved_mean, stats, false, false},
                          {&c.saved_invstd, stats, false, true},
                          {&c.v_gamma, stats, false, false},
                          {&c.v_beta, stats, false, false}};
  std::erase_if(all, [](const Tensor& t) { return t.values->empty(); });
  return all;
}

}  // namespace normproof::fuzz
