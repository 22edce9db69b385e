#include "model/checkpoint_identity.h"

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

TEST(CheckpointIdentity, TheHashIsOfTheContentAlone) {
  const test::Scratch scratch;
  test::MadeModel m;
  m.layers = 2;
  test::make_checkpoint(scratch.path() / "a", m);
  fs::copy(scratch.path() / "a", scratch.path() / "b", fs::copy_options::recursive);
  ThreadPool one(1), three(3);
  const Checkpoint a = open_checkpoint(scratch.file("a"));
  const std::string hash = content_hash(a, one);
  EXPECT_EQ(hash.size(), 32u);
  uint64_t seen = 0;
  std::mutex mutex;
  EXPECT_EQ(content_hash(a, three,
                         [&](uint64_t n) {
                           const std::lock_guard lock(mutex);
                           seen += n;
                         }),
            hash);
  EXPECT_EQ(seen, fs::file_size(scratch.path() / "a" / "model.safetensors"));
  const Checkpoint b = open_checkpoint(scratch.file("b"));
  EXPECT_EQ(content_hash(b, three), hash);
  EXPECT_NE(files_state(a), files_state(b));
  std::fstream file(scratch.path() / "b" / "model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const int last = file.get();
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(last ^ 1));
  file.close();
  EXPECT_NE(content_hash(open_checkpoint(scratch.file("b")), one), hash);
}

}  // namespace
}  // namespace nibble
