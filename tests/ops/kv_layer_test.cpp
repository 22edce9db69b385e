#include "ops/kv_layer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace nibble {
namespace {

TEST(KvStorages, WordsSayWhatIsKeptHow) {
  const KvStorages q8 = KvStorages::parse("q8_0");
  EXPECT_EQ(q8.k.format->word, "q8_0");
  EXPECT_EQ(q8.v.format->word, "q8_0");
  EXPECT_FALSE(q8.k.rotated);
  EXPECT_TRUE(KvStorages::parse("q4_0").v.rotated);
  EXPECT_FALSE(KvStorages::parse("q4_0:plain").v.rotated);
  EXPECT_TRUE(KvStorages::parse("q8_0:rotated").k.rotated);
  const KvStorages mixed = KvStorages::parse("v=q4_0:plain,k=f16");
  EXPECT_EQ(mixed.k.format->word, "f16");
  EXPECT_EQ(mixed.v.format->word, "q4_0");
  EXPECT_FALSE(mixed.v.rotated);
}

TEST(KvStorages, WordsComeBack) {
  for (const char* words : {"f32", "f16", "q8_0", "q4_0", "q4_0:plain", "q8_0:rotated", "k=q8_0,v=q4_0",
                            "k=f16,v=q4_0:plain", "k=q4_0,v=q4_0:plain"})
    EXPECT_EQ(KvStorages::parse(words).to_string(), words);
  EXPECT_EQ(KvStorages::parse("q4_0:rotated").to_string(), "q4_0");
  EXPECT_EQ(KvStorages::parse("v=q8_0,k=q8_0").to_string(), "q8_0");
}

TEST(KvStorages, NonsenseIsAUsageError) {
  for (const char* words : {"", "q5_0", "k=q8_0", "v=f16", "k=q8_0,k=q8_0", "k=q8_0,x=f16", "q8_0,q4_0",
                            "q4_0:plain:rotated", "k=q8_0,v=", "q8_0:", "k=,v=q8_0"}) {
    try {
      KvStorages::parse(words);
      ADD_FAILURE() << words;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage) << words;
      EXPECT_FALSE(e.hint().empty()) << words;
    }
  }
}

}  // namespace
}  // namespace nibble
