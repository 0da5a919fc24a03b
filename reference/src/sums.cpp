// Exact sums of one channel, in integers from the bits of the doubles.
#include "sums.h"

#include <iterator>
#include <optional>

#include "lanes.h"

namespace normproof::reference {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t low_digit = 0xffffffffU;
constexpr int lowest_double = -1074;
constexpr int highest_double = 1024;

/// |v| = m 2^e.
struct Parts {
  std::uint64_t m;
  int e;
};

Parts parts_of(double v) {
  const auto bits = std::bit_cast<std::uint64_t>(v);
  const auto field = static_cast<int>((bits >> 52) & 0x7ff);
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  return {field == 0 ? fraction : fraction | (std::uint64_t{1} << 52), std::max(field, 1) - 1075};
}

__extension__ using Signed = __int128;

/// Finite values as integers of at most 62 bits times one power of two.
class Integers {
public:
  static std::optional<Integers> of(const Extent& e) {
    if (!e.finite)
      return std::nullopt;
    if (e.max_abs == 0)
      return Integers(0, 0);
    const int exponent = std::ilogb(e.lowest_bit);
    const int bits = std::ilogb(e.max_abs) - exponent + 1;
    if (bits > 62 || exponent < -1000 || exponent > 1000)
      return std::nullopt;
    return Integers(exponent, bits);
  }
  std::int64_t operator()(double v) const { return static_cast<std::int64_t>(v * scale_); }  // exact
  int exponent() const { return exponent_; }
  int bits() const { return bits_; }

private:
  Integers(int exponent, int bits) : exponent_(exponent), bits_(bits), scale_(std::ldexp(1.0, -exponent)) {}

  int exponent_;
  int bits_;
  double scale_;
};

/// Whether a sum of n products of a and b fits 127 bits.
bool products_fit(const Integers& a, const Integers& b, std::int64_t n) {
  const auto terms = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n)));
  return a.bits() + b.bits() + terms <= 126;
}

Dyadic dyadic(Signed sum, int exponent) {
  if (sum == 0)
    return {};
  return {Integer(sum), exponent};
}

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
  const Extent extent = lanes().extent(x, n);
  const auto integers = Integers::of(extent);
  if (n == 0 || !integers || !products_fit(*integers, *integers, n))
    return plain_sums_of(x, n);
  Signed sum = 0;
  Signed sum_abs = 0;
  Signed squares = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t m = (*integers)(x[i]);
    sum += m;
    sum_abs += m < 0 ? -m : m;
    squares += static_cast<Signed>(m) * m;
  }
  ChannelSums result;
  result.n = n;
  result.sum = dyadic(sum, integers->exponent());
  result.sum_abs = dyadic(sum_abs, integers->exponent());
  result.squares = dyadic(squares, 2 * integers->exponent());
  result.min = extent.min;
  result.max = extent.max;
  result.granularity = integers->exponent();
  return result;
}

ChannelSums plain_sums_of(const double* x, std::int64_t n) {
  ChannelSums result;
  result.n = n;
  ExactSum positive(lowest_double, highest_double);
  ExactSum negative(lowest_double, highest_double);
  ExactSum squares(2 * lowest_double, 2 * highest_double);
  bool any = false;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) {
      result.finite = false;
      result.special += x[i];
      continue;
    }
    if (x[i] < result.min)
      result.min = x[i];
    if (x[i] > result.max)
      result.max = x[i];
    const auto [m, e] = parts_of(x[i]);
    if (m == 0)
      continue;
    (x[i] < 0 ? negative : positive).add(m, e);
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

ProductSum::ProductSum()
    : positive_(2 * lowest_double, 2 * highest_double),
      negative_(2 * lowest_double, 2 * highest_double) {}

void ProductSum::add(double a, double b) {
  const Parts p = parts_of(a);
  const Parts q = parts_of(b);
  const Wide product = static_cast<Wide>(p.m) * q.m;
  if (product == 0)
    return;
  ExactSum& target = std::signbit(a) == std::signbit(b) ? positive_ : negative_;
  target.add(static_cast<std::uint64_t>(product), p.e + q.e);
  target.add(static_cast<std::uint64_t>(product >> 64), p.e + q.e + 64);
}

namespace {

/// |w| with the sign of x - m.
double folded_value(double w, double x, double mean_hi, double mean_lo) {
  const bool above = x > mean_hi || (x == mean_hi && mean_lo < 0);
  return above ? std::abs(w) : -std::abs(w);
}

}  // namespace

WeightedSums weighted_sums_of(const double* w, const double* x, std::int64_t n, double mean_hi,
                              double mean_lo) {
  const Extent extent = lanes().extent(w, n);
  const auto weights = Integers::of(extent);
  const auto values = x == nullptr ? weights : Integers::of(lanes().extent(x, n));
  if (!weights || !values || !products_fit(*weights, *values, n))
    return plain_weighted_sums_of(w, x, n, mean_hi, mean_lo);
  Signed sum = 0;
  Signed sum_abs = 0;
  Signed with_x = 0;
  Signed folded = 0;
  Signed folded_with_x = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t m = (*weights)(w[i]);
    sum += m;
    sum_abs += m < 0 ? -m : m;
    if (x == nullptr)
      continue;
    const std::int64_t t = (*weights)(folded_value(w[i], x[i], mean_hi, mean_lo));
    const auto k = static_cast<Signed>((*values)(x[i]));
    with_x += m * k;
    folded += t;
    folded_with_x += t * k;
  }
  const int both = weights->exponent() + values->exponent();
  WeightedSums result;
  result.sum = dyadic(sum, weights->exponent());
  result.sum_abs = dyadic(sum_abs, weights->exponent());
  result.with_x = dyadic(with_x, both);
  result.folded = dyadic(folded, weights->exponent());
  result.folded_with_x = dyadic(folded_with_x, both);
  result.max_abs = extent.max_abs;
  result.granularity = weights->exponent();
  return result;
}

WeightedSums plain_weighted_sums_of(const double* w, const double* x, std::int64_t n, double mean_hi,
                                    double mean_lo) {
  WeightedSums result;
  ProductSum plain, folded, with_x, folded_with_x;
  bool any = false;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(w[i])) {
      result.finite = false;
      result.special += w[i];
      continue;
    }
    if (w[i] == 0)
      continue;
    plain.add(w[i], 1);
    result.max_abs = std::max(result.max_abs, std::abs(w[i]));
    const auto [m, e] = parts_of(w[i]);
    const int granularity = e + std::countr_zero(m);
    if (!any || granularity < result.granularity)
      result.granularity = granularity;
    any = true;
    if (x == nullptr)
      continue;
    const double t = folded_value(w[i], x[i], mean_hi, mean_lo);
    with_x.add(w[i], x[i]);
    folded.add(t, 1);
    folded_with_x.add(t, x[i]);
  }
  result.sum = plain.value();
  result.sum_abs = plain.magnitude();
  result.with_x = with_x.value();
  result.folded = folded.value();
  result.folded_with_x = folded_with_x.value();
  return result;
}

Dot dot_of(const double* a, const double* b, std::int64_t n) {
  const auto left = Integers::of(lanes().extent(a, n));
  const auto right = Integers::of(lanes().extent(b, n));
  if (!left || !right || !products_fit(*left, *right, n))
    return plain_dot_of(a, b, n);
  Signed sum = 0;
  Signed magnitude = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const Signed product = static_cast<Signed>((*left)(a[i])) * (*right)(b[i]);
    sum += product;
    magnitude += product < 0 ? -product : product;
  }
  const int exponent = left->exponent() + right->exponent();
  return {dyadic(sum, exponent), dyadic(magnitude, exponent)};
}

Dot plain_dot_of(const double* a, const double* b, std::int64_t n) {
  ProductSum sum;
  for (std::int64_t i = 0; i < n; ++i)
    sum.add(a[i], b[i]);
  return {sum.value(), sum.magnitude()};
}

}  // namespace normproof::reference
