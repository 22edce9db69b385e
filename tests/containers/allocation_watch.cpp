// Counts what the code under test asks of the heap, so that a tiny file that makes a reader reserve gigabytes
// is seen even when the pages are never touched.
#include <atomic>
#include <cstdlib>
#include <new>

#include "hostile.h"

namespace {
std::atomic<size_t> allocated{0};
}

void* operator new(std::size_t size) {
  allocated.fetch_add(size, std::memory_order_relaxed);
  if (void* p = std::malloc(size > 0 ? size : 1)) return p;
  throw std::bad_alloc();
}
// The standard library's algorithms take their buffers by this one; all of a family must be replaced
// together.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocated.fetch_add(size, std::memory_order_relaxed);
  return std::malloc(size > 0 ? size : 1);
}
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace nibble::test {
size_t take_allocated() noexcept { return allocated.exchange(0); }
}  // namespace nibble::test
