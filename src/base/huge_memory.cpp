#include "base/huge_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <new>
#include <string>

namespace nibble {
namespace {

constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t chunk_bytes = size_t{64} << 20;
constexpr size_t line = 64;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

std::shared_ptr<std::byte> map_chunk(size_t bytes) {
  const size_t all = bytes + huge_page;  // so that it can begin at a huge page
  void* at = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<uintptr_t>(at);
  std::byte* begin = static_cast<std::byte*>(at) + (round_up(address, huge_page) - address);
  // A system without them gives ordinary pages.
  madvise(begin, bytes, MADV_HUGEPAGE);
  return {begin, [at, all](std::byte*) { munmap(at, all); }};
}

}  // namespace

std::shared_ptr<std::byte> HugeMemory::take(size_t bytes) {
  const size_t need = round_up(std::max<size_t>(bytes, 1), line);
  if (size_ - used_ < need) {
    const size_t size = round_up(std::max(need, std::min(chunk_bytes, 8 * need)), huge_page);
    chunk_ = map_chunk(size);
    size_ = size;
    used_ = 0;
  }
  std::shared_ptr<std::byte> part(chunk_, chunk_.get() + used_);
  used_ += need;
  return part;
}

size_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  for (size_t kib = 0; in >> key >> kib; std::getline(in, unit)) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

}  // namespace nibble
