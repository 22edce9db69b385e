// A quantization killed at any moment resumes with the same command and ends in the same bytes.
#include <gtest/gtest.h>

#include "cli/kill.h"
#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

using test::run_and_kill;

class ResumeTest : public testing::Test {
 protected:
  void SetUp() override {
    test::MadeModel m;
    m.hidden = 512;
    m.ffn = 1536;
    m.layers = 6;
    m.heads = 8;
    m.kv_heads = 4;
    m.vocab = 2048;
    test::make_checkpoint(scratch_.path() / "source", m);
  }
  std::vector<std::string> command(const std::string& out, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"quantize", scratch_.file("source"), scratch_.file(out), "q3_k_m", "--quiet"});
    return more;
  }
  void kill_at_random(const std::vector<std::string>& more);
  test::Scratch scratch_;
};

void ResumeTest::kill_at_random(const std::vector<std::string>& more) {
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(test::run_program(command("straight", more)).status, 0);
  const auto whole =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  const std::string expected = test::file_bytes(scratch_.path() / "straight" / "model.safetensors");
  ASSERT_FALSE(expected.empty());
  Rng rng(17);
  int killed = 0;
  for (int i = 0; i < 10; ++i) {
    const fs::path out = scratch_.path() / "killed";
    const auto wait = static_cast<int>(rng.below(static_cast<uint64_t>(whole)));
    if (!run_and_kill(command("killed", more), SIGKILL, wait)) {
      ++killed;
      // A kill between the last rename and the end of the program leaves a file under its name: the whole
      // one.
      if (fs::exists(out / "model.safetensors")) {
        EXPECT_TRUE(test::file_bytes(out / "model.safetensors") == expected);
      }
    }
    if (i % 3 == 2 || fs::exists(out / "model.safetensors")) {  // finish it now and then, and compare
      ASSERT_EQ(test::run_program(command("killed", more)).status, 0);
      EXPECT_TRUE(test::file_bytes(out / "model.safetensors") == expected);
      fs::remove_all(out);
    }
  }
  EXPECT_GT(killed, 3);
}

TEST_F(ResumeTest, KilledAtRandomMomentsItEndsInTheSameBytes) { kill_at_random({}); }

TEST_F(ResumeTest, SoDoesARotatedModel) { kill_at_random({"--with", "rotate"}); }

TEST_F(ResumeTest, CtrlCLeavesNothingUnderTheFinalNameAndResumes) {
  bool finished = run_and_kill(command("out"), SIGINT, 60);
  if (!finished) {
    EXPECT_FALSE(fs::exists(scratch_.path() / "out" / "model.safetensors"));
  }
  ASSERT_EQ(test::run_program(command("out")).status, 0);
  ASSERT_EQ(test::run_program(command("straight")).status, 0);
  EXPECT_TRUE(test::file_bytes(scratch_.path() / "out" / "model.safetensors") ==
              test::file_bytes(scratch_.path() / "straight" / "model.safetensors"));
}

}  // namespace
}  // namespace nibble
