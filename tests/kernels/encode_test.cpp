// Rounding blocks side by side gives the bytes that fit, round and pack give one by one: for every format of
// the list that has such a search, at every level of the machine. Knows no format by name.
#include "kernels/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"

namespace nibble {
namespace {

std::vector<std::string> words() {
  std::vector<std::string> all;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      if (block_encoder(format_of(word), IsaLevel::scalar) != nullptr) all.push_back(word);
    }
  }
  return all;
}

/// Blocks of every kind that search code meets: normal ones, outliers, one sign, few values, zeros, the ends
/// of the float range.
std::vector<float> mixed_blocks(int64_t blocks, int64_t block, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x;
  for (int64_t b = 0; b < blocks; ++b) {
    const double scale = b % 11 == 7 ? 1e-7 : b % 13 == 9 ? 1e5 : 0.02;
    for (int64_t i = 0; i < block; ++i) {
      double v = rng.normal() * scale;
      switch (b % 9) {
        case 1:
          if (i % 29 == 3) v *= 20;
          break;
        case 2:
          v = std::fabs(v) + 3 * scale;
          break;
        case 3:
          v = std::copysign(scale, v);
          break;
        case 4:
          v = std::round(v / scale * 2) * scale / 2;
          break;
        case 5:
          v = i / 32 % 2 == 0 ? 0 : v;
          break;
        case 6:
          v = b % 2 == 0 ? 0 : -std::fabs(v);
          break;
        case 8:
          v *= b % 4 == 0 ? 1e37 : b % 4 == 1 ? 1e-38 : std::exp2(static_cast<double>(i % 64) - 32);
          break;
        default:
          break;
      }
      x.push_back(static_cast<float>(v));
    }
  }
  return x;
}

class SideBySide : public testing::TestWithParam<std::string> {};

TEST_P(SideBySide, GivesTheBytesOfOneByOneAtEveryLevel) {
  const Format& format = format_of(GetParam());
  const int64_t block = format.block({1, 4096});
  for (const int64_t blocks : {1, 2, 3, 5, 16, 21, 50}) {
    const int64_t cols = blocks % 3 == 0 ? block * 3 : blocks % 5 == 0 ? block * 5 : block * blocks;
    const Shape shape{blocks * block / cols, cols};
    const auto x = mixed_blocks(blocks, block, static_cast<uint64_t>(blocks));
    for (const int kind : {0, 1, 2}) {
      std::vector<float> importance;
      for (int64_t i = 0; kind > 0 && i < cols; ++i) {
        // Some columns never saw an activation; some blocks weigh all alike.
        const bool even = kind == 2 && i / block % 2 == 0;
        importance.push_back(even ? 2.0f : i % 19 == 4 ? 0.0f : static_cast<float>(1 + 37 * i % 64));
      }
      const QTensor expected = encode_nearest(format, shape, x, importance);
      for (const IsaLevel level : isa_levels()) {
        const EncodeBlocks run = block_encoder(format, level);
        ASSERT_NE(run, nullptr) << isa_name(level);
        const auto want = expected.planes[0].bytes;
        std::vector<std::byte> bytes(want.size() + 16, std::byte{0x5a});
        run({x.data(), importance.empty() ? nullptr : importance.data(), cols, 0, blocks, bytes.data()});
        for (size_t i = 0; i < want.size(); ++i) {
          ASSERT_EQ(bytes[i], want[i])
              << isa_name(level) << ", " << blocks << " blocks, importance " << kind << ": byte " << i
              << ", block " << static_cast<int64_t>(i) / static_cast<int64_t>(format.info().bytes);
        }
        for (size_t i = want.size(); i < bytes.size(); ++i) ASSERT_EQ(bytes[i], std::byte{0x5a});
      }
    }
  }
}

TEST_P(SideBySide, FitsOneBlockAlikeAtEveryLevel) {
  const Format& format = format_of(GetParam());
  const int64_t block = format.block({1, 4096});
  const auto x = mixed_blocks(50, block, 7);
  std::vector<float> importance;
  for (int64_t i = 0; i < block; ++i)
    importance.push_back(i % 19 == 4 ? 0.0f : static_cast<float>(1 + 37 * i % 64));
  const auto bytes = [&](const float* at, const Params& params) {
    std::vector<Code> codes(static_cast<size_t>(block));
    std::vector<std::byte> out(format.info().bytes);
    std::byte* const plane = out.data();
    format.round(at, 0, block, params, codes.data(), nullptr);
    format.pack(codes.data(), block, params, &plane);
    return out;
  };
  for (const IsaLevel level : isa_levels()) {
    const BlockFitter fitter(format, level);
    for (size_t i = 0; i < x.size(); i += static_cast<size_t>(block)) {
      for (const float* w : {static_cast<const float*>(nullptr), std::as_const(importance).data()}) {
        Params expected, found;
        format.fit(x.data() + i, w, block, nullptr, expected);
        fitter.fit(x.data() + i, w, block, nullptr, found);
        ASSERT_EQ(bytes(x.data() + i, found), bytes(x.data() + i, expected))
            << isa_name(level) << ", block " << i / static_cast<size_t>(block);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(List, SideBySide, testing::ValuesIn(words()),
                         [](const auto& param_info) { return param_info.param; });

// Formats that no level has an encoder for: what a level knows of their search changes no parameter.
TEST(BlockFitter, FindsTheParametersOfFitForEveryExampleAtEveryLevel) {
  int searched = 0;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const Format& format = format_of(word);
      const Shape one_row{1, 4096};
      if (!format.info().can_encode || block_encoder(format, IsaLevel::scalar) != nullptr ||
          format.tensor_pass(one_row) != nullptr)
        continue;
      // Rows of channels that fill no vector, and the format's own block.
      const int64_t block = format.info().block > 0 ? format.info().block : 203;
      if (block > 4096) continue;
      const auto x = mixed_blocks(20, block, 11);
      std::vector<float> importance;
      for (int64_t i = 0; i < block; ++i)
        importance.push_back(i % 19 == 4 ? 0.0f : static_cast<float>(1 + 37 * i % 64));
      std::vector<Code> want_codes(static_cast<size_t>(block)), codes(want_codes.size());
      std::vector<float> want_values(want_codes.size()), values(want_codes.size());
      for (const IsaLevel level : isa_levels()) {
        const BlockFitter fitter(format, level);
        for (size_t i = 0; i < x.size(); i += static_cast<size_t>(block)) {
          for (const float* w : {static_cast<const float*>(nullptr), std::as_const(importance).data()}) {
            Params expected, found;
            format.fit(x.data() + i, w, block, nullptr, expected);
            fitter.fit(x.data() + i, w, block, nullptr, found);
            format.round(x.data() + i, 0, block, expected, want_codes.data(), want_values.data());
            format.round(x.data() + i, 0, block, found, codes.data(), values.data());
            ASSERT_EQ(codes, want_codes) << word << " at " << isa_name(level);
            ASSERT_EQ(std::memcmp(values.data(), want_values.data(), values.size() * sizeof(float)), 0)
                << word << " at " << isa_name(level);
          }
        }
      }
      ++searched;
    }
  }
  EXPECT_GT(searched, 10);
}

TEST(BlockEncoder, BeginsAtAnyColumn) {
  const Format& format = format_of(words().front());
  const int64_t block = format.block({1, 4096}), cols = 4 * block;
  const auto x = mixed_blocks(12, block, 3);
  std::vector<float> importance;
  for (int64_t i = 0; i < cols; ++i) importance.push_back(static_cast<float>(1 + i * i % 101));
  const QTensor whole = encode_nearest(format, {3, cols}, x, importance);
  std::vector<std::byte> part(5 * format.info().bytes);
  const EncodeBlocks run = block_encoder(format, isa_level());
  run({x.data() + 3 * block, importance.data(), cols, 3 * block, 5, part.data()});
  const auto want = whole.planes[0].bytes.subspan(3 * format.info().bytes, part.size());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), want.begin()));
}

TEST(BlockEncoder, IsNullForFormatsWithoutSuchASearch) {
  EXPECT_EQ(block_encoder(format_of("f16"), isa_level()), nullptr);
}

}  // namespace
}  // namespace nibble
