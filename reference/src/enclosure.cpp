// Exact numbers as double-doubles with a bound.
#include "enclosure.h"

namespace normproof::reference {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr long range = 400;

/// magnitude * 2^exponent of an integer below 2^128, cut to a double-double.
DoubleDouble split(Wide magnitude, std::int64_t exponent) {
  const auto top = static_cast<std::uint64_t>(magnitude >> 64);
  const int bits =
      top != 0 ? 128 - std::countl_zero(top) : 64 - std::countl_zero(static_cast<std::uint64_t>(magnitude));
  const int below = std::max(0, bits - 53);
  const Wide upper = magnitude >> below;
  const auto hi = static_cast<double>(static_cast<std::uint64_t>(upper));
  const auto lo = static_cast<double>(magnitude - (upper << below));
  const DoubleDouble normal = fast_two_sum(std::ldexp(hi, below), lo);
  const auto scale = static_cast<int>(exponent);
  return {std::ldexp(normal.hi, scale), std::ldexp(normal.lo, scale)};
}

}  // namespace

std::optional<DoubleDouble> double_double(const Quotient& q) {
  const Integer& n = q.numerator.significand;
  if (n.sign() == 0)
    return DoubleDouble();
  Integer magnitude = abs(n);
  const auto bits_n = static_cast<std::int64_t>(msb(magnitude));
  const auto bits_d = static_cast<std::int64_t>(msb(q.denominator));
  const std::int64_t exponent = q.numerator.exponent + bits_n - bits_d;  // of the quotient, or one more
  if (exponent < -range || exponent > range)
    return std::nullopt;
  // At least 110 bits of the quotient, at most 112.
  const std::int64_t shift = 111 - (bits_n - bits_d);
  Integer divisor = q.denominator;
  if (shift > 0)
    magnitude <<= static_cast<std::size_t>(shift);
  else
    divisor <<= static_cast<std::size_t>(-shift);
  if (divisor != 1)
    magnitude /= divisor;
  const DoubleDouble value = split(static_cast<Wide>(magnitude), q.numerator.exponent - shift);
  return n.sign() < 0 ? -value : value;
}

std::optional<DoubleDouble> double_double(const Dyadic& d) {
  return double_double(Quotient{d, 1});
}

DoubleDouble approximation(const Quotient& q) {
  if (const auto value = double_double(q))
    return *value;
  const auto value = ball<RealOf<0>>(q).value;
  const auto hi = static_cast<double>(value);
  return {hi, std::isfinite(hi) ? static_cast<double>(RealOf<0>(value - hi)) : 0};
}

DoubleDouble inverse_root(DoubleDouble s) {
  // One Newton step r (1 + e/2), e = 1 - s r^2, from a double r.
  const double r = 1 / std::sqrt(s.hi);
  const DoubleDouble square = two_product(r, r);
  const DoubleDouble p = two_product(s.hi, square.hi);
  const double e = (1 - p.hi) - (p.lo + (s.hi * square.lo + s.lo * square.hi));
  return fast_two_sum(r, r * (0.5 * e));
}

namespace {

/// Where forms are safe: far from overflow and underflow.
bool in_range(double v) {
  return v == 0 || (std::abs(v) >= 0x1p-400 && std::abs(v) <= 0x1p400);
}

}  // namespace

std::optional<Enclosed> enclosed(DoubleDouble scale, const Quotient& q, double shift) {
  const auto factor = double_double(q);
  if (!factor || !in_range(scale.hi) || !in_range(shift))
    return std::nullopt;
  const DoubleDouble product = scale * *factor;
  const DoubleDouble value = product + DoubleDouble(shift);
  return Enclosed{value.hi, value.lo,
                  form_error * (std::abs(product.hi) + std::abs(shift)) + underflow_error};
}

std::optional<Enclosed> enclosed(const Quotient& q) {
  const auto value = double_double(q);
  if (!value)
    return std::nullopt;
  return Enclosed{value->hi, value->lo, form_error * std::abs(value->hi) + underflow_error};
}

std::optional<Form> form_of(DoubleDouble scale, const Linear& l, double shift, double centre) {
  Form form;
  form.shift = l.x.sign() == 0 ? 0 : centre;
  const Dyadic moved = l.x.sign() == 0 ? l.constant : l.constant + l.x * Dyadic(form.shift);
  const Dyadic* coefficients[] = {&moved, &l.x, &l.dy, &l.v};
  for (std::size_t k = 0; k < 4; ++k) {
    const auto one = enclosed(scale, Quotient{*coefficients[k], l.denominator}, k == 0 ? shift : 0);
    if (!one)
      return std::nullopt;
    form.hi[k] = one->hi;
    form.lo[k] = one->lo;
    form.error[k] = one->error;
  }
  return form;
}

std::optional<Rounded> certified(const Format& format, const std::optional<Enclosed>& value) {
  if (!value)
    return std::nullopt;
  const Decided d = lanes().decide(Grid(format), *value);
  if (!d.certain)
    return std::nullopt;
  return Rounded{d.rn, d.off};
}

}  // namespace normproof::reference
