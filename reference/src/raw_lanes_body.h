// The body of raw_lanes.h, on the same terms as lanes_body.h, which comes first.

#include "line.h"
#include "raw_lanes.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

// Sums by reference live in registers only where the loop around them sees all of their uses.
#define NORMPROOF_INLINE __attribute__((always_inline))

namespace normproof::reference::NORMPROOF_LANES {
namespace {

// --- vectors of the instruction set ---

#if defined(__AVX512F__)
constexpr int width = 8;
#elif defined(__AVX2__)
constexpr int width = 4;
#else
constexpr int width = 2;
#endif
using Doubles __attribute__((vector_size(8 * width))) = double;
using Longs __attribute__((vector_size(8 * width))) = std::int64_t;
using Floats __attribute__((vector_size(4 * width))) = float;
using Words __attribute__((vector_size(4 * width))) = std::uint32_t;
using Halves __attribute__((vector_size(2 * width))) = std::uint16_t;
// Twice as many floats fill a vector.
constexpr int float_width = 2 * width;
using Singles __attribute__((vector_size(4 * float_width))) = float;
using SingleBits __attribute__((vector_size(4 * float_width))) = std::uint32_t;
using ManyHalves __attribute__((vector_size(2 * float_width))) = std::uint16_t;

inline Doubles all(double v) {
  return v - Doubles{};
}
inline Doubles fma(Doubles a, Doubles b, Doubles c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_pd(a, b, c);
#else
  Doubles r{};
  for (int k = 0; k < width; ++k)
    r[k] = __builtin_fma(a[k], b[k], c[k]);
  return r;
#endif
}
inline Singles fma(Singles a, Singles b, Singles c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  Singles r{};
  for (int k = 0; k < float_width; ++k)
    r[k] = __builtin_fmaf(a[k], b[k], c[k]);
  return r;
#endif
}
inline Doubles magnitude(Doubles v) {
  return (Doubles)((Longs)v & (Longs{} + static_cast<std::int64_t>(magnitude_mask)));
}
// Conversions and maxima by name: the compiler would split them. (The forms with a mask, all ones, because
// GCC 12 warns of its own header otherwise.)
inline Doubles larger(Doubles a, Doubles b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_pd(0xff, a, b);
#elif defined(__AVX2__)
  return _mm256_max_pd(a, b);
#else
  return (Doubles)(((Longs)a & (a > b)) | ((Longs)b & ~(a > b)));
#endif
}
/// max(a, |b|) for a >= 0.
inline Doubles larger_magnitude(Doubles a, Doubles b) {
#if defined(__AVX512F__)
  return _mm512_maskz_range_pd(0xff, a, b, 0b1011);
#else
  return larger(a, magnitude(b));
#endif
}
inline Doubles widened(Floats v) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtps_pd(0xff, (__m256)v);
#else
  return __builtin_convertvector(v, Doubles);
#endif
}
/// The same bits in twice the width, or the lower half of them.
inline Words widened(Halves v) {
#if defined(__AVX512F__)
  return (Words)_mm256_cvtepu16_epi32((__m128i)v);
#elif defined(__AVX2__)
  const __m128i h{__builtin_bit_cast(long long, v), 0};
  return (Words)_mm_cvtepu16_epi32(h);
#else
  return __builtin_convertvector(v, Words);
#endif
}
inline SingleBits widened(ManyHalves v) {
#if defined(__AVX512F__)
  return (SingleBits)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)v);
#elif defined(__AVX2__)
  return (SingleBits)_mm256_cvtepu16_epi32((__m128i)v);
#else
  return __builtin_convertvector(v, SingleBits);
#endif
}
inline ManyHalves halved(SingleBits v) {
#if defined(__AVX512F__)
  return (ManyHalves)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)v);
#else
  return __builtin_convertvector(v, ManyHalves);
#endif
}
struct Pairs {
  Doubles hi{}, lo{};
  /// Adds v + e, e below an ulp of v; exact but for two roundings on the way to lo.
  void add(Doubles v, Doubles e) {
    const Doubles s = hi + v;
    const Doubles t = s - hi;
    lo += ((hi - (s - t)) + (v - t)) + e;
    hi = s;
  }
  /// Exact but for the rounding of lo.
  void add(Doubles v) {
    const Doubles s = hi + v;
    const Doubles t = s - hi;
    lo += (hi - (s - t)) + (v - t);
    hi = s;
  }
};
/// A double-double sum of the lanes, joined pairwise, on top of `to`.
inline void collect(const Pairs& p, double* to) {
  Pair lanes[width];
  for (int k = 0; k < width; ++k)
    lanes[k] = two_sum(p.hi[k], p.lo[k]);
  for (int half = width / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k)
      lanes[k] = sum(lanes[k], lanes[k + half]);
  const Pair total = sum({to[0], to[1]}, lanes[0]);
  to[0] = total.hi;
  to[1] = total.lo;
}

// --- storage types ---

/// The arithmetic of a format's first test: how its vectors are filled.
struct InDouble {
  using Vector = Doubles;
  static constexpr int lanes = width;
  static Vector same(double v) { return all(v); }
};
struct InFloat {
  using Vector = Singles;
  static constexpr int lanes = float_width;
  static Vector same(double v) { return static_cast<float>(v) - Vector{}; }
};

/// Both ends of the interval that holds the truth, rounded: where they are equal bits these are the answer.
template <class Bits>
struct Ends {
  Bits low;
  Bits differing;
};

/// Reads `width` values for the sums, a vector of its arithmetic for the test, or one; `narrow` gives stored
/// bits, `between` those of two ends.
struct OfF32 {
  using Raw = float;
  using Bits = Words;
  using Arithmetic = InDouble;
  static constexpr int mantissa = 23;
  static Doubles widen(Floats v) { return widened(v); }
  static Doubles load(const Raw* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof v);
    return widen(v);
  }
  static Doubles read(const Raw* p) { return load(p); }
  static double one(Raw v) { return static_cast<double>(v); }
  static Bits narrow(Doubles v) { return (Bits) __builtin_convertvector(v, Floats); }
  static Ends<Bits> between(Doubles low, Doubles high) { return {narrow(low), narrow(low) ^ narrow(high)}; }
};

struct OfF64 {
  using Raw = double;
  using Bits = Longs;
  using Arithmetic = InDouble;
  static constexpr int mantissa = 52;
  static Doubles load(const Raw* p) {
    Doubles v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static Doubles read(const Raw* p) { return load(p); }
  static double one(Raw v) { return v; }
  static Bits narrow(Doubles v) { return (Bits)v; }
  static Ends<Bits> between(Doubles low, Doubles high) { return {narrow(low), narrow(low) ^ narrow(high)}; }
};

/// The 16-bit formats are tested in float: half their digits are still to spare.
struct OfBf16 {
  using Raw = std::uint16_t;
  using Bits = ManyHalves;
  using Arithmetic = InFloat;
  static constexpr int mantissa = 7;
  static Doubles load(const Raw* p) {
    Halves v;
    __builtin_memcpy(&v, p, sizeof v);
    return OfF32::widen((Floats)(widened(v) << 16));
  }
  static Singles read(const Raw* p) {
    ManyHalves v;
    __builtin_memcpy(&v, p, sizeof v);
    return (Singles)(widened(v) << 16);
  }
  static double one(Raw v) {
    return static_cast<double>(__builtin_bit_cast(float, static_cast<std::uint32_t>(v) << 16));
  }
  static Bits narrow(Singles v) {
    const SingleBits w = (SingleBits)v;
    return halved((w + 0x7fff + ((w >> 16) & 1)) >> 16);
  }
  /// The truth is no end, so where both round alike no tie is between them, and any rounding to nearest will
  /// do.
  static Ends<Bits> between(Singles low, Singles high) {
    const SingleBits a = (SingleBits)low + 0x8000;
    const SingleBits b = (SingleBits)high + 0x8000;
    return {halved(a >> 16), halved((a ^ b) >> 16)};
  }
};

struct OfF16 {
  using Raw = std::uint16_t;
  using Bits = ManyHalves;
  using Arithmetic = InFloat;
  static constexpr int mantissa = 10;
  static Doubles load(const Raw* p) {
    Halves v;
    __builtin_memcpy(&v, p, sizeof v);
#if defined(__AVX512F__)
    return OfF32::widen((Floats)_mm256_cvtph_ps((__m128i)v));
#elif defined(__AVX2__)
    const __m128i h{__builtin_bit_cast(long long, v), 0};
    return OfF32::widen((Floats)_mm_cvtph_ps(h));
#else
    Doubles r{};
    for (int k = 0; k < width; ++k)
      r[k] = decode_half(v[k]);
    return r;
#endif
  }
  static Singles read(const Raw* p) {
    ManyHalves v;
    __builtin_memcpy(&v, p, sizeof v);
#if defined(__AVX512F__)
    return _mm512_maskz_cvtph_ps(0xffff, (__m256i)v);
#elif defined(__AVX2__)
    return _mm256_cvtph_ps((__m128i)v);
#else
    Singles r{};
    for (int k = 0; k < float_width; ++k)
      r[k] = static_cast<float>(decode_half(v[k]));
    return r;
#endif
  }
  static double one(Raw v) { return decode_half(v); }
  static Bits narrow(Singles v) {
#if defined(__AVX512F__)
    return (Bits)_mm512_maskz_cvtps_ph(0xffff, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return (Bits)_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    Bits r{};
    for (int k = 0; k < float_width; ++k)
      r[k] = encode_half(static_cast<double>(v[k]));
    return r;
#endif
  }
  static Ends<Bits> between(Singles low, Singles high) { return {narrow(low), narrow(low) ^ narrow(high)}; }

private:
  static double decode_half(std::uint16_t bits) {
    const int field = (bits >> 10) & 31;
    const double fraction = bits & 1023;
    const double scale =
        from_bits(static_cast<std::uint64_t>(1023 - 24 + (field == 0 ? 0 : field - 1)) << 52);
    const double size = field == 31 ? (fraction == 0 ? infinity : __builtin_nan(""))
                                    : (field == 0 ? fraction : fraction + 1024) * scale;
    return (bits & 0x8000) != 0 ? -size : size;
  }
  [[maybe_unused]] static std::uint16_t encode_half(double v) {
    const auto sign = static_cast<std::uint16_t>((bits_of(v) >> 48) & 0x8000);
    const double size = __builtin_fabs(v);
    if (!(size < 0x1p17))
      return static_cast<std::uint16_t>(sign | (size != size ? 0x7e00 : 0x7c00));
    const double own = from_bits(bits_of(size) & exponent_mask);
    const double binade = own < 0x1p-14 ? 0x1p-14 : own;
    const double magic = binade * 0x1p-10 * 0x1.8p52;
    const double rounded = (size + magic) - magic;  // a multiple of the spacing
    if (rounded >= 0x1p16)
      return static_cast<std::uint16_t>(sign | 0x7c00);
    if (rounded < 0x1p-14)
      return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(rounded * 0x1p24));
    const std::uint64_t b = bits_of(rounded);
    const auto field = static_cast<std::uint64_t>((b >> 52) - 1023 + 15);
    return static_cast<std::uint16_t>(sign | (field << 10) | ((b >> 42) & 1023));
  }
};

/// `count` values, the rest of the vector 0.
template <class T>
Doubles load_part(const typename T::Raw* p, std::int64_t count) {
  typename T::Raw buffer[width] = {};
  for (int k = 0; k < width; ++k)
    if (k < count)
      buffer[k] = p[k];
  return T::load(buffer);
}
template <class T>
inline Doubles load_some(const typename T::Raw* p, std::int64_t count) {
  return count >= width ? T::load(p) : load_part<T>(p, count);
}
/// The same for the first test.
template <class T>
typename T::Arithmetic::Vector read_part(const typename T::Raw* p, std::int64_t count) {
  typename T::Raw buffer[T::Arithmetic::lanes] = {};
  for (int k = 0; k < T::Arithmetic::lanes; ++k)
    if (k < count)
      buffer[k] = p[k];
  return T::read(buffer);
}
inline Doubles doubles_at(const double* p) {
  return OfF64::load(p);
}

/// Asks for `count` values that will be read soon; they need not exist.
template <int count, class Raw>
inline void prefetch(const Raw* p) {
  constexpr int line = 64;
  for (int at = 0; at < count * static_cast<int>(sizeof(Raw)); at += line)
    __builtin_prefetch(reinterpret_cast<const char*>(p) + at);
}

/// Stores that do not read the line first, for results that no cache would keep; p is aligned.
template <class Raw, class Bits>
inline void store_past_cache(Raw* p, const Bits& v) {
#if defined(__AVX512F__)
  if constexpr (sizeof v == 64)
    return _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof v == 32)
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
  else if constexpr (sizeof v == 16)
    return _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#endif
  __builtin_memcpy(p, &v, sizeof v);
}
/// Before other threads may read what was stored so.
inline void finish_past_cache() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}
/// Values from p to the next cache line.
template <class Raw>
inline std::int64_t to_cache_line(const Raw* p) {
  const auto beyond = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(p) % 64);
  return (64 - beyond) % 64 / static_cast<std::int64_t>(sizeof(Raw));
}

// --- sums along rows ---

/// Partial sums in plain doubles. With weights the sum of d is not wanted, and d^2 and w^2 are but norms.
template <bool Weighted>
struct Partial {
  Doubles d, dd;
  static Partial of(Doubles d, Doubles) { return {d, d * d}; }
};
template <>
struct Partial<true> {
  Doubles dd, w, wd, ww;
  static Partial of(Doubles d, Doubles w) { return {d * d, w, w * d, w * w}; }
};

/// The first of a chain (compilers clear arrays of sums the slow way), or one more.
template <bool Weighted>
inline void take(Partial<Weighted>& s, bool first, Doubles& most_d, Doubles& most_w, Doubles d, Doubles w) {
  most_d = larger_magnitude(most_d, d);
  if constexpr (Weighted)
    most_w = larger_magnitude(most_w, w);
  if (first) {
    s = Partial<Weighted>::of(d, w);
    return;
  }
  s.dd = fma(d, d, s.dd);
  if constexpr (!Weighted) {
    s.d += d;
  } else {
    s.w += w;
    s.wd = fma(w, d, s.wd);
    s.ww = fma(w, w, s.ww);
  }
}

template <bool Weighted>
inline Partial<Weighted> joined(const Partial<Weighted>& a, const Partial<Weighted>& b) {
  Partial<Weighted> s;
  s.dd = a.dd + b.dd;
  if constexpr (!Weighted) {
    s.d = a.d + b.d;
  } else {
    s.w = a.w + b.w;
    s.wd = a.wd + b.wd;
    s.ww = a.ww + b.ww;
  }
  return s;
}

struct Folded {
  Pairs d, dd, w, wd, ww;
  Doubles most_d{}, most_w{};
};
template <bool Weighted>
inline void fold(Folded& to, const Partial<Weighted>& s) {
  if constexpr (!Weighted) {
    to.d.add(s.d);
    to.dd.add(s.dd);
  } else {
    to.dd.hi += s.dd;
    to.w.add(s.w);
    to.wd.add(s.wd);
    to.ww.hi += s.ww;
  }
}
template <bool Weighted>
inline void collect(const Folded& from, Moments& to) {
  collect(from.d, to.d);
  collect(from.dd, to.dd);
  for (int k = 0; k < width; ++k)
    to.most_d = from.most_d[k] > to.most_d ? from.most_d[k] : to.most_d;
  if constexpr (Weighted) {
    collect(from.w, to.w);
    collect(from.wd, to.wd);
    collect(from.ww, to.ww);
    for (int k = 0; k < width; ++k)
      to.most_w = from.most_w[k] > to.most_w ? from.most_w[k] : to.most_w;
  }
}

/// Values beyond the end of a run count as d = 0, w = 0.
inline Doubles cut(Doubles v, std::int64_t count) {
  if (count >= width)
    return v;
  for (int k = 0; k < width; ++k)
    if (k >= count)
      v[k] = 0;
  return v;
}

template <class T, bool Weighted, bool Shifted>
void sum_rows(const typename T::Raw* x, const typename T::Raw* w, const Rows& rows, double shift,
              Moments& to) {
  constexpr int unroll = 4;
  const Doubles k = all(shift);
  Folded folded;
  Doubles most_d[unroll]{}, most_w[unroll]{};
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const typename T::Raw* px = x + row * rows.stride;
    const typename T::Raw* pw = Weighted ? w + row * rows.stride : px;
    // Runs are short, and no hardware guesses where the next begins.
    const std::int64_t ahead = row + 1 < rows.rows ? rows.stride : 0;
    std::int64_t i = 0;
    while (i + unroll * width <= rows.length) {
      Partial<Weighted> s[unroll];
      std::int64_t end = i + fold_rows * unroll * width;
      end = end < rows.length ? end : rows.length;
      const auto step = [&](bool first) {
        prefetch<unroll * width>(px + i + ahead);
        if constexpr (Weighted)
          prefetch<unroll * width>(pw + i + ahead);
        for (int j = 0; j < unroll; ++j) {
          const std::int64_t at = i + j * width;
          take<Weighted>(s[j], first, most_d[j], most_w[j], Shifted ? T::load(px + at) - k : T::load(px + at),
                         Weighted ? T::load(pw + at) : Doubles{});
        }
        i += unroll * width;
      };
      step(true);
      while (i + unroll * width <= end)
        step(false);
      fold<Weighted>(folded, joined<Weighted>(joined<Weighted>(s[0], s[1]), joined<Weighted>(s[2], s[3])));
    }
    for (; i < rows.length; i += width) {
      const std::int64_t count = rows.length - i;
      Partial<Weighted> s;
      take<Weighted>(s, true, most_d[0], most_w[0], cut(load_some<T>(px + i, count) - k, count),
                     Weighted ? load_some<T>(pw + i, count) : Doubles{});
      fold<Weighted>(folded, s);
    }
  }
  for (int j = 0; j < unroll; ++j) {
    folded.most_d = larger(folded.most_d, most_d[j]);
    folded.most_w = larger(folded.most_w, most_w[j]);
  }
  collect<Weighted>(folded, to);
}

template <int number>
struct Integer {
  static constexpr int value = number;
};
struct Yes {
  static constexpr bool value = true;
};
struct No {
  static constexpr bool value = false;
};
/// f(constant) with whether a channel is shifted, as a compile-time constant.
template <class F>
inline auto where_shifted(double shift, const F& f) {
  return shift != 0 ? f(Yes{}) : f(No{});
}

template <class T>
void row_moments(const void* x, const void* w, const Rows& rows, double shift, Moments& to) {
  using Raw = typename T::Raw;
  where_shifted(shift, [&](auto shifted) {
    if (w != nullptr)
      sum_rows<T, true, shifted.value>(static_cast<const Raw*>(x), static_cast<const Raw*>(w), rows, shift,
                                       to);
    else
      sum_rows<T, false, shifted.value>(static_cast<const Raw*>(x), nullptr, rows, shift, to);
  });
}

/// d = hi + lo exactly; adds the products with their errors.
template <bool Weighted, bool Shifted>
inline void take_precisely(Folded& s, Doubles x, Doubles minus_k, Doubles w, std::int64_t count) {
  Doubles d = x;
  Doubles e{};
  if constexpr (Shifted) {
    d = x + minus_k;
    const Doubles t = d - x;
    e = (x - (d - t)) + (minus_k - t);
    if (count < width) {
      d = cut(d, count);
      e = cut(e, count);
    }
  }
  if constexpr (Weighted) {
    s.dd.hi = fma(d, d, s.dd.hi);
  } else {
    const Doubles square = d * d;
    const Doubles rest = fma(d, d, -square);
    if constexpr (Shifted) {
      s.d.add(d, e);
      s.dd.add(square, rest + (d + d) * e);
    } else {
      s.d.add(d);
      s.dd.add(square, rest);
    }
  }
  s.most_d = larger_magnitude(s.most_d, d);
  if constexpr (Weighted) {
    s.w.add(w);
    const Doubles product = w * d;
    const Doubles product_rest = fma(w, d, -product);
    if constexpr (Shifted)
      s.wd.add(product, product_rest + w * e);
    else
      s.wd.add(product, product_rest);
    s.ww.hi = fma(w, w, s.ww.hi);
    s.most_w = larger_magnitude(s.most_w, w);
  }
}

/// lo back to half a place of hi: it collects no more than a block's errors, so the bound grows with n, not
/// n^2.
template <bool Weighted>
inline void renormalise(Folded& s) {
  const auto one = [](Pairs& p) {
    const Doubles hi = p.hi;
    const Doubles lo = p.lo;
    p = {hi, Doubles{}};
    p.add(lo);
  };
  one(Weighted ? s.w : s.d);
  one(Weighted ? s.wd : s.dd);
}

template <class T, bool Weighted, bool Shifted>
void sum_rows_precisely(const typename T::Raw* x, const typename T::Raw* w, const Rows& rows, double shift,
                        Moments& to) {
  constexpr int unroll = 2;
  constexpr std::int64_t renormalised = 16;  // additions at most before lo is taken back
  const Doubles k = all(-shift);
  Folded folded[unroll];
  std::int64_t pending = 0;
  const auto count_one = [&] {
    ++to.deepest;
    if (++pending < renormalised)
      return;
    pending = 0;
    for (Folded& one : folded)
      renormalise<Weighted>(one);
  };
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const typename T::Raw* px = x + row * rows.stride;
    const typename T::Raw* pw = Weighted ? w + row * rows.stride : px;
    const std::int64_t ahead = row + 1 < rows.rows ? rows.stride : 0;
    std::int64_t i = 0;
    for (; i + unroll * width <= rows.length; i += unroll * width) {
      prefetch<unroll * width>(px + i + ahead);
      if constexpr (Weighted)
        prefetch<unroll * width>(pw + i + ahead);
      for (int j = 0; j < unroll; ++j)
        take_precisely<Weighted, Shifted>(folded[j], T::load(px + i + j * width), k,
                                          Weighted ? T::load(pw + i + j * width) : Doubles{}, width);
      count_one();
    }
    for (; i < rows.length; i += width) {
      const std::int64_t count = rows.length - i;
      take_precisely<Weighted, Shifted>(folded[0], load_some<T>(px + i, count), k,
                                        Weighted ? load_some<T>(pw + i, count) : Doubles{}, count);
      count_one();
    }
  }
  for (const Folded& one : folded)
    collect<Weighted>(one, to);
}

template <class T>
void row_moments_precise(const void* x, const void* w, const Rows& rows, double shift, Moments& to) {
  using Raw = typename T::Raw;
  where_shifted(shift, [&](auto shifted) {
    if (w != nullptr)
      sum_rows_precisely<T, true, shifted.value>(static_cast<const Raw*>(x), static_cast<const Raw*>(w), rows,
                                                 shift, to);
    else
      sum_rows_precisely<T, false, shifted.value>(static_cast<const Raw*>(x), nullptr, rows, shift, to);
  });
}

// --- elements by the fast test ---

template <class Bits>
inline bool any_set(Bits v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Bits) == 64)
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
  else if constexpr (sizeof(Bits) == 32)
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
  else
    return !_mm_testz_si128((__m128i)v, (__m128i)v);
#else
  std::uint64_t parts[(sizeof(Bits) + 7) / 8] = {};
  __builtin_memcpy(parts, &v, sizeof v);
  std::uint64_t any = 0;
  for (const std::uint64_t part : parts)
    any |= part;
  return any != 0;
#endif
}

/// f(k) for every lane that is not 0, below `count`.
template <class Bits, class F>
inline void each_set(Bits v, std::int64_t count, const F& f) {
  constexpr int lanes_of_one = static_cast<int>(sizeof(Bits) / sizeof(v[0]));
#if defined(__AVX512F__)
  unsigned mask;
  if constexpr (sizeof(v[0]) == 8)
    mask = _mm512_test_epi64_mask((__m512i)v, (__m512i)v);
  else if constexpr (sizeof(v[0]) == 4)
    mask = _mm256_test_epi32_mask((__m256i)v, (__m256i)v);
  else
    mask = _mm256_test_epi16_mask((__m256i)v, (__m256i)v);
  if (count < lanes_of_one)
    mask &= (1U << count) - 1;
  for (; mask != 0; mask &= mask - 1)
    f(__builtin_ctz(mask));
#else
  for (int k = 0; k < lanes_of_one; ++k)
    if (k < count && v[k] != 0)
      f(k);
#endif
}

/// The lines of a vector of elements.
template <class V>
struct VectorLine {
  V shift, slope, weight, low, high;
};

template <class T, bool Weighted, bool Shifted = true, class V = typename T::Arithmetic::Vector>
inline Ends<typename T::Bits> ends(V x, V w, V shift, V slope, V weight, V low, V high) {
  const V d = Shifted ? x - shift : x;
  if constexpr (Weighted) {
    low = fma(w, weight, low);
    high = fma(w, weight, high);
  }
  return T::between(fma(d, slope, low), fma(d, slope, high));
}

/// A float whose last bit tells that something was cut off: it rounds to 16 bits as v does. v is above
/// 2^-126.
inline Floats rounded_to_odd(Doubles v) {
  constexpr std::int64_t rest = (std::int64_t{1} << 29) - 1;
  const Longs bits = (Longs)v;
  const Longs cut = (bits & rest) != 0;
  return __builtin_convertvector((Doubles)((bits & ~rest) | (cut & (rest + 1))), Floats);
}

/// Two halves of a vector of floats, without the detour through memory.
inline Singles joined(Floats a, Floats b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#else
  return __builtin_shufflevector(a, b, 0, 1, 2, 3);
#endif
}

/// What the float test of 16-bit formats leaves, in double: a vector of the test is two here, at x and w and
/// whole. Lines: those of `at` and of at + width.
template <class T, bool Weighted, class LineAt>
inline Ends<typename T::Bits> ends_in_double(const typename T::Raw* x, const typename T::Raw* w,
                                             const LineAt& line_at) {
  Floats low[2], high[2];
  for (std::size_t half = 0; half < 2; ++half) {
    const VectorLine<Doubles> line = line_at(half * width);
    Doubles a = line.low;
    Doubles b = line.high;
    if constexpr (Weighted) {
      const Doubles v = T::load(w + half * width);
      a = fma(v, line.weight, a);
      b = fma(v, line.weight, b);
    }
    const Doubles d = T::load(x + half * width) - line.shift;
    low[half] = rounded_to_odd(fma(d, line.slope, a));
    high[half] = rounded_to_odd(fma(d, line.slope, b));
  }
  const Singles whole_low = joined(low[0], low[1]);
  const typename T::Bits bits = T::narrow(whole_low);
  constexpr std::uint32_t magnitude_of_float = 0x7fffffff;
  constexpr std::uint32_t smallest = 7U << 23;  // 2^-120
  const SingleBits size = (SingleBits)whole_low & magnitude_of_float;
  return {bits, (bits ^ T::narrow(joined(high[0], high[1]))) | halved((SingleBits)(size < smallest))};
}

/// After the first test of a vector at x, left open by `differing`: the second where there is one; f(lane)
/// for what stays open.
template <class T, bool Weighted, class LineAt, class F>
inline void after_doubt(typename T::Bits differing, const typename T::Raw* x, const typename T::Raw* w,
                        typename T::Raw* y, std::int64_t count, const LineAt& line_at, const F& f) {
  if constexpr (T::Arithmetic::lanes == float_width) {
    if (!any_set(differing))
      return;
    constexpr std::size_t whole = T::Arithmetic::lanes;
    const auto valid = count < T::Arithmetic::lanes ? static_cast<std::size_t>(count) : whole;
    typename T::Raw some_x[whole] = {}, some_w[whole] = {};
    if (valid < whole)
      for (std::size_t k = 0; k < whole; ++k)
        if (k < valid) {
          some_x[k] = x[k];
          if constexpr (Weighted)
            some_w[k] = w[k];
        }
    const auto again =
        ends_in_double<T, Weighted>(valid < whole ? some_x : x, valid < whole ? some_w : w, line_at);
    __builtin_memcpy(y, &again.low, sizeof(typename T::Raw) * valid);
    differing = again.differing;
  }
  each_set(differing, count, f);
}

template <class T, bool Weighted, bool Shifted>
std::int64_t elements_of_rows(const typename T::Raw* x, const typename T::Raw* w, const Rows& in,
                              typename T::Raw* y, const Rows& out, const Line& line, std::int64_t* open) {
  using A = typename T::Arithmetic;
  using V = typename A::Vector;
  constexpr int lanes_of_one = A::lanes;
  constexpr int unroll = 8;
  constexpr bool seldom = lanes_of_one == width;  // then what differs is found again, not kept
  const V shift = A::same(line.shift);
  const V slope = A::same(line.slope);
  const V weight = A::same(line.weight);
  const double error = sizeof(V{}[0]) == sizeof(float) ? line.float_error : line.error;
  const V low = A::same(line.constant - error);
  const V high = A::same(line.constant + error);
  const VectorLine<Doubles> in_double{all(line.shift), all(line.slope), all(line.weight),
                                      all(line.constant - line.error), all(line.constant + line.error)};
  std::int64_t doubtful = 0;
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const typename T::Raw* px = x + row * in.stride;
    const typename T::Raw* pw = Weighted ? w + row * in.stride : px;
    typename T::Raw* py = y + row * out.stride;
    const std::int64_t base = row * in.length;
    const std::int64_t ahead = row + 1 < in.rows ? out.stride : 0;
    const auto note = [&](std::int64_t at, std::int64_t count, typename T::Bits differing) {
      after_doubt<T, Weighted>(
          differing, px + at, pw + at, py + at, count, [&](std::size_t) { return in_double; },
          [&](int k) { open[doubtful++] = base + at + k; });
    };
    const auto both = [&](std::int64_t at) {
      return ends<T, Weighted, Shifted>(T::read(px + at), Weighted ? T::read(pw + at) : V{}, shift, slope,
                                        weight, low, high);
    };
    std::int64_t i = 0;
    const auto few = [&](std::int64_t end) {
      while (i < end) {
        const std::int64_t rest = end - i;
        const int count = rest < lanes_of_one ? static_cast<int>(rest) : lanes_of_one;
        const auto some = [&](const typename T::Raw* p) {
          return count == lanes_of_one ? T::read(p) : read_part<T>(p, count);
        };
        const auto e =
            ends<T, Weighted>(some(px + i), Weighted ? some(pw + i) : V{}, shift, slope, weight, low, high);
        __builtin_memcpy(py + i, &e.low, sizeof(typename T::Raw) * static_cast<unsigned>(count));
        note(i, count, e.differing);
        i += count;
      }
    };
    if (out.past_cache) {
      const std::int64_t before = to_cache_line(py);
      few(before < in.length ? before : in.length);
    }
    for (; i + unroll * lanes_of_one <= in.length; i += unroll * lanes_of_one) {
      typename T::Bits any{};
      typename T::Bits differing[unroll];
      if (!out.past_cache)
        prefetch<unroll * lanes_of_one>(py + i + ahead);
      for (int j = 0; j < unroll; ++j) {
        const auto e = both(i + j * lanes_of_one);
        any |= e.differing;
        if constexpr (!seldom)
          differing[j] = e.differing;
        if (out.past_cache)
          store_past_cache(py + i + j * lanes_of_one, e.low);
        else
          __builtin_memcpy(py + i + j * lanes_of_one, &e.low, sizeof e.low);
      }
      if (any_set(any)) [[unlikely]]
        for (int j = 0; j < unroll; ++j)
          note(i + j * lanes_of_one, lanes_of_one,
               seldom ? both(i + j * lanes_of_one).differing : differing[j]);
    }
    few(in.length);
  }
  finish_past_cache();
  return doubtful;
}

template <class T>
std::int64_t row_elements(const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                          const Line& line, std::int64_t* open) {
  using Raw = typename T::Raw;
  return where_shifted(line.shift, [&](auto shifted) {
    if (w != nullptr)
      return elements_of_rows<T, true, shifted.value>(static_cast<const Raw*>(x), static_cast<const Raw*>(w),
                                                      in, static_cast<Raw*>(y), out, line, open);
    return elements_of_rows<T, false, shifted.value>(static_cast<const Raw*>(x), nullptr, in,
                                                     static_cast<Raw*>(y), out, line, open);
  });
}

// --- f64: the same test on a double-double ---

inline Pairs two_sums(Doubles a, Doubles b) {
  const Doubles s = a + b;
  const Doubles t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
inline Pairs sums(const Pairs& a, const Pairs& b) {
  const Pairs s = two_sums(a.hi, b.hi);
  return two_sums(s.hi, s.lo + (a.lo + b.lo));
}
inline Pairs products(const Pairs& a, const Pairs& b) {
  const Doubles p = a.hi * b.hi;
  return {p, fma(a.hi, b.hi, -p) + (a.hi * b.lo + a.lo * b.hi)};
}

template <bool Weighted, bool Shifted>
std::int64_t precise_elements(const double* x, const double* w, const Rows& in, double* y, const Rows& out,
                              const Form& form, double error, std::int64_t* open) {
  const Pairs constant{all(form.hi[0]), all(form.lo[0])};
  const Pairs slope{all(form.hi[1]), all(form.lo[1])};
  const Pairs weight{all(form.hi[2]), all(form.lo[2])};
  const Doubles minus_shift = all(-form.shift);
  const Doubles wide = all(error);
  std::int64_t doubtful = 0;
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const double* px = x + row * in.stride;
    const double* pw = Weighted ? w + row * in.stride : px;
    double* py = y + row * out.stride;
    const std::int64_t base = row * in.length;
    const std::int64_t ahead = row + 1 < in.rows ? out.stride : 0;
    // The last sum is left open: hi and what belongs to it are joined when both ends are rounded.
    const auto both = [&](Doubles value, Doubles own) {
      const Pairs d = Shifted ? two_sums(value, minus_shift) : Pairs{value, Doubles{}};
      Pairs t = constant;
      if constexpr (Weighted)
        t = sums(t, products(weight, {own, Doubles{}}));
      const Doubles p = slope.hi * d.hi;
      Doubles rest = fma(slope.hi, d.hi, -p) + slope.lo * d.hi;
      if constexpr (Shifted)
        rest += slope.hi * d.lo;
      const Pairs s = two_sums(t.hi, p);
      rest = s.lo + (t.lo + rest);
      return OfF64::between(s.hi + (rest - wide), s.hi + (rest + wide));
    };
    const auto note = [&](std::int64_t first, std::int64_t count, const Ends<Longs>& e) {
      each_set(e.differing, count, [&](int k) { open[doubtful++] = base + first + k; });
    };
    constexpr int unroll = 4;
    std::int64_t i = 0;
    for (; i + unroll * width <= in.length; i += unroll * width) {
      Ends<Longs> e[unroll];
      Longs any{};
      prefetch<unroll * width>(py + i + ahead);
      for (int j = 0; j < unroll; ++j) {
        const std::int64_t at = i + j * width;
        e[j] = both(OfF64::load(px + at), Weighted ? OfF64::load(pw + at) : Doubles{});
        any |= e[j].differing;
        __builtin_memcpy(py + at, &e[j].low, sizeof e[j].low);
      }
      if (any_set(any)) [[unlikely]]
        for (int j = 0; j < unroll; ++j)
          note(i + j * width, width, e[j]);
    }
    for (; i < in.length; i += width) {
      const std::int64_t rest = in.length - i;
      const std::int64_t count = rest < width ? rest : width;
      const Ends<Longs> e =
          both(load_some<OfF64>(px + i, count), Weighted ? load_some<OfF64>(pw + i, count) : Doubles{});
      __builtin_memcpy(py + i, &e.low, sizeof(double) * static_cast<unsigned>(count));
      note(i, count, e);
    }
  }
  return doubtful;
}

std::int64_t row_elements_precise(const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                                  const Form& form, double error, std::int64_t* open) {
  return where_shifted(form.shift, [&](auto shifted) {
    const auto* px = static_cast<const double*>(x);
    auto* py = static_cast<double*>(y);
    if (w != nullptr)
      return precise_elements<true, shifted.value>(px, static_cast<const double*>(w), in, py, out, form,
                                                   error, open);
    return precise_elements<false, shifted.value>(px, nullptr, in, py, out, form, error, open);
  });
}

// --- columns: every lane a channel ---

inline void fold_at(double* const* sums, std::int64_t at, Doubles v) {
  Pairs p{doubles_at(sums[0] + at), doubles_at(sums[1] + at)};
  p.add(v);
  __builtin_memcpy(sums[0] + at, &p.hi, sizeof p.hi);
  __builtin_memcpy(sums[1] + at, &p.lo, sizeof p.lo);
}
inline void add_at(double* to, std::int64_t at, Doubles v) {
  const Doubles total = doubles_at(to + at) + v;
  __builtin_memcpy(to + at, &total, sizeof total);
}
inline void raise_at(double* most, std::int64_t at, Doubles v) {
  const Doubles raised = larger(doubles_at(most + at), v);
  __builtin_memcpy(most + at, &raised, sizeof raised);
}

/// Rows of columns that are summed before they are folded: chains of fold_rows, joined like unrolled sums.
constexpr std::int64_t column_depth = 4 * fold_rows;

/// `unroll` vectors of channels over column_depth rows at most; the last may hold only `count` channels.
template <class T, bool Weighted, int unroll>
inline void column_group(const typename T::Raw* x, const typename T::Raw* w, std::int64_t rows,
                         std::int64_t stride, std::int64_t first, std::int64_t count, const double* shifts,
                         const ColumnMoments& to) {
  // The rows that come next, in the order of memory: down a column no hardware guesses them.
  const std::int64_t next = column_depth * stride + first * column_depth;
  constexpr auto size = static_cast<std::size_t>(unroll);
  Doubles shift[size];
  Doubles most_d[size]{}, most_w[size]{};
  for (int j = 0; j < unroll; ++j)
    shift[j] = doubles_at(shifts + first + j * width);
  const auto at = [&](const typename T::Raw* p) {
    return unroll > 1 || count >= width ? T::load(p) : load_some<T>(p, count);
  };
  const auto chain = [&](std::int64_t start, Partial<Weighted>(&s)[size]) NORMPROOF_INLINE {
    const std::int64_t end = start + fold_rows < rows ? start + fold_rows : rows;
    const auto step = [&](std::int64_t row, bool begins) NORMPROOF_INLINE {
      constexpr int near = Weighted ? 3 : 2;  // two tensors are waited for unless they come all the way
      __builtin_prefetch(x + next + row * unroll * width, 0, near);
      if constexpr (Weighted)
        __builtin_prefetch(w + next + row * unroll * width, 0, near);
      for (int j = 0; j < unroll; ++j) {
        const std::int64_t place = row * stride + first + j * width;
        take<Weighted>(s[j], begins, most_d[j], most_w[j], at(x + place) - shift[j],
                       Weighted ? at(w + place) : Doubles{});
      }
    };
    step(start, true);
    for (std::int64_t row = start + 1; row < end; ++row)
      step(row, false);
  };
  const auto join = [&](Partial<Weighted>(&a)[size], const Partial<Weighted>(&b)[size]) NORMPROOF_INLINE {
    for (int j = 0; j < unroll; ++j)
      a[j] = joined<Weighted>(a[j], b[j]);
  };
  Partial<Weighted> of_block[size], more[size], last[size];
  chain(0, of_block);
  if (rows > fold_rows) {
    chain(fold_rows, more);
    join(of_block, more);
  }
  if (rows > 2 * fold_rows) {
    chain(2 * fold_rows, more);
    if (rows > 3 * fold_rows) {
      chain(3 * fold_rows, last);
      join(more, last);
    }
    join(of_block, more);
  }
  for (int j = 0; j < unroll; ++j) {
    const std::int64_t place = first + j * width;
    const Partial<Weighted>& all_of = of_block[j];
    raise_at(to.most_d, place, most_d[j]);
    if constexpr (!Weighted) {
      fold_at(to.d, place, all_of.d);
      fold_at(to.dd, place, all_of.dd);
    } else {
      fold_at(to.w, place, all_of.w);
      fold_at(to.wd, place, all_of.wd);
      add_at(to.dd[0], place, all_of.dd);
      add_at(to.ww[0], place, all_of.ww);
      raise_at(to.most_w, place, most_w[j]);
    }
  }
}

template <class T, bool Weighted>
void sum_columns(const typename T::Raw* x, const typename T::Raw* w, std::int64_t rows, std::int64_t stride,
                 std::int64_t channels, const double* shifts, const ColumnMoments& to) {
  constexpr int unroll = 2;
  const ColumnMoments own = to;  // the stores cannot change these
  for (std::int64_t row = 0; row < rows; row += column_depth) {
    const std::int64_t deep = rows - row < column_depth ? rows - row : column_depth;
    const typename T::Raw* px = x + row * stride;
    const typename T::Raw* pw = Weighted ? w + row * stride : nullptr;
    std::int64_t c = 0;
    for (; c + unroll * width <= channels; c += unroll * width)
      column_group<T, Weighted, unroll>(px, pw, deep, stride, c, width, shifts, own);
    for (; c < channels; c += width)
      column_group<T, Weighted, 1>(px, pw, deep, stride, c, channels - c, shifts, own);
  }
}

template <class T>
void column_moments(const void* x, const void* w, std::int64_t rows, std::int64_t stride,
                    std::int64_t channels, const double* shifts, const ColumnMoments& to) {
  using Raw = typename T::Raw;
  if (w != nullptr)
    sum_columns<T, true>(static_cast<const Raw*>(x), static_cast<const Raw*>(w), rows, stride, channels,
                         shifts, to);
  else
    sum_columns<T, false>(static_cast<const Raw*>(x), nullptr, rows, stride, channels, shifts, to);
}

// --- the lines of columns ---

/// A number of line.h: a channel in each lane.
struct Channels {
  Doubles v{};
  Channels() = default;
  Channels(double one) : v(all(one)) {}  // NOLINT(google-explicit-constructor): constants of formulas
  explicit Channels(Doubles lanes) : v(lanes) {}

  friend Channels operator+(const Channels& a, const Channels& b) { return Channels(a.v + b.v); }
  friend Channels operator-(const Channels& a, const Channels& b) { return Channels(a.v - b.v); }
  friend Channels operator*(const Channels& a, const Channels& b) { return Channels(a.v * b.v); }
  friend Channels operator/(const Channels& a, const Channels& b) { return Channels(a.v / b.v); }
  friend Channels operator-(const Channels& a) { return Channels(-a.v); }
  friend Longs operator<(const Channels& a, const Channels& b) { return (Longs)(a.v < b.v); }
  friend Longs operator>(const Channels& a, const Channels& b) { return (Longs)(a.v > b.v); }
  friend Longs operator>=(const Channels& a, const Channels& b) { return (Longs)(a.v >= b.v); }
  friend Longs operator==(const Channels& a, const Channels& b) { return (Longs)(a.v == b.v); }
  friend Channels abs(const Channels& a) { return Channels(magnitude(a.v)); }
  friend Channels sqrt(const Channels& a) {
#if defined(__AVX512F__)
    return Channels(_mm512_maskz_sqrt_pd(0xff, a.v));
#elif defined(__AVX2__)
    return Channels(_mm256_sqrt_pd(a.v));
#else
    Channels r;
    for (int k = 0; k < width; ++k)
      r.v[k] = __builtin_sqrt(a.v[k]);
    return r;
#endif
  }
  friend Channels select(const Longs& condition, const Channels& a, const Channels& b) {
    return Channels((Doubles)(((Longs)a.v & condition) | ((Longs)b.v & ~condition)));
  }
  friend Channels rounded_to_float(const Channels& a) {
    return Channels(widened(__builtin_convertvector(a.v, Floats)));
  }
};
inline Channels channels_at(const double* p, std::int64_t c) {
  return Channels(doubles_at(p + c));
}
/// hi + lo rounded.
inline Channels channels_at(double* const* sums, std::int64_t c) {
  return channels_at(sums[0], c) + channels_at(sums[1], c);
}

template <class To>
inline void put_at(To* p, std::int64_t c, const Channels& value) {
  if constexpr (sizeof(To) == sizeof(double)) {
    __builtin_memcpy(p + c, &value.v, sizeof value.v);
  } else {
    const Floats floats = __builtin_convertvector(value.v, Floats);
    __builtin_memcpy(p + c, &floats, sizeof floats);
  }
}
inline void put_at(const BoundedColumns& to, std::int64_t c, const Bounded<Channels>& result) {
  put_at(to.value, c, result.value);
  put_at(to.error, c, result.error);
}
template <class To>
inline void put_at(const LineArrays<To>& to, std::int64_t c, const LineOf<Channels>& line,
                   const Channels& error) {
  put_at(to.shift, c, line.shift);
  put_at(to.slope, c, line.slope);
  put_at(to.weight, c, line.weight);
  put_at(to.low, c, line.constant - error);
  put_at(to.high, c, line.constant + error);
}
inline void put_at(const DrawnColumns& to, std::int64_t c, const Drawn<Channels>& drawn) {
  Longs usable = drawn.usable;
  put_at(to.lines.in_double, c, drawn.line, drawn.line.error);
  if (to.lines.in_float.shift != nullptr) {
    put_at(to.lines.in_float, c, drawn.line, drawn.line.float_error);
    usable &= drawn.line.float_error < Channels(infinity);
  }
  __builtin_memcpy(to.usable + c, &usable, sizeof usable);
}

void forward_columns(const ForwardColumns& in, const DrawnColumns& to, const ForwardResults& results) {
  const ForwardColumns own = in;  // the stores cannot change these
  for (std::int64_t c = 0; c < own.channels; c += width) {
    const Channels shift = channels_at(own.shift, c);
    PlainStatistics<Channels> s;
    if (own.variance != nullptr)
      s.variance = channels_at(own.variance, c);
    else
      s = plain_statistics(channels_at(own.moments.d, c), channels_at(own.moments.dd, c), own.n);
    const InverseDeviation<Channels> r = inverse_deviation(s, own.eps);
    put_at(to, c,
           forward_line(s, r, channels_at(own.moments.most_d, c), shift, channels_at(own.gamma, c),
                        channels_at(own.beta, c)));
    const Bounded<Channels> mean = plain_mean(s, shift);
    put_at(results.mean, c, mean);
    put_at(results.variance, c, {s.variance, s.variance_error + underflow_error});
    put_at(results.invstd, c, plain_invstd(r));
    if (own.running_mean == nullptr)
      continue;
    put_at(results.running_mean, c, plain_running(channels_at(own.running_mean, c), mean, own.momentum));
    put_at(results.running_variance, c,
           plain_running(channels_at(own.running_variance, c), plain_unbiased(s, own.unbias), own.momentum));
  }
}

void backward_columns(const BackwardColumns& in, const DrawnColumns& to, const BackwardResults& results) {
  const BackwardColumns own = in;
  for (std::int64_t c = 0; c < own.channels; c += width) {
    const Channels shift = channels_at(own.shift, c);
    const Channels invstd = channels_at(own.invstd, c);
    const ColumnMoments& sums = own.moments;
    const GradientMoments<Channels> m{channels_at(sums.w, c),      channels_at(sums.wd, c),
                                      channels_at(sums.ww[0], c),  channels_at(sums.dd[0], c),
                                      channels_at(sums.most_d, c), channels_at(sums.most_w, c)};
    const auto errors = gradient_errors(own.n, m.ww, m.dd, m.most_d, m.most_w, plain_errors);
    put_at(to, c, backward_line(m, errors, own.n, shift, invstd, channels_at(own.gamma, c)));
    put_at(results.dgamma, c, plain_dgamma(m, errors, invstd));
    put_at(results.dbeta, c, plain_dbeta(m, errors));
  }
}

template <class V, class Number>
inline VectorLine<V> line_at(const LineArrays<Number>& lines, std::int64_t c) {
  const auto at = [&](const Number* p) {
    V v;
    __builtin_memcpy(&v, p + c, sizeof v);
    return v;
  };
  return {at(lines.shift), at(lines.slope), at(lines.weight), at(lines.low), at(lines.high)};
}

/// Vectors of 16-bit elements that the first test leaves open, one in ten: kept without a branch that nobody
/// could foretell, and taken up together.
struct Kept {
  static constexpr int room = 120;
  struct Place {
    std::int64_t row, column;
  };
  Place places[room + 8];  // as many more are kept between two looks at is_full
  int count = 0;

  template <class Bits>
  void keep(const Place& place, const Bits& differing) {
    places[count] = place;
    count += any_set(differing) ? 1 : 0;
  }
  bool is_full() const { return count >= room; }
};

template <class T, bool Weighted>
std::int64_t elements_of_columns(const typename T::Raw* x, const typename T::Raw* w, std::int64_t rows,
                                 std::int64_t in, typename T::Raw* y, std::int64_t out, bool past_cache,
                                 std::int64_t channels, const Lines& all_lines, std::int64_t* open) {
  using A = typename T::Arithmetic;
  using V = typename A::Vector;
  constexpr bool seldom = A::lanes == width;
  const Lines lines = all_lines;  // the stores cannot change these
  const auto& first_lines = [&]() -> const auto& {
    if constexpr (seldom)
      return lines.in_double;
    else
      return lines.in_float;
  }();
  std::int64_t doubtful = 0;
  Kept kept;
  const auto note = [&](std::int64_t row, std::int64_t c, std::int64_t count,
                        const typename T::Bits& differing) {
    each_set(differing, count, [&](int k) { open[doubtful++] = row * channels + c + k; });
  };
  const auto lines_from = [&](std::int64_t c) {
    return [&lines, c](std::size_t k) {
      return line_at<Doubles>(lines.in_double, c + static_cast<std::int64_t>(k));
    };
  };
  const auto settle_kept = [&] {
    if constexpr (!seldom)
      for (int k = 0; k < kept.count; ++k) {
        const auto [row, c] = kept.places[k];
        const auto again = ends_in_double<T, Weighted>(x + row * in + c,
                                                       Weighted ? w + row * in + c : nullptr, lines_from(c));
        __builtin_memcpy(y + row * out + c, &again.low, sizeof again.low);
        note(row, c, A::lanes, again.differing);
      }
    kept.count = 0;
  };
  // `deep` rows of a vector of channels, whose lines are read once for all.
  const auto cell = [&](auto deep, std::int64_t first, std::int64_t c, std::int64_t count,
                        auto past) NORMPROOF_INLINE {
    constexpr int size = decltype(deep)::value;
    const VectorLine<V> line = line_at<V>(first_lines, c);
    const auto value = [&](const typename T::Raw* p) {
      return count >= A::lanes ? T::read(p) : read_part<T>(p, count);
    };
    const typename T::Raw* const px = x + first * in + c;
    const typename T::Raw* const pw = Weighted ? w + first * in + c : nullptr;
    typename T::Raw* const py = y + first * out + c;
    const auto both = [&](std::int64_t row) {
      return ends<T, Weighted>(value(px + row * in), Weighted ? value(pw + row * in) : V{}, line.shift,
                               line.slope, line.weight, line.low, line.high);
    };
    // The rows that come next, in the order of memory: many tensors, or large ones, need the help.
    if constexpr (Weighted || past.value)
      prefetch<size * A::lanes>(x + (first + size) * in + c * size);
    if constexpr (Weighted)
      prefetch<size * A::lanes>(w + (first + size) * in + c * size);
    // All are read before any is written: rows a page apart would be taken for one another.
    typename T::Bits any{};
    Ends<typename T::Bits> found[static_cast<std::size_t>(size)];
    for (int row = 0; row < size; ++row)
      any |= (found[row] = both(row)).differing;
    for (int row = 0; row < size; ++row) {
      typename T::Raw* const to = py + row * out;
      if constexpr (past.value)
        store_past_cache(to, found[row].low);
      else if (count >= A::lanes)
        __builtin_memcpy(to, &found[row].low, sizeof found[row].low);
      else
        __builtin_memcpy(to, &found[row].low, sizeof(typename T::Raw) * static_cast<unsigned>(count));
    }
    if constexpr (!seldom)
      if (count >= A::lanes) {
        for (int row = 0; row < size; ++row)
          kept.keep({first + row, c}, found[row].differing);
        return;
      }
    if (!any_set(any)) [[likely]]
      return;
    for (std::int64_t row = 0; row < size; ++row)
      after_doubt<T, Weighted>(both(row).differing, px + row * in, Weighted ? pw + row * in : nullptr,
                               py + row * out, count, lines_from(c),
                               [&](int k) { open[doubtful++] = (first + row) * channels + c + k; });
  };
  // Every row is walked from end to end; lines that are written whole may go past the caches.
  constexpr std::int64_t line_values = 64 / std::int64_t{sizeof(typename T::Raw)};
  const std::int64_t before = to_cache_line(y);
  const std::int64_t past_end = before + (channels - before) / line_values * line_values;
  const bool past = past_cache && before < channels && out % line_values == 0;
  const auto walk = [&](auto deep, std::int64_t first) NORMPROOF_INLINE {
    const auto cells = [&](std::int64_t c, std::int64_t end, auto past_here) NORMPROOF_INLINE {
      for (; c + A::lanes <= end; c += A::lanes) {
        cell(deep, first, c, A::lanes, past_here);
        if (kept.is_full()) [[unlikely]]
          settle_kept();
      }
      if (c < end)
        cell(deep, first, c, end - c, No{});
    };
    if constexpr (seldom)
      if (past) {
        cells(0, before, No{});
        cells(before, past_end, Yes{});
        cells(past_end, channels, No{});
        return;
      }
    cells(0, channels, No{});
  };
  constexpr int deep = 4;
  std::int64_t row = 0;
  for (; row + deep <= rows; row += deep)
    walk(Integer<deep>{}, row);
  for (; row < rows; ++row)
    walk(Integer<1>{}, row);
  settle_kept();
  finish_past_cache();
  return doubtful;
}

template <class T>
std::int64_t column_elements(const void* x, const void* w, std::int64_t rows, std::int64_t in, void* y,
                             std::int64_t out, bool past_cache, std::int64_t channels, const Lines& lines,
                             std::int64_t* open) {
  using Raw = typename T::Raw;
  if (w != nullptr)
    return elements_of_columns<T, true>(static_cast<const Raw*>(x), static_cast<const Raw*>(w), rows, in,
                                        static_cast<Raw*>(y), out, past_cache, channels, lines, open);
  return elements_of_columns<T, false>(static_cast<const Raw*>(x), nullptr, rows, in, static_cast<Raw*>(y),
                                       out, past_cache, channels, lines, open);
}

// --- distances of stored values ---

/// In unsigned integers as wide as the format, or of 32 bits: no distance is wider.
template <class Bits, class Unsigned, int mantissa_bits>
Steps steps_of(const void* truth, const void* got, std::int64_t n) {
  constexpr Unsigned sign = Unsigned{1} << (8 * sizeof(Bits) - 1);
  constexpr Unsigned infinite = sign - (Unsigned{1} << mantissa_bits);
  constexpr std::int64_t some = 4096;
  const auto* p = static_cast<const Bits*>(truth);
  const auto* q = static_cast<const Bits*>(got);
  Steps steps;
  std::int64_t numbers = 0;
  Unsigned most = 0;
  double total = 0;
  for (std::int64_t first = 0; first < n; first += some) {
    const std::int64_t end = first + some < n ? first + some : n;
    Unsigned same_kind = 0;
    Unsigned finite = 0;
    Unsigned differing = 0;
    std::uint64_t sum_here = 0;
    double wide_sum_here = 0;
    for (std::int64_t i = first; i < end; ++i) {
      const Unsigned a = p[i];
      const Unsigned b = q[i];
      const Unsigned size_a = a & (sign - 1);
      const Unsigned size_b = b & (sign - 1);
      const Unsigned larger_size = size_a > size_b ? size_a : size_b;
      const Unsigned smaller_size = size_a > size_b ? size_b : size_a;
      const Unsigned apart = ((a ^ b) & sign) != 0 ? larger_size + smaller_size : larger_size - smaller_size;
      const Unsigned distance = larger_size < infinite ? apart : 0;
      finite += larger_size < infinite ? 1 : 0;
      same_kind += ((larger_size < infinite) | (smaller_size > infinite) | (a == b)) ? 1 : 0;
      differing += distance != 0 ? 1 : 0;
      most = distance > most ? distance : most;
      if constexpr (sizeof(Bits) == 8)
        wide_sum_here += static_cast<double>(distance);
      else
        sum_here += distance;
    }
    numbers += static_cast<std::int64_t>(finite);
    steps.compared += static_cast<std::int64_t>(same_kind);
    steps.differing += static_cast<std::int64_t>(differing);
    total += sizeof(Bits) == 8 ? wide_sum_here : static_cast<double>(sum_here);
  }
  steps.differing_kind = n - steps.compared;
  constexpr std::uint64_t largest = ~std::uint64_t{0} >> 1;
  steps.most = static_cast<std::int64_t>(most < largest ? most : largest);
  steps.mean = numbers == 0 ? 0 : total / static_cast<double>(numbers);
  return steps;
}
template <class T>
Steps steps(const void* truth, const void* got, std::int64_t n) {
  if constexpr (sizeof(typename T::Raw) == 8)
    return steps_of<std::uint64_t, std::uint64_t, T::mantissa>(truth, got, n);
  else if constexpr (sizeof(typename T::Raw) == 4)
    return steps_of<std::uint32_t, std::uint32_t, T::mantissa>(truth, got, n);
  else
    return steps_of<std::uint16_t, std::uint32_t, T::mantissa>(truth, got, n);
}

template <class T>
double load(const void* x, std::int64_t place) {
  return T::one(static_cast<const typename T::Raw*>(x)[place]);
}
template <class T>
void store(void* y, std::int64_t place, double value) {
  const typename T::Bits bits = T::narrow(T::Arithmetic::same(value));
  __builtin_memcpy(static_cast<typename T::Raw*>(y) + place, &bits, sizeof(typename T::Raw));
}

template <class T>
void load_all(const void* x, std::int64_t n, double* to) {
  for (std::int64_t k = 0; k < n; ++k)
    to[k] = load<T>(x, k);
}
template <class T>
void put_all(const Grid& grid, const double* values, const double* error, std::int64_t n, void* y,
             std::int64_t* told) {
  constexpr bool wide = sizeof(typename T::Raw) == sizeof(double);
  const Grid g = grid;
  for (std::int64_t first = 0; first < n; first += block) {
    const std::int64_t count = n - first < block ? n - first : block;
    double rn[block];
    for (std::int64_t k = 0; k < count; ++k) {
      const Decided one = decided<wide>(g, values[first + k], 0, error[first + k], 0.25);
      rn[k] = one.rn;
      told[first + k] &= one.certain ? -1 : 0;
    }
    for (std::int64_t k = 0; k < count; ++k)
      store<T>(y, first + k, rn[k]);
  }
}

// --- the second test ---

inline std::int64_t place_of(std::int64_t i, const Rows& rows) {
  return rows.length == 1 ? i * rows.stride : i / rows.length * rows.stride + i % rows.length;
}

template <class T>
std::int64_t retest(const Grid& grid, const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                    const Line& line, std::int64_t* open, std::int64_t left) {
  using Raw = typename T::Raw;
  const Grid g = grid;
  const Line l = line;
  std::int64_t rest = 0;
  for (std::int64_t k = 0; k < left; ++k) {
    const std::int64_t i = open[k];
    const std::int64_t from = place_of(i, in);
    const double d = T::one(static_cast<const Raw*>(x)[from]) - l.shift;
    const double v = w == nullptr ? 0 : T::one(static_cast<const Raw*>(w)[from]);
    const double value = (l.constant + l.weight * v) + l.slope * d;
    const double error = l.error_0 + l.error_d * magnitude(d - l.centre) + l.error_own * magnitude(d) +
                         l.error_w * magnitude(v);
    const Decided r = decided<false>(g, value, 0, error, 0.25);
    if (r.certain)
      store<T>(y, place_of(i, out), r.rn);
    else
      open[rest++] = i;
  }
  return rest;
}

template <class T>
constexpr RawLanes raw_table() {
  return {row_moments<T>,
          row_moments_precise<T>,
          row_elements<T>,
          sizeof(typename T::Raw) == sizeof(double) ? row_elements_precise : nullptr,
          column_moments<T>,
          column_elements<T>,
          sizeof(typename T::Raw) == sizeof(double) ? nullptr : retest<T>,
          put_all<T>,
          load_all<T>,
          steps<T>,
          load<T>,
          store<T>};
}

}  // namespace

static constexpr RawLanes raw_tables[4]{raw_table<OfF64>(), raw_table<OfF32>(), raw_table<OfF16>(),
                                        raw_table<OfBf16>()};

#define NORMPROOF_TEXT_OF(name) #name
#define NORMPROOF_TEXT(name) NORMPROOF_TEXT_OF(name)
extern const Lanes table;
// NOLINTNEXTLINE(misc-definitions-in-headers): a body that one source for each instruction set includes
const Lanes table{NORMPROOF_TEXT(NORMPROOF_LANES),
                  raw_tables,
                  decide,
                  round,
                  decide_all,
                  extent,
                  forward_columns,
                  backward_columns,
                  representable,
                  read};

}  // namespace normproof::reference::NORMPROOF_LANES
