// Reading a tensor as rows of 16 lanes, whatever its layout, so that every reduction is written once.
//
// Either a tile is one channel and the lanes are 16 streams of its values, merged at the end (contiguous); or
// a tile is 16 neighbouring channels, a lane each, so that every cache line that is fetched is used whole
// (channels-last). Tensors that are read together walk in the way of the first one, each with its own
// strides.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "cpu/geometry.h"

namespace normproof::impls::cpu {

inline constexpr std::int64_t lanes = 16;

template <class Acc>
using Row = std::array<Acc, lanes>;

template <class Acc>
Row<Acc> constant_row(Acc value) {
  Row<Acc> row;
  row.fill(value);
  return row;
}

/// The values begin .. end - 1 of every channel, converted to Acc as they are read.
template <class Data, class Acc>
struct Source {
  const Data* x;
  Geometry geometry;
  std::int64_t begin;
  std::int64_t end;
  bool lanes_are_channels = geometry.interleaved;

  std::int64_t count() const { return end - begin; }
  std::int64_t rows() const { return lanes_are_channels ? count() : (count() + lanes - 1) / lanes; }

  /// Channels of tile t: first .. first + width - 1.
  std::int64_t tiles() const {
    return lanes_are_channels ? (geometry.channels + lanes - 1) / lanes : geometry.channels;
  }
  std::int64_t first_channel(std::int64_t tile) const { return lanes_are_channels ? tile * lanes : tile; }
  std::int64_t width(std::int64_t tile) const {
    return lanes_are_channels ? std::min(lanes, geometry.channels - first_channel(tile)) : 1;
  }

  /// Rows first .. first + number - 1 of a tile. Lanes without a value there get that of `pad`.
  void load(std::int64_t tile, std::int64_t first, std::int64_t number, Row<Acc>* rows,
            const Row<Acc>& pad) const {
    if (lanes_are_channels)
      load_channels(first_channel(tile), width(tile), first, number, rows, pad);
    else
      load_streams(tile, first, number, rows, pad);
  }

private:
  void load_channels(std::int64_t channel, std::int64_t used, std::int64_t first, std::int64_t number,
                     Row<Acc>* rows, const Row<Acc>& pad) const {
    const std::int64_t step = geometry.channel_step;
    for (std::int64_t r = 0; r < number; ++r) {
      const Data* const from = x + geometry.offset(channel, begin + first + r);
      Acc* const to = rows[r].data();
      if (step == 1)
        for (std::int64_t l = 0; l < used; ++l)
          to[l] = static_cast<Acc>(from[l]);
      else
        for (std::int64_t l = 0; l < used; ++l)
          to[l] = static_cast<Acc>(from[l * step]);
      for (std::int64_t l = used; l < lanes; ++l)
        to[l] = pad[static_cast<std::size_t>(l)];
    }
  }

  void load_streams(std::int64_t channel, std::int64_t first, std::int64_t number, Row<Acc>* rows,
                    const Row<Acc>& pad) const {
    Acc* to = rows[0].data();  // rows lie together
    const std::int64_t wanted = number * lanes;
    const std::int64_t start = begin + first * lanes;
    const std::int64_t given = std::min(wanted, end - start);
    const std::int64_t step = geometry.step;
    for (std::int64_t k = 0; k < given;) {
      const std::int64_t together = std::min(given - k, geometry.plane - (start + k) % geometry.plane);
      const Data* const from = x + geometry.offset(channel, start + k);
      if (step == 1)
        for (std::int64_t j = 0; j < together; ++j)
          to[k + j] = static_cast<Acc>(from[j]);
      else
        for (std::int64_t j = 0; j < together; ++j)
          to[k + j] = static_cast<Acc>(from[j * step]);
      k += together;
    }
    for (std::int64_t k = given; k < wanted; ++k)
      to[k] = pad[static_cast<std::size_t>(k % lanes)];
  }
};

/// Calls one(channel, offset in each tensor...) for the values begin .. end - 1 of every channel, in the
/// order of the first tensor.
template <class One, class... More>
void for_each_value(std::int64_t begin, std::int64_t end, One one, const Geometry& g, const More&... more) {
  if (g.interleaved) {
    const bool dense = ((g.channel_step == 1) && ... && (more.channel_step == 1));
    const auto row = [&](auto step, std::int64_t at, auto... others) {
      for (std::int64_t k = 0; k < g.channels; ++k)
        one(k, at + k * step(g), others.first + k * step(*others.second)...);
    };
    for (std::int64_t i = begin; i < end; ++i)
      if (dense)
        row([](const Geometry&) { return std::int64_t{1}; }, g.offset(0, i),
            std::pair(more.offset(0, i), &more)...);
      else
        row([](const Geometry& t) { return t.channel_step; }, g.offset(0, i),
            std::pair(more.offset(0, i), &more)...);
    return;
  }
  const bool dense = ((g.step == 1) && ... && (more.step == 1));
  for (std::int64_t i = begin; i < end;) {
    const auto left = [i](const Geometry& t) {
      return t.plane - i % t.plane;
    };
    const std::int64_t together = std::min({end - i, left(g), left(more)...});
    const auto run = [&](auto step, std::int64_t k, std::int64_t at, auto... others) {
      for (std::int64_t j = 0; j < together; ++j)
        one(k, at + j * step(g), others.first + j * step(*others.second)...);
    };
    for (std::int64_t k = 0; k < g.channels; ++k)
      if (dense)
        run([](const Geometry&) { return std::int64_t{1}; }, k, g.offset(k, i),
            std::pair(more.offset(k, i), &more)...);
      else
        run([](const Geometry& t) { return t.step; }, k, g.offset(k, i),
            std::pair(more.offset(k, i), &more)...);
    i += together;
  }
}

}  // namespace normproof::impls::cpu
