// Calibration killed at any moment, by itself or inside a quantization, goes on with the same command and
// ends in the same bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "cli/kill.h"
#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class CalibrateResume : public testing::Test {
 protected:
  void SetUp() override {
    test::MadeModel m;
    m.layers = 4;
    m.vocab = 4096;
    test::make_checkpoint(scratch_.path() / "source", m);
    const fs::path demo = test::source_dir() / "models" / "demo";
    fs::copy(demo / "tokenizer.model", scratch_.path() / "source" / "tokenizer.model");
    fs::create_directories(scratch_.path() / "out");
    text_ = (demo / "heldout.txt").string();
  }
  std::string out(const std::string& name) const { return (scratch_.path() / "out" / name).string(); }
  std::vector<std::string> calibrate(const std::string& name) const {
    return {"calibrate", scratch_.file("source"), text_, "-o", out(name), "--samples", "12", "--length", "64",
            "--quiet"};
  }
  std::vector<std::string> quantize(const std::string& name) const {
    return {"quantize", scratch_.file("source"), out(name), "q4_0",      "--solver", "gptq",     "--passes",
            "0",        "--calibrate",           text_,     "--samples", "12",       "--length", "64",
            "--quiet"};
  }
  std::vector<std::string> search(const std::string& name) const {
    return {"quantize",  scratch_.file("source"),
            out(name),   "--target-bpw",
            "6",         "--formats",
            "q4_0,q8_0", "--passes",
            "0",         "--calibrate",
            text_,       "--samples",
            "6",         "--length",
            "64",        "--probe",
            "2",         "--verify",
            "4",         "--quiet"};
  }
  std::vector<std::string> static_ranges(const std::string& name) const {
    return {"quantize",    scratch_.file("source"),
            out(name),     "--recipe",
            "static-int8", "--act-range",
            "mse",         "--calibrate",
            text_,         "--samples",
            "12",          "--length",
            "64",          "--quiet"};
  }
  /// Everything that stands under a name and beside it: a file or the files of a folder.
  std::map<std::string, std::string> files(const std::string& name) const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(scratch_.path() / "out")) {
      const std::string path = fs::relative(entry.path(), scratch_.path() / "out").string();
      if (path.starts_with(name) && entry.is_regular_file())
        all[path.substr(name.size())] = test::file_bytes(entry.path());
    }
    return all;
  }
  void kill_at_random_moments(const std::function<std::vector<std::string>(const std::string&)>& command,
                              const std::string& end, int kills) {
    const auto begin = std::chrono::steady_clock::now();
    const auto straight = test::run_program(command("straight" + end));
    ASSERT_EQ(straight.status, 0) << straight.err;
    const std::chrono::duration<double, std::milli> whole = std::chrono::steady_clock::now() - begin;
    const auto expected = files("straight" + end);
    ASSERT_FALSE(expected.empty());
    for (const auto& [name, bytes] : expected) EXPECT_EQ(name.find("partial"), name.npos) << name;
    Rng rng(17);
    int killed = 0;
    for (int i = 0; i < kills; ++i) {
      const int wait = static_cast<int>(rng.uniform() * whole.count() / 2);
      const bool ended = test::run_and_kill(command("killed" + end), SIGKILL, wait);
      killed += ended ? 0 : 1;
      if (!ended && i % 3 != 2) continue;
      const auto o = test::run_program(command("killed" + end));  // finished now and then, and compared
      ASSERT_EQ(o.status, 0) << o.err;
      const auto got = files("killed" + end);
      ASSERT_EQ(got.size(), expected.size());
      for (const auto& [name, bytes] : expected) EXPECT_TRUE(got.at(name) == bytes) << name;
      for (const auto& entry : fs::directory_iterator(scratch_.path() / "out")) {
        if (entry.path().filename().string().starts_with("killed")) fs::remove_all(entry.path());
      }
    }
    EXPECT_GE(killed, kills / 2);
  }

  test::Scratch scratch_;
  std::string text_;
};

TEST_F(CalibrateResume, KilledAtRandomMomentsAFolderEndsInTheSameBytes) {
  kill_at_random_moments([&](const std::string& name) { return calibrate(name); }, "", 6);
}

TEST_F(CalibrateResume, KilledAtRandomMomentsAnImportanceMatrixEndsInTheSameBytes) {
  kill_at_random_moments([&](const std::string& name) { return calibrate(name); }, ".gguf", 4);
}

TEST_F(CalibrateResume, KilledAtRandomMomentsACalibratedQuantizationEndsInTheSameBytes) {
  kill_at_random_moments([&](const std::string& name) { return quantize(name); }, ".gguf", 6);
}

TEST_F(CalibrateResume, AFastQuantizationHasTheSameBytesForEveryNumberOfThreads) {
  std::string expected;
  for (const char* threads : {"1", "2", "3"}) {
    std::vector<std::string> words = quantize("out.gguf");
    words.insert(words.end(), {"--fast", "--threads", threads, "--fresh"});
    const auto o = test::run_program(words);
    ASSERT_EQ(o.status, 0) << o.err;
    const std::string bytes = test::file_bytes(out("out.gguf"));
    ASSERT_FALSE(bytes.empty());
    if (expected.empty()) expected = bytes;
    EXPECT_TRUE(bytes == expected) << threads;
  }
  // The products were others than the exact ones: this is no test of those.
  ASSERT_EQ(test::run_program(quantize("exact.gguf")).status, 0);
  EXPECT_FALSE(test::file_bytes(out("exact.gguf")) == expected);
}

TEST_F(CalibrateResume, KilledAtRandomMomentsAFastQuantizationEndsInTheSameBytes) {
  const auto command = [&](const std::string& name) {
    std::vector<std::string> words = quantize(name);
    words.emplace_back("--fast");
    return words;
  };
  kill_at_random_moments(command, ".gguf", 6);
}

TEST_F(CalibrateResume, KilledAtRandomMomentsARotatedQuantizationEndsInTheSameBytes) {
  const auto command = [&](const std::string& name) {
    std::vector<std::string> words = quantize(name);
    words.insert(words.end(), {"--with", "rotate:online,awq", "--activations", "int4"});
    return words;
  };
  kill_at_random_moments(command, ".gguf", 6);
}

TEST_F(CalibrateResume, KilledAtRandomMomentsASearchEndsInTheSameBytes) {
  kill_at_random_moments([&](const std::string& name) { return search(name); }, ".gguf", 6);
}

TEST_F(CalibrateResume, ASearchTakesNothingOfOneWithOtherOptions) {
  const auto ordered = [&](const std::string& name) {
    std::vector<std::string> words = search(name);
    // The curve shows what was measured on the way.
    words.insert(words.end(), {"--act-order", "--curve", out(name) + ".svg"});
    return words;
  };
  ASSERT_EQ(test::run_program(ordered("straight.gguf")).status, 0);
  const auto candidate_is_made = [&] {
    const fs::path work = scratch_.path() / "out" / "killed.gguf.search.partial";
    if (!fs::exists(work)) return false;
    const fs::recursive_directory_iterator all(work);
    return std::any_of(fs::begin(all), fs::end(all),
                       [](const auto& entry) { return entry.path().filename() == "q4_0.gguf"; });
  };
  for (int wait = 100; !candidate_is_made(); wait += 50)
    ASSERT_FALSE(test::run_and_kill(search("killed.gguf"), SIGKILL, wait)) << "never caught in the middle";
  const auto o = test::run_program(ordered("killed.gguf"));
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_TRUE(files("killed") == files("straight"));
}

TEST_F(CalibrateResume, KilledAtRandomMomentsStaticRangesEndInTheSameBytes) {
  kill_at_random_moments([&](const std::string& name) { return static_ranges(name); }, ".gguf", 4);
}

TEST_F(CalibrateResume, CtrlCIsObeyedAndTheSameCommandGoesOn) {
  ASSERT_EQ(test::run_program(calibrate("straight")).status, 0);
  test::run_and_kill(calibrate("stopped"), SIGINT, 100);
  ASSERT_EQ(test::run_program(calibrate("stopped")).status, 0);
  EXPECT_TRUE(files("stopped") == files("straight"));
}

}  // namespace
}  // namespace nibble
