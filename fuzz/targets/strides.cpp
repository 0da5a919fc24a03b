// Shape, strides and offset as the kernel interface has them: bytes choose extents, an order of the axes,
// gaps and directions. The host's walk (layout.h) and that of the CPU kernels (geometry.h) must find every
// element where the strides put it, and what is scattered there must be gathered again.
#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "geometry.h"
#include "layout.h"
#include "target.h"

using namespace normproof;

namespace {

/// Bytes as choices; when they end, zeros.
struct Choices {
  const std::uint8_t* at;
  std::size_t left;
  std::int64_t below(int bound) {
    if (left == 0)
      return 0;
    --left;
    return *at++ % bound;
  }
};

constexpr int most_rank = 6;
constexpr std::size_t most_elements = 48;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Choices choose{bytes, size};
  const int rank = 2 + static_cast<int>(choose.below(most_rank - 1));
  const auto axes = static_cast<std::size_t>(rank);
  static impls::View view;
  view.shape.resize(axes);
  view.strides.resize(axes);
  std::int64_t elements = 1;
  for (std::int64_t& extent : view.shape) {
    extent = choose.below(9);
    if (elements * extent > static_cast<std::int64_t>(most_elements))
      extent = 1;
    elements *= extent;
  }
  // Axes from the innermost outwards, each beyond all that lies within it, some of them backwards.
  std::array<std::size_t, most_rank> order{};
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = axes; i > 1; --i)
    std::swap(order[i - 1], order[static_cast<std::size_t>(choose.below(static_cast<int>(i)))]);
  std::int64_t step = 1 + choose.below(3), first = 0, extent_of_storage = 1;
  for (std::size_t i = 0; i < axes; ++i) {
    const std::size_t axis = order[i];
    const std::int64_t reach = std::max<std::int64_t>(view.shape[axis] - 1, 0) * step;
    const bool backwards = choose.below(8) == 1;
    view.strides[axis] = backwards ? -step : step;
    first += backwards ? reach : 0;
    extent_of_storage += reach;
    step = extent_of_storage + choose.below(4);
  }

  // The definition: element by element in row-major order, within each channel batch before space.
  static std::vector<std::int64_t> where;
  where.assign(static_cast<std::size_t>(elements), 0);
  const std::int64_t channels = view.shape[1], per_channel = channels == 0 ? 0 : elements / channels;
  for (std::int64_t e = 0; e < elements; ++e) {
    const std::int64_t channel = e / per_channel;
    std::int64_t rest = e % per_channel, at = channel * view.strides[1];
    for (std::size_t axis = axes; axis-- > 0;) {
      if (axis == 1)
        continue;
      at += rest % view.shape[axis] * view.strides[axis];
      rest /= view.shape[axis];
    }
    where[static_cast<std::size_t>(e)] = at;
  }

  const impls::cpu::Geometry g = impls::cpu::geometry_of(rank, view.shape.data(), view.strides.data());
  for (std::int64_t e = 0; e < elements; ++e)
    fuzz::demand(g.offset(e / per_channel, e % per_channel) == where[static_cast<std::size_t>(e)],
                 "a CPU kernel looks elsewhere");

  constexpr std::uint16_t poison = 0x7e01;  // a NaN, which scatter() writes nowhere
  static std::vector<std::uint16_t> storage;
  static std::vector<double> values, back;
  storage.assign(static_cast<std::size_t>(extent_of_storage), poison);
  values.resize(static_cast<std::size_t>(elements));
  back.assign(values.size(), -1);
  std::iota(values.begin(), values.end(), 1.0);  // distinct, and f16 holds them
  auto* const data = reinterpret_cast<std::byte*>(storage.data() + first);
  const auto all = impls::gather(f16, view, data, per_channel, poison, back.data());
  fuzz::demand(all.count == elements && all.first == (elements > 0 ? 0 : -1),
               "what nobody wrote is not all unwritten");
  impls::scatter(f16, view, values.data(), per_channel, data);
  for (std::size_t e = 0; e < values.size(); ++e)
    fuzz::demand(decode(f16, storage[static_cast<std::size_t>(first + where[e])]) == values[e],
                 "a value is scattered elsewhere");
  fuzz::demand(std::ranges::count(storage, poison) == extent_of_storage - elements,
               "something is scattered between the elements");
  const auto none = impls::gather(f16, view, data, per_channel, poison, back.data());
  fuzz::demand(none.count == 0 && back == values, "what was scattered is not gathered");
  return 0;
}
