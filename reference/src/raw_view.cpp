// Placements as runs, as columns, or as neither.
#include "raw_view.h"

#include <stdexcept>

namespace normproof::reference {

Places::Places(const Shape& shape, const Placement& placement, int bytes)
    : shape_(shape),
      strides_(placement.strides),
      offset_(placement.offset),
      bytes_(bytes) {
  if (placement.strides.size() != shape.spatial.size() + 2)
    throw std::invalid_argument("a placement has one stride for each axis: N, C and those of space");
  channel_stride_ = strides_[1];
  // Space as one axis: its innermost stride, if every axis continues the one inside it.
  bool dense = true;
  std::int64_t inner = 1;
  std::int64_t extent = 1;
  for (std::size_t k = shape.spatial.size(); k-- > 0;) {
    if (shape.spatial[k] == 1)
      continue;
    if (extent == 1)
      inner = strides_[k + 2];
    else
      dense = dense && strides_[k + 2] == inner * extent;
    extent *= shape.spatial[k];
  }
  if (!dense)
    return;
  if (extent == 1)
    inner = strides_[0];
  if (inner == 1 && extent > 1)
    rows_ = Rows{shape.batch, extent, strides_[0]};
  else if (channel_stride_ == 1 && (extent == 1 || shape.batch == 1 || strides_[0] == inner * extent))
    columns_ = inner;
}

template <class Copy>
void Places::each(std::int64_t first, std::int64_t count, std::int64_t pitch, const Copy& copy) const {
  if (columns_) {  // equally far apart: no hardware guesses so far ahead
    const std::int64_t step = bytes_ * *columns_;
    const std::int64_t n = shape_.per_channel();
    const std::int64_t start = bytes_ * (offset_ + first * channel_stride_);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t c = 0; c < count; ++c)
        copy(start + i * step + c * bytes_ * channel_stride_, c * pitch + i * bytes_);
    return;
  }
  const std::size_t axes = shape_.spatial.size();
  std::vector<std::int64_t> at(axes);
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < shape_.batch; ++n) {
    std::int64_t place = offset_ + n * strides_[0] + first * channel_stride_;
    const std::int64_t plane = shape_.plane();
    for (std::int64_t s = 0; s < plane; ++s, ++i) {
      for (std::int64_t c = 0; c < count; ++c)
        copy(bytes_ * (place + c * channel_stride_), c * pitch + i * bytes_);
      for (std::size_t k = axes; k-- > 0;) {  // the next point in space
        place += strides_[k + 2];
        if (++at[k] < shape_.spatial[k])
          break;
        place -= at[k] * strides_[k + 2];
        at[k] = 0;
      }
    }
  }
}

void Places::gather(const void* data, std::int64_t first, std::int64_t count, char* to,
                    std::int64_t pitch) const {
  const auto* from = static_cast<const char*>(data);
  const auto with = [&]<std::size_t size>(std::integral_constant<std::size_t, size>) {
    const std::int64_t ahead = columns_ ? 24 * bytes_ * *columns_ : 0;
    each(first, count, pitch, [&](std::int64_t there, std::int64_t here) {
      __builtin_prefetch(from + there + ahead);
      std::memcpy(to + here, from + there, size);
    });
  };
  if (bytes_ == 2)
    with(std::integral_constant<std::size_t, 2>{});
  else if (bytes_ == 4)
    with(std::integral_constant<std::size_t, 4>{});
  else
    with(std::integral_constant<std::size_t, 8>{});
}

void Places::scatter(const char* from, std::int64_t pitch, std::int64_t first, std::int64_t count,
                     void* data) const {
  auto* to = static_cast<char*>(data);
  const auto with = [&]<std::size_t size>(std::integral_constant<std::size_t, size>) {
    each(first, count, pitch,
         [&](std::int64_t there, std::int64_t here) { std::memcpy(to + there, from + here, size); });
  };
  if (bytes_ == 2)
    with(std::integral_constant<std::size_t, 2>{});
  else if (bytes_ == 4)
    with(std::integral_constant<std::size_t, 4>{});
  else
    with(std::integral_constant<std::size_t, 8>{});
}

void Places::gather_columns(const void* data, const std::vector<std::int64_t>& channels, std::int64_t first,
                            std::int64_t end, char* to, std::int64_t pitch) const {
  const auto with = [&]<std::size_t size>(std::integral_constant<std::size_t, size>) {
    const std::int64_t ahead = 32 * bytes_ * *columns_;
    for (std::int64_t row = first; row < end; ++row) {
      const char* const from = channel(data, 0) + row * *columns_ * bytes_;
      char* here = to + row * bytes_;
      for (const std::int64_t c : channels) {
        const char* const one = from + c * bytes_ * channel_stride_;
        __builtin_prefetch(one + ahead);
        std::memcpy(here, one, size);
        here += pitch;
      }
    }
  };
  if (bytes_ == 2)
    with(std::integral_constant<std::size_t, 2>{});
  else if (bytes_ == 4)
    with(std::integral_constant<std::size_t, 4>{});
  else
    with(std::integral_constant<std::size_t, 8>{});
}

}  // namespace normproof::reference
