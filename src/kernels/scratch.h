#pragma once

#include "base/huge_memory.h"

namespace nibble {

/// Memory of this thread that is never shrunk nor cleared, in large pages: its place in the second-level
/// cache is then its own. One block for each type in the whole program: T must be a type of
/// the file's own. Throws std::bad_alloc.
template <class T>
T* scratch(size_t bytes) {
  thread_local std::shared_ptr<std::byte> memory;
  thread_local size_t size = 0;
  // What an earlier, larger call left behind these bytes is not the caller's.
  if (size < bytes || (parts_are_watched && size != bytes)) {
    HugeMemory huge;
    memory = nullptr;
    memory = huge.take(bytes);
    size = bytes;
  }
  return reinterpret_cast<T*>(memory.get());
}

}  // namespace nibble
