// The stages of the device oracle: everything that touches an element. Bounds: spec/bounds/certified.md.
//
// Compiled by nvcc for a device, and by any C++ compiler for tests. A stage is a value with its arguments
// whose call does one thread's part; threads meet in atomic counters alone.
#pragma once

#ifndef NORMPROOF_LANES
#define NORMPROOF_LANES stages
#endif

#include <type_traits>

#include "device_pass.h"
#include "rounding_body.h"

namespace normproof::reference::NORMPROOF_LANES {
namespace {

/// The number before the addition.
NORMPROOF_HOST_DEVICE inline std::uint64_t count_one(std::uint64_t* counter) {
#ifdef __CUDA_ARCH__
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  return atomicAdd(reinterpret_cast<unsigned long long*>(counter), 1ULL);
#else
  return (*counter)++;
#endif
}

// --- storage ---

/// `load` gives the double of a stored value; `narrow` the stored bits of a double rounded to nearest.
struct StoredF64 {
  using Bits = std::uint64_t;
  static constexpr bool wide = true;
  NORMPROOF_HOST_DEVICE static double load(Bits v) { return from_bits(v); }
  NORMPROOF_HOST_DEVICE static Bits narrow(double v) { return bits_of(v); }
};
struct StoredF32 {
  using Bits = std::uint32_t;
  static constexpr bool wide = false;
  NORMPROOF_HOST_DEVICE static double load(Bits v) {
    return static_cast<double>(__builtin_bit_cast(float, v));
  }
  NORMPROOF_HOST_DEVICE static Bits narrow(double v) {
    return __builtin_bit_cast(std::uint32_t, static_cast<float>(v));
  }
};

/// A 16-bit format as the upper bits of a float, once its values are scaled to a float's exponents.
struct F16Parts {
  static constexpr int precision = 11, below = 13;
  static constexpr std::uint32_t infinity = 0x7c00;
  static constexpr double least = 0x1p-14, infinite = 0x1p16, scale = 0x1p-112;
};
struct Bf16Parts {
  static constexpr int precision = 8, below = 16;
  static constexpr std::uint32_t infinity = 0x7f80;
  static constexpr double least = 0x1p-126, infinite = 0x1p128, scale = 1;
};
template <class Parts>
struct StoredShort {
  using Bits = std::uint16_t;
  static constexpr bool wide = false;
  static constexpr std::uint32_t special = 0x7f800000U;  // of a float: infinity, NaN
  static constexpr std::uint32_t sign = 0x8000U;

  NORMPROOF_HOST_DEVICE static double load(Bits v) {
    const std::uint32_t size = v & (sign - 1);
    const std::uint32_t bits = (size << Parts::below) | (size >= Parts::infinity ? special : 0U);
    const auto scaled = static_cast<double>(__builtin_bit_cast(float, bits | (v & sign) << 16));
    return scaled * (1 / Parts::scale);
  }
  /// Not of NaN.
  NORMPROOF_HOST_DEVICE static Bits narrow(double v) {
    const double size = magnitude(v);
    const double own = from_bits(bits_of(size) & exponent_mask);
    const double binade = own < Parts::least ? Parts::least : own;
    const double magic = binade * (0x1.8p53 / (1 << Parts::precision));
    const double rounded = (size + magic) - magic;  // a multiple of the spacing
    const double kept = rounded < Parts::infinite ? rounded : Parts::infinite;
    const auto scaled = static_cast<float>(kept * Parts::scale);
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, scaled) >> Parts::below;
    return static_cast<Bits>(bits | (static_cast<std::uint32_t>(bits_of(v) >> 48) & sign));
  }
};
using StoredF16 = StoredShort<F16Parts>;
using StoredBf16 = StoredShort<Bf16Parts>;

// --- walks ---

/// Neighbours that are read and written at once, where they lie so.
template <class Bits, int Width>
struct alignas(sizeof(Bits) * static_cast<std::size_t>(Width)) Pack {
  Bits value[static_cast<std::size_t>(Width)];
};

/// The share of a thread in a channel: packs of `Width` values, as many threads' packs apart.
template <int Width>
struct Walk {
  std::int64_t channel;
  std::int64_t place;  ///< of the next pack, in the channel
  std::int64_t step;
  std::int64_t left;       ///< packs still to come
  std::int64_t plane, at;  ///< at: of the next pack, in space
  std::int64_t step_at;

  NORMPROOF_HOST_DEVICE Walk(const StageArguments& a, std::int64_t thread)
      : channel(a.across ? thread % a.channels : thread / a.parts),
        place((a.across ? thread / a.channels : thread % a.parts) * Width),
        step(a.parts * Width),
        left((a.n - place + step - 1) / step),
        plane(a.plane),
        at(place % plane),
        step_at(step % plane) {}
  /// Whether the next pack is a batch further than a step in space would have it.
  NORMPROOF_HOST_DEVICE bool next() {
    --left;
    place += step;
    at += step_at;
    const bool wraps = at >= plane;
    at -= wraps ? plane : 0;
    return wraps;
  }
};
/// Of one tensor, beside a Walk.
template <class Bits, int Width>
struct Cursor {
  Bits* now;
  std::int64_t step, wrap;

  NORMPROOF_HOST_DEVICE Cursor(const DeviceTensor& t, const Walk<Width>& walk)
      : now(static_cast<Bits*>(t.start) + walk.channel * t.channel + walk.place / walk.plane * t.batch +
            walk.at * t.space),
        step(walk.step / walk.plane * t.batch + walk.step_at * t.space),
        wrap(t.batch - walk.plane * t.space) {}
  NORMPROOF_HOST_DEVICE Pack<Bits, Width> load() const {
    return *reinterpret_cast<const Pack<Bits, Width>*>(now);
  }
  NORMPROOF_HOST_DEVICE void next(bool wraps) { now += step + (wraps ? wrap : 0); }
};
/// Packs that a thread asks for before it needs the first of them: so much is on its way that memory is kept
/// busy.
template <int Width>
constexpr int summed_at_once = Width == 1  ? 8
                               : Width > 4 ? 1
                                           : 2;
template <int Width>
constexpr int tested_at_once = Width == 1  ? 4
                               : Width > 4 ? 1
                                           : 2;

template <class Bits>
NORMPROOF_HOST_DEVICE inline Bits* at(const DeviceTensor& t, const StageArguments& a, std::int64_t c,
                                      std::int64_t i) {
  return static_cast<Bits*>(t.start) + c * t.channel + i / a.plane * t.batch + i % a.plane * t.space;
}

// --- sums ---

/// A number near the mean of a few values; 0, which costs nothing, where that is near enough.
template <class T>
struct ShiftStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t c, std::int64_t) const {
    const std::int64_t count = a.n < 16 ? a.n : 16;
    double sum = 0, squares = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const double value = T::load(*at<typename T::Bits>(a.x, a, c, a.n / count * k));
      sum += value;
      squares += value * value;
    }
    const double mean = sum / static_cast<double>(count);
    const bool near = mean * mean < 0.8 * squares / static_cast<double>(count);
    a.shifts[c] = !near && magnitude(mean) < 0x1p300 ? mean : 0;
  }
};

/// hi + lo; lo is taken back to half a place of hi every `renormalised` additions.
constexpr int renormalised = 16;
struct Sum {
  double hi = 0, lo = 0;
  NORMPROOF_HOST_DEVICE void add(double v) {
    const Pair s = two_sum(hi, v);
    lo += s.lo;
    hi = s.hi;
  }
  NORMPROOF_HOST_DEVICE void add(double v, double e) {
    const Pair s = two_sum(hi, v);
    lo += s.lo + e;
    hi = s.hi;
  }
  NORMPROOF_HOST_DEVICE void renormalise() {
    const Pair s = two_sum(hi, lo);
    hi = s.hi;
    lo = s.lo;
  }
};

template <class T, bool Weighted, int Width>
struct SumStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t) const {
    const Walk<Width> walk(a, thread);
    const double shift = a.shifts[walk.channel];
    a.sums[walk.channel * a.parts + walk.place / Width] =
        shift == 0 ? sums_of<false>(walk, 0) : sums_of<true>(walk, -shift);
  }

private:
  using Bits = typename T::Bits;

  struct Sums {
    Sum first, second;
    double norm_d = 0, norm_w = 0;
  };

  template <bool Shifted>
  NORMPROOF_HOST_DEVICE DeviceSums sums_of(Walk<Width> walk, double minus_shift) const {
    Cursor<Bits, Width> x(a.x, walk);
    Cursor<Bits, Width> w(Weighted ? a.w : a.x, walk);
    Sums s;
    int pending = 0;
    const auto take_packs = [&](auto some) {
      constexpr int count = decltype(some)::value;
      constexpr auto size = static_cast<std::size_t>(count);
      Pack<Bits, Width> some_x[size], some_w[size];
      for (int j = 0; j < count; ++j) {
        some_x[j] = x.load();
        if constexpr (Weighted)
          some_w[j] = w.load();
        const bool wraps = walk.next();
        x.next(wraps);
        w.next(wraps);
      }
      for (int j = 0; j < count; ++j)
        for (int k = 0; k < Width; ++k)
          take<Shifted>(T::load(some_x[j].value[k]), minus_shift, Weighted ? T::load(some_w[j].value[k]) : 0,
                        s);
      pending += count * Width;
      if (pending < renormalised)
        return;
      pending = 0;
      s.first.renormalise();
      s.second.renormalise();
    };
    while (walk.left >= summed_at_once<Width>)
      take_packs(std::integral_constant<int, summed_at_once<Width>>{});
    while (walk.left > 0)
      take_packs(std::integral_constant<int, 1>{});
    s.first.renormalise();
    s.second.renormalise();
    return {{s.first.hi, s.first.lo}, {s.second.hi, s.second.lo}, s.norm_d, s.norm_w};
  }

  /// d = hi + lo exactly; adds the products with their errors. Unshifted, those of the narrower formats have
  /// none.
  template <bool Shifted>
  NORMPROOF_HOST_DEVICE static void take(double x, double minus_shift, double w, Sums& s) {
    const Pair d = Shifted ? two_sum(x, minus_shift) : Pair{x, 0};
    const double factor = Weighted ? w : d.hi;
    const double product = factor * d.hi;
    if constexpr (Shifted) {
      const double rest = __builtin_fma(factor, d.hi, -product);
      s.second.add(product, rest + (Weighted ? w : d.hi + d.hi) * d.lo);
    } else if constexpr (T::wide) {
      s.second.add(product, __builtin_fma(factor, d.hi, -product));
    } else {
      s.second.add(product);
    }
    if constexpr (Weighted) {
      s.first.add(w);
      s.norm_d = __builtin_fma(d.hi, d.hi, s.norm_d);
      s.norm_w = __builtin_fma(w, w, s.norm_w);
    } else if constexpr (Shifted) {
      s.first.add(d.hi, d.lo);
    } else {
      s.first.add(d.hi);
    }
  }
};

struct JoinStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t) const {
    const std::int64_t channel = thread / a.parts_to;
    const std::int64_t begin = thread % a.parts_to * join_width;
    const std::int64_t end = begin + join_width < a.parts_from ? begin + join_width : a.parts_from;
    const DeviceSums* from = a.from + channel * a.parts_from;
    DeviceSums s = from[begin];
    for (std::int64_t k = begin + 1; k < end; ++k) {
      const Pair first = sum({s.first[0], s.first[1]}, {from[k].first[0], from[k].first[1]});
      const Pair second = sum({s.second[0], s.second[1]}, {from[k].second[0], from[k].second[1]});
      s = {
          {first.hi, first.lo}, {second.hi, second.lo}, s.norm_d + from[k].norm_d, s.norm_w + from[k].norm_w};
    }
    a.to[thread] = s;
  }
};

// --- elements ---

/// Values beyond this, and what is no number, are the host's.
constexpr double most_value = 0x1p300;

template <class T, bool Weighted>
struct Test {
  using Bits = typename T::Bits;

  /// Of the interval that holds the truth.
  struct Ends {
    double low, high;
  };
  NORMPROOF_HOST_DEVICE static Ends ends(const Line& line, double d, double w) {
    double value = line.constant;
    double error = line.error_0 + line.error_d * magnitude(line.centre);
    if constexpr (Weighted) {
      value = __builtin_fma(w, line.weight, value);
      error = __builtin_fma(magnitude(w), line.error_w, error);
    }
    value = __builtin_fma(d, line.slope, value);
    error = __builtin_fma(magnitude(d), line.error_d + line.error_own, error);
    return {value - error, value + error};
  }
  /// Certain where both ends are stored as the same bits.
  NORMPROOF_HOST_DEVICE static bool by_line(const Line& line, Bits x, Bits w, Bits& result) {
    const double d = T::load(x) - line.shift;
    const double v = Weighted ? T::load(w) : 0;
    const Ends e = ends(line, d, v);
    result = T::narrow(e.low);
    return result == T::narrow(e.high) && magnitude(d) < most_value && magnitude(v) < most_value;
  }

  NORMPROOF_HOST_DEVICE static bool by_form(const Form& form, const Grid& grid, Bits x, Bits w,
                                            Bits& result) {
    const Pair d = two_sum(T::load(x), -form.shift);
    const double v = Weighted ? T::load(w) : 0;
    Pair t = sum({form.hi[0], form.lo[0]}, product(form.hi[1], form.lo[1], d.hi, d.lo));
    double error = form.error[0] + form.error[1] * magnitude(d.hi);
    if constexpr (Weighted) {
      t = sum(t, product(form.hi[2], form.lo[2], v, 0));
      error += form.error[2] * magnitude(v);
    }
    const Decided r = decided<T::wide>(grid, t.hi, t.lo, error, 0.25);
    result = T::narrow(r.rn);
    return r.certain && magnitude(d.hi) < most_value && magnitude(v) < most_value;
  }
};

template <class T, bool Weighted, int Width>
struct ElementStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t) const {
    Walk<Width> walk(a, thread);
    if (!a.known[walk.channel].known)
      return;
    const Known known = known_of(walk.channel);
    Cursor<Bits, Width> x(a.x, walk);
    Cursor<Bits, Width> w(Weighted ? a.w : a.x, walk);
    Cursor<Bits, Width> y(a.y, walk);
    const auto test_packs = [&](auto some) {
      constexpr int count = decltype(some)::value;
      constexpr auto size = static_cast<std::size_t>(count);
      Pack<Bits, Width> some_x[size], some_w[size];
      Bits* to[size];
      const std::int64_t first = walk.place;
      for (int j = 0; j < count; ++j) {
        some_x[j] = x.load();
        if constexpr (Weighted)
          some_w[j] = w.load();
        to[j] = y.now;
        const bool wraps = walk.next();
        x.next(wraps);
        w.next(wraps);
        y.next(wraps);
      }
      for (int j = 0; j < count; ++j) {
        Pack<Bits, Width> result;
        unsigned doubts = 0;
        for (int k = 0; k < Width; ++k)
          doubts |= test(known, some_x[j].value[k], Weighted ? some_w[j].value[k] : Bits{}, result.value[k])
                        ? 0U
                        : 1U << k;
        *reinterpret_cast<Pack<Bits, Width>*>(to[j]) = result;
        if (doubts != 0) [[unlikely]]
          for (int k = 0; k < Width; ++k)
            if ((doubts >> k & 1) != 0)
              note(walk.channel, first + j * walk.step + k);
      }
    };
    while (walk.left >= tested_at_once<Width>)
      test_packs(std::integral_constant<int, tested_at_once<Width>>{});
    while (walk.left > 0)
      test_packs(std::integral_constant<int, 1>{});
  }

private:
  using Bits = typename T::Bits;
  /// By what elements are tested: f64 has no second test.
  using Known = std::conditional_t<T::wide, Form, Line>;

  NORMPROOF_HOST_DEVICE Known known_of(std::int64_t c) const {
    if constexpr (T::wide)
      return a.known[c].form;
    else
      return a.known[c].line;
  }
  NORMPROOF_HOST_DEVICE bool test(const Known& known, Bits x, Bits w, Bits& result) const {
    if constexpr (T::wide)
      return Test<T, Weighted>::by_form(known, a.grid, x, w, result);
    else
      return Test<T, Weighted>::by_line(known, x, w, result);
  }
  /// What is in doubt goes to the list; without a second test, or where the list is full, to the host.
  NORMPROOF_HOST_DEVICE void note(std::int64_t c, std::int64_t i) const {
    const auto place = static_cast<std::int64_t>(count_one(a.doubts));
    if (!T::wide && place < a.capacity)
      a.doubtful[place] = c * a.n + i;
    else
      count_one(a.open + c);
  }
};

template <class T, bool Weighted>
struct RetestStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t threads) const {
    using Bits = typename T::Bits;
    const auto all = static_cast<std::int64_t>(*a.doubts);
    const std::int64_t count = all < a.capacity ? all : a.capacity;
    for (std::int64_t k = thread; k < count; k += threads) {
      const std::int64_t c = a.doubtful[k] / a.n;
      const std::int64_t i = a.doubtful[k] % a.n;
      Bits result;
      if (Test<T, Weighted>::by_form(a.known[c].form, a.grid, *at<Bits>(a.x, a, c, i),
                                     Weighted ? *at<Bits>(a.w, a, c, i) : Bits{}, result))
        *at<Bits>(a.y, a, c, i) = result;
      else
        count_one(a.open + c);
    }
  }
};

// --- to the host and back ---

/// Values `first` and on of a channel of x (y: where it is scattered to) as a run.
template <class T>
struct GatherStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t threads) const {
    using Bits = typename T::Bits;
    for (std::int64_t i = thread; i < a.count; i += threads)
      static_cast<Bits*>(a.run)[i] = *at<Bits>(a.x, a, a.of_channel, a.first + i);
  }
};
template <class T>
struct ScatterStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t thread, std::int64_t threads) const {
    using Bits = typename T::Bits;
    for (std::int64_t i = thread; i < a.count; i += threads)
      *at<Bits>(a.y, a, a.of_channel, a.first + i) = static_cast<const Bits*>(a.run)[i];
  }
};

/// What require_ieee_arithmetic(StageMachine&) asks: answers that flushing, another rounding or a fused
/// product would change.
constexpr int probes = 6;
struct ProbeStage {
  StageArguments a;
  NORMPROOF_HOST_DEVICE void operator()(std::int64_t, std::int64_t) const {
    const double* q = a.questions;
    a.answers[0] = q[0] * 0.5;                                                   // 2^-1022
    a.answers[1] = q[1] * 0x1p1000;                                              // 2^-1074
    a.answers[2] = static_cast<double>(static_cast<float>(q[2]));                // 2^-149
    a.answers[3] = StoredF32::load(static_cast<std::uint32_t>(q[3])) * 0x1p149;  // the bits 1
    a.answers[4] = q[4] * q[4] - q[5];                                           // 1 + 2^-30, 1 + 2^-29
    a.answers[5] = __builtin_fma(q[4], q[4], -q[5]);
  }
};

/// carry_out(stage) with the stage for the format.
template <class CarryOut>
void with_stage(Stage stage, const Format& data, const StageArguments& a, const CarryOut& carry_out) {
  const auto of = [&]<class T>(T) {
    const bool weighted = a.w.start != nullptr;
    constexpr int width = pack_bytes / static_cast<int>(sizeof(typename T::Bits));
    const auto walk = [&]<template <class, bool, int> class Kind>() {
      if (a.packed)
        return weighted ? carry_out(Kind<T, true, width>{a}) : carry_out(Kind<T, false, width>{a});
      return weighted ? carry_out(Kind<T, true, 1>{a}) : carry_out(Kind<T, false, 1>{a});
    };
    switch (stage) {
    case Stage::shifts:
      return carry_out(ShiftStage<T>{a});
    case Stage::sums:
      return walk.template operator()<SumStage>();
    case Stage::join:
      return carry_out(JoinStage{a});
    case Stage::elements:
      return walk.template operator()<ElementStage>();
    case Stage::retest:
      return weighted ? carry_out(RetestStage<T, true>{a}) : carry_out(RetestStage<T, false>{a});
    case Stage::gather:
      return carry_out(GatherStage<T>{a});
    case Stage::scatter:
      return carry_out(ScatterStage<T>{a});
    case Stage::probe:
      return carry_out(ProbeStage{a});
    }
  };
  if (data == f64)
    of(StoredF64{});
  else if (data == f32)
    of(StoredF32{});
  else if (data == f16)
    of(StoredF16{});
  else
    of(StoredBf16{});
}

}  // namespace
}  // namespace normproof::reference::NORMPROOF_LANES
