#include "model/arrangement.h"

#include <new>

#include "base/interrupt.h"

namespace nibble {
namespace {

std::atomic<size_t> all_promised{0};

}  // namespace

Arrangement::Arrangement(std::vector<Part> parts) : parts_(std::move(parts)) {
  for (const Part& p : parts_) left_ += p.weight->matrix->arranged_bytes();
  all_promised += left_;
}

Arrangement::~Arrangement() { all_promised -= left_; }

size_t Arrangement::promised() noexcept { return all_promised; }

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
      const size_t bytes = part.weight->matrix->arranged_bytes();
      if (part.weight->matrix->arrange(memory_, pool) && part.let_go) part.let_go();
      left_ -= bytes;
      all_promised -= bytes;
    }
  } catch (const std::bad_alloc&) {
    // A limit that nobody told of (ulimit -v).
    all_promised -= left_;
    left_ = 0;
  }
  parts_.clear();
  next_ = 0;
  done_.store(true, std::memory_order_release);
}

}  // namespace nibble
