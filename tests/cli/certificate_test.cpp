// A certificate as its users meet it: written by eval, shown and checked by inspect.
#include <gtest/gtest.h>

#include <fstream>

#include "cli/program.h"
#include "support/scratch.h"

namespace nibble {
namespace {

class CertificateVerbs : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(test::run_program({"quantize", model_, small_, "q4_0", "--quiet"}).status, 0);
  }
  test::Outcome eval(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"eval", small_,     "--text", text_,    "--ctx",
                                   "64",   "--chunks", "2",      "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return test::run_program(words);
  }
  test::Scratch scratch_;
  std::string model_ = std::string(NIBBLE_SOURCE_DIR) + "/models/demo";
  std::string text_ = model_ + "/heldout.txt";
  std::string small_ = scratch_.file("small.gguf");
};

TEST_F(CertificateVerbs, AreShownAndHold) {
  ASSERT_EQ(eval({"--against", model_, "--certify"}).status, 0);
  const auto shown = test::run_program({"inspect", small_});
  EXPECT_NE(shown.out.find("certificate (nibble"), std::string::npos);
  EXPECT_NE(shown.out.find("KL divergence, mean"), std::string::npos);
  const auto checked =
      test::run_program({"inspect", small_, "--check", "--text", text_, "--against", model_, "--quiet"});
  EXPECT_EQ(checked.status, 0) << checked.err;
  EXPECT_NE(checked.out.find("measured again"), std::string::npos);
}

TEST_F(CertificateVerbs, DoNotHoldForChangedWeightsOrAnotherTextOrOriginal) {
  ASSERT_EQ(eval({"--against", model_, "--certify"}).status, 0);
  const std::string other = scratch_.file("other.txt");
  std::ofstream(other) << "Another text, too short to have been certified.";
  EXPECT_EQ(test::run_program({"inspect", small_, "--check", "--text", other, "--against", model_}).status,
            3);
  EXPECT_EQ(test::run_program({"inspect", small_, "--check", "--text", text_, "--against", small_}).status,
            3);
  std::fstream file(small_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-500, std::ios::end);
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-500, std::ios::end);
  file.put(byte);
  file.close();
  const auto changed = test::run_program({"inspect", small_, "--check"});
  EXPECT_EQ(changed.status, 3);
  EXPECT_NE(changed.err.find("were changed"), std::string::npos);
}

TEST_F(CertificateVerbs, AreNotInheritedByWhatIsMadeOfTheFile) {
  ASSERT_EQ(eval({"--against", model_, "--certify"}).status, 0);
  const std::string next = scratch_.file("next.gguf");
  ASSERT_EQ(test::run_program({"quantize", small_, next, "q2_k", "--allow-requantize", "--quiet"}).status, 0);
  EXPECT_EQ(test::run_program({"inspect", next}).out.find("certificate"), std::string::npos);
  const auto none = test::run_program({"inspect", next, "--check"});
  EXPECT_EQ(none.status, 3);
  EXPECT_NE(none.err.find("--certify"), std::string::npos);
}

TEST_F(CertificateVerbs, NeedAnOriginal) {
  const auto outcome = eval({"--certify"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("--against"), std::string::npos);
}

}  // namespace
}  // namespace nibble
