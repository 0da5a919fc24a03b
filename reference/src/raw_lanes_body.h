// The body of raw_lanes.h, on the same terms as lanes_body.h, which comes first.

#include "raw_lanes.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

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
typedef double Doubles __attribute__((vector_size(8 * width)));
typedef std::int64_t Longs __attribute__((vector_size(8 * width)));
typedef float Floats __attribute__((vector_size(4 * width)));
typedef std::uint32_t Words __attribute__((vector_size(4 * width)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * width)));

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

/// Read and write `width` values, or fewer at the end of a run. `narrow` gives stored bits.
struct OfF32 {
  using Raw = float;
  using Bits = Words;
  static constexpr double spread = 0;  // conversion from double rounds once
  static constexpr double least_spread = 0;
  static Doubles widen(Floats v) { return widened(v); }
  static Doubles load(const Raw* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof v);
    return widen(v);
  }
  static Bits narrow(Doubles v) { return (Bits) __builtin_convertvector(v, Floats); }
};

struct OfF64 {
  using Raw = double;
  using Bits = Longs;
  static constexpr double spread = 0;
  static constexpr double least_spread = 0;
  static Doubles load(const Raw* p) {
    Doubles v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static Bits narrow(Doubles v) { return (Bits)v; }
};

/// The 16-bit formats are reached by way of float. Rounded twice a value may go astray, so both ends of the
/// interval are moved apart by a float's rounding first: each then rounds to a float outside, and equal
/// results are right.
constexpr double float_spread = 0x1p-23;

struct OfBf16 {
  static constexpr int mantissa = 7;
  using Raw = std::uint16_t;
  using Bits = Halves;
  static constexpr double spread = float_spread;
  static constexpr double least_spread = least_float_spread;
  static Doubles load(const Raw* p) {
    Halves v;
    __builtin_memcpy(&v, p, sizeof v);
    return OfF32::widen((Floats)(__builtin_convertvector(v, Words) << 16));
  }
  static Bits narrow(Doubles v) {
    const Words w = OfF32::narrow(v);
    return __builtin_convertvector((w + 0x7fff + ((w >> 16) & 1)) >> 16, Halves);
  }
};

struct OfF16 {
  static constexpr int mantissa = 10;
  using Raw = std::uint16_t;
  using Bits = Halves;
  static constexpr double spread = float_spread;
  static constexpr double least_spread = least_float_spread;
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
  static Bits narrow(Doubles v) {
#if defined(__AVX512F__)
    return (Halves)_mm256_cvtps_ph((__m256)OfF32::narrow(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    const __m128i h = _mm_cvtps_ph((__m128)OfF32::narrow(v), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return __builtin_bit_cast(Halves, static_cast<std::int64_t>(h[0]));
#else
    Bits r{};
    for (int k = 0; k < width; ++k)
      r[k] = encode_half(static_cast<double>(static_cast<float>(v[k])));
    return r;
#endif
  }

private:
  [[maybe_unused]] static double decode_half(std::uint16_t bits) {
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

// --- sums along rows ---

/// Partial sums in plain doubles.
struct Partial {
  Doubles d{}, dd{}, w{}, wd{}, ww{};
};

template <bool Weighted>
inline void take(Partial& s, Doubles& most_d, Doubles& most_w, Doubles d, Doubles w) {
  s.d += d;
  s.dd = fma(d, d, s.dd);
  most_d = larger_magnitude(most_d, d);
  if constexpr (Weighted) {
    s.w += w;
    s.wd = fma(w, d, s.wd);
    s.ww = fma(w, w, s.ww);
    most_w = larger_magnitude(most_w, w);
  }
}

template <bool Weighted>
inline Partial joined(const Partial& a, const Partial& b) {
  Partial s;
  s.d = a.d + b.d;
  s.dd = a.dd + b.dd;
  if constexpr (Weighted) {
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
inline void fold(Folded& to, const Partial& s) {
  to.d.add(s.d);
  to.dd.add(s.dd);
  if constexpr (Weighted) {
    to.w.add(s.w);
    to.wd.add(s.wd);
    to.ww.add(s.ww);
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
      Partial s[unroll];
      std::int64_t end = i + fold_rows * unroll * width;
      end = end < rows.length ? end : rows.length;
      for (; i + unroll * width <= end; i += unroll * width) {
        prefetch<unroll * width>(px + i + ahead);
        if constexpr (Weighted)
          prefetch<unroll * width>(pw + i + ahead);
        for (int j = 0; j < unroll; ++j) {
          const std::int64_t at = i + j * width;
          take<Weighted>(s[j], most_d[j], most_w[j], Shifted ? T::load(px + at) - k : T::load(px + at),
                         Weighted ? T::load(pw + at) : Doubles{});
        }
      }
      fold<Weighted>(folded, joined<Weighted>(joined<Weighted>(s[0], s[1]), joined<Weighted>(s[2], s[3])));
    }
    for (; i < rows.length; i += width) {
      const std::int64_t count = rows.length - i;
      Partial s;
      take<Weighted>(s, most_d[0], most_w[0], cut(load_some<T>(px + i, count) - k, count),
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
    s.d.add(d, e);
  } else {
    s.d.add(d);
  }
  const Doubles square = d * d;
  const Doubles rest = fma(d, d, -square);
  if constexpr (Shifted)
    s.dd.add(square, rest + (d + d) * e);
  else
    s.dd.add(square, rest);
  s.most_d = larger_magnitude(s.most_d, d);
  if constexpr (Weighted) {
    s.w.add(w);
    const Doubles product = w * d;
    const Doubles product_rest = fma(w, d, -product);
    if constexpr (Shifted)
      s.wd.add(product, product_rest + w * e);
    else
      s.wd.add(product, product_rest);
    s.ww = {fma(w, w, s.ww.hi), s.ww.lo};
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
  one(s.d);
  one(s.dd);
  if constexpr (Weighted) {
    one(s.w);
    one(s.wd);
  }
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
    std::int64_t i = 0;
    for (; i + unroll * width <= rows.length; i += unroll * width) {
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

/// Both ends of the interval that holds the truth, rounded; equal bits are the answer.
template <class T>
struct Ends {
  typename T::Bits low, high;
};
template <class T, bool Weighted, bool Shifted = true>
inline Ends<T> ends(Doubles x, Doubles w, Doubles shift, Doubles slope, Doubles weight, Doubles low_constant,
                    Doubles high_constant) {
  const Doubles d = Shifted ? x - shift : x;
  Doubles low = low_constant;
  Doubles high = high_constant;
  if constexpr (Weighted) {
    low = fma(w, weight, low);
    high = fma(w, weight, high);
  }
  low = fma(d, slope, low);
  high = fma(d, slope, high);
  if constexpr (T::spread != 0) {
    const Doubles more = all(T::spread);
    low = low - more * magnitude(low);
    high = high + more * magnitude(high);
  }
  return {T::narrow(low), T::narrow(high)};
}

template <class T, bool Weighted, bool Shifted>
std::int64_t elements_of_rows(const typename T::Raw* x, const typename T::Raw* w, const Rows& in,
                              typename T::Raw* y, const Rows& out, const Line& line, std::int64_t* open) {
  constexpr int unroll = 8;
  const Doubles shift = all(line.shift);
  const Doubles slope = all(line.slope);
  const Doubles weight = all(line.weight);
  const double error = line.error + T::least_spread;
  const Doubles low = all(line.constant - error);
  const Doubles high = all(line.constant + error);
  std::int64_t doubtful = 0;
  const auto note = [&](std::int64_t first, int count, const typename T::Bits& difference) {
    for (int k = 0; k < count; ++k)
      if (difference[k] != 0)
        open[doubtful++] = first + k;
  };
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const typename T::Raw* px = x + row * in.stride;
    const typename T::Raw* pw = Weighted ? w + row * in.stride : px;
    typename T::Raw* py = y + row * out.stride;
    const std::int64_t base = row * in.length;
    const std::int64_t ahead = row + 1 < in.rows ? out.stride : 0;
    std::int64_t i = 0;
    const auto both = [&](std::int64_t at) {
      return ends<T, Weighted, Shifted>(T::load(px + at), Weighted ? T::load(pw + at) : Doubles{}, shift,
                                        slope, weight, low, high);
    };
    for (; i + unroll * width <= in.length; i += unroll * width) {
      typename T::Bits any{};
      prefetch<unroll * width>(py + i + ahead);
      for (int j = 0; j < unroll; ++j) {
        const Ends<T> e = both(i + j * width);
        any |= e.low ^ e.high;
        __builtin_memcpy(py + i + j * width, &e.low, sizeof e.low);
      }
      if (any_set(any)) [[unlikely]]
        for (int j = 0; j < unroll; ++j) {
          const Ends<T> e = both(i + j * width);
          note(base + i + j * width, width, e.low ^ e.high);
        }
    }
    for (; i < in.length; i += width) {
      const std::int64_t rest = in.length - i;
      const int count = rest < width ? static_cast<int>(rest) : width;
      const Ends<T> e =
          ends<T, Weighted>(load_some<T>(px + i, count), Weighted ? load_some<T>(pw + i, count) : Doubles{},
                            shift, slope, weight, low, high);
      __builtin_memcpy(py + i, &e.low, sizeof(typename T::Raw) * static_cast<unsigned>(count));
      note(base + i, count, e.low ^ e.high);
    }
  }
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

template <bool Weighted>
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
    for (std::int64_t i = 0; i < in.length; i += width) {
      const std::int64_t rest = in.length - i;
      const int count = rest < width ? static_cast<int>(rest) : width;
      const auto at = [&](const double* p) {
        return count == width ? OfF64::load(p) : load_some<OfF64>(p, count);
      };
      Pairs t = sums(constant, products(slope, two_sums(at(px + i), minus_shift)));
      if constexpr (Weighted)
        t = sums(t, products(weight, {at(pw + i), Doubles{}}));
      const Doubles low = t.hi + (t.lo - wide);
      const Doubles high = t.hi + (t.lo + wide);
      __builtin_memcpy(py + i, &low, sizeof(double) * static_cast<unsigned>(count));
      const Longs difference = (Longs)low ^ (Longs)high;
      if (any_set(difference)) [[unlikely]]
        for (int k = 0; k < count; ++k)
          if (difference[k] != 0)
            open[doubtful++] = row * in.length + i + k;
    }
  }
  return doubtful;
}

std::int64_t row_elements_precise(const void* x, const void* w, const Rows& in, void* y, const Rows& out,
                                  const Form& form, double error, std::int64_t* open) {
  if (w != nullptr)
    return precise_elements<true>(static_cast<const double*>(x), static_cast<const double*>(w), in,
                                  static_cast<double*>(y), out, form, error, open);
  return precise_elements<false>(static_cast<const double*>(x), nullptr, in, static_cast<double*>(y), out,
                                 form, error, open);
}

// --- columns: every lane a channel ---

inline void fold_at(double* const* sums, std::int64_t at, Doubles v) {
  Pairs p{doubles_at(sums[0] + at), doubles_at(sums[1] + at)};
  p.add(v);
  __builtin_memcpy(sums[0] + at, &p.hi, sizeof p.hi);
  __builtin_memcpy(sums[1] + at, &p.lo, sizeof p.lo);
}
inline void raise_at(double* most, std::int64_t at, Doubles v) {
  const Doubles raised = larger(doubles_at(most + at), v);
  __builtin_memcpy(most + at, &raised, sizeof raised);
}

/// `unroll` vectors of channels over fold_rows rows at most; the last may hold only `count` channels.
template <class T, bool Weighted, std::int64_t unroll>
inline void column_group(const typename T::Raw* x, const typename T::Raw* w, std::int64_t rows,
                         std::int64_t stride, std::int64_t first, std::int64_t count, const double* shifts,
                         const ColumnMoments& to) {
  constexpr auto size = static_cast<std::size_t>(unroll);
  Doubles shift[size];
  Partial s[size];
  Doubles most_d[size]{}, most_w[size]{};
  for (std::int64_t j = 0; j < unroll; ++j)
    shift[j] = doubles_at(shifts + first + j * width);
  const auto at = [&](const typename T::Raw* p) {
    return unroll > 1 || count >= width ? T::load(p) : load_some<T>(p, count);
  };
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t j = 0; j < unroll; ++j) {
      const std::int64_t place = row * stride + first + j * width;
      take<Weighted>(s[j], most_d[j], most_w[j], at(x + place) - shift[j],
                     Weighted ? at(w + place) : Doubles{});
    }
  for (std::int64_t j = 0; j < unroll; ++j) {
    const std::int64_t place = first + j * width;
    fold_at(to.d, place, s[j].d);
    fold_at(to.dd, place, s[j].dd);
    raise_at(to.most_d, place, most_d[j]);
    if constexpr (Weighted) {
      fold_at(to.w, place, s[j].w);
      fold_at(to.wd, place, s[j].wd);
      fold_at(to.ww, place, s[j].ww);
      raise_at(to.most_w, place, most_w[j]);
    }
  }
}

template <class T, bool Weighted>
void sum_columns(const typename T::Raw* x, const typename T::Raw* w, std::int64_t rows, std::int64_t stride,
                 std::int64_t channels, const double* shifts, const ColumnMoments& to) {
  constexpr int unroll = Weighted ? 2 : 4;
  for (std::int64_t row = 0; row < rows; row += fold_rows) {
    const std::int64_t deep = rows - row < fold_rows ? rows - row : fold_rows;
    const typename T::Raw* px = x + row * stride;
    const typename T::Raw* pw = Weighted ? w + row * stride : nullptr;
    std::int64_t c = 0;
    for (; c + unroll * width <= channels; c += unroll * width)
      column_group<T, Weighted, unroll>(px, pw, deep, stride, c, width, shifts, to);
    for (; c < channels; c += width)
      column_group<T, Weighted, 1>(px, pw, deep, stride, c, channels - c, shifts, to);
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

template <class T, bool Weighted>
std::int64_t elements_of_columns(const typename T::Raw* x, const typename T::Raw* w, typename T::Raw* y,
                                 std::int64_t channels, const Lines& lines, std::int64_t* open) {
  std::int64_t doubtful = 0;
  const auto some = [&](std::int64_t c, std::int64_t count) {
    const auto per_channel = [&](const double* p) {
      return doubles_at(p + c);
    };
    const auto at = [&](const typename T::Raw* p) {
      return count >= width ? T::load(p + c) : load_some<T>(p + c, count);
    };
    return ends<T, Weighted>(at(x), Weighted ? at(w) : Doubles{}, per_channel(lines.shift),
                             per_channel(lines.slope), Weighted ? per_channel(lines.weight) : Doubles{},
                             per_channel(lines.low), per_channel(lines.high));
  };
  std::int64_t c = 0;
  constexpr int unroll = 4;
  for (; c + unroll * width <= channels; c += unroll * width) {
    typename T::Bits any{};
    for (int j = 0; j < unroll; ++j) {
      const Ends<T> e = some(c + j * width, width);
      any |= e.low ^ e.high;
      __builtin_memcpy(y + c + j * width, &e.low, sizeof e.low);
    }
    if (any_set(any)) [[unlikely]]
      for (int j = 0; j < unroll; ++j) {
        const Ends<T> e = some(c + j * width, width);
        for (int k = 0; k < width; ++k)
          if (e.low[k] != e.high[k])
            open[doubtful++] = c + j * width + k;
      }
  }
  for (; c < channels; c += width) {
    const std::int64_t rest = channels - c;
    const int count = rest < width ? static_cast<int>(rest) : width;
    const Ends<T> e = some(c, count);
    __builtin_memcpy(y + c, &e.low, sizeof(typename T::Raw) * static_cast<unsigned>(count));
    for (int k = 0; k < count; ++k)
      if (e.low[k] != e.high[k])
        open[doubtful++] = c + k;
  }
  return doubtful;
}

template <class T>
std::int64_t column_elements(const void* x, const void* w, void* y, std::int64_t channels, const Lines& lines,
                             std::int64_t* open) {
  using Raw = typename T::Raw;
  if (w != nullptr)
    return elements_of_columns<T, true>(static_cast<const Raw*>(x), static_cast<const Raw*>(w),
                                        static_cast<Raw*>(y), channels, lines, open);
  return elements_of_columns<T, false>(static_cast<const Raw*>(x), nullptr, static_cast<Raw*>(y), channels,
                                       lines, open);
}

// --- distances of stored values ---

template <class Bits, int mantissa_bits>
Steps steps_of(const void* truth, const void* got, std::int64_t n) {
  constexpr int width_in_bits = 8 * sizeof(Bits);
  constexpr std::uint64_t sign = std::uint64_t{1} << (width_in_bits - 1);
  constexpr std::uint64_t infinite = sign - (std::uint64_t{1} << mantissa_bits);
  const auto* p = static_cast<const Bits*>(truth);
  const auto* q = static_cast<const Bits*>(got);
  std::int64_t differing = 0;
  std::int64_t differing_kind = 0;
  std::int64_t finite = 0;
  std::uint64_t most = 0;
  std::uint64_t total = 0;
  double total_of_wide = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t a = p[i];
    const std::uint64_t b = q[i];
    const std::uint64_t size_a = a & (sign - 1);
    const std::uint64_t size_b = b & (sign - 1);
    const std::uint64_t both_nan = std::uint64_t{size_a > infinite} & std::uint64_t{size_b > infinite};
    const std::uint64_t numbers = std::uint64_t{size_a < infinite} & std::uint64_t{size_b < infinite};
    const std::uint64_t same = std::uint64_t{a == b};
    const std::uint64_t opposed = std::uint64_t{(a & sign) != (b & sign)};
    const std::uint64_t apart = size_a > size_b ? size_a - size_b : size_b - size_a;
    const std::uint64_t distance = (opposed != 0 ? size_a + size_b : apart) & (0 - numbers);
    most = distance > most ? distance : most;
    differing += distance != 0 ? 1 : 0;
    differing_kind += (both_nan | numbers | same) != 0 ? 0 : 1;
    finite += static_cast<std::int64_t>(numbers);
    if constexpr (sizeof(Bits) == 8)
      total_of_wide += static_cast<double>(distance);
    else
      total += distance;
  }
  Steps steps;
  steps.compared = n - differing_kind;
  steps.differing = differing;
  steps.differing_kind = differing_kind;
  constexpr std::uint64_t largest = ~std::uint64_t{0} >> 1;
  steps.most = static_cast<std::int64_t>(most < largest ? most : largest);
  const double sum_of_all = sizeof(Bits) == 8 ? total_of_wide : static_cast<double>(total);
  steps.mean = finite == 0 ? 0 : sum_of_all / static_cast<double>(finite);
  return steps;
}
template <class T>
Steps steps(const void* truth, const void* got, std::int64_t n) {
  if constexpr (sizeof(typename T::Raw) == 8)
    return steps_of<std::uint64_t, 52>(truth, got, n);
  else if constexpr (sizeof(typename T::Raw) == 4)
    return steps_of<std::uint32_t, 23>(truth, got, n);
  else
    return steps_of<std::uint16_t, T::mantissa>(truth, got, n);
}

template <class T>
double load(const void* x, std::int64_t place) {
  return load_some<T>(static_cast<const typename T::Raw*>(x) + place, 1)[0];
}
template <class T>
void store(void* y, std::int64_t place, double value) {
  const typename T::Bits bits = T::narrow(all(value));
  __builtin_memcpy(static_cast<typename T::Raw*>(y) + place, &bits, sizeof(typename T::Raw));
}

template <class T>
constexpr RawLanes raw_table() {
  return {row_moments<T>,    row_moments_precise<T>,
          row_elements<T>,   sizeof(typename T::Raw) == sizeof(double) ? row_elements_precise : nullptr,
          column_moments<T>, column_elements<T>,
          steps<T>,          load<T>,
          store<T>};
}

}  // namespace

static constexpr RawLanes raw_tables[4]{raw_table<OfF64>(), raw_table<OfF32>(), raw_table<OfF16>(),
                                        raw_table<OfBf16>()};

#define NORMPROOF_TEXT_OF(name) #name
#define NORMPROOF_TEXT(name) NORMPROOF_TEXT_OF(name)
extern const Lanes table;
const Lanes table{
    NORMPROOF_TEXT(NORMPROOF_LANES), raw_tables, decide, round, decide_all, extent, representable};

}  // namespace normproof::reference::NORMPROOF_LANES
