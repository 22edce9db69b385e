// Every line of the attention tables at every level, against what the formats themselves read, in double.
#include "kernels/attend.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "base/huge_memory.h"
#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/kv_format.h"
#include "support/gaussian.h"
#include "support/keep_level.h"

namespace nibble {
namespace {

using test::gaussian;
using test::KeepLevel;

/// A page whose slots from n on hold NaN, as a failed run may leave them.
std::vector<std::byte> page_of(const KvFormat& f, bool keys, int64_t n, int64_t d, std::vector<float>& read) {
  std::vector<std::byte> page(static_cast<size_t>(f.page_bytes(d)) + kv_slack);
  const std::vector<float> strange(static_cast<size_t>(d), std::numeric_limits<float>::quiet_NaN());
  const auto x = gaussian(kv_page * d, 7);
  for (int64_t slot = 0; slot < kv_page; ++slot)
    (keys ? f.put_key : f.put_value)(page.data(), slot, d, slot < n ? x.data() + slot * d : strange.data());
  read.resize(static_cast<size_t>(n * d));
  (keys ? f.keys : f.values)(page.data(), n, d, read.data());
  return page;
}

const std::vector<int64_t> dims{8, 20, 24, 32, 40, 56, 64, 80, 96, 104, 128, 250, 256};

TEST(AttendKernels, ScoresAreThoseOfTheKeysRead) {
  const KeepLevel keep;
  int lines = 0;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const AttendKernels& kernels = attend_kernels();
    for (int line = 0; line < kernels.key_count; ++line) {
      const KeyKernel& kernel = kernels.keys[line];
      ++lines;
      for (const int64_t d : dims) {
        for (const int64_t n : {int64_t{1}, int64_t{17}, int64_t{40}, int64_t{50}, kv_page}) {
          std::vector<float> k;
          const auto page = page_of(kv_format_of(kernel.format), true, n, d, k);
          const int64_t stride = (d + 15) / 16 * 16;
          for (const int64_t m : {1, 2, 3, 7, 8}) {
            // Queries that are whole numbers already, so that rounding them to 8 bits changes nothing.
            std::vector<float> q(static_cast<size_t>(m * stride));
            std::vector<int32_t> words(q.size() / 4), sums(static_cast<size_t>(m * attend_blocks));
            std::vector<float> scales(sums.size());
            auto* codes = reinterpret_cast<int8_t*>(words.data());
            Rng rng(static_cast<uint64_t>(m));
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t b = 0; b * 32 < stride; ++b)
                scales[static_cast<size_t>(i * attend_blocks + b)] =
                    0.01f * static_cast<float>(1 + rng.below(9));
              for (int64_t c = 0; c < d; ++c) {
                const auto block = static_cast<size_t>(i * attend_blocks + c / 32);
                const int code = static_cast<int>(rng.below(255)) - 127;
                codes[i * stride + c] = static_cast<int8_t>(code);
                sums[block] += code;
                q[static_cast<size_t>(i * stride + c)] = scales[block] * static_cast<float>(code);
              }
            }
            std::vector<float> score(static_cast<size_t>(m * kv_page));
            // Asking for a page beside it changes nothing.
            const std::byte* next = m % 2 == 0 ? page.data() : nullptr;
            kernel.scores({page.data(), n, d, m, q.data(), stride, words.data(), scales.data(), sums.data(),
                           score.data(), next});
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t t = 0; t < n; ++t) {
                double want = 0, size = 0;
                for (int64_t c = 0; c < d; ++c) {
                  const double p = double(q[size_t(i * stride + c)]) * k[size_t(t * d + c)];
                  want += p;
                  size += std::fabs(p);
                }
                // Sums in f32, one after the other; q itself is a rounded product here.
                ASSERT_NEAR(score[size_t(i * kv_page + t)], want, size * double(d + 8) * 0x1p-24)
                    << isa_name(level) << " " << kernel.format << " d " << d << " n " << n << " m " << m;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(lines > 0, isa_levels().size() > 1);
}

TEST(AttendKernels, SumsAreThoseOfTheValuesRead) {
  const KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const AttendKernels& kernels = attend_kernels();
    for (int line = 0; line < kernels.value_count; ++line) {
      const ValueKernel& kernel = kernels.values[line];
      for (const int64_t d : dims) {
        for (const int64_t n : {int64_t{1}, int64_t{17}, int64_t{40}, int64_t{50}, kv_page}) {
          std::vector<float> v;
          const auto page = page_of(kv_format_of(kernel.format), false, n, d, v);
          const int64_t stride = (d + 15) / 16 * 16;
          for (const int64_t m : {1, 2, 3, 7, 8}) {
            std::vector<float> weight(static_cast<size_t>(m * kv_page)),
                sum(static_cast<size_t>(m * stride), 0.5f);
            Rng rng(static_cast<uint64_t>(m));
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t t = 0; t < n; ++t)
                weight[size_t(i * kv_page + t)] = static_cast<float>(rng.uniform());
            }
            kernel.mix({page.data(), n, d, m, weight.data(), sum.data(), stride,
                        m % 2 == 0 ? page.data() : nullptr});
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t c = 0; c < d; ++c) {
                double want = 0.5, size = 0.5;
                for (int64_t t = 0; t < n; ++t) {
                  const double p = double(weight[size_t(i * kv_page + t)]) * v[size_t(t * d + c)];
                  want += p;
                  size += std::fabs(p);
                }
                ASSERT_NEAR(sum[size_t(i * stride + c)], want, size * double(n + 4) * 0x1p-24)
                    << isa_name(level) << " " << kernel.format << " d " << d << " n " << n << " m " << m;
              }
            }
          }
        }
      }
    }
  }
}

TEST(AttendKernels, PartialResultsMergeToTheWhole) {
  // Two parts of weights 2^e times (w, w v): what one sum over all would give.
  const std::vector<float> partial{2, 4, 3, 1, /**/ 1, 5, 2, 3};  // d = 2: sums, total, exponent
  std::vector<float> out(2);
  merge_attention(partial.data(), 2, 4, 2, out.data());
  const double total = 3 * 2 + 2 * 8;
  EXPECT_NEAR(out[0], (2 * 2 + 1 * 8) / total, 1e-6);
  EXPECT_NEAR(out[1], (4 * 2 + 5 * 8) / total, 1e-6);
  // A part that saw nothing changes nothing.
  const std::vector<float> nothing{0, 0, 0, -1e30f, /**/ 1, 5, 2, 3};
  merge_attention(nothing.data(), 2, 4, 2, out.data());
  EXPECT_FLOAT_EQ(out[0], 0.5f);
  EXPECT_FLOAT_EQ(out[1], 2.5f);
}

TEST(AttendKernels, LinesNameFormatsThatExist) {
  const KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const AttendKernels& kernels = attend_kernels();
    for (int i = 0; i < kernels.key_count; ++i) EXPECT_NE(find_kv_format(kernels.keys[i].format), nullptr);
    for (int i = 0; i < kernels.value_count; ++i)
      EXPECT_NE(find_kv_format(kernels.values[i].format), nullptr);
    EXPECT_EQ(key_kernel(kernels, "f32"), nullptr);
  }
}

/// Nearest bf16, ties to even.
uint16_t to_bf16(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

TEST(AttendKernels, TilesHoldWhatIsRead) {
  const KeepLevel keep;
  for (const IsaLevel level : isa_levels()) {
    set_isa_level(level);
    const AttendKernels& kernels = attend_kernels();
    EXPECT_EQ(kernels.tiles != nullptr, kernels.tile_page_count > 0);
    for (int line = 0; line < kernels.tile_page_count; ++line) {
      const TilePage& tiles = kernels.tile_pages[line];
      const KvFormat& format = kv_format_of(tiles.format);
      for (const int64_t d : {32, 64, 96, 256}) {
        for (const int64_t n : {int64_t{1}, int64_t{17}, int64_t{32}, kv_page}) {
          SCOPED_TRACE(fmt::format("{} {} d {} n {}", isa_name(level), tiles.format, d, n));
          const LargeArray<uint16_t> out(static_cast<size_t>(kv_page * d));
          std::vector<float> read;
          const auto value = [&](int64_t r, int64_t c) {
            return r < n ? to_bf16(read[static_cast<size_t>(r * d + c)]) : uint16_t{0};
          };
          const auto keys = page_of(format, true, n, d, read);
          tiles.keys(keys.data(), n, d, out.data());
          for (int64_t r = 0; r < kv_page; ++r) {
            for (int64_t c = 0; c < d; ++c) {
              const int64_t tile = r / 16 * (d / 32) + c / 32;
              ASSERT_EQ(out[static_cast<size_t>(tile * 512 + r % 16 * 32 + c % 32)], value(r, c))
                  << "key " << r << ", column " << c;
            }
          }
          const auto values = page_of(format, false, n, d, read);
          tiles.values(values.data(), n, d, out.data());
          for (int64_t r = 0; r < kv_page; ++r) {
            for (int64_t c = 0; c < d; ++c) {
              const int64_t tile = c / 16 * 2 + r / 32;
              ASSERT_EQ(out[static_cast<size_t>(tile * 512 + r % 32 / 2 * 32 + c % 16 * 2 + r % 2)],
                        value(r, c))
                  << "value " << r << ", column " << c;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nibble
