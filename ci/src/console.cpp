#include "console.h"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

#include "normproof/ci/words.h"

namespace normproof::ci {
namespace {

Style style_of(int file) {
  const char* no_color = std::getenv("NO_COLOR");
  Style style;
  style.colour = isatty(file) != 0 && (no_color == nullptr || *no_color == '\0');
  return style;
}

}  // namespace

Style style_of_stdout() {
  return style_of(STDOUT_FILENO);
}

Style style_of_stderr() {
  return style_of(STDERR_FILENO);
}

ProgressLine::ProgressLine(bool wanted) : active_(wanted && isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  wipe();
}

void ProgressLine::show(const properties::Progress& p) {
  if (!active_ || p.planned == 0 || (last_ >= 0 && p.seconds - last_ < 0.1))
    return;
  last_ = p.seconds;
  std::string line = fmt::format("{:3} %  case {} of {}, {}", 100 * p.done / p.planned, grouped(p.done),
                                 grouped(p.planned), counted(p.judgements, "judgement"));
  if (p.failures > 0)
    line += fmt::format(", {} failing", grouped(p.failures));
  if (p.done > 0 && p.seconds > 1)  // cases differ in cost, so this is a guess
    line += fmt::format(", about {} left", seconds_text(p.seconds * static_cast<double>(p.planned - p.done) /
                                                        static_cast<double>(p.done)));
  show(line);
}

void ProgressLine::show(const std::string& text) {
  if (!active_)
    return;
  fmt::print(stderr, "\r\x1b[K{}", text);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressLine::wipe() {
  if (drawn_)
    fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace normproof::ci
