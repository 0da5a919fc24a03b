// The correct kernel of all passes, and the frame in which a hostile one is that and then one deed.
#pragma once

#include <type_traits>

#include "cpu/backward.h"
#include "cpu/double_backward.h"
#include "cpu/forward.h"

namespace normproof::impls::cpu {

/// use(Type<Kernel>) for the bundled kernel of the problem's pass.
template <class Use>
void with_pass(const np_problem& p, Use&& use) {
  switch (p.pass) {
  case NP_FORWARD_TRAINING:
    return use(Type<Training<TwoPass, Affine::centred>>{});
  case NP_FORWARD_INFERENCE:
    return use(Type<Inference<Affine::centred>>{});
  case NP_DOUBLE_BACKWARD:
    return use(Type<DoubleBackward<>>{});
  default:
    return use(Type<Backward<Direct>>{});
  }
}

struct Correct {
  static void check(const np_problem& p) {
    with_pass(p, [&]<class K>(Type<K>) { K::check(p); });
  }
  static void describe(const np_problem& p, np_capability& capability) {
    with_pass(p, [&]<class K>(Type<K>) { K::describe(p, capability); });
  }
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    with_pass(p, [&]<class K>(Type<K>) { K::template run<Data, Stat>(p, t); });
  }
};

inline std::size_t element_count(const np_problem& p) {
  std::int64_t count = 1;
  for (int axis = 0; axis < p.ndim; ++axis)
    count *= p.shape[axis];
  return static_cast<std::size_t>(count);
}

/// Correct, forward, of dense tensors in the plain dtypes: enough to misbehave in, and y is an array of
/// numbers.
struct Forward : Training<TwoPass, Affine::centred> {
  static void check(const np_problem& p) {
    Training::check(p);
    if (is_half(p.data_dtype))
      throw Refusal{NP_UNSUPPORTED, "f32 and f64 only"};
    std::int64_t last = 0;
    for (int axis = 0; axis < p.ndim; ++axis)
      last += (p.shape[axis] - 1) * p.y_strides[axis];
    if (element_count(p) == 0 || last + 1 != static_cast<std::int64_t>(element_count(p)))
      throw Refusal{NP_UNSUPPORTED, "dense tensors only, and not empty"};
  }
};

/// A correct kernel with Deed::after<Data>(problem, tensors) behind it.
template <class Deed>
struct Then : Forward {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Forward::run<Data, Stat>(p, t);
    if constexpr (std::is_floating_point_v<Data>)
      Deed::template after<Data>(p, t);
  }
};

}  // namespace normproof::impls::cpu
