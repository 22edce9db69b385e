#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace nibble {

/// A fixed set of threads that run index ranges. A join costs about a microsecond while the threads still
/// spin, so a decode step may use hundreds of them.
class ThreadPool {
 public:
  /// `threads` counts the calling thread; 0 means one per processor this process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept;

  /// Runs body(i) for every i in [0, count), in any order, on all threads; returns when all are done. The
  /// first exception thrown by a body is rethrown here after the others have stopped. Called from inside a
  /// body it runs serially. Work must not depend on which thread runs it: results are the same for every
  /// number of threads.
  void parallel_for(size_t count, const std::function<void(size_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
