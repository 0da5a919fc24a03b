// Kernels by name: which libraries there are, what they hold, and how one is run on a case.
//
// Flow: discover() reads the tables of the libraries in a worker, run() hands a case to a worker process and
// brings an Observation back. The truth never enters the worker.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "normproof/impls/observation.h"
#include "normproof/spec/case.h"

namespace normproof::impls {

/// One kernel of one library, as its table describes it.
struct KernelInfo {
  std::string name;
  std::string summary;
  std::string worst_known;
  std::filesystem::path library;
  std::string library_name;
  std::string library_version;
  int device_type = 1;
};

/// A library that could not be read, and why (a missing dependency, an ABI that is too new).
struct LibraryError {
  std::filesystem::path library;
  std::string reason;
};

struct Catalogue {
  std::vector<KernelInfo> kernels;
  std::vector<LibraryError> errors;
};

/// The bundled libraries beside this program (its ../lib), without the mutants.
std::vector<std::filesystem::path> bundled_libraries();
/// The bundled wrong kernels (impls/mutants).
std::filesystem::path mutant_library();
/// Reads the kernel tables of the libraries, each in a process of its own: loading runs foreign code.
Catalogue discover(std::span<const std::filesystem::path> libraries);

struct RunOptions {
  std::chrono::milliseconds time_limit{60'000};
  /// Resident memory of a kernel's process beside the tensors, in bytes: more than that ends it. Not address
  /// space, of which device runtimes and sanitizers take terabytes. 0: no limit.
  std::uint64_t memory_limit = std::uint64_t{8} << 30;
  bool in_process = false;  ///< no worker: for a debugger. No time limit, no protection.
  /// Runs on fresh buffers; the first one's outputs are kept, all are compared. In a worker they take turns
  /// at lying flush against the guard page before and behind; which one is first depends on the case alone.
  int repeats = 1;
};

/// Runs kernels in worker processes that it starts, keeps and restarts. One Runner serves one thread at a
/// time. The destructor ends the workers; they end by themselves when this process dies.
class Runner {
public:
  explicit Runner(RunOptions options = {});
  ~Runner();
  Runner(Runner&&) noexcept;
  Runner& operator=(Runner&&) noexcept;

  /// Never throws for what a kernel does: that is the observation's outcome. Throws std::runtime_error when
  /// the worker program itself cannot be started.
  Observation run(const KernelInfo& kernel, const Case& c);

private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace normproof::impls
