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

  // One job at a time, told by `gate`: whether it is open, its number, and how many workers are inside. A
  // worker that wakes up late finds the gate closed and is not waited for: on a busy machine a join costs no
  // more than the work.
  static constexpr uint64_t open = uint64_t{1} << 63;
  static constexpr uint64_t one_job = uint64_t{1} << 32;
  static constexpr uint64_t inside = one_job - 1;
  std::atomic<uint64_t> gate{0};
  std::atomic<bool> stop{false};
  const std::function<void(size_t)>* body = nullptr;
  /// The indices that one thread begins with. The same thread has the same part of every job of a size: what
  /// it wrote is in its own cache when the next job reads it.
  struct alignas(64) Share {
    std::atomic<size_t> next{0};
    size_t end = 0;
  };
  std::vector<Share> shares;
  std::mutex failure_mutex;
  std::exception_ptr failure;

  /// Its own share, then what is left of the others'.
  void work(size_t thread) {
    inside_body = true;
    try {
      for (size_t s = 0; s < shares.size(); ++s) {
        Share& share = shares[(thread + s) % shares.size()];
        for (size_t i = share.next.fetch_add(1); i < share.end; i = share.next.fetch_add(1)) (*body)(i);
      }
    } catch (...) {
      for (Share& share : shares) share.next.store(share.end);
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
    inside_body = false;
  }

  void share_out(size_t count) {
    for (size_t s = 0; s < shares.size(); ++s) {
      shares[s].next.store(count * s / shares.size(), std::memory_order_relaxed);
      shares[s].end = count * (s + 1) / shares.size();
    }
  }

  static uint64_t job_of(uint64_t g) { return (g & ~open) / one_job; }
  bool called(uint64_t seen) const {
    const uint64_t g = gate.load(std::memory_order_acquire);
    return stop.load(std::memory_order_acquire) || ((g & open) != 0 && job_of(g) != seen);
  }

  void serve(size_t thread) {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < spins_before_sleep && !called(seen); ++i) relax();
      if (!called(seen)) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return called(seen); });
      }
      if (stop.load(std::memory_order_acquire)) return;
      uint64_t g = gate.load(std::memory_order_acquire);
      while ((g & open) != 0 && job_of(g) != seen) {
        if (!gate.compare_exchange_weak(g, g + 1, std::memory_order_acq_rel)) continue;
        seen = job_of(g);
        work(thread);
        gate.fetch_sub(1, std::memory_order_release);
        break;
      }
    }
  }

  /// Opens the gate for the next job; nobody is inside.
  void begin() {
    {
      const std::lock_guard lock(mutex);
      const uint64_t next_job = (job_of(gate.load(std::memory_order_relaxed)) + 1) % (open / one_job);
      gate.store(open | next_job * one_job, std::memory_order_release);
    }
    wake.notify_all();
  }

  /// Closes the gate and waits for those inside.
  void end() {
    gate.fetch_and(~open, std::memory_order_acq_rel);
    for (int i = 0; (gate.load(std::memory_order_acquire) & inside) != 0; ++i) {
      if (i < spins_before_sleep) {
        relax();
      } else {
        std::this_thread::yield();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  const auto n = static_cast<size_t>(threads > 0 ? threads : allowed_processors());
  state_->shares = std::vector<State::Share>(n);
  for (size_t i = 1; i < n; ++i) state_->threads.emplace_back([s = state_.get(), i] { s->serve(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true, std::memory_order_release);
  }
  state_->wake.notify_all();
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
  s.failure = nullptr;
  s.share_out(count);
  s.begin();
  s.work(0);
  s.end();
  if (s.failure) std::rethrow_exception(s.failure);
}

}  // namespace nibble
