// Shapes and layouts of activations.
//
// The reduction axis of batch normalisation is everything but the channel. A case therefore keeps x channel-major
// (see case.h) and only the kernel's buffers know a layout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace normproof {

/// [batch, channels, spatial...]; spatial may be empty (BN1d on [N, C]).
struct Shape {
  std::int64_t batch = 1;
  std::int64_t channels = 1;
  std::vector<std::int64_t> spatial;

  /// Product of the spatial extents, 1 when there are none.
  std::int64_t plane() const;
  /// Values per channel: batch * plane(). The n of every bound.
  std::int64_t per_channel() const;
  std::int64_t elements() const;

  friend bool operator==(const Shape&, const Shape&) = default;
};

/// "8x16x14x14"; parse refuses anything else, extents below 0, more than 6 axes and more than 2^40 elements.
std::string to_string(const Shape& shape);
std::optional<Shape> parse_shape(std::string_view text);

/// contiguous: [N, C, S...] row-major. channels_last: [N, S..., C] row-major.
enum class Layout { contiguous, channels_last };

std::string_view to_string(Layout layout);
std::optional<Layout> parse_layout(std::string_view text);

/// Element strides of the axes N, C, S... in that order, for a dense tensor of the layout.
std::vector<std::int64_t> strides(const Shape& shape, Layout layout);

}  // namespace normproof
