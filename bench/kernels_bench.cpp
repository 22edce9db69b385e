// Every line of the selection table at every level this machine has: a matrix that no cache holds times one
// token, and one that stays in the cache times a batch; and rounding to every format that has a search of its
// own. Each answer is checked against `decode` in double first; a wrong one is an error and no time is
// reported.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "kernels/encode.h"
#include "kernels/matmul.h"

namespace nibble {
namespace {

std::vector<float> gaussian(int64_t n, double scale) {
  Rng rng(static_cast<uint64_t>(n));
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * scale);
  return x;
}

/// A tensor of rows that repeat: fitting 30 million weights would take longer than timing them.
QTensor repeated(const Format& format, int64_t rows, int64_t cols) {
  constexpr int64_t distinct = 16;
  const QTensor small = encode_nearest(format, {distinct, cols}, gaussian(distinct * cols, 0.02));
  QTensor all{small.format, {rows, cols}, {}};
  const auto info = format.planes(all.shape), part = format.planes(small.shape);
  for (size_t i = 0; i < info.size(); ++i) {
    const auto& from = small.planes[i].bytes;
    auto bytes = std::make_shared<std::vector<std::byte>>(info[i].bytes);
    for (size_t at = 0; at < bytes->size(); at += part[i].bytes)
      std::memcpy(bytes->data() + at, from.data(), std::min(part[i].bytes, bytes->size() - at));
    all.planes.push_back({info[i].name, {bytes->data(), bytes->size()}, bytes});
  }
  return all;
}

/// Largest error of some outputs, relative to the sum of magnitudes.
double worst_error(const Matrix& w, const std::vector<float>& x, int64_t m, const std::vector<float>& y) {
  const int64_t k = w.cols(), n = w.rows();
  std::vector<float> row(static_cast<size_t>(k));
  double worst = 0;
  for (int64_t j = 0; j < n; j += std::max<int64_t>(1, n / 37)) {
    decode_range(w.tensor(), j * k, k, row.data());
    for (int64_t i = 0; i < m; i += std::max<int64_t>(1, m / 5)) {
      double sum = 0, magnitude = 0;
      for (int64_t c = 0; c < k; ++c) {
        const double p = double{x[static_cast<size_t>(i * k + c)]} * double{row[static_cast<size_t>(c)]};
        sum += p;
        magnitude += std::fabs(p);
      }
      worst = std::max(worst, std::fabs(y[static_cast<size_t>(i * n + j)] - sum) / magnitude);
    }
  }
  return worst;
}

void product(benchmark::State& state, const std::string& word, IsaLevel level, bool arranged, int64_t m,
             int64_t n, int64_t k) {
  set_isa_level(level);
  ThreadPool pool;
  Matrix w(repeated(format_of(word), n, k), word);
  w.set_precision(Precision::fast);
  HugeMemory memory;
  if (arranged) {
    w.use_lanes();
    w.arrange(memory, pool);
  }
  const auto x = gaussian(m * k, 1);
  std::vector<float> y(static_cast<size_t>(m * n));
  matmul(w, 0, n, x.data(), m, y.data(), n, pool);
  // Rounding activations to 8 bits loses up to 1/254 of a block's largest one; sums of many lose far less.
  if (const double error = worst_error(w, x, m, y); !(error < 2e-3)) {
    state.SkipWithError(fmt::format("wrong answer: relative error {}", error).c_str());
    return;
  }
  for (auto _ : state) matmul(w, 0, n, x.data(), m, y.data(), n, pool);
  state.SetLabel(last_kernel());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) *
                          static_cast<int64_t>(w.tensor().bytes()));
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(m * n * k),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

/// Rounding a matrix that no cache holds to the nearest grid points, on one thread.
void encode(benchmark::State& state, const std::string& word, IsaLevel level, bool weighted) {
  const Format& format = format_of(word);
  constexpr int64_t rows = 512, cols = 4096;
  const auto x = gaussian(rows * cols, 0.02);
  std::vector<float> importance(weighted ? cols : 0);
  for (size_t i = 0; i < importance.size(); ++i) importance[i] = static_cast<float>(1 + 37 * i % 64);
  std::vector<std::byte> out(format_bytes(format, {rows, cols}));
  const EncodeBlocks run = block_encoder(format, level);
  const EncodeTask task{x.data(), weighted ? importance.data() : nullptr,   cols,
                        0,        rows * cols / format.block({rows, cols}), out.data()};
  for (auto _ : state) run(task);
  state.counters["weights/s"] =
      benchmark::Counter(static_cast<double>(rows * cols), benchmark::Counter::kIsIterationInvariantRate);
}

void add_all() {
  for (const IsaLevel level : isa_levels()) {
    for (const FormatFamily& family : format_families()) {
      for (const std::string& word : family.examples()) {
        if (!format_of(word).info().can_encode) continue;
        const std::string name = fmt::format("{}/{}", isa_name(level), word);
        const auto add = [&](const char* what, bool arranged, int64_t m, int64_t n, int64_t k) {
          benchmark::RegisterBenchmark((name + what).c_str(), product, word, level, arranged, m, n, k)
              ->UseRealTime()
              ->Unit(benchmark::kMillisecond);
        };
        // As models are loaded, and as weights are stored.
        add("/decode", true, 1, 16384, 2048);
        add("/eight", true, 8, 16384, 2048);
        add("/prefill", true, 512, 2048, 2048);
        add("/decode-stored", false, 1, 16384, 2048);
        if (block_encoder(format_of(word), level) == nullptr) continue;
        for (const bool weighted : {false, true}) {
          benchmark::RegisterBenchmark((name + (weighted ? "/encode-weighted" : "/encode")).c_str(), encode,
                                       word, level, weighted)
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  nibble::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
