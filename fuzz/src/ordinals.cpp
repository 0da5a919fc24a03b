#include "normproof/fuzz/ordinals.h"

#include <algorithm>

#include "normproof/reference/ulp.h"

namespace normproof::fuzz {

double at_ordinal(const Format& format, std::int64_t ordinal) {
  const std::int64_t end = reference::ordinal(format, largest(format));
  const std::int64_t at = std::clamp(ordinal, -end, end);
  const double size = decode(format, static_cast<std::uint64_t>(at < 0 ? -at : at));
  return at < 0 ? -size : size;
}

double stepped(const Format& format, double value, std::int64_t steps) {
  const std::int64_t from = reference::ordinal(format, value);
  std::int64_t to = 0;
  if (__builtin_add_overflow(from, steps, &to))
    to = steps < 0 ? INT64_MIN + 1 : INT64_MAX;
  return at_ordinal(format, to);
}

double shortened(const Format& format, double value, int bits) {
  const std::int64_t at = reference::ordinal(format, value);
  const std::int64_t size = at < 0 ? -at : at;
  const std::int64_t half = bits > 0 ? std::int64_t{1} << (bits - 1) : 0;
  const std::int64_t kept = bits > 0 ? ((size + half) >> bits) << bits : size;
  return at_ordinal(format, at < 0 ? -kept : kept);
}

}  // namespace normproof::fuzz
