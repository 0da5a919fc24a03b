// The terminal: whether there is one, its colours, and the line that tells how far a run is.
#pragma once

#include <string>

#include "normproof/ci/report.h"

namespace normproof::ci {

/// Colour only on a terminal and where NO_COLOR is unset or empty.
Style style_of_stdout();
Style style_of_stderr();

/// One line on stderr that is written over, at most ten times a second, and wiped at the end; silent unless
/// stderr is a terminal. Not thread-safe: the trial calls it from one thread at a time.
class ProgressLine {
public:
  explicit ProgressLine(bool wanted);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const properties::Progress& progress);  ///< at most ten times a second
  void show(const std::string& text);
  void wipe();

private:
  bool active_;
  bool drawn_ = false;
  double last_ = -1;
};

}  // namespace normproof::ci
