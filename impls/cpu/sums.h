// Sums over a tile of 16 lanes (source.h): a balanced tree of short leaves, blocks of about the square root
// of the number of rows, and sums that carry their own rounding errors along.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>

#include "cpu/source.h"

namespace normproof::impls::cpu {

inline std::int64_t log2_floor(std::int64_t n) {
  return n < 1 ? 0 : static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(n))) - 1;
}

/// A balanced tree over a stream: partial results of 1, 2, 4, ... items, merged like the digits of a binary
/// counter. Of L items each passes through at most log2_floor(L) + 1 merges. merge(older, newer): older has
/// as many items or more.
template <class Item, class Merge>
class BinaryCounter {
public:
  explicit BinaryCounter(Merge merge) : merge_(merge) {}

  void push(Item item) {
    std::size_t level = 0;
    for (std::uint64_t digits = items_++; (digits & 1) != 0; digits >>= 1)
      item = merge_(partial_[level++], item);
    partial_[level] = item;
  }
  bool empty() const { return items_ == 0; }
  /// Of at least one item.
  Item total() const {
    auto level = static_cast<std::size_t>(std::countr_zero(items_));
    Item all = partial_[level];
    for (++level; (items_ >> level) != 0; ++level)
      if (((items_ >> level) & 1) != 0)
        all = merge_(partial_[level], all);
    return all;
  }

private:
  Merge merge_;
  std::uint64_t items_ = 0;
  std::array<Item, 48> partial_;
};
inline std::int64_t counter_depth(std::int64_t items) {
  return items <= 1 ? 0 : log2_floor(items) + 1;
}

/// A sum and, apart from it, the rounding errors of all its additions, which TwoSum gives exactly. The errors
/// are added in when the sum is done: as if it had been formed with twice the bits.
template <class Acc>
struct Compensated {
  Acc sum{0};
  Acc error{0};

  Compensated& operator+=(const Compensated& other) {
    const Acc total = sum + other.sum;
    const Acc part = total - sum;
    error += other.error + ((sum - (total - part)) + (other.sum - part));
    sum = total;
    return *this;
  }
  /// An overflow or a NaN is that of the plain sum; its "error" is none.
  Acc value() const { return std::isfinite(error) ? sum + error : sum; }
};

/// (a - b)^2 with the errors of the difference and of the square.
template <class Acc>
Compensated<Acc> squared_difference(Acc a, Acc b) {
  Compensated<Acc> d{a, Acc{0}};
  d += Compensated<Acc>{-b, Acc{0}};
  const Acc square = d.sum * d.sum;
  return {square, std::fma(d.sum, d.sum, -square) + Acc{2} * d.sum * d.error};
}

template <class Sum>
Row<Sum> add(Row<Sum> a, const Row<Sum>& b) {
  for (std::size_t l = 0; l < lanes; ++l)
    a[l] += b[l];
  return a;
}

/// Where the lanes are streams of one channel: their sum, in every lane.
template <class Sum>
Row<Sum> fold_lanes(Row<Sum> row) {
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t l = 0; l < half; ++l)
      row[l] += row[l + half];
  return constant_row(row[0]);
}

inline constexpr std::int64_t leaf_rows = 8;

/// A tensor with what its lanes without a value count as.
template <class Data, class Acc>
struct Operand {
  const Source<Data, Acc>& source;
  Row<Acc> pad = constant_row(Acc{0});
};

/// Calls use(row of terms) for rows first .. last - 1 of a tile, term(value of each operand..., lane).
template <class Term, class Use, class... Data, class Acc>
void for_each_row(std::int64_t tile, std::int64_t first, std::int64_t last, const Term& term, Use&& use,
                  const Operand<Data, Acc>&... operands) {
  std::tuple<std::pair<const Operand<Data, Acc>*, std::array<Row<Acc>, leaf_rows>>...> all{
      std::pair<const Operand<Data, Acc>*, std::array<Row<Acc>, leaf_rows>>{&operands, {}}...};
  for (std::int64_t r = first; r < last; r += leaf_rows) {
    const std::int64_t number = std::min(leaf_rows, last - r);
    std::apply(
        [&](auto&... read) {
          (read.first->source.load(tile, r, number, read.second.data(), read.first->pad), ...);
          for (std::size_t k = 0; k < static_cast<std::size_t>(number); ++k) {
            Row<decltype(term(read.second[0][0]..., std::size_t{0}))> row;
            for (std::size_t l = 0; l < lanes; ++l)
              row[l] = term(read.second[k][l]..., l);
            use(row);
          }
        },
        all);
  }
}

/// A sum of leaves, where a leaf is up to `rows` rows one after the other and `merge_leaf(leaf)` takes it.
template <class Term, class Take, class First, class... More>
void for_each_leaf(std::int64_t tile, std::int64_t rows, const Term& term, Take&& take, const First& first,
                   const More&... more) {
  for (std::int64_t r = 0; r < first.source.rows(); r += rows) {
    Row<decltype(term(first.pad[0], more.pad[0]..., std::size_t{0}))> leaf{};
    bool begun = false;
    for_each_row(
        tile, r, std::min(r + rows, first.source.rows()), term,
        [&](const auto& row) {
          leaf = begun ? add(leaf, row) : row;
          begun = true;
        },
        first, more...);
    take(leaf);
  }
}

/// Leaves of 8 rows, then a balanced tree: a depth of about log2 n + 12.
struct Cascade {
  template <class Term, class First, class... More>
  static auto sum(std::int64_t tile, const Term& term, const First& first, const More&... more) {
    using Sum = decltype(term(first.pad[0], more.pad[0]..., std::size_t{0}));
    BinaryCounter<Row<Sum>, decltype(&add<Sum>)> counter(&add<Sum>);
    for_each_leaf(tile, leaf_rows, term, [&](const Row<Sum>& leaf) { counter.push(leaf); }, first, more...);
    if (counter.empty())
      return Row<Sum>{};
    return first.source.lanes_are_channels ? counter.total() : fold_lanes(counter.total());
  }

  /// Additions that any of n values of a channel passes through.
  static std::int64_t depth(std::int64_t n, bool interleaved) {
    const std::int64_t rows = interleaved ? n : (n + lanes - 1) / lanes;
    const std::int64_t leaves = (rows + leaf_rows - 1) / leaf_rows;
    const std::int64_t depth = std::min(rows, leaf_rows) - 1 + counter_depth(leaves) + (interleaved ? 0 : 4);
    return std::clamp<std::int64_t>(depth, 0, std::max<std::int64_t>(n - 1, 0));
  }
};

/// Blocks of about sqrt(rows) rows, each lane by itself; then the blocks, one after the other.
struct Blocks {
  template <class Term, class First, class... More>
  static auto sum(std::int64_t tile, const Term& term, const First& first, const More&... more) {
    using Sum = decltype(term(first.pad[0], more.pad[0]..., std::size_t{0}));
    Row<Sum> total{};
    bool begun = false;
    for_each_leaf(
        tile, block(first.source.rows()), term,
        [&](const Row<Sum>& leaf) {
          total = begun ? add(total, leaf) : leaf;
          begun = true;
        },
        first, more...);
    return first.source.lanes_are_channels ? total : fold_lanes(total);
  }

  static std::int64_t depth(std::int64_t n, bool interleaved) {
    const std::int64_t rows = interleaved ? n : (n + lanes - 1) / lanes;
    const std::int64_t size = std::min(block(rows), rows);
    const std::int64_t blocks = (rows + block(rows) - 1) / block(rows);
    return std::clamp<std::int64_t>(size - 1 + blocks - 1 + (interleaved ? 0 : 4), 0,
                                    std::max<std::int64_t>(n - 1, 0));
  }

private:
  static std::int64_t block(std::int64_t rows) {
    return std::max<std::int64_t>(leaf_rows, static_cast<std::int64_t>(std::sqrt(static_cast<double>(rows))));
  }
};

}  // namespace normproof::impls::cpu
