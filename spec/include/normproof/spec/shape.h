// Shapes and layouts of activations.
//
// The reduction axis of batch normalisation is everything but the channel. A case therefore keeps x
// channel-major (see case.h) and only the kernel's buffers know a layout.
#pragma once

#include <array>
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

/// contiguous: [N, C, S...] row-major. channels_last: [N, S..., C] row-major. strided: every tensor has its
/// own order of axes, gaps between them, storage offset and misalignment, drawn from the problem's
/// layout_seed.
enum class Layout { contiguous, channels_last, strided };
inline constexpr std::array all_layouts{Layout::contiguous, Layout::channels_last, Layout::strided};

std::string_view to_string(Layout layout);
std::optional<Layout> parse_layout(std::string_view text);

/// Element strides of the axes N, C, S... in that order, for a dense tensor of the layout.
/// Not for `strided`, which has no one answer: see placement().
std::vector<std::int64_t> strides(const Shape& shape, Layout layout);

/// Where the elements of one tensor lie in its storage, in elements.
struct Placement {
  std::vector<std::int64_t> strides;  ///< of the axes N, C, S...
  std::int64_t offset = 0;            ///< of the first element from the start of the storage
  std::int64_t extent = 0;            ///< elements of storage that the tensor spans, offset included
};
/// Dense for contiguous and channels_last. For `strided` a pure function of (seed, tensor): any order of the
/// axes, gaps behind each, and an odd offset, so that no vector load is aligned. `tensor` is a small number
/// of the caller's.
Placement placement(const Shape& shape, Layout layout, std::uint64_t seed, int tensor);
/// The same for a per-channel vector.
Placement channel_placement(std::int64_t channels, Layout layout, std::uint64_t seed, int tensor);

}  // namespace normproof
