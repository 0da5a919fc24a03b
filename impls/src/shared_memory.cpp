// A memfd: the block has no name in the file system and goes with its last user.
#include "shared_memory.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

namespace normproof::impls {
namespace {

[[noreturn]] void raise(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

SharedMemory::SharedMemory() : descriptor_(memfd_create("normproof", MFD_CLOEXEC)) {
  if (descriptor_ < 0)
    raise("memfd_create");
}

SharedMemory::SharedMemory(int inherited_descriptor) : descriptor_(inherited_descriptor) {}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr)
    munmap(data_, mapped_);
  close(descriptor_);
}

void SharedMemory::require(std::size_t bytes) {
  if (bytes <= mapped_)
    return;
  // Pages that nobody touches cost nothing, mapping anew does: the size doubles.
  const std::size_t wanted = std::max(std::bit_ceil(bytes), std::size_t{1} << 26);
  if (ftruncate(descriptor_, static_cast<off_t>(wanted)) != 0)
    raise("no memory for the tensors of this case");
  map(wanted);
}

void SharedMemory::follow(std::size_t bytes) {
  if (bytes > mapped_)
    map(bytes);
}

void SharedMemory::map(std::size_t bytes) {
  if (data_ != nullptr)
    munmap(data_, mapped_);
  data_ = nullptr;
  mapped_ = 0;
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor_, 0);
  if (at == MAP_FAILED)
    raise("cannot map the tensors of this case");
  data_ = static_cast<std::byte*>(at);
  mapped_ = bytes;
}

}  // namespace normproof::impls
