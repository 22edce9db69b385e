#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/pool.h"

namespace nibble {

/// Matrices of which no row can be read before the whole is made, kept while they are in use. Threads that
/// want the same one share the work of making it. Safe from any thread.
class MadeMatrices {
 public:
  /// A matrix is made in steps, one after another, each of them of pieces in any order.
  struct Step {
    size_t pieces = 0;
    std::function<void(size_t piece, std::span<float> x)> make;
  };
  using Matrix = std::shared_ptr<const std::vector<float>>;

  /// Keeps the last two, and more as long as all are within `bytes`. The pool must outlive it.
  MadeMatrices(uint64_t bytes, ThreadPool& pool) : limit_(bytes), pool_(pool) {}

  /// Part `index` of the tensor: `count` numbers. What a step throws is thrown here, in every thread that
  /// waits for it, and nothing is kept then.
  Matrix get(const std::string& tensor, int64_t index, size_t count, std::span<const Step> steps);
  void release(const std::string& tensor) noexcept;

 private:
  struct Entry;
  using Key = std::pair<std::string, int64_t>;

  void evict();

  uint64_t limit_;
  ThreadPool& pool_;
  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Entry>> kept_;
  uint64_t uses_ = 0;
};

}  // namespace nibble
