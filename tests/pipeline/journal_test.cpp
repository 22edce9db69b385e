#include "pipeline/journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"

namespace nibble {
namespace {

class JournalTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(path_); }
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = testing::TempDir() + "nibble-journal-test";
  const std::string hash_ = hash_hex({});
};

TEST_F(JournalTest, RemembersAcrossOpenings) {
  {
    Journal j(path_, "job a");
    EXPECT_FALSE(j.resumed());
    j.record("blk.0.attn_q.weight", hash_);
    j.record("a name with spaces", hash_);
    j.sync();
  }
  Journal j(path_, "job a");
  EXPECT_TRUE(j.resumed());
  EXPECT_EQ(j.find("blk.0.attn_q.weight"), hash_);
  EXPECT_EQ(j.find("a name with spaces"), hash_);
  EXPECT_EQ(j.find("blk.1.attn_q.weight"), std::nullopt);
}

TEST_F(JournalTest, AnotherJobStartsAfresh) {
  { Journal(path_, "job a").record("x", hash_); }
  EXPECT_FALSE(Journal(path_, "job b").resumed());
  EXPECT_FALSE(Journal(path_, "job a").resumed());
}

// A kill can cut the last line anywhere; whatever came before it still counts, and later lines join cleanly.
TEST_F(JournalTest, TornLinesAreForgotten) {
  {
    Journal j(path_, "job");
    j.record("first", hash_);
    j.record("second", hash_);
  }
  const auto full = std::filesystem::file_size(path_);
  for (uintmax_t cut = 1; cut < 40; ++cut) {
    std::filesystem::resize_file(path_, full - cut);
    Journal j(path_, "job");
    EXPECT_TRUE(j.find("first"));
    EXPECT_FALSE(j.find("second"));
    j.record("second", hash_);
    EXPECT_EQ(std::filesystem::file_size(path_), full);
  }
}

TEST_F(JournalTest, RemoveLeavesNothing) {
  Journal j(path_, "job");
  j.remove();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace nibble
