// Every element of a channel and output: by the loops of lanes.h where a form is given, what these leave open
// (or everything) one by one.
#pragma once

#include <optional>
#include <vector>

#include "enclosure.h"
#include "memo.h"

namespace normproof::reference {

/// One value decided by the rounding test.
inline Rounded counted(const Rounded& r, Effort& effort) {
  ++effort.elements;
  ++effort.certified;
  return r;
}

struct ElementValues {
  const double* x;
  const double* dy;  ///< may be null
  const double* v;   ///< may be null
  std::int64_t n;
};

/// `one(i)` decides element i and counts it in `effort`.
template <class One>
void decide_elements(const std::optional<Form>& form, const Format& format, const ElementValues& values,
                     const One& one, double* rn, double* off, Effort& effort) {
  const auto place = [&](std::int64_t i, const Rounded& r) {
    rn[i] = r.rn;
    off[i] = r.off;
  };
  if (!form) {
    for (std::int64_t i = 0; i < values.n; ++i)
      place(i, one(i));
    return;
  }
  std::vector<std::int64_t> open(static_cast<std::size_t>(values.n));
  const std::int64_t left =
      lanes().decide_all(Grid(format), *form, values.x, values.dy, values.v, values.n, rn, off, open.data());
  effort.elements += values.n - left;
  effort.certified += values.n - left;
  Memo memo;
  for (std::int64_t k = 0; k < left; ++k) {
    const std::int64_t i = open[static_cast<std::size_t>(k)];
    // Values without a coefficient do not tell elements apart: dx of a constant dy is 0 whatever x is.
    const auto value_of = [&](const double* tensor, std::size_t coefficient) {
      const bool matters = tensor != nullptr && (form->hi[coefficient] != 0 || !std::isfinite(tensor[i]));
      return matters ? tensor[i] : 0.0;
    };
    place(i, memo(value_of(values.x, 1), value_of(values.dy, 2), value_of(values.v, 3), effort,
                  [&] { return one(i); }));
  }
}

}  // namespace normproof::reference
