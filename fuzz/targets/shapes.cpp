// Shape lists, and where the elements of a strided tensor lie: inside its storage, each at a place of its
// own.
#include "normproof/properties/shapes.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "target.h"

using namespace normproof;

namespace {

void places(const Shape& shape, Layout layout, std::uint64_t seed) {
  const Placement p = placement(shape, layout, seed, static_cast<int>(seed % 8));
  std::vector<std::int64_t> extents{shape.batch, shape.channels};
  extents.insert(extents.end(), shape.spatial.begin(), shape.spatial.end());
  fuzz::demand(p.strides.size() == extents.size(), "a stride for each axis");
  if (shape.elements() == 0)
    return;                             // nothing to place, however large the other axes
  static std::vector<std::int64_t> at;  // kept: an allocation costs more than the rest
  at.assign(1, p.offset);
  for (std::size_t axis = 0; axis < extents.size(); ++axis)
    for (std::size_t i = 0, before = at.size() * static_cast<std::size_t>(extents[axis] - 1); i < before; ++i)
      at.push_back(at[i] + p.strides[axis]);
  std::ranges::sort(at);
  fuzz::demand(std::ranges::adjacent_find(at) == at.end(), "two elements at one place: " + to_string(shape));
  fuzz::demand(at.empty() || (at.front() >= 0 && at.back() < p.extent),
               "an element outside its storage: " + to_string(shape));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  properties::ShapeList list;
  try {
    list = properties::parse_shapes(fuzz::text_of(bytes, size), "fuzzed");
  } catch (const std::invalid_argument&) {
    return 0;
  }
  for (const Shape& shape : list.shapes) {
    const auto again = parse_shape(to_string(shape));
    fuzz::demand(again && *again == shape, "a shape does not survive its own word: " + to_string(shape));
    // Six axes of two: more elements cost time and show nothing new.
    if (shape.elements() <= 64)
      for (const Layout layout : all_layouts)
        places(shape, layout, size == 0 ? 0 : bytes[size - 1]);
  }
  return 0;
}
