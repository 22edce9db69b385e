#include "kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "kernels/matmul.h"

namespace nibble {
namespace {

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double read_bandwidth(ThreadPool& pool, size_t bytes) {
  constexpr size_t piece = size_t{1} << 20;
  constexpr int passes = 5;
  const size_t pieces = std::max<size_t>(bytes / piece, 1);
  HugeMemory memory;
  const std::shared_ptr<std::byte> buffer = memory.take(pieces * piece);
  pool.parallel_for(pieces, [&](size_t p) { std::memset(buffer.get() + p * piece, 1, piece); });
  std::vector<uint64_t> sums(pieces);
  const CpuKernels& cpu = cpu_kernels();
  double best = 0;
  for (int i = 0; i < passes; ++i) {
    const double t = seconds_of([&] {
      pool.parallel_for(pieces, [&](size_t p) { sums[p] = cpu.read(buffer.get() + p * piece, piece); });
    });
    best = std::max(best, static_cast<double>(pieces * piece) / t);
  }
  for (const uint64_t s : sums) {
    if (s != sums[0]) fail(ErrorKind::internal, "the same bytes gave two sums: {} and {}", s, sums[0]);
  }
  return best;
}

MatrixPeak matrix_peak(ThreadPool& pool) {
  constexpr int64_t rounds = 1 << 16;
  constexpr int passes = 5, pieces = 8;
  const CpuKernels& cpu = cpu_kernels();
  const auto threads = static_cast<size_t>(pool.threads());
  MatrixPeak peak{0, cpu.peak.unit};
  std::vector<int64_t> done(threads * pieces);
  for (int i = 0; i < passes; ++i) {
    const double t = seconds_of(
        [&] { pool.parallel_for(done.size(), [&](size_t p) { done[p] = cpu.peak.run(rounds); }); });
    double all = 0;
    for (const int64_t n : done) all += 2.0 * static_cast<double>(n);
    peak.flops = std::max(peak.flops, all / t);
  }
  return peak;
}

}  // namespace nibble
