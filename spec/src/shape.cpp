// Shapes: their text form and the strides of dense layouts.
#include "normproof/spec/shape.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace normproof {
namespace {

constexpr std::int64_t most_elements = std::int64_t{1} << 40;
constexpr std::size_t most_axes = 6;

std::vector<std::int64_t> axes_of(const Shape& shape) {
  std::vector<std::int64_t> axes{shape.batch, shape.channels};
  axes.insert(axes.end(), shape.spatial.begin(), shape.spatial.end());
  return axes;
}

/// Digits only, without a leading zero: one text per number.
std::optional<std::int64_t> parse_extent(std::string_view text) {
  std::int64_t extent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
  if (error != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  if (text.front() == '-' || (text.front() == '0' && text.size() > 1))
    return std::nullopt;
  return extent;
}

}  // namespace

std::int64_t Shape::plane() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : spatial)
    product *= extent;
  return product;
}
std::int64_t Shape::per_channel() const {
  return batch * plane();
}
std::int64_t Shape::elements() const {
  return per_channel() * channels;
}

std::string to_string(const Shape& shape) {
  std::string text;
  for (const std::int64_t extent : axes_of(shape))
    text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

std::optional<Shape> parse_shape(std::string_view text) {
  std::vector<std::int64_t> axes;
  std::int64_t elements = 1;  // an extent of 0 counts as 1: no product of other extents may overflow either
  for (;;) {
    const std::size_t end = std::min(text.find('x'), text.size());
    const std::optional<std::int64_t> extent = parse_extent(text.substr(0, end));
    if (!extent || axes.size() == most_axes)
      return std::nullopt;
    const std::int64_t factor = std::max<std::int64_t>(*extent, 1);
    if (factor > most_elements / elements)
      return std::nullopt;
    elements *= factor;
    axes.push_back(*extent);
    if (end == text.size())
      break;
    text.remove_prefix(end + 1);
  }
  if (axes.size() < 2)
    return std::nullopt;
  return Shape{axes[0], axes[1], {axes.begin() + 2, axes.end()}};
}

std::string_view to_string(Layout layout) {
  switch (layout) {
  case Layout::contiguous:
    return "contiguous";
  case Layout::channels_last:
    return "channels-last";
  case Layout::strided:
    return "strided";
  }
  return "?";
}

std::optional<Layout> parse_layout(std::string_view text) {
  for (const Layout layout : all_layouts)
    if (text == to_string(layout))
      return layout;
  return std::nullopt;
}

std::vector<std::int64_t> strides(const Shape& shape, Layout layout) {
  const std::vector<std::int64_t> axes = axes_of(shape);
  std::vector<std::int64_t> result(axes.size());
  std::int64_t stride = 1;
  const auto place = [&](std::size_t axis) {
    result[axis] = stride;
    stride *= std::max<std::int64_t>(axes[axis], 1);
  };
  if (layout == Layout::channels_last)
    place(1);
  for (std::size_t axis = axes.size(); axis-- > 2;)
    place(axis);
  if (layout == Layout::contiguous)
    place(1);
  place(0);
  return result;
}

namespace {

/// SplitMix64 as a counter-based generator: the n-th number of (seed, tensor).
std::uint64_t draw(std::uint64_t seed, int tensor, std::uint64_t n) {
  std::uint64_t z = seed + 0x9E3779B97F4A7C15U * (static_cast<std::uint64_t>(tensor) * 64 + n + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

Placement place_axes(const std::vector<std::int64_t>& axes, std::uint64_t seed, int tensor) {
  std::vector<std::size_t> order(axes.size());  // innermost first
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[draw(seed, tensor, i) % i]);
  Placement result;
  result.strides.resize(axes.size());
  result.offset = 1 + 2 * static_cast<std::int64_t>(draw(seed, tensor, 0) % 4);
  std::int64_t stride = 1 + static_cast<std::int64_t>(draw(seed, tensor, 20) % 3);
  std::int64_t last = 0;
  for (const std::size_t axis : order) {
    const std::int64_t extent = std::max<std::int64_t>(axes[axis], 1);
    result.strides[axis] = stride;
    last += (extent - 1) * stride;
    stride = stride * extent + static_cast<std::int64_t>(draw(seed, tensor, 30 + axis) % 4);
  }
  result.extent = result.offset + last + 1;
  return result;
}

}  // namespace

Placement placement(const Shape& shape, Layout layout, std::uint64_t seed, int tensor) {
  if (layout != Layout::strided)
    return {strides(shape, layout), 0, shape.elements()};
  return place_axes(axes_of(shape), seed, tensor);
}

Placement channel_placement(std::int64_t channels, Layout layout, std::uint64_t seed, int tensor) {
  if (layout != Layout::strided)
    return {{1}, 0, channels};
  return place_axes({channels}, seed, tensor);
}

}  // namespace normproof
