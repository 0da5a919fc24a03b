// Multiprecision numbers at fixed precisions: MPFR, or Boost's own where MPFR is absent.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>

#ifdef NORMPROOF_WITH_MPFR
#include <boost/multiprecision/mpfr.hpp>
#else
#include <boost/multiprecision/cpp_bin_float.hpp>
#endif

namespace normproof::reference {

#ifdef NORMPROOF_WITH_MPFR
/// Boost states precisions in decimal digits; 77, 308 and 1310 of them are at least 256, 1024 and 4352 bits.
template <unsigned Digits>
using MpfrReal = boost::multiprecision::number<
    boost::multiprecision::mpfr_float_backend<Digits, boost::multiprecision::allocate_stack>,
    boost::multiprecision::et_off>;
/// Why three: 256 bits decide nearly everything, 1024 every sensible cancellation, and 4352 every element of
/// every format: see the proof at settle() in settle.h.
using Tiers = std::tuple<MpfrReal<77>, MpfrReal<308>, MpfrReal<1310>>;
#else
template <unsigned Bits>
using BoostReal = boost::multiprecision::number<
    boost::multiprecision::cpp_bin_float<Bits, boost::multiprecision::digit_base_2, void, std::int32_t,
                                         -(1 << 24), 1 << 24>,
    boost::multiprecision::et_off>;
using Tiers = std::tuple<BoostReal<256>, BoostReal<1024>, BoostReal<4352>>;
#endif

template <std::size_t Tier>
using RealOf = std::tuple_element_t<Tier, Tiers>;

/// Precision in bits. MPFR is told the precision by way of digits10, by this same function.
template <class Real>
inline constexpr long precision = std::numeric_limits<Real>::digits;
static_assert(precision<RealOf<0>> >= 256 && precision<RealOf<1>> >= 1024 && precision<RealOf<2>> >= 4352);

/// X with 2^(X-1) <= |v| < 2^X; far below everything for 0.
inline constexpr long minus_infinity = -(1L << 40);
template <class Real>
long exponent_of(const Real& v) {
  if (v.is_zero())
    return minus_infinity;
#ifdef NORMPROOF_WITH_MPFR
  return static_cast<long>(mpfr_get_exp(v.backend().data()));
#else
  return static_cast<long>(v.backend().exponent()) + 1;
#endif
}

}  // namespace normproof::reference
