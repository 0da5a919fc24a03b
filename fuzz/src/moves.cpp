#include "normproof/fuzz/moves.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>

#include "normproof/fuzz/ordinals.h"
#include "tensors.h"

namespace normproof::fuzz {
namespace {

/// A finite number of the format; what overflows becomes its largest.
double fitted(const Format& format, double value) {
  const double rounded = round_to(format, value);
  return std::isfinite(rounded) ? rounded : std::copysign(largest(format), value);
}

/// Log-uniform in [1, bound].
std::int64_t size_up_to(std::int64_t bound, Dice& dice) {
  const auto bits = static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(bound)));
  const std::int64_t top = std::min(bound, (std::int64_t{1} << dice.between(1, bits)) - 1);
  return dice.between(1, std::max<std::int64_t>(1, top));
}

/// n values per channel as batch x space. Channels-last differs from contiguous only where there is space.
Shape split(std::int64_t n, std::int64_t channels, Layout layout, Dice& dice) {
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= n; ++d)
    if (n % d == 0)
      divisors.push_back(d);
  std::int64_t space = divisors[dice.below(divisors.size())];
  if (layout == Layout::channels_last && space == 1)
    space = n;
  return space == 1 ? Shape{n, channels, {}} : Shape{n / space, channels, {space}};
}

std::int64_t channels_of(Layout layout) {
  return layout == Layout::contiguous ? 1 : 2;
}

// ---- Moves of one value.
// -----------------------------------------------------------------------------------

double new_value(const Tensor& t, double value, int radius, Dice& dice) {
  const int most = std::min(radius, t.format.p);
  switch (dice.below(8)) {
  case 0:
  case 1:
  case 2:  // a step, its size log-uniform
    return stepped(t.format, value, dice.sign() * size_up_to(std::int64_t{1} << most, dice));
  case 3:  // low bits cleared
    return shortened(t.format, value, static_cast<int>(dice.between(1, t.format.p - 1)));
  case 4: {  // a random significand
    const int bits = static_cast<int>(dice.between(1, t.format.p - 1));
    const std::int64_t tail = dice.between(0, (std::int64_t{1} << bits) - 1);
    return stepped(t.format, shortened(t.format, value, bits), tail);
  }
  case 5:
    return -value;
  case 6: {  // another binade
    const int k =
        dice.one_in(4) ? static_cast<int>(dice.between(4, 12)) : static_cast<int>(dice.between(1, 3));
    return fitted(t.format, std::scalbn(value, dice.sign() * k));
  }
  default:
    return t.positive || !dice.one_in(3) ? stepped(t.format, value, dice.sign()) : 0.0;
  }
}

/// A stretch of the values of one channel: often one, sometimes many.
std::pair<std::size_t, std::size_t> stretch(std::size_t size, Dice& dice) {
  const std::size_t first = dice.below(size);
  if (!dice.one_in(4))
    return {first, first + 1};
  return {first, first + 1 + dice.below(size - first)};
}

void move_values(const Tensor& t, int radius, Dice& dice) {
  std::vector<double>& v = *t.values;
  const auto [first, last] = stretch(v.size(), dice);
  for (std::size_t i = first; i < last; ++i) {
    const double value = new_value(t, v[i], radius, dice);
    v[i] = t.positive ? std::max(std::abs(value), smallest_normal(t.format)) : value;
  }
}

// ---- Moves of a tensor with values to choose from.
// ---------------------------------------------------------

/// Terms that the sum of those before just loses, or just does not: half an ulp of it.
void lose(const Tensor& t, const Format& accumulator, Dice& dice) {
  std::vector<double>& v = *t.values;
  const std::size_t from = dice.below(v.size());
  const double sum = std::accumulate(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(from) + 1, 0.0);
  if (sum == 0 || from + 1 == v.size())
    return;
  const double half_ulp = std::scalbn(1.0, std::ilogb(sum) - accumulator.p);
  const std::int64_t off = dice.between(-1, 1);
  const double term = dice.one_in(2) ? half_ulp : std::sqrt(2 * half_ulp) * std::abs(v.front());
  for (std::size_t i = from + 1; i < v.size(); ++i)
    v[i] = stepped(t.format, fitted(t.format, std::copysign(term, sum)), off);
}

void move_tensor(const Tensor& t, const Format& accumulator, Dice& dice) {
  std::vector<double>& v = *t.values;
  const std::size_t i = dice.below(v.size()), j = dice.below(v.size());
  const std::int64_t few = dice.between(-4, 4);
  switch (dice.below(9)) {
  case 0:
    std::swap(v[i], v[j]);
    break;
  case 1:
    v[i] = stepped(t.format, v[j], few);
    break;
  case 2:
    v[i] = stepped(t.format, -v[j], few);
    break;
  case 3: {  // near the mean
    const double mean = std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
    v[i] = stepped(t.format, fitted(t.format, mean), few);
    break;
  }
  case 4: {  // another unit
    const int k = static_cast<int>(dice.between(-6, 6));
    for (double& value : v)
      value = fitted(t.format, std::scalbn(value, k));
    break;
  }
  case 5: {  // another condition number
    const double by = std::scalbn(v[j], static_cast<int>(dice.between(-6, 6)));
    for (double& value : v)
      value = fitted(t.format, value + by);
    break;
  }
  case 6: {  // alike
    const auto [first, last] = stretch(v.size(), dice);
    const int sign = dice.sign();
    for (std::size_t k = first; k < last; ++k)
      v[k] = (k - first) % 2 == 1 ? sign * v[first] : v[first];
    break;
  }
  case 7:
    std::rotate(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(i), v.end());
    break;
  default:
    lose(t, accumulator, dice);
  }
}

// ---- Moves across tensors.
// ---------------------------------------------------------------------------------

/// y or x - mean nearly cancels: beta against the rest of y, x against the mean that is given.
void cancel(Case& c, Dice& dice) {
  const std::size_t i = dice.below(c.x.size());
  const std::size_t channel = i / static_cast<std::size_t>(c.problem.shape.per_channel());
  const std::vector<double>& means = c.running_mean.empty() ? c.saved_mean : c.running_mean;
  if (means.empty())
    return;
  const double mean = means[channel];
  if (c.beta.empty() || dice.one_in(2)) {
    c.x[i] = stepped(c.problem.data, fitted(c.problem.data, mean), dice.between(-16, 16));
    return;
  }
  const double r =
      c.running_var.empty() ? c.saved_invstd[channel] : 1 / std::sqrt(c.running_var[channel] + c.problem.eps);
  const double rest = c.gamma[channel] * r * (c.x[i] - mean);
  if (std::isfinite(rest))
    c.beta[channel] = stepped(c.problem.stats, fitted(c.problem.stats, -rest), dice.between(-4, 4));
}

void resize(Case& c, const Space& space, Dice& dice) {
  const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
  std::vector<std::size_t> kept(n);
  std::iota(kept.begin(), kept.end(), 0);
  const auto room = static_cast<std::size_t>(space.values) - n;
  if (dice.one_in(2) && room > 0) {
    const std::size_t more = dice.one_in(2) ? room : 1 + dice.below(room);
    const std::size_t first = dice.one_in(2) ? 0 : dice.below(n);
    for (std::size_t k = 0; k < more; ++k)
      kept.push_back(first + k % (n - first));
  } else if (n > 2) {
    const std::size_t first = dice.below(n), count = dice.one_in(2) ? 1 : 1 + dice.below((n - 2 + 1) / 2);
    const std::size_t last = std::min(n, first + std::min(count, n - 2));
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(first),
               kept.begin() + static_cast<std::ptrdiff_t>(last));
  }
  c = with_values(c, kept);
}

void move_once(Case& c, const Space& space, int radius, Dice& dice) {
  const std::vector<Tensor> all = tensors(c);
  // Half of the moves go to the tensors of data, whose values are many.
  std::vector<Tensor> some;
  const bool data = dice.one_in(2);
  std::ranges::copy_if(all, std::back_inserter(some), [&](const Tensor& t) { return t.per_element == data; });
  const Tensor& t = some.empty() ? all.front() : some[dice.below(some.size())];
  switch (dice.below(16)) {
  case 0:
    resize(c, space, dice);
    break;
  case 1:
    c.problem.shape = split(c.problem.shape.per_channel(), c.problem.shape.channels, space.layout, dice);
    break;
  case 2:
    if (dice.one_in(4))
      c.problem.threads = space.threads[dice.below(space.threads.size())];
    else if (c.problem.momentum && dice.one_in(4))
      c.problem.momentum = space.momenta[dice.below(space.momenta.size())];
    else if (c.problem.eps > 0 && dice.one_in(2))  // draws the roundings of v + eps and its root anew
      c.problem.eps =
          std::abs(stepped(f32, fitted(f32, c.problem.eps),
                           dice.sign() * size_up_to(std::int64_t{1} << std::min(radius, f32.p), dice)));
    else
      c.problem.eps = space.eps[dice.below(space.eps.size())];
    break;
  case 3:
    cancel(c, dice);
    break;
  case 4:
  case 5:
  case 6:
    if (t.per_element) {
      move_tensor(t, c.problem.accumulator(), dice);
      break;
    }
    [[fallthrough]];
  default:
    move_values(t, radius, dice);
  }
}

}  // namespace

properties::Recipe random_recipe(const Space& space, Dice& dice) {
  std::vector<properties::RegimeInfo> core;
  for (const properties::RegimeInfo& info : properties::regimes())
    if (info.domain == Domain::core)
      core.push_back(info);
  for (;;) {
    const properties::RegimeInfo& info = core[dice.below(core.size())];
    properties::Recipe r;
    r.pass = space.pass;
    r.dtype = space.dtype;
    r.stats = space.stats;
    r.layout = space.layout;
    r.dialect = space.dialect;
    r.regime.name = info.name;
    // Log-uniform upwards: a mean of 10 is as likely as one of 10^6.
    r.regime.parameter =
        info.highest > info.lowest ? info.lowest - 1 + size_up_to(info.highest - info.lowest + 1, dice) : 0;
    r.shape = split(info.name == "pair" ? 2 : std::max<std::int64_t>(2, size_up_to(space.values, dice)),
                    channels_of(space.layout), space.layout, dice);
    r.eps = info.name == "exact" ? 0.5 : space.eps[dice.below(space.eps.size())];
    r.momentum = space.momenta[dice.below(space.momenta.size())];
    r.threads = space.threads[dice.below(space.threads.size())];
    r.seed = dice.word() >> 40;
    if (properties::impossible(r).empty())
      return r;
  }
}

Case moved(const Case& c, const Space& space, int radius, Dice& dice) {
  Case next = c;
  for (std::int64_t moves = dice.between(1, 3); moves > 0; --moves)
    move_once(next, space, radius, dice);
  return next;
}

Case with_values(const Case& c, const std::vector<std::size_t>& kept) {
  Case out = c;
  const auto n = static_cast<std::size_t>(c.problem.shape.per_channel());
  const auto count = static_cast<std::int64_t>(kept.size());
  const std::int64_t channels = c.problem.shape.channels;
  const bool batch = c.problem.layout == Layout::contiguous;
  out.problem.shape = batch ? Shape{count, channels, {}} : Shape{1, channels, {count}};
  for (const Tensor& t : tensors(out)) {
    if (!t.per_element)
      continue;
    std::vector<double> values;
    values.reserve(kept.size() * static_cast<std::size_t>(channels));
    for (std::size_t channel = 0; channel < static_cast<std::size_t>(channels); ++channel)
      for (const std::size_t i : kept)
        values.push_back((*t.values)[channel * n + i]);
    *t.values = std::move(values);
  }
  return out;
}

}  // namespace normproof::fuzz
