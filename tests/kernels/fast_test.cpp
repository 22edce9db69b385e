// Precision::fast: every line of the selection table at every level, against `decode` in double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "kernels/matmul.h"
#include "support/fast_weights.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::arranged;
using test::gaussian;
using test::KeepLevel;
using test::weights;

/// Nearest bf16, ties to even.
float to_bf16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&v, &bits, 4);
  return v;
}

/// Activations as kernels round them: 8 bits with one scale for 32.
std::vector<float> rounded(const std::vector<float>& x, int64_t k) {
  std::vector<float> y(x.size());
  for (size_t row = 0; row < x.size(); row += size_t(k)) {
    for (size_t b = 0; b < size_t(k); b += 32) {
      const size_t end = std::min(row + size_t(k), row + b + 32);
      float most = 0;
      for (size_t i = row + b; i < end; ++i) most = std::max(most, std::fabs(x[i]));
      for (size_t i = row + b; i < end; ++i)
        y[i] = most > 0 ? std::nearbyint(x[i] * (127.0f / most)) * (most / 127.0f) : 0.0f;
    }
  }
  return y;
}

enum class Rounding { none, eight_bits, bf16 };

Rounding rounding_of(const std::string& kernel) {
  if (kernel.rfind("tiles", 0) == 0) return Rounding::bf16;
  return kernel.rfind("f", 0) == 0 || kernel.rfind("bf16", 0) == 0 ? Rounding::none : Rounding::eight_bits;
}

/// Products in double of the operands as the kernel rounds them. What is left are f32 sums: of each output at
/// most k / 16 + 24 additions in one lane (k where floats stand in lanes), each wrong by 2^-24 of the
/// magnitudes added; a kernel that
/// subtracts an offset afterwards adds magnitudes of codes and offset, which is what `slack` allows for (the
/// largest code is at most 32 times the middle of the grid). nf4's grid is held in steps of 1/32512 of a
/// block's largest.
void check(const Matrix& w, int64_t first, int64_t n, int64_t m, const std::vector<float>& x,
           const std::vector<float>& y) {
  const int64_t k = w.cols();
  const std::string kernel = last_kernel();
  const Rounding rounding = rounding_of(kernel);
  std::vector<float> used = x;
  if (rounding == Rounding::eight_bits) used = rounded(x, k);
  if (rounding == Rounding::bf16) {
    for (float& v : used) v = to_bf16(v);
  }
  std::vector<float> row(static_cast<size_t>(k));
  const double slack = w.word() == "f16" || w.word() == "bf16" || w.word() == "f32" ? 1 : 32;
  const bool in_turn = rounding == Rounding::none && kernel.find("lanes") != std::string::npos;
  const double additions = static_cast<double>(in_turn ? k : k / 16 + 24);
  const double sums = additions * 0x1p-24 * slack;
  for (int64_t j = 0; j < n; ++j) {
    decode_range(w.tensor(), (first + j) * k, k, row.data());
    const double top = std::fabs(*std::max_element(
        row.begin(), row.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
    for (int64_t i = 0; i < m; ++i) {
      double sum = 0, magnitude = 0, all = 0;
      for (int64_t c = 0; c < k; ++c) {
        const float weight = row[size_t(c)];
        const double v = used[size_t(i * k + c)];
        const double p = v * (rounding == Rounding::bf16 ? to_bf16(weight) : weight);
        sum += p;
        magnitude += std::fabs(p);
        all += std::fabs(v);
      }
      double allowed = sums * magnitude + 1e-30;
      if (w.word().rfind("nf4", 0) == 0) allowed += top * all / 32512;
      // A decoded weight that differs in its last f32 place may round to the other bf16 neighbour; few are
      // so near to the middle of two, but of nf4's grid one or the other point always may be.
      const bool steps = w.word().rfind("nf4", 0) == 0;
      if (rounding == Rounding::bf16) allowed += 0x1p-8 * magnitude * (steps ? 1 : 0.05);
      ASSERT_NEAR(y[size_t(i * n + j)], sum, allowed) << kernel << ", token " << i << ", row " << j;
    }
  }
}

struct Shapes {
  int64_t m, n, k;
};

void run(const Matrix& w, int64_t m) {
  const auto x = gaussian(m * w.cols(), 7);
  const int64_t n = w.rows();
  std::vector<float> expected;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<float> y(static_cast<size_t>(m * n), NAN);
    matmul(w, 0, n, x.data(), m, y.data(), n, pool);
    if (expected.empty()) {
      check(w, 0, n, m, x, y);
      expected = y;
    }
    ASSERT_EQ(y, expected) << threads << " threads";
  }
}

TEST(FastMatmul, EveryLineAgreesWithDecode) {
  const KeepLevel keep;
  std::map<std::string, int64_t> formats;  // and what their rows must be a multiple of
  for (const IsaLevel level : isa_levels()) {
    const CpuKernels& cpu = cpu_kernels(level);
    for (int i = 0; i < cpu.lane_count; ++i) formats.try_emplace(cpu.lanes[i].format, 256);
    for (int i = 0; i + 1 < cpu.row_count; ++i) formats[cpu.rows[i].format] = cpu.rows[i].cols_multiple;
  }
  for (const auto& [word, unit] : formats) {
    for (const Shapes s :
         {Shapes{1, 3, unit}, Shapes{2, 17, 3 * unit}, Shapes{3, 37, 512}, Shapes{7, 5, 512 + unit},
          Shapes{8, 33, 256}, Shapes{19, 50, 256 + unit}, Shapes{70, 49, 2 * unit}, Shapes{45, 290, 768}}) {
      const Matrix w = weights(word, {s.n, s.k});
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        SCOPED_TRACE(fmt::format("{} {} m {} n {} k {}", isa_name(level), word, s.m, s.n, s.k));
        run(w, s.m);
        if (HasFatalFailure()) return;
        run(arranged(w), s.m);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(FastMatmul, FormatsWithLanesUseThem) {
  const KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const CpuKernels& cpu = cpu_kernels();
    for (int i = 0; i < cpu.lane_count; ++i) {
      const Matrix w = arranged(weights(cpu.lanes[i].format, {48, 256}));
      ASSERT_NE(w.lanes(), nullptr) << cpu.lanes[i].name;
      for (const int64_t m : {1, 5, 40, 530}) {
        run(w, m);
        // Many tokens meet tiles unpacked from the lanes, where those are faster.
        const int64_t tiles = cpu.lanes[i].floats ? cpu.tiles.from : cpu.tiles.from_whole;
        const bool tiled = cpu.tiles.run != nullptr && m >= tiles;
        EXPECT_STREQ(last_kernel(), tiled ? cpu.tiles.name : cpu.lanes[i].name);
      }
    }
  }
}

// Sums of 16 bits are as large as they get where the largest codes meet activations of 127: all of a sign,
// but for the weights that make the block as wide as it can be.
TEST(FastMatmul, LargestCodesMeetLargestActivations) {
  const KeepLevel keep;
  constexpr int64_t n = 16, k = 512;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const CpuKernels& cpu = cpu_kernels();
    for (int i = 0; i < cpu.lane_count; ++i) {
      const std::string word = cpu.lanes[i].format;
      for (const float side : {1.0f, -1.0f}) {
        std::vector<float> v(static_cast<size_t>(n * k));
        for (size_t c = 0; c < v.size(); ++c) v[c] = c % 16 == 5 ? -side : side;
        Matrix w(encode_nearest(format_of(word), {n, k}, v), "w");
        w.set_precision(Precision::fast);
        w = arranged(w);
        ThreadPool pool(1);
        for (const float sign : {1.0f, -1.0f}) {
          for (const int64_t m : {1, 2, 4, 6, 7}) {
            SCOPED_TRACE(fmt::format("{} {} weights {} activations {}", isa_name(level), word, side, sign));
            const std::vector<float> x(static_cast<size_t>(m * k), sign);
            std::vector<float> y(static_cast<size_t>(m * n));
            matmul(w, 0, n, x.data(), m, y.data(), n, pool);
            check(w, 0, n, m, x, y);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(FastMatmul, LanesDoNotOutliveTheirLevel) {
  const KeepLevel keep;
  const Matrix w = arranged(weights("q4_k", {48, 256}));
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const int64_t m : {1, 5, 40}) run(w, m);
  }
}

// Parts of a tensor that begin between lanes are read as they are stored.
TEST(FastMatmul, SlicesOfArrangedRows) {
  const Matrix w = arranged(weights("q4_k", {80, 256}));
  ThreadPool pool(2);
  for (const int64_t first : {0, 16, 20, 48}) {
    for (const int64_t m : {1, 5, 20}) {
      const auto x = gaussian(m * 256, 3);
      std::vector<float> y(static_cast<size_t>(25 * m));
      matmul(w, first, 25, x.data(), m, y.data(), 25, pool);
      check(w, first, 25, m, x, y);
    }
  }
}

TEST(FastMatmul, EveryFormatOfTheListMultiplies) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      if (!format_of(word).info().can_encode) continue;
      const Matrix w = weights(word, {6, 512});
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        SCOPED_TRACE(fmt::format("{} {}", isa_name(level), word));
        for (const int64_t m : {1, 18}) {
          const auto x = gaussian(m * 512, 7);
          std::vector<float> y(static_cast<size_t>(6 * m));
          matmul(w, 0, 6, x.data(), m, y.data(), 6, pool);
          check(w, 0, 6, m, x, y);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(FastMatmul, RowsOfOneTensorAreSlices) {
  const Matrix w = weights("q4_k", {3, 10, 256});
  ThreadPool pool(2);
  for (const int64_t m : {2, 20}) {
    const auto x = gaussian(m * 256, 3);
    std::vector<float> y(static_cast<size_t>(10 * m));
    matmul(w, 20, 10, x.data(), m, y.data(), 10, pool);
    check(w, 20, 10, m, x, y);
  }
}

// Where several tokens meet 16 rows at once there are rows left, and columns that fill no unit of 256.
// Threads cut long matrices into ever shorter parts, and matrices shorter than that into few.
TEST(FastMatmul, ThreadsChangeNoBit) {
  const KeepLevel keep;
  ThreadPool pool(2), others[]{ThreadPool(1), ThreadPool(3), ThreadPool(7)};
  for (const char* word : {"q4_k", "f16", "nvfp4"}) {
    for (const int64_t n : {40, 100, 3001}) {
      const Matrix rows = weights(word, {n, 256});
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        const Matrix w = arranged(rows);
        for (const int64_t m : {1, 5, 12, 40}) {
          SCOPED_TRACE(fmt::format("{} {} {} rows, {} tokens", isa_name(level), word, n, m));
          const auto x = gaussian(m * 256, 7);
          std::vector<float> y(static_cast<size_t>(n * m));
          matmul(w, 0, n, x.data(), m, y.data(), n, pool);
          check(w, 0, n, m, x, y);
          if (HasFatalFailure()) return;
          for (ThreadPool& other : others) {
            std::vector<float> z(y.size());
            matmul(w, 0, n, x.data(), m, z.data(), n, other);
            ASSERT_EQ(z, y) << other.threads();
          }
        }
      }
    }
  }
}

TEST(FastMatmul, SeveralTokensMeetManyRows) {
  const KeepLevel keep;
  ThreadPool pool(2);
  for (const char* word : {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                           "iq4_nl", "iq4_xs", "int4:g128", "nf4:b64", "f16", "bf16", "f32"}) {
    const bool short_blocks = std::string(word).find("_k") == std::string::npos;
    for (const int64_t cols : {256, 768, 384, 320}) {
      if (cols % 256 != 0 && !short_blocks) continue;
      if (cols % 128 != 0 && std::string(word) == "int4:g128") continue;
      if (cols % 256 != 0 && std::string(word) == "iq4_xs") continue;
      const Matrix rows = weights(word, {51, cols});
      for (const IsaLevel level : isa_levels()) {
        set_isa_level(level);
        const Matrix w = arranged(rows);
        for (const int64_t m : {3, 4, 5, 6, 7, 8, 9, 12, 15}) {
          SCOPED_TRACE(fmt::format("{} {} {} columns, {} tokens", isa_name(level), word, cols, m));
          const auto x = gaussian(m * cols, 7);
          std::vector<float> y(static_cast<size_t>(51 * m));
          matmul(w, 0, 51, x.data(), m, y.data(), 51, pool);
          check(w, 0, 51, m, x, y);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(FastMatmul, NanAndInfinityReachTheResult) {
  const KeepLevel keep;
  ThreadPool pool(1);
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    for (const char* word : {"q4_0", "q4_k", "q2_k", "q3_k", "f16"}) {
      const Matrix w = arranged(weights(word, {4, 256}));
      for (const int64_t m : {1, 3, 20}) {
        for (const float bad : {NAN, std::numeric_limits<float>::infinity()}) {
          auto x = gaussian(m * 256, 3);
          x[100] = bad;
          std::vector<float> y(static_cast<size_t>(4 * m));
          matmul(w, 0, 4, x.data(), m, y.data(), 4, pool);
          EXPECT_FALSE(std::isfinite(y[0])) << isa_name(level) << " " << last_kernel();
          if (m > 1) {
            EXPECT_TRUE(std::isfinite(y[4])) << isa_name(level) << " " << last_kernel();
          }
        }
      }
    }
  }
}

TEST(FastMatmul, ZeroTokensAreZero) {
  ThreadPool pool(1);
  const Matrix w = weights("q6_k", {4, 256});
  const std::vector<float> x(256);
  std::vector<float> y(4, 1.0f);
  matmul(w, 0, 4, x.data(), 1, y.data(), 4, pool);
  EXPECT_EQ(y, std::vector<float>(4));
}

}  // namespace
}  // namespace nibble
