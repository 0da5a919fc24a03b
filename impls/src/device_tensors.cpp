// One allocation for all zones, which lie side by side in the arena: what a kernel writes too far for a red
// zone meets the next tensor's.
#include "device_tensors.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace normproof::impls {
namespace {

constexpr unsigned char scratch_fill = 0xFF;  // NaN in every format

}  // namespace

bool exact_allocations() {
  const char* const text = std::getenv("NORMPROOF_DEVICE_MEMORY");
  const std::string_view word = text == nullptr ? "" : text;
  if (word.empty() || word == "red-zones")
    return false;
  if (word == "exact")
    return true;
  throw std::invalid_argument(
      fmt::format("NORMPROOF_DEVICE_MEMORY is '{}'; it may be red-zones or exact", word));
}

DeviceBlock::DeviceBlock(const Cuda& cuda, std::size_t bytes) : cuda_(&cuda) {
  cuda.check(cuda.entry().allocate(&address_, std::max<std::size_t>(bytes, 1)), "cuMemAlloc");
}

DeviceBlock::~DeviceBlock() {
  if (address_ != 0)
    cuda_->entry().free(address_);  // fails where the context is lost, and then there is nothing to free
}

DeviceBlock::DeviceBlock(DeviceBlock&& other) noexcept
    : cuda_(other.cuda_),
      address_(std::exchange(other.address_, 0)) {}

DeviceBlock& DeviceBlock::operator=(DeviceBlock&& other) noexcept {
  std::swap(cuda_, other.cuda_);
  std::swap(address_, other.address_);
  return *this;
}

DeviceTensors::DeviceTensors(const Cuda& cuda, const std::array<Buffer, slot_count>& slots, std::byte* memory,
                             bool exact)
    : cuda_(cuda),
      memory_(memory) {
  std::uint64_t begin = ~std::uint64_t{0};
  std::uint64_t end = 0;
  for (const Buffer& buffer : slots)
    if (buffer.offset != 0) {
      begin = std::min(begin, buffer.zone_begin);
      end = std::max(end, buffer.zone_end);
    }
  if (end == 0)
    return;
  if (!exact)
    blocks_.emplace_back(cuda, end - begin);
  for (const Slot slot : all_slots) {
    const Buffer& buffer = slots[index(slot)];
    if (buffer.offset == 0 || slot == Slot::num_batches_tracked)
      continue;
    CuPointer& storage = storages_[index(slot)];
    if (exact) {
      storage = blocks_.emplace_back(cuda, buffer.bytes).address();
      pieces_.push_back({buffer.offset, buffer.bytes, storage});
      continue;
    }
    const CuPointer zone = blocks_.front().address() + (buffer.zone_begin - begin);
    storage = zone + (buffer.offset - buffer.zone_begin);
    if (!pieces_.empty() && pieces_.back().offset + pieces_.back().bytes == buffer.zone_begin)
      pieces_.back().bytes += buffer.zone_end - buffer.zone_begin;
    else
      pieces_.push_back({buffer.zone_begin, buffer.zone_end - buffer.zone_begin, zone});
  }
  for (const Piece& piece : pieces_)
    if (piece.bytes != 0)
      cuda_.check(cuda_.entry().copy_in(piece.address, memory_ + piece.offset, piece.bytes, cuda_.stream()),
                  "cuMemcpyHtoD");
  cuda_.check(cuda_.entry().synchronize_stream(cuda_.stream()), "cuStreamSynchronize");
}

void* DeviceTensors::storage(Slot slot) const {
  return std::bit_cast<void*>(storages_[index(slot)]);
}

void DeviceTensors::fetch() const {
  for (const Piece& piece : pieces_)
    if (piece.bytes != 0)
      cuda_.check(cuda_.entry().copy_out(memory_ + piece.offset, piece.address, piece.bytes, cuda_.stream()),
                  "cuMemcpyDtoH");
  cuda_.check(cuda_.entry().synchronize_stream(cuda_.stream()), "cuStreamSynchronize");
}

DeviceScratch::DeviceScratch(const Cuda& cuda, std::uint64_t bytes, bool exact)
    : cuda_(cuda),
      bytes_(bytes),
      zone_(exact ? 0 : device_red_zone) {
  if (bytes_ == 0)
    return;
  if (bytes_ > ~std::uint64_t{0} - 2 * zone_)
    cuda_.check(cu_out_of_memory, "cuMemAlloc");
  block_ = DeviceBlock(cuda, bytes_ + 2 * zone_);
  if (exact)
    return;
  cuda_.check(cuda_.entry().fill(block_.address(), scratch_fill, bytes_ + 2 * zone_, cuda_.stream()),
              "cuMemsetD8");
  cuda_.check(cuda_.entry().synchronize_stream(cuda_.stream()), "cuStreamSynchronize");
}

void* DeviceScratch::data() const {
  return bytes_ == 0 ? nullptr : std::bit_cast<void*>(block_.address() + zone_);
}

DeviceScratch::Touched DeviceScratch::touched() const {
  if (bytes_ == 0 || zone_ == 0)
    return {};
  std::vector<unsigned char> zone(zone_);
  const auto differs = [&](CuPointer from) {
    cuda_.check(cuda_.entry().copy_out(zone.data(), from, zone_, cuda_.stream()), "cuMemcpyDtoH");
    cuda_.check(cuda_.entry().synchronize_stream(cuda_.stream()), "cuStreamSynchronize");
    return std::any_of(zone.begin(), zone.end(), [](unsigned char byte) { return byte != scratch_fill; });
  };
  return {differs(block_.address()), differs(block_.address() + zone_ + bytes_)};
}

}  // namespace normproof::impls
