#include "normproof/ci/words.h"

#include <cmath>

#include <fmt/format.h>
#include <fnmatch.h>

namespace normproof::ci {

std::string paint(const Style& style, Colour colour, std::string_view text) {
  if (!style.colour || colour == Colour::none)
    return std::string(text);
  const char* code = "";
  switch (colour) {
  case Colour::none:
    break;
  case Colour::red:
    code = "1;31";
    break;
  case Colour::green:
    code = "32";
    break;
  case Colour::yellow:
    code = "33";
    break;
  case Colour::bold:
    code = "1";
    break;
  case Colour::dim:
    code = "2";
    break;
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string counted(std::int64_t number, std::string_view singular, std::string_view plural) {
  if (number == 1)
    return fmt::format("1 {}", singular);
  return plural.empty() ? fmt::format("{} {}s", grouped(number), singular)
                        : fmt::format("{} {}", grouped(number), plural);
}

std::string brief(double measure) {
  if (std::isnan(measure))
    return "nan";
  if (std::isinf(measure))
    return measure > 0 ? "inf" : "-inf";
  const double magnitude = std::fabs(measure);
  if (magnitude == 0)
    return "0";
  if (magnitude < 1e-3 || magnitude >= 99999.5) {
    const bool crowded = magnitude < 1e-99 || magnitude >= 9.95e99;
    const std::string text = crowded ? fmt::format("{:.0e}", measure) : fmt::format("{:.1e}", measure);
    const std::size_t e = text.find('e');
    const int exponent = std::stoi(text.substr(e + 1));  // 6.6e+08 -> 6.6e8  // 6.6e+08 -> 6.6e8
    return fmt::format("{}e{}", text.substr(0, e), exponent);
  }
  if (magnitude < 9.9995)
    return fmt::format("{:.3f}", measure);
  if (magnitude < 99.95)
    return fmt::format("{:.1f}", measure);
  return fmt::format("{:.0f}", measure);
}

std::string brief_count(std::int64_t number) {
  if (number < 10'000)
    return std::to_string(number);
  const auto value = static_cast<double>(number);
  for (const auto& [unit, name] : {std::pair{1e3, "k"}, {1e6, "M"}, {1e9, "G"}, {1e12, "T"}})
    if (value < 999.5 * unit)
      return value < 9.95 * unit ? fmt::format("{:.1f}{}", value / unit, name)
                                 : fmt::format("{:.0f}{}", value / unit, name);
  return fmt::format("{:.0e}", value);
}

std::string decimal(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  const bool fits = std::fabs(value) <= 0x1.fffffep127;
  if (fits && static_cast<double>(static_cast<float>(value)) == value)
    return fmt::format("{}", static_cast<float>(value));
  return fmt::format("{}", value);
}

std::string seconds_text(double seconds) {
  if (seconds < 10)
    return fmt::format("{:.1f} s", seconds);
  if (seconds < 120)
    return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200)
    return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

int columns(std::string_view text) {
  int count = 0;
  bool escape = false;
  for (const char c : text) {
    if (escape)
      escape = c != 'm';
    else if (c == '\x1b')
      escape = true;
    else if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U)
      ++count;
  }
  return count;
}

std::string pad_right(std::string_view text, int width) {
  const int missing = width - columns(text);
  return std::string(text) + std::string(missing > 0 ? static_cast<std::size_t>(missing) : 0, ' ');
}

std::string pad_left(std::string_view text, int width) {
  const int missing = width - columns(text);
  return std::string(missing > 0 ? static_cast<std::size_t>(missing) : 0, ' ') + std::string(text);
}

std::string wrapped(std::string_view head, std::string_view text, int width) {
  const int indent = columns(head);
  std::string out(head);
  int at = indent;
  bool first = true;
  while (!text.empty()) {
    const std::size_t blank = text.find(' ');
    const std::string_view word = text.substr(0, blank);
    text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    if (word.empty())
      continue;
    const int length = columns(word);
    if (!first && at + 1 + length > width) {
      out += '\n' + std::string(static_cast<std::size_t>(indent), ' ');
      at = indent;
    } else if (!first) {
      out += ' ';
      ++at;
    }
    out += word;
    at += length;
    first = false;
  }
  return out + '\n';
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const std::string& part : parts) {
    if (&part != &parts.front())
      out += between;
    out += part;
  }
  return out;
}

std::string shell_word(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=+,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos)
    return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

bool matches(std::string_view pattern, std::string_view name) {
  return fnmatch(std::string(pattern).c_str(), std::string(name).c_str(), 0) == 0;
}

}  // namespace normproof::ci
