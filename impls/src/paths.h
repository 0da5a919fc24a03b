// Where the worker program and the bundled kernel libraries lie, in a build folder or an installation.
#pragma once

#include <filesystem>

namespace normproof::impls {

/// normproof-worker beside the running program; NORMPROOF_WORKER in the environment wins. Throws
/// std::runtime_error naming where it was looked for.
std::filesystem::path worker_program();

}  // namespace normproof::impls
