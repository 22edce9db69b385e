// A folder of statistics: what is written is read, by the job it belongs to and no other.
#include "calibrate/stats_folder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "calibrate/made_models.h"
#include "support/checkpoint_maker.h"
#include "support/patch.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::file_bytes;
using test::thrown_by;

InputStats made_stats(int64_t cols, bool hessian, uint64_t seed, bool histogram = false) {
  ThreadPool pool(1);
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(cols * 7));
  for (float& v : x) v = static_cast<float>(rng.normal());
  InputStats s;
  s.readers = {"blk.0.attn_q.weight", "blk.0.attn_k.weight"};
  add_rows(s, {x.data(), 7, cols}, {.hessian = hessian, .histogram = histogram}, pool);
  finish_stats(s, pool);
  return s;
}

void expect_equal(const InputStats& a, const InputStats& b) {
  EXPECT_EQ(a.readers, b.readers);
  EXPECT_EQ(a.slice, b.slice);
  EXPECT_EQ(a.cols, b.cols);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.sum, b.sum);
  EXPECT_EQ(a.sum2, b.sum2);
  EXPECT_EQ(a.min, b.min);
  EXPECT_EQ(a.max, b.max);
  EXPECT_EQ(a.hessian, b.hessian);
  EXPECT_EQ(a.running_low, b.running_low);
  EXPECT_EQ(a.running_high, b.running_high);
  EXPECT_EQ(a.values.x, b.values.x);
  EXPECT_EQ(a.values.weight, b.values.weight);
}

class Folder : public testing::Test {
 protected:
  static StatsFolder::About about(const std::string& identity = "model and text", int64_t parts = 2) {
    return {identity, "3 sequences of 9 tokens of a.txt", true, parts, 3, 9, "a.txt"};
  }
  /// A complete one of two parts.
  StatsFolder made() {
    StatsFolder f = StatsFolder::create(path_, about());
    std::vector<InputStats> one{made_stats(5, true, 1), made_stats(3, true, 2)};
    one[1].readers = {"blk.0.ffn_down_exps.weight"};
    one[1].slice = 3;
    f.write(0, one);
    f.write(1, {});
    return f;
  }
  void spill(const std::string& name, const std::string& bytes) {
    std::ofstream(fs::path(path_) / name, std::ios::binary) << bytes;
  }

  test::Scratch scratch_;
  const std::string path_ = scratch_.file("stats"), part_ = path_ + "/part-000.safetensors";
};

TEST_F(Folder, HistogramsAreWrittenAndRead) {
  StatsFolder::About a = about("with values", 1);
  a.histogram = true;
  const StatsFolder f = StatsFolder::create(path_, a);
  const InputStats stats = made_stats(5, true, 1, true);
  ASSERT_EQ(stats.values.x.size(), 35u);
  f.write(0, {&stats, 1});
  expect_equal(StatsFolder::open(path_).read(0).at(0), stats);
  // Values must ascend, and be counted.
  for (const char* name : {"input.0.values", "input.0.counts"}) {
    test::patch_tensor(part_, name, [](std::vector<float>& x, int64_t) { x[1] = -1e9f; });
    EXPECT_TRUE(thrown_by([&] { StatsFolder::open(path_).read(0); }).says("no histogram")) << name;
    f.write(0, {&stats, 1});
  }
}

TEST_F(Folder, WhatIsWrittenIsRead) {
  made();
  const StatsFolder f = StatsFolder::open(path_);
  EXPECT_EQ(f.about().identity, "model and text");
  EXPECT_EQ(f.about().description, about().description);
  EXPECT_TRUE(f.about().hessian);
  EXPECT_EQ(f.about().parts, 2);
  EXPECT_EQ(f.about().chunks, 3);
  EXPECT_EQ(f.about().chunk_size, 9);
  EXPECT_EQ(f.about().dataset, "a.txt");
  const auto got = f.read(0);
  ASSERT_EQ(got.size(), 2u);
  expect_equal(got[0], made_stats(5, true, 1));
  EXPECT_EQ(got[1].slice, 3);
  EXPECT_EQ(got[1].readers, (std::vector<std::string>{"blk.0.ffn_down_exps.weight"}));
  EXPECT_TRUE(f.read(1).empty());
}

TEST_F(Folder, WithoutHessians) {
  auto a = about();
  a.hessian = false;
  a.parts = 1;
  StatsFolder::create(path_, a).write(0, std::vector{made_stats(5, false, 1)});
  const auto got = StatsFolder::open(path_).read(0);
  ASSERT_EQ(got.size(), 1u);
  expect_equal(got[0], made_stats(5, false, 1));
}

TEST_F(Folder, TheSameJobGoesOn) {
  StatsFolder::create(path_, about()).write(0, std::vector{made_stats(5, true, 1)});
  const StatsFolder again = StatsFolder::create(path_, about());
  EXPECT_TRUE(again.has(0));
  EXPECT_FALSE(again.has(1));
  const auto e = thrown_by([&] { StatsFolder::open(path_); });
  EXPECT_EQ(e.kind, ErrorKind::bad_input);
  EXPECT_TRUE(e.says("part 1 of 2 is missing")) << e.message;
  EXPECT_TRUE(e.says(path_)) << e.message;
  EXPECT_FALSE(e.hint.empty());
}

TEST_F(Folder, AnotherJobBeginsAnew) {
  made();
  const StatsFolder other = StatsFolder::create(path_, about("another text"));
  EXPECT_FALSE(other.has(0));
  EXPECT_FALSE(other.has(1));
  made();
  auto without = about();
  without.hessian = false;
  EXPECT_FALSE(StatsFolder::create(path_, without).has(0));
}

TEST_F(Folder, AFolderOfSomethingElseIsLeftAlone) {
  fs::create_directories(path_);
  spill("thesis.tex", "years of work");
  const auto e = thrown_by([&] { StatsFolder::create(path_, about()); });
  EXPECT_EQ(e.kind, ErrorKind::usage);
  EXPECT_TRUE(e.says(path_)) << e.message;
  EXPECT_FALSE(e.hint.empty());
  EXPECT_EQ(file_bytes(path_ + "/thesis.tex"), "years of work");
  std::ofstream(scratch_.file("file")) << "text";
  EXPECT_EQ(thrown_by([&] { StatsFolder::create(scratch_.file("file"), about()); }).kind, ErrorKind::usage);
}

TEST_F(Folder, AKillAtAnyMomentOfMakingOrRemovingItIsOvercome) {
  // Killed before the first file had its name.
  fs::create_directories(path_);
  spill("statistics.json.partial", "{");
  made();
  EXPECT_EQ(StatsFolder::open(path_).read(0).size(), 2u);
  // Killed in the middle of a part.
  fs::rename(part_, part_ + ".partial");
  EXPECT_FALSE(StatsFolder::create(path_, about()).has(0));
  made();
  EXPECT_EQ(StatsFolder::open(path_).read(0).size(), 2u);
  // Killed in the middle of removing it, wherever that stood.
  made().remove();
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(Folder, RemoveTouchesNothingThatIsNotItsOwn) {
  const StatsFolder f = made();
  spill("notes.txt", "mine");
  f.remove();
  EXPECT_EQ(file_bytes(path_ + "/notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(part_));
}

TEST_F(Folder, WhatIsNoFolderOfStatisticsIsNamed) {
  const auto absent = thrown_by([&] { StatsFolder::open(scratch_.file("absent")); });
  EXPECT_EQ(absent.kind, ErrorKind::io);
  EXPECT_TRUE(absent.says("absent holds no statistics.json")) << absent.message;
  EXPECT_TRUE(absent.says("nibble calibrate")) << absent.hint;
  made();
  const std::string good = file_bytes(path_ + "/statistics.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[1]"), good.substr(0, good.size() / 2),
        with("\"parts\": 2", "\"parts\": \"two\""), with("\"parts\": 2", "\"parts\": -1"),
        with("\"parts\": 2", "\"parts\": 1000000000000000000"), with("\"hessian\": true", "\"hessian\": 7"),
        with("\"identity\"", "\"identify\""), std::string(100000, '['), std::string("\xff\xfe\x00", 3)}) {
    spill("statistics.json", text);
    const auto e = thrown_by([&] { StatsFolder::open(path_); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << text.substr(0, 200);
    EXPECT_TRUE(e.says(path_)) << e.message;
  }
  spill("statistics.json", with("\"nibble_statistics\": 2", "\"nibble_statistics\": 3"));
  EXPECT_EQ(thrown_by([&] { StatsFolder::open(path_); }).kind, ErrorKind::unsupported);
}

TEST_F(Folder, DamagedPartsAreNamed) {
  made();
  const std::string good = file_bytes(part_);
  const auto refused = [&](const std::string& bytes, const std::string& what) {
    spill("part-000.safetensors", bytes);
    const auto e = thrown_by([&] { StatsFolder::open(path_).read(0); });
    EXPECT_TRUE(e.any) << what;
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << what << ": " << e.message;
    EXPECT_TRUE(e.says("part-000.safetensors")) << what << ": " << e.message;
  };
  for (size_t left = 0; left < good.size(); left += left < 64 ? 7 : 61)
    refused(good.substr(0, left), "cut to " + std::to_string(left));
}

TEST_F(Folder, HostileDescriptionsAreNamed) {
  made();
  const std::string good = file_bytes(part_);
  const auto refused = [&](const std::string& from, const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::string bytes = good;
    const size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << good.substr(8, 1500);
    spill("part-000.safetensors", bytes.replace(at, from.size(), to));
    const auto e = thrown_by([&] { StatsFolder::open(path_).read(0); });
    EXPECT_TRUE(e.any) << to;
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << to << ": " << e.message;
    EXPECT_TRUE(e.says("part-000.safetensors")) << to << ": " << e.message;
  };
  refused("\"nibble.inputs\"", "\"nibble.output\"");
  refused(R"(\"cols\":5)", R"(\"cols\":4)");
  refused(R"(\"cols\":5)", R"(\"cols\":0)");
  refused(R"(\"tokens\":7)", R"(\"tokens\":0)");
  refused(R"(\"slice\":3)", R"(\"slice\":x)");
  refused(R"(\"slice\":0)", R"(\"slack\":0)");
  refused(R"(\"cols\":5)", R"(\"coal\":5)");
  refused("\"input.0.sum\"", "\"input.9.sum\"");
  refused("\"input.1.hessian\"", "\"input.1.hessiam\"");
  refused(R"(\"readers\":[\"blk.0.attn_q.weight\",\"blk.0.attn_k.weight\"])",
          R"(\"readers\":[                                               ])");
  // A negative and an infinite sum of squares.
  for (const double bad : {-1.0, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    const double first = made_stats(5, true, 1).sum2[0];
    std::string bytes = good;
    const size_t at = bytes.find(std::string(reinterpret_cast<const char*>(&first), sizeof first));
    ASSERT_NE(at, std::string::npos);
    std::memcpy(bytes.data() + at, &bad, sizeof bad);
    spill("part-000.safetensors", bytes);
    const auto e = thrown_by([&] { StatsFolder::open(path_).read(0); });
    EXPECT_EQ(e.kind, ErrorKind::bad_input) << bad;
    EXPECT_TRUE(e.says("input.0.sum2")) << e.message;
  }
}

}  // namespace
}  // namespace nibble
