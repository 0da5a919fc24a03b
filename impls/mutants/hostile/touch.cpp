// Accesses beside the tensors: every tensor of every pass, before its start and past its end, read and
// written. hostile.write_past_mean is a correct kernel that then writes the element behind the last of mean.
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "cpu/tables.h"
#include "mutants/hostile/deeds.h"

namespace normproof::impls::cpu {
namespace {

enum class What { write_past, write_before, read_past, read_before };
constexpr std::array words{"write_past_", "write_before_", "read_past_", "read_before_"};

constexpr std::array tensor_names{
    "x",     "gamma",  "beta",    "running_mean", "running_var",  "y",      "mean",
    "var",   "invstd", "dy",      "saved_mean",   "saved_invstd", "dx",     "dgamma",
    "dbeta", "v_x",    "v_gamma", "v_beta",       "grad_dy",      "grad_x", "grad_gamma"};
const np_tensor* tensor(const np_tensors& t, std::size_t which) {
  const std::array<const np_tensor*, tensor_names.size()> all{
      t.x,     t.gamma,  t.beta,    t.running_mean, t.running_var,  t.y,      t.mean,
      t.var,   t.invstd, t.dy,      t.saved_mean,   t.saved_invstd, t.dx,     t.dgamma,
      t.dbeta, t.v_x,    t.v_gamma, t.v_beta,       t.grad_dy,      t.grad_x, t.grad_gamma};
  return all[which];
}

/// Storage as bytes; every element is at least two wide, and aligned.
struct Storage {
  unsigned char* begin;
  unsigned char* end;
};

Storage storage_of(const np_tensor& t) {
  std::int64_t last = 0;
  for (int axis = 0; axis < t.ndim; ++axis)
    last += (t.shape[axis] - 1) * t.strides[axis];
  auto* const begin = static_cast<unsigned char*>(t.data);
  return {begin, begin + t.byte_offset + (last + 1) * (t.dtype.bits / 8)};
}

template <What what>
void touch(const Storage& storage) {
  constexpr bool past = what == What::write_past || what == What::read_past;
  auto* const at = reinterpret_cast<volatile std::uint16_t*>(past ? storage.end : storage.begin - 2);
  if constexpr (what == What::write_past || what == What::write_before)
    *at = 0x5A5A;
  else
    static_cast<void>(*at);
}

template <std::size_t which, What what>
struct Touch : Correct {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Correct::run<Data, Stat>(p, t);
    if (const np_tensor* const touched = tensor(t, which))
      touch<what>(storage_of(*touched));
  }
};

template <What what>
struct TouchCounter : Correct {
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Correct::run<Data, Stat>(p, t);
    auto* const counter = reinterpret_cast<unsigned char*>(t.num_batches_tracked);
    if (counter != nullptr)
      touch<what>({counter, counter + sizeof(std::int64_t)});
  }
};

template <bool reserve, What what>
struct TouchScratch : Correct {
  static constexpr std::uint64_t reserve_bytes = 100;

  static void describe(const np_problem& p, np_capability& capability) {
    Correct::describe(p, capability);
    capability.reserve_bytes = reserve_bytes;
  }
  template <class Data, class Stat>
  static void run(const np_problem& p, const np_tensors& t) {
    Correct::run<Data, Stat>(p, t);
    np_capability capability{};
    Correct::describe(p, capability);
    auto* const begin = static_cast<unsigned char*>(reserve ? t.reserve : t.workspace);
    if (begin != nullptr)
      touch<what>({begin, begin + (reserve ? reserve_bytes : capability.workspace_bytes)});
  }
};

const char* kept(std::string text) {
  static std::deque<std::string> all;
  return all.emplace_back(std::move(text)).c_str();
}

template <class Kernel>
np_kernel entry(What what, const char* name) {
  return make_kernel<Kernel>(kept(std::string("hostile.") + words[static_cast<std::size_t>(what)] + name),
                             "a correct kernel that touches memory beside one tensor", "");
}

template <What what, std::size_t... which>
void add(std::vector<np_kernel>& kernels, std::index_sequence<which...>) {
  (kernels.push_back(entry<Touch<which, what>>(what, tensor_names[which])), ...);
  kernels.push_back(entry<TouchCounter<what>>(what, "num_batches_tracked"));
  kernels.push_back(entry<TouchScratch<false, what>>(what, "workspace"));
  kernels.push_back(entry<TouchScratch<true, what>>(what, "reserve"));
}

}  // namespace

Table touching_kernels() {
  static const std::vector<np_kernel> kernels = [] {
    std::vector<np_kernel> all;
    constexpr std::make_index_sequence<tensor_names.size()> tensors;
    add<What::write_past>(all, tensors);
    add<What::write_before>(all, tensors);
    add<What::read_past>(all, tensors);
    add<What::read_before>(all, tensors);
    return all;
  }();
  return kernels;
}

}  // namespace normproof::impls::cpu
