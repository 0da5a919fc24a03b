#include "version.h"

namespace normproof::ci {

std::string version_text() {
  const std::string commit = NORMPROOF_COMMIT;
  return commit.empty() ? NORMPROOF_VERSION : NORMPROOF_VERSION " (" + commit + ")";
}

}  // namespace normproof::ci
