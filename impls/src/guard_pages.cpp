#include "guard_pages.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

namespace normproof::impls {
namespace {

struct Zone {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t storage_begin = 0;
  std::uint64_t storage_end = 0;
  bool read_only = false;
};
using Zones = std::array<Zone, slot_count>;

struct Scratch {
  std::byte* block = nullptr;  ///< behind its first guard page
  std::size_t capacity = 0;
  const std::byte* start = nullptr;
  std::size_t bytes = 0;
};

// What the handler reads. Plain data, changed only while no kernel runs.
std::byte* tensors = nullptr;
std::size_t tensor_bytes = 0;
Zones zones;
bool opened = false;  ///< the handler opened an input since
std::array<Scratch, 2> scratches;

Scratch& scratch(Fault::Where which) {
  return scratches[which == Fault::Where::workspace ? 0 : 1];
}

Fault::Access access_of([[maybe_unused]] const ucontext_t& context) {
#if defined(__x86_64__)
  return (context.uc_mcontext.gregs[REG_ERR] & 2) != 0 ? Fault::Access::write : Fault::Access::read;
#else
  return Fault::Access::unknown;
#endif
}

bool is_near_stack([[maybe_unused]] const ucontext_t& context, [[maybe_unused]] std::uintptr_t address) {
#if defined(__x86_64__)
  const auto top = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
  return address + 65536 > top && address < top + 65536;
#else
  return false;
#endif
}

/// Opens the input that was written to and notes it. False: the address is in no input.
bool open_input(Head& head, std::uint64_t offset) {
  for (std::size_t s = 0; s < zones.size(); ++s) {
    const Zone& zone = zones[s];
    if (!zone.read_only || offset < zone.begin || offset >= zone.end)
      continue;
    if (offset >= zone.storage_begin && offset < zone.storage_end)
      head.written_inputs |= std::uint64_t{1} << s;  // beside the storage the guard zone tells
    opened = true;
    return mprotect(tensors + zone.begin, zone.end - zone.begin, PROT_READ | PROT_WRITE) == 0;
  }
  return false;
}

Fault fault_of(int signal, const siginfo_t& info, const ucontext_t& context) {
  Fault fault;
  fault.signal = signal;
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  fault.address = address;
  if (info.si_code <= 0)  // sent by somebody: there is no address
    return fault;
  fault.access = access_of(context);
  const auto base = reinterpret_cast<std::uintptr_t>(tensors);
  if (address - base < tensor_bytes) {
    fault.where = Fault::Where::tensors;
    fault.offset = static_cast<std::int64_t>(address - base);
    return fault;
  }
  for (const Fault::Where which : {Fault::Where::workspace, Fault::Where::reserve}) {
    const Scratch& s = scratch(which);
    const auto block = reinterpret_cast<std::uintptr_t>(s.block);
    if (s.block == nullptr || address + page_bytes < block || address >= block + s.capacity + page_bytes)
      continue;
    fault.where = which;
    fault.offset = static_cast<std::int64_t>(address - reinterpret_cast<std::uintptr_t>(s.start));
    fault.bytes = s.bytes;
    return fault;
  }
  if (is_near_stack(context, address))
    fault.where = Fault::Where::stack;
  return fault;
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (tensors != nullptr) {
    Head& head = *reinterpret_cast<Head*>(tensors);
    const Fault fault = fault_of(signal, *info, *static_cast<const ucontext_t*>(context));
    if (fault.where == Fault::Where::tensors && open_input(head, static_cast<std::uint64_t>(fault.offset))) {
      errno = error;
      return;  // the access is repeated, and succeeds
    }
    head.fault = fault;
  }
  std::signal(signal, SIG_DFL);
  raise(signal);  // pending until this handler returns
  errno = error;
}

Zones zones_of(const Request& request) {
  Zones all;
  for (std::size_t s = 0; s < slot_count; ++s) {
    const Buffer& b = request.slots[s];
    if (b.offset != 0)
      all[s] = {b.zone_begin, b.zone_end, b.offset, b.offset + b.bytes, b.read_only != 0};
  }
  return all;
}

/// The same pages with the same rights: where in a page the storage lies does not matter.
bool same_pages(const Zones& a, const Zones& b) {
  return std::equal(a.begin(), a.end(), b.begin(), [](const Zone& x, const Zone& y) {
    return x.begin == y.begin && x.end == y.end && x.read_only == y.read_only;
  });
}

}  // namespace

void watch_faults() {
  static std::array<std::byte, 65536> stack;
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS})
    sigaction(signal, &action, nullptr);
}

void protect(std::byte* memory, std::size_t mapped, const Request& request) {
  const Zones wanted = zones_of(request);
  const bool same = memory == tensors && mapped == tensor_bytes && !opened && same_pages(wanted, zones);
  zones = wanted;
  if (same)
    return;
  tensors = memory;
  tensor_bytes = mapped;
  opened = false;
  mprotect(memory, mapped, PROT_READ | PROT_WRITE);
  if (request.side == Side::none)
    return;
  std::vector<Zone> order;
  for (const Zone& zone : zones)
    if (zone.end != 0)
      order.push_back(zone);
  std::ranges::sort(order, {}, &Zone::begin);
  std::uint64_t end = page_bytes;  // of the head
  for (const Zone& zone : order) {
    mprotect(memory + end, zone.begin - end, PROT_NONE);
    if (zone.read_only)
      mprotect(memory + zone.begin, zone.end - zone.begin, PROT_READ);
    end = zone.end;
  }
  mprotect(memory + end, mapped - end, PROT_NONE);
}

void forget_protection() {
  tensors = nullptr;
  tensor_bytes = 0;
  zones = {};
}

std::byte* guarded_scratch(Fault::Where which, std::size_t bytes, std::size_t& capacity) {
  Scratch& s = scratch(which);
  if (s.capacity < bytes) {
    if (s.block != nullptr)
      munmap(s.block - page_bytes, s.capacity + 2 * page_bytes);
    s = {};
    const std::size_t rounded = (bytes + page_bytes - 1) / page_bytes * page_bytes;
    void* const at = mmap(nullptr, rounded + 2 * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
      return nullptr;
    auto* const block = static_cast<std::byte*>(at) + page_bytes;
    if (mprotect(block, rounded, PROT_READ | PROT_WRITE) != 0)
      return nullptr;
    s.block = block;
    s.capacity = rounded;
  }
  capacity = s.capacity;
  return s.block;
}

void name_scratch(Fault::Where which, const std::byte* start, std::size_t bytes) {
  scratch(which).start = start;
  scratch(which).bytes = bytes;
}

}  // namespace normproof::impls
