// Cases as raw buffers, for tests and benchmarks of certified.h.
#pragma once

#include <cstring>
#include <vector>

#include "normproof/reference/certified.h"
#include "normproof/spec/case.h"

namespace normproof::testing_cases {

/// A tensor in storage of its own.
struct Stored {
  Format format;
  Placement where;
  std::vector<unsigned char> bytes;

  void put(std::int64_t place, double value) {
    const std::uint64_t bits = encode(format, value);
    std::memcpy(bytes.data() + place * format.bytes, &bits, static_cast<std::size_t>(format.bytes));
  }
  std::uint64_t bits(std::int64_t place) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + place * format.bytes, static_cast<std::size_t>(format.bytes));
    return bits;
  }
};

inline Stored stored(const Format& format, const Placement& where) {
  return {format, where,
          std::vector<unsigned char>(static_cast<std::size_t>(where.extent * format.bytes),
                                     static_cast<unsigned char>(0xa5))};
}

/// f(place, i) for the place of every value i of the channel-major order.
template <class F>
void each_place(const Shape& shape, const Placement& where, const F& f) {
  std::int64_t i = 0;
  for (std::int64_t c = 0; c < shape.channels; ++c)
    for (std::int64_t n = 0; n < shape.batch; ++n)
      for (std::int64_t s = 0; s < shape.plane(); ++s, ++i) {
        std::int64_t place = where.offset + n * where.strides[0] + c * where.strides[1];
        std::int64_t rest = s;
        for (std::size_t k = shape.spatial.size(); k-- > 0;) {
          place += rest % shape.spatial[k] * where.strides[k + 2];
          rest /= shape.spatial[k];
        }
        f(place, static_cast<std::size_t>(i));
      }
}

inline Stored stored(const Shape& shape, const Format& format, const Placement& where,
                     const std::vector<double>& values) {
  Stored s = stored(format, where);
  each_place(shape, where, [&](std::int64_t place, std::size_t i) { s.put(place, values[i]); });
  return s;
}
/// A per-channel tensor; empty where it is absent.
inline Stored stored(const Format& format, const std::vector<double>& values) {
  Stored s = stored(format, Placement{{1}, 0, static_cast<std::int64_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i)
    s.put(static_cast<std::int64_t>(i), values[i]);
  return s;
}
inline const void* data(const Stored& s) {
  return s.bytes.empty() ? nullptr : s.bytes.data();
}
inline void* data(Stored& s) {
  return s.bytes.empty() ? nullptr : s.bytes.data();
}

}  // namespace normproof::testing_cases
