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
constexpr size_t alignment = 64;

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

[[maybe_unused]] std::shared_ptr<std::byte> exact_part(size_t bytes) {
  auto* at = static_cast<std::byte*>(operator new (bytes, std::align_val_t{alignment}));
  std::fill_n(at, bytes, std::byte{0});
  return {at, [](std::byte* p) { operator delete (p, std::align_val_t{alignment}); }};
}

/// The number that follows a word in a file of words and numbers; 0 if there is none.
size_t number_after(const std::string& path, const std::string& word) {
  std::ifstream in(path);
  std::string key, rest;
  for (size_t n = 0; in >> key >> n; std::getline(in, rest)) {
    if (key == word) return n;
  }
  return 0;
}

/// The number a file begins with; 0 if there is none ("max").
size_t number_in(const std::string& path) {
  std::ifstream in(path);
  size_t n = 0;
  return in >> n ? n : 0;
}

/// Folder of this process's control group (version 2).
std::string own_cgroup() {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    std::string folder = "/sys/fs/cgroup" + line.substr(3);
    if (std::ifstream(folder + "/memory.max")) return folder;
  }
  return "/sys/fs/cgroup";  // as containers see their own
}

}  // namespace

std::shared_ptr<std::byte> HugeMemory::take(size_t bytes) {
  if constexpr (parts_are_watched) return exact_part(bytes);
  const size_t need = round_up(std::max<size_t>(bytes, 1), alignment);
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

void want_huge_pages(void* at, size_t bytes) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(at);
  const size_t skip = round_up(address, huge_page) - address;
  if (bytes >= skip + huge_page)
    madvise(static_cast<std::byte*>(at) + skip, (bytes - skip) / huge_page * huge_page, MADV_HUGEPAGE);
}

size_t available_memory() {
  const size_t machine = number_after("/proc/meminfo", "MemAvailable:") * 1024;
  // What a container may have, less what it has and could not give back.
  const std::string group = own_cgroup();
  const size_t limit = number_in(group + "/memory.max"), used = number_in(group + "/memory.current");
  if (limit == 0 || machine == 0) return machine;
  const size_t cached = number_after(group + "/memory.stat", "file");
  const size_t held = used > cached ? used - cached : 0;
  return std::min(machine, limit > held ? limit - held : 0);
}

}  // namespace nibble
