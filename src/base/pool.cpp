#include "base/pool.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nibble {
namespace {

constexpr int spins_before_sleep = 2000;
thread_local bool inside_body = false;

int allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int>(n);
}

void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake;
  std::mutex one_caller;

  // One job at a time. `generation` publishes the other fields; `running` counts the workers still in the
  // job.
  std::atomic<unsigned> generation{0};
  std::atomic<int> running{0};
  std::atomic<bool> stop{false};
  const std::function<void(size_t)>* body = nullptr;
  size_t count = 0;
  std::atomic<size_t> next{0};
  std::mutex failure_mutex;
  std::exception_ptr failure;

  void work() {
    inside_body = true;
    try {
      for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) (*body)(i);
    } catch (...) {
      next.store(count);
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
    inside_body = false;
  }

  void serve() {
    unsigned seen = 0;
    for (;;) {
      for (int i = 0; i < spins_before_sleep && generation.load(std::memory_order_acquire) == seen; ++i)
        relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop.load()) return;
      work();
      running.fetch_sub(1, std::memory_order_release);
    }
  }

  void publish() {
    {
      const std::lock_guard lock(mutex);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  const int n = threads > 0 ? threads : allowed_processors();
  for (int i = 1; i < n; ++i) state_->threads.emplace_back([s = state_.get()] { s->serve(); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true);
  state_->publish();
  for (auto& t : state_->threads) t.join();
}

int ThreadPool::threads() const noexcept { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::parallel_for(size_t count, const std::function<void(size_t)>& body) {
  State& s = *state_;
  if (count == 0) return;
  if (count == 1 || s.threads.empty() || inside_body) {
    for (size_t i = 0; i < count; ++i) body(i);
    return;
  }
  const std::lock_guard caller(s.one_caller);
  s.body = &body;
  s.count = count;
  s.failure = nullptr;
  s.next.store(0);
  s.running.store(static_cast<int>(s.threads.size()));
  s.publish();
  s.work();
  for (int i = 0; s.running.load(std::memory_order_acquire) != 0; ++i) {
    if (i < spins_before_sleep) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
  if (s.failure) std::rethrow_exception(s.failure);
}

}  // namespace nibble
