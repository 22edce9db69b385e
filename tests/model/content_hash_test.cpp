#include "model/content_hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <mutex>

#include "model/checkpoint_identity.h"
#include "model/export.h"
#include "model/seeded_checkpoint.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

std::string hash_of(const TensorFile& file, int threads) {
  ThreadPool pool(threads);
  return ContentHash(file).finish(pool);
}

class ContentHashTest : public testing::Test {
 protected:
  /// Of a few MiB, so that there are many pieces.
  void make(const char* name) {
    test::MadeModel m;
    m.layers = 2;
    m.vocab = 30000;
    test::make_checkpoint(scratch_.path() / name, m);
  }
  test::Scratch scratch_;
};

TEST_F(ContentHashTest, IsOfTheContentAlone) {
  make("a");
  fs::copy(scratch_.path() / "a", scratch_.path() / "b", fs::copy_options::recursive);
  const Checkpoint a = open_checkpoint(scratch_.file("a")), b = open_checkpoint(scratch_.file("b"));
  const std::string hash = hash_of(a.file(), 1);
  EXPECT_EQ(hash.size(), 32u);
  uint64_t seen = 0;
  std::mutex mutex;
  ThreadPool three(3);
  ContentHash again(a.file());
  EXPECT_EQ(again.finish(three,
                         [&](uint64_t n) {
                           const std::lock_guard lock(mutex);
                           seen += n;
                         }),
            hash);
  EXPECT_EQ(seen, fs::file_size(scratch_.path() / "a" / "model.safetensors"));
  EXPECT_EQ(hash_of(b.file(), 3), hash);
  EXPECT_NE(files_state(a), files_state(b));
  std::fstream file(scratch_.path() / "b" / "model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const int last = file.get();
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(last ^ 1));
  file.close();
  EXPECT_NE(hash_of(open_checkpoint(scratch_.file("b")).file(), 1), hash);
}

TEST_F(ContentHashTest, IsTheSameWhateverWasAnnounced) {
  make("a");
  const Checkpoint a = open_checkpoint(scratch_.file("a"));
  const std::string expected = hash_of(a.file(), 2);
  const std::span<const std::byte> all = a.file().mapped()[0].data();
  ASSERT_GT(all.size(), size_t{4} << 20);
  const std::vector<std::byte> elsewhere(1000);
  for (const auto& [from, bytes] : std::vector<std::pair<size_t, size_t>>{
           {0, all.size()}, {0, 1}, {1, 100}, {(1 << 20) - 1, 2}, {all.size() - 1, 1}, {3 << 20, 1 << 20}}) {
    ThreadPool pool(2);
    ContentHash hash(a.file());
    hash.before_reading(elsewhere);
    hash.before_reading({});
    EXPECT_EQ(hash.left(), all.size());
    hash.before_reading(all.subspan(from, bytes));
    hash.before_reading(all.subspan(from, bytes));
    const size_t mib = size_t{1} << 20;
    const uint64_t begun = std::min((from + bytes + mib - 1) / mib * mib, all.size()) -
                           std::min((from + mib - 1) / mib * mib, all.size());
    EXPECT_EQ(hash.left(), all.size() - begun) << from << " " << bytes;
    uint64_t read = 0;
    std::mutex mutex;
    EXPECT_EQ(hash.finish(pool,
                          [&](uint64_t n) {
                            const std::lock_guard lock(mutex);
                            read += n;
                          }),
              expected);
    EXPECT_EQ(read, all.size() - begun);
    EXPECT_EQ(hash.left(), 0u);
  }
}

TEST_F(ContentHashTest, PartsOfTensorsCoverTheFile) {
  make("dense");
  const auto& models = test::seeded_models();
  const auto mixtral = std::find_if(models.begin(), models.end(),
                                    [](const auto& m) { return m.name == std::string("mixtral"); });
  ASSERT_NE(mixtral, models.end());
  test::write_seeded_checkpoint(*mixtral, scratch_.path() / "experts", {});
  for (const char* name : {"dense", "experts"}) {
    const Checkpoint source = open_checkpoint(scratch_.file(name));
    for (const Target target : {Target::gguf, Target::huggingface}) {
      const ExportPlan plan = plan_export(source, target, float_choice(nullptr), 0);
      const std::span<const std::byte> all = source.file().mapped()[0].data();
      std::vector<int> seen(all.size());
      for (const ExportTensor& t : plan.tensors) {
        if (t.source == nullptr) continue;
        for (int64_t row = 0; row < t.shape.rows(); row += 7) {
          for (const std::byte& b : plan.stored_part(t, row, std::min<int64_t>(7, t.shape.rows() - row)))
            seen[static_cast<size_t>(&b - all.data())] = 1;
        }
      }
      uint64_t header;
      std::memcpy(&header, all.data(), sizeof header);
      const auto weights = std::span(seen).subspan(8 + header);
      size_t missing = 0;
      for (const int s : weights) missing += s == 0;
      EXPECT_LT(missing, weights.size() / 50) << name;  // where seven rows are of two experts
    }
  }
}

}  // namespace
}  // namespace nibble
