// Paths are taken from the running program, so that a build folder and an installation can be moved.
#include "paths.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/impls/kernels.h"

namespace normproof::impls {
namespace {

namespace fs = std::filesystem;

fs::path program_folder() {
  return fs::read_symlink("/proc/self/exe").parent_path();
}

/// A build folder has bin/ and lib/; an installation keeps modules in lib/normproof (or lib64,
/// lib/<triplet>).
std::vector<fs::path> library_folders() {
  const fs::path root = program_folder().parent_path();
  std::vector<fs::path> folders{root / "lib"};
  for (const char* const lib : {"lib", "lib64", NORMPROOF_LIBDIR})
    folders.push_back(root / lib / "normproof");
  return folders;
}

fs::path find_library(std::string_view file) {
  for (const fs::path& folder : library_folders())
    if (fs::exists(folder / file))
      return folder / file;
  return {};
}

}  // namespace

fs::path worker_program() {
  if (const char* const path = std::getenv("NORMPROOF_WORKER"); path != nullptr && *path != '\0') {
    if (!fs::exists(path))
      throw std::runtime_error(std::string("NORMPROOF_WORKER is ") + path + ", which does not exist");
    return path;
  }
  const fs::path program = program_folder() / "normproof-worker";
  if (!fs::exists(program))
    throw std::runtime_error("the worker program is missing: " + program.string() +
                             " (NORMPROOF_WORKER names another place)");
  return program;
}

std::vector<fs::path> bundled_libraries() {
  std::vector<fs::path> found;
  for (const std::string_view file :
       {"libnormproof_cpu.so", "libnormproof_cuda_lanes.so", "libnormproof_cuda.so", "libnormproof_torch.so",
        "libnormproof_onednn.so", "libnormproof_cudnn.so"})
    if (fs::path path = find_library(file); !path.empty())
      found.push_back(std::move(path));
  return found;
}

fs::path mutant_library() {
  return find_library("libnormproof_mutants.so");
}

}  // namespace normproof::impls
