// Words and numbers as people read them, shared by every text that the program prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/ci/report.h"

namespace normproof::ci {

enum class Colour { none, red, green, yellow, bold, dim };
std::string paint(const Style& style, Colour colour, std::string_view text);

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number);
/// "1 case", "3 cases".
std::string counted(std::int64_t number, std::string_view singular, std::string_view plural = {});
/// At most seven characters: "0", "0.503", "12.4", "6.6e8", "inf". For measures, never for values.
std::string brief(double measure);
/// At most five: "999", "12k", "3.4M".
std::string brief_count(std::int64_t number);
/// The shortest decimal that reads back as this value: as an f32 where it is one, else as a double.
std::string decimal(double value);
std::string seconds_text(double seconds);

/// Number of columns of a UTF-8 text without wide characters.
int columns(std::string_view text);
std::string pad_right(std::string_view text, int width);
std::string pad_left(std::string_view text, int width);
/// Breaks at blanks so that no line is longer than `width`, first line after `head`, the others indented to
/// its length.
std::string wrapped(std::string_view head, std::string_view text, int width);
std::string joined(const std::vector<std::string>& parts, std::string_view between);
/// For a POSIX shell, quoted only where needed.
std::string shell_word(std::string_view text);
/// '*' and '?' match as in a shell.
bool matches(std::string_view pattern, std::string_view name);

}  // namespace normproof::ci
