// Exact sums of one channel, in integers from the bits of the doubles.
#include "sums.h"

#include <iterator>

namespace normproof::reference {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t low_digit = 0xffffffffU;
constexpr int lowest_double = -1074;
constexpr int highest_double = 1024;

}  // namespace

ExactSum::ExactSum(int lowest, int highest)
    : lowest_(lowest),
      digits_(static_cast<std::size_t>((highest - lowest) / 32 + 5)) {}

void ExactSum::add(std::uint64_t m, int e) {
  const auto position = static_cast<std::size_t>(e - lowest_);
  const Wide shifted = static_cast<Wide>(m) << (position % 32);
  std::uint64_t* digit = digits_.data() + position / 32;
  digit[0] += static_cast<std::uint64_t>(shifted) & low_digit;
  digit[1] += static_cast<std::uint64_t>(shifted >> 32) & low_digit;
  digit[2] += static_cast<std::uint64_t>(shifted >> 64);
  if (++pending_ == std::int64_t{1} << 31)
    propagate();
}

void ExactSum::propagate() {
  std::uint64_t carry = 0;
  for (std::uint64_t& digit : digits_) {
    digit += carry;
    carry = digit >> 32;
    digit &= low_digit;
  }
  pending_ = 0;
}

Dyadic ExactSum::value() const {
  ExactSum normal = *this;
  normal.propagate();
  const auto used = [](std::uint64_t digit) {
    return digit != 0;
  };
  const auto first = std::find_if(normal.digits_.begin(), normal.digits_.end(), used);
  const auto end = std::find_if(normal.digits_.rbegin(), normal.digits_.rend(), used).base();
  if (first == normal.digits_.end())
    return {};
  Integer significand;
  boost::multiprecision::import_bits(significand, first, end, 32, false);
  return {significand, lowest_ + 32 * static_cast<std::int64_t>(first - normal.digits_.begin())};
}

ChannelSums sums_of(const double* x, std::int64_t n) {
  ChannelSums result;
  result.n = n;
  ExactSum positive(lowest_double, highest_double);
  ExactSum negative(lowest_double, highest_double);
  ExactSum squares(2 * lowest_double, 2 * highest_double);
  bool any = false;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint64_t>(x[i]);
    const auto field = static_cast<int>((bits >> 52) & 0x7ff);
    if (field == 0x7ff) {
      result.finite = false;
      result.special += x[i];
      continue;
    }
    if (x[i] < result.min)
      result.min = x[i];
    if (x[i] > result.max)
      result.max = x[i];
    const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
    const std::uint64_t m = field == 0 ? fraction : fraction | (std::uint64_t{1} << 52);
    if (m == 0)
      continue;
    const int e = std::max(field, 1) - 1075;
    ((bits >> 63) != 0 ? negative : positive).add(m, e);
    const Wide square = static_cast<Wide>(m) * m;
    squares.add(static_cast<std::uint64_t>(square), 2 * e);
    squares.add(static_cast<std::uint64_t>(square >> 64), 2 * e + 64);
    const int granularity = e + std::countr_zero(m);
    if (!any || granularity < result.granularity)
      result.granularity = granularity;
    any = true;
  }
  const Dyadic above = positive.value();
  const Dyadic below = negative.value();
  result.sum = above - below;
  result.sum_abs = above + below;
  result.squares = squares.value();
  return result;
}

}  // namespace normproof::reference
