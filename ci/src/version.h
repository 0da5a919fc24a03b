// Which normproof this is.
#pragma once

#include <string>

namespace normproof::ci {

/// "0.1.0 (f8d650c)": the project's version, and the commit where the build knew it.
std::string version_text();

}  // namespace normproof::ci
