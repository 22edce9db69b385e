#include "pipeline/made_matrices.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>

namespace nibble {

struct MadeMatrices::Entry {
  struct Progress {
    std::atomic<size_t> next{0}, done{0};
  };

  std::vector<float> x;
  std::vector<Progress> progress;
  uint64_t used = 0;  ///< guarded by the owner's mutex
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable all_done;
  std::exception_ptr failure;

  Entry(size_t count, size_t steps) : x(count), progress(steps) {}

  /// Makes pieces until none is left, and waits for those of other threads.
  void help(std::span<const Step> steps) {
    for (size_t s = 0; s < steps.size(); ++s) {
      Progress& p = progress[s];
      for (size_t i = p.next.fetch_add(1); i < steps[s].pieces; i = p.next.fetch_add(1)) {
        make(steps[s], i);
        if (p.done.fetch_add(1) + 1 < steps[s].pieces) continue;
        const std::lock_guard lock(mutex);
        all_done.notify_all();
      }
      std::unique_lock lock(mutex);
      all_done.wait(lock, [&] { return p.done.load() >= steps[s].pieces; });
    }
  }

 private:
  void make(const Step& step, size_t piece) {
    if (failed.load()) return;
    try {
      step.make(piece, x);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      failed.store(true);
    }
  }
};

MadeMatrices::Matrix MadeMatrices::get(const std::string& tensor, int64_t index, size_t count,
                                       std::span<const Step> steps) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Entry>& kept = kept_[{tensor, index}];
    if (!kept) kept = std::make_shared<Entry>(count, steps.size());
    kept->used = ++uses_;
    entry = kept;
    evict();
  }
  // From inside a body this is one thread, which the others join as they come.
  pool_.parallel_for(static_cast<size_t>(pool_.threads()), [&](size_t) { entry->help(steps); });
  if (entry->failed.load()) {
    release(tensor);
    const std::lock_guard lock(entry->mutex);
    std::rethrow_exception(entry->failure);
  }
  return {entry, &entry->x};
}

/// The one that was used longest ago goes first; whoever still reads it holds it.
void MadeMatrices::evict() {
  const auto bytes = [&] {
    uint64_t sum = 0;
    for (const auto& [key, entry] : kept_) sum += entry->x.size() * sizeof(float);
    return sum;
  };
  while (kept_.size() > 2 && bytes() > limit_) {
    kept_.erase(std::min_element(kept_.begin(), kept_.end(), [](const auto& a, const auto& b) {
      return a.second->used < b.second->used;
    }));
  }
}

void MadeMatrices::release(const std::string& tensor) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase_if(kept_, [&](const auto& entry) { return entry.first.first == tensor; });
}

}  // namespace nibble
