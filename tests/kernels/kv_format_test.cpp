#include "kernels/kv_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/kv/blocks.h"
#include "support/gaussian.h"

namespace nibble {
namespace {

using test::gaussian;

struct Side {
  const char* name;
  void (*put)(std::byte*, int64_t, int64_t, const float*);
  void (*get)(const std::byte*, int64_t, int64_t, float*);
};
std::vector<Side> sides(const KvFormat& f) {
  return {{"keys", f.put_key, f.keys}, {"values", f.put_value, f.values}};
}

/// The largest error that a format may make of a number among others of its block.
double allowed(const std::string& word, double x, double most) {
  if (word == "f32") return 0;
  if (word == "f16") return std::fabs(x) * 0x1p-11 + 0x1p-25;
  // Half a step; the step itself is an f16, which is 2^-11 off, so that codes at the end reach less far.
  if (word == "q8_0") return most / 127 * (0.5 + 127 * 0x1p-11) + 0x1p-18;
  // The scale that suits all numbers best may suit one badly: a number opposite to the largest one has no
  // code of its own, and others may have taken a sixth off its scale. All together are held to more, below.
  if (word == "q4_0") return most / 8 * 2;
  ADD_FAILURE() << "what may " << word << " do?";
  return 0;
}

TEST(KvFormat, EveryNumberComesBackWithinItsStep) {
  for (const KvFormat* f : kv_formats()) {
    for (const int64_t d : {1, 7, 8, 20, 32, 40, 64, 80, 96, 128, 250}) {
      ASSERT_EQ(f->page_bytes(d) % 64, 0) << f->word << " " << d;
      for (const Side& side : sides(*f)) {
        std::vector<std::byte> page(static_cast<size_t>(f->page_bytes(d)), std::byte{0xa5});
        const auto x = gaussian(kv_page * d, 3);
        // Twice, the second time in another order: what was there before must not matter.
        for (int64_t slot = 0; slot < kv_page; ++slot) side.put(page.data(), slot, d, x.data());
        for (int64_t i = 0; i < kv_page; ++i) {
          const int64_t slot = i * 5 % kv_page;
          side.put(page.data(), slot, d, x.data() + slot * d);
        }
        std::vector<float> y(x.size());
        side.get(page.data(), kv_page, d, y.data());
        for (int64_t slot = 0; slot < kv_page; ++slot) {
          for (int64_t c = 0; c < d; ++c) {
            const auto at = static_cast<size_t>(slot * d + c);
            const int64_t begin = c / kv_block * kv_block, end = std::min(d, begin + kv_block);
            const double most = kv_most(x.data() + slot * d + begin, end - begin);
            ASSERT_LE(std::fabs(x[at] - y[at]), allowed(std::string(f->word), x[at], most))
                << f->word << " " << side.name << " d " << d << " slot " << slot << " column " << c;
          }
        }
        // Fewer positions are the first of them.
        std::vector<float> few(static_cast<size_t>(5 * d));
        side.get(page.data(), 5, d, few.data());
        EXPECT_TRUE(std::equal(few.begin(), few.end(), y.begin())) << f->word;
      }
    }
  }
}

TEST(KvFormat, FourBitsLoseNoMoreThanWithTheLargestNumberKept) {
  const KvFormat& f = kv_format_of("q4_0");
  double lost = 0, lost_keeping = 0;
  for (const int64_t d : {1, 20, 32, 64, 250}) {
    for (const Side& side : sides(f)) {
      std::vector<std::byte> page(static_cast<size_t>(f.page_bytes(d)));
      const auto x = gaussian(kv_page * d, 3);
      for (int64_t slot = 0; slot < kv_page; ++slot) side.put(page.data(), slot, d, x.data() + slot * d);
      std::vector<float> y(x.size());
      side.get(page.data(), kv_page, d, y.data());
      for (int64_t at = 0; at < kv_page * d; at += std::min(kv_block, d - at % d)) {
        const float *from = x.data() + at, *end = from + std::min(kv_block, d - at % d);
        const float largest =
            *std::max_element(from, end, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
        const double step = f16_to_f32(f32_to_f16(largest / -8));
        double error = 0, keeping = 0, power = 0;
        for (; from != end; ++from) {
          const double v = *from, code = std::clamp(std::nearbyint(v / step), -8.0, 7.0);
          keeping += (v - step * code) * (v - step * code);
          error += std::pow(v - y[static_cast<size_t>(from - x.data())], 2);
          power += v * v;
        }
        // The best scale is an f16, too.
        ASSERT_LE(error, keeping + power * 0x1p-22) << side.name << " d " << d << " at " << at;
        lost += error;
        lost_keeping += keeping;
      }
    }
  }
  EXPECT_LT(lost, 0.97 * lost_keeping);
}

TEST(KvFormat, PagesHaveTheBytesThatTheirFormatPromises) {
  EXPECT_EQ(kv_format_of("f32").page_bytes(64), 64 * 64 * 4);
  EXPECT_EQ(kv_format_of("f16").page_bytes(64), 64 * 64 * 2);
  EXPECT_EQ(kv_format_of("q8_0").page_bytes(64), 64 * 2 * 34);
  EXPECT_EQ(kv_format_of("q4_0").page_bytes(64), 64 * 2 * 18);
  EXPECT_EQ(kv_format_of("q8_0").page_bytes(80), 64 * (3 * 2 + 80));
  EXPECT_EQ(kv_format_of("q4_0").page_bytes(8), 64 * (2 + 4));
}

TEST(KvFormat, ExtremesStayWhatTheyAre) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr int64_t d = 40;
  for (const KvFormat* f : kv_formats()) {
    for (const Side& side : sides(*f)) {
      std::vector<std::byte> page(static_cast<size_t>(f->page_bytes(d)));
      std::vector<float> y(d);
      for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
        auto x = gaussian(d, 1);
        x[17] = bad;
        side.put(page.data(), 3, d, x.data());
        std::vector<float> all(4 * d);
        side.get(page.data(), 4, d, all.data());
        EXPECT_FALSE(std::isfinite(all[3 * d + 17])) << f->word << " " << side.name << " " << bad;
      }
      for (const float scale : {0.0f, 1e-30f, 6e4f}) {
        auto x = gaussian(d, 1);
        for (float& v : x) v = std::clamp(v * scale, -65504.0f, 65504.0f);
        side.put(page.data(), 0, d, x.data());
        side.get(page.data(), 1, d, y.data());
        for (const float v : y) ASSERT_TRUE(std::isfinite(v)) << f->word << " at " << scale;
      }
    }
  }
}

TEST(KvFormat, UnknownWordsAreUsageErrors) {
  EXPECT_EQ(find_kv_format("q5_0"), nullptr);
  try {
    kv_format_of("q5_0");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.hint()).find("q8_0"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble
