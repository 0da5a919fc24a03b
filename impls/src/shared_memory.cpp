// memfd and mremap: the block has no name in the file system and goes with its last user.
#include "shared_memory.h"

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

void SharedMemory::require(std::size_t bytes, bool grow) {
  if (bytes <= mapped_)
    return;
  if (grow && ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0)
    raise("no memory for the tensors of this case");
  void* const at = data_ == nullptr ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0)
                                    : mremap(data_, mapped_, bytes, MREMAP_MAYMOVE);
  if (at == MAP_FAILED)
    raise("cannot map the tensors of this case");
  data_ = static_cast<std::byte*>(at);
  mapped_ = bytes;
}

}  // namespace normproof::impls
