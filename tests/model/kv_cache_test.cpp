// The memory of a sequence as it grows.
#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "ops/integer/attention.h"
#include "support/gaussian.h"

namespace nibble {
namespace {

constexpr KvShape shape{.layers = 2, .heads = 3, .dim = 40};

/// What stands at a position, rounded as the format rounds: keys, then values.
std::vector<float> read(const KvLayer& layer, int64_t position, int64_t head) {
  const int64_t page = position / kv_page, slot = position % kv_page, d = layer.dim;
  std::vector<float> keys(static_cast<size_t>((slot + 1) * d)), values(keys.size());
  layer.k.format->keys(layer.key_page(page, head), slot + 1, d, keys.data());
  layer.v.format->values(layer.value_page(page, head), slot + 1, d, values.data());
  std::vector<float> all(keys.end() - d, keys.end());
  all.insert(all.end(), values.end() - d, values.end());
  return all;
}

TEST(KvCache, GrowthKeepsWhatStandsThere) {
  for (const char* words : {"f32", "f16", "k=q8_0,v=q4_0:plain"}) {
    KvCache cache(shape, 1100, KvStorages::parse(words));
    const auto x = test::gaussian(shape.dim * 1100, 5);
    std::vector<std::vector<float>> written;
    int64_t position = 0;
    // Room for 256, for half as many more twice, then for what is asked for, then for all there may be.
    for (const int64_t rows : {1, 255, 1, 130, 600, 80}) {
      cache.reserve(rows);
      const auto layers = cache.layers();
      for (const int64_t end = position + rows; position < end; ++position) {
        for (int64_t head = 0; head < shape.heads; ++head) {
          for (const KvLayer& layer : layers) {
            const float* at = x.data() + (position + head) * shape.dim;
            layer.k.format->put_key(layer.key_page(position / kv_page, head), position % kv_page, shape.dim,
                                    at);
            layer.v.format->put_value(layer.value_page(position / kv_page, head), position % kv_page,
                                      shape.dim, at + shape.dim);
          }
          written.push_back(read(layers[0], position, head));
        }
      }
      cache.advance(rows);
      const auto after = cache.layers();
      for (int64_t p = 0; p < position; ++p) {
        for (int64_t head = 0; head < shape.heads; ++head) {
          for (const KvLayer& layer : after)
            ASSERT_EQ(read(layer, p, head), written[static_cast<size_t>(p * shape.heads + head)])
                << words << ", position " << p << ", head " << head;
        }
      }
    }
  }
}

TEST(KvCache, FormatThatJoinsHeadsGrowsAsOneStretch) {
  const KvStorage whole{&integer_kv_format, false};
  KvCache cache(shape, 1000, {whole, whole});
  cache.reserve(256);
  const int64_t bytes = 256 / kv_page * shape.heads * integer_kv_format.page_bytes(shape.dim);
  std::byte* keys = cache.layers()[1].keys;
  for (int64_t i = 0; i < bytes; ++i) keys[i] = static_cast<std::byte>(i * 7 % 251);
  cache.advance(256);
  cache.reserve(1);
  const std::byte* after = cache.layers()[1].keys;
  ASSERT_NE(after, keys);
  for (int64_t i = 0; i < bytes; ++i) ASSERT_EQ(after[i], static_cast<std::byte>(i * 7 % 251)) << i;
}

TEST(KvCache, SaysWhatDoesNotFit) {
  KvCache cache(shape, 100, KvStorages::parse("f16"));
  cache.reserve(100);
  EXPECT_THROW(cache.reserve(101), Error);
  cache.advance(60);
  cache.reserve(40);
  EXPECT_THROW(cache.reserve(41), Error);
  EXPECT_THROW(KvCache(shape, 0, KvStorages::parse("f16")), Error);
}

}  // namespace
}  // namespace nibble
