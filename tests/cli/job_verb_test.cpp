// What a job refuses, it refuses before it reads its source.
#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include "cli/program.h"
#include "support/scratch.h"

namespace nibble {
namespace {

const std::string model = std::string(NIBBLE_SOURCE_DIR) + "/models/demo";

void expect_refused_unread(std::vector<std::string> words, int status, const std::string& says) {
  words.insert(words.begin(), {"quantize", model});
  const auto o = test::run_program(words);
  EXPECT_EQ(o.status, status) << o.err;
  EXPECT_NE(o.err.find(says), std::string::npos) << "expected '" << says << "' in: " << o.err;
  for (const char* work : {"hashing the source", "calibrat", "writing text"})
    EXPECT_EQ(o.err.find(work), std::string::npos) << o.err;
}

TEST(Job, AFullDiskIsNamedBeforeTheSourceIsRead) {
  struct statvfs info {};
  if (statvfs("/proc", &info) != 0 || info.f_bavail > 0) GTEST_SKIP() << "no file system without room";
  expect_refused_unread({"/proc/out.gguf", "q4_0"}, 3, "only 0 B are free there");
}

TEST(Job, AShardSizeThatMeansNothingIsNamedBeforeTheSourceIsRead) {
  const test::Scratch scratch;
  expect_refused_unread({scratch.file("out.gguf"), "q4_0", "--shard-size", "1G"}, 2, "--shard-size splits");
  expect_refused_unread({scratch.file("out"), "q4_0", "--shard-size", "large"}, 2, "expected a size such as");
}

}  // namespace
}  // namespace nibble
