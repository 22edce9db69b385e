#include "model/arrangement.h"

#include <new>

#include "base/interrupt.h"

namespace nibble {

void Arrangement::before_pass(ThreadPool& pool) {
  if (done_.load(std::memory_order_acquire) || passes_.exchange(1) == 0) return;
  finish(pool);
}

void Arrangement::finish(ThreadPool& pool) {
  const std::lock_guard lock(mutex_);
  try {
    for (; next_ < parts_.size(); ++next_) {
      check_interrupt();
      const Part& part = parts_[next_];
      if (part.weight->matrix->arrange(memory_, pool) && part.let_go) part.let_go();
    }
  } catch (const std::bad_alloc&) {
    // A limit that nobody told of (ulimit -v).
    next_ = parts_.size();
  }
  parts_.clear();
  next_ = 0;
  done_.store(true, std::memory_order_release);
}

}  // namespace nibble
