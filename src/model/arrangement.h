#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "ops/op.h"

namespace nibble {

/// Puts the matrices of a program into lanes (Matrix::arrange) when it becomes clear that they will be read
/// again. A program's first pass, of up to as many tokens as a batch has, reads them where they are: a short
/// prompt's first token does not wait for the copy.
class Arrangement {
 public:
  struct Part {
    std::shared_ptr<Weight> weight;     ///< its matrix uses lanes
    std::function<void()> let_go = {};  ///< of the bytes that it was made of; null: nobody does
  };
  explicit Arrangement(std::vector<Part> parts);
  ~Arrangement();
  Arrangement(const Arrangement&) = delete;
  Arrangement& operator=(const Arrangement&) = delete;

  /// Bytes that all arrangements will still take: memory that is there but promised.
  static size_t promised() noexcept;

  /// To be called before each pass. Safe from any thread. Throws what an interrupt throws.
  void before_pass(ThreadPool& pool);
  /// Does it now. Without enough memory the rest stays where it is.
  void finish(ThreadPool& pool);

 private:
  std::atomic<int> passes_{0};
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  HugeMemory memory_;
  std::vector<Part> parts_;
  size_t next_ = 0, left_ = 0;  ///< part to be done, bytes still promised
};

}  // namespace nibble
