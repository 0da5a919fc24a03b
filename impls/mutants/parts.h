// What the wrong kernels are made with: conditions under which a bug shows, and spoilers that change a right
// result afterwards.
#pragma once

#include <string>

#include "cpu/backward.h"
#include "cpu/double_backward.h"
#include "cpu/forward.h"
#include "cpu/tables.h"

namespace normproof::impls::cpu {

inline void only(bool shows, const char* where) {
  if (!shows)
    throw Refusal{NP_UNSUPPORTED, std::string("this bug shows only ") + where};
}

/// Kernel, on problems where its bug can show: Cond has bool shows(const np_problem&) and a text.
template <class Kernel, class Cond>
struct Where : Kernel {
  static void check(const np_problem& p) {
    Kernel::check(p);
    only(Cond::shows(p), Cond::text);
  }
};
struct InHalves {
  static constexpr const char* text = "in data of 16 bits";
  static bool shows(const np_problem& p) { return is_half(p.data_dtype); }
};
struct InDoubles {
  static constexpr const char* text = "in data of 64 bits";
  static bool shows(const np_problem& p) { return p.data_dtype.bits == 64; }
};
struct WithRunning {
  static constexpr const char* text = "where running statistics are given";
  static bool shows(const np_problem& p) { return p.has_running != 0; }
};
struct Cumulative {
  static constexpr const char* text = "where running statistics are given and momentum is not";
  static bool shows(const np_problem& p) { return p.has_running != 0 && p.has_momentum == 0; }
};
struct WithMomentum {
  static constexpr const char* text = "where running statistics and momentum are given";
  static bool shows(const np_problem& p) { return p.has_running != 0 && p.has_momentum != 0; }
};
struct Unbiased {
  static constexpr const char* text = "where the unbiased variance feeds the running one";
  static bool shows(const np_problem& p) {
    return p.has_running != 0 && p.running_variance == NP_VARIANCE_UNBIASED && geometry_of(p).n > 1;
  }
};
struct WithValues {
  static constexpr const char* text = "where there are values";
  static bool shows(const np_problem& p) { return geometry_of(p).n > 0; }
};

/// A right kernel, then Spoil::apply<Data, Stat>(problem, tensors, geometry of x).
template <class Kernel, class Spoil>
struct After : Kernel {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Kernel::template run<Data, Stat>(p, t);
    Spoil::template apply<Data, Stat>(p, t, geometry_of(*t.x));
  }
};

/// Spoil::prepare(problem, tensors) before the right kernel runs: another eps, another tensor.
template <class Kernel, class Spoil>
struct Before : Kernel {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    np_problem problem = p;
    np_tensors tensors = t;
    Spoil::prepare(problem, tensors);
    Kernel::template run<Data, Stat>(problem, tensors);
  }
};

using Forward = Training<TwoPass, Affine::centred>;
template <class Rule>
using Wrong = Training<TwoPass, Affine::centred, AsData, Rule>;

/// y once more, by Formula::y(x, mean, invstd, gamma, beta), from the statistics that a right kernel left in
/// its workspace.
template <class Kernel, class Formula>
struct Elementwise : Kernel {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    using Acc = typename Accumulator<Data>::type;
    Kernel::template run<Data, Stat>(p, t);
    const Geometry g = geometry_of(*t.x);
    const Channels<Acc> c(t.workspace, g.channels);
    const Data* const x = elements<const Data>(t.x);
    Data* const y = elements<Data>(t.y);
    for_each_value(
        0, g.n,
        [&](std::int64_t k, std::int64_t from, std::int64_t to) {
          y[to] = static_cast<Data>(Formula::template y<Data>(static_cast<Acc>(x[from]), c.mean[k],
                                                              c.invstd[k], c.gamma[k], c.beta[k]));
        },
        g, geometry_of(*t.y));
  }
};

}  // namespace normproof::impls::cpu
