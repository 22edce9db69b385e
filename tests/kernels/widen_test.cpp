// Every number of 16 bits becomes the float it stands for, at every level, address and length.
#include "kernels/widen.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "kernels/isa.h"

namespace nibble {
namespace {

class Widen : public testing::TestWithParam<IsaLevel> {
 protected:
  void SetUp() override { set_isa_level(GetParam()); }
  void TearDown() override { set_isa_level(isa_levels().back()); }
};

TEST_P(Widen, GivesTheBitsOfEachNumber) {
  constexpr int64_t n = 65536;
  std::vector<uint16_t> numbers(n);
  for (int64_t i = 0; i < n; ++i) numbers[static_cast<size_t>(i)] = static_cast<uint16_t>(i * 40503);
  std::vector<std::byte> in(2 * n + 1);
  for (const size_t shift : {0, 1}) {
    std::memcpy(in.data() + shift, numbers.data(), 2 * n);
    for (const int64_t length : {n, int64_t{77}, int64_t{32}, int64_t{1}, int64_t{0}}) {
      std::vector<float> f16(n + 1, -1), bf16(n + 1, -1);
      widen_f16(in.data() + shift, f16.data(), length);
      widen_bf16(in.data() + shift, bf16.data(), length);
      for (size_t i = 0; i < static_cast<size_t>(length); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(f16[i]), std::bit_cast<uint32_t>(f16_to_f32(numbers[i]))) << i;
        ASSERT_EQ(std::bit_cast<uint32_t>(bf16[i]), std::bit_cast<uint32_t>(bf16_to_f32(numbers[i]))) << i;
      }
      EXPECT_EQ(f16[static_cast<size_t>(length)], -1);
      EXPECT_EQ(bf16[static_cast<size_t>(length)], -1);
    }
  }
}

TEST_P(Widen, FindsTheLargestMagnitude) {
  std::vector<float> x(100, -1.0f);
  EXPECT_EQ(magnitude_bits(x.data(), 0), 0);
  for (const size_t at : {0, 15, 16, 63, 98, 99}) {
    auto y = x;
    y[at] = at % 2 == 0 ? 1.5f : -1.5f;
    EXPECT_EQ(magnitude_bits(y.data(), 100), std::bit_cast<int32_t>(1.5f)) << at;
    EXPECT_EQ(magnitude_bits(y.data(), static_cast<int64_t>(at)), at == 0 ? 0 : std::bit_cast<int32_t>(1.0f));
  }
}

TEST_P(Widen, SeesWhatIsNotFinite) {
  std::vector<float> x(1000, 3e38f);
  x[7] = -0.0f;
  x[8] = 1e-45f;
  for (const int64_t n : {0, 1, 15, 64, 1000}) EXPECT_LT(magnitude_bits(x.data(), n), infinity_bits);
  for (const float bad : {INFINITY, -INFINITY, NAN, -NAN}) {
    for (const size_t at : {0, 16, 998, 999}) {
      auto y = x;
      y[at] = bad;
      EXPECT_GE(magnitude_bits(y.data(), 1000), infinity_bits) << bad << " at " << at;
      EXPECT_LT(magnitude_bits(y.data(), static_cast<int64_t>(at)), infinity_bits);
    }
  }
}

TEST_P(Widen, NarrowsToTheBitsOfEachNumber) {
  // Every number of 16 bits, the middle of it and its neighbour, and what lies just beside that.
  std::vector<float> x;
  for (uint32_t h = 0; h < 65536; ++h) {
    const float v = f16_to_f32(static_cast<uint16_t>(h));
    const float middle = v + (f16_to_f32(static_cast<uint16_t>(h + 1)) - v) / 2;
    for (const float c : {v, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e30f)})
      x.push_back(c);
  }
  for (const size_t length : {x.size(), size_t{77}, size_t{1}, size_t{0}}) {
    std::vector<uint16_t> out(x.size(), 7);
    narrow_f16(x.data() + x.size() - length, out.data(), static_cast<int64_t>(length));
    for (size_t i = 0; i < length; ++i) ASSERT_EQ(out[i], f32_to_f16(x[x.size() - length + i])) << i;
    if (length < out.size()) {
      ASSERT_EQ(out[length], 7);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Widen, testing::ValuesIn(isa_levels()),
                         [](const auto& param_info) { return std::string(isa_name(param_info.param)); });

}  // namespace
}  // namespace nibble
