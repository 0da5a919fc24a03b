// Shapes: their text form and the strides of dense layouts.
#include "normproof/spec/shape.h"

#include <algorithm>
#include <charconv>

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
  return layout == Layout::contiguous ? "contiguous" : "channels-last";
}

std::optional<Layout> parse_layout(std::string_view text) {
  for (const Layout layout : {Layout::contiguous, Layout::channels_last})
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

}  // namespace normproof
