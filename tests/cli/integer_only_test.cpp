// `--activations integer-only` on the bundled model.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::run_program;

struct IntegerOnlyVerbs : testing::Test {
  test::Scratch scratch;
  std::string model = std::string(NIBBLE_SOURCE_DIR) + "/models/demo";
  std::string out = scratch.file("int8");

  void SetUp() override {
    const auto o = run_program({"quantize", model, out, "--to", "int8:channel", "-q"});
    ASSERT_EQ(o.status, 0) << o.err;
  }
};

TEST_F(IntegerOnlyVerbs, EvaluateRunAndTimeIt) {
  const auto eval = run_program({"eval", out, "--against", model, "--text", model + "/heldout.txt", "--ctx",
                                 "128", "--chunks", "2", "--activations", "integer-only", "--json"});
  ASSERT_EQ(eval.status, 0) << eval.err;
  const auto j = nlohmann::json::parse(eval.out);
  EXPECT_EQ(j["activations"], "integer-only");
  const double divergence = j["models"][0]["kl_divergence"]["mean"]["value"];
  EXPECT_GT(divergence, 0);
  EXPECT_LT(divergence, 0.005);
  const auto run = [&](const std::string& scheme) {
    return run_program(
        {"run", out, "-p", "Once upon a time", "-n", "12", "--temp", "0", "--activations", scheme, "-q"});
  };
  const auto whole = run("integer-only"), floats = run("float");
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_GT(whole.out.size(), 20u);
  EXPECT_EQ(whole.out.substr(0, 8), floats.out.substr(0, 8)) << "the likeliest words are the same at first";
  const auto bench =
      run_program({"bench", out, "-p", "8", "-n", "2", "-r", "1", "--activations", "integer-only", "--json"});
  EXPECT_EQ(bench.status, 0) << bench.err;
}

TEST_F(IntegerOnlyVerbs, RefuseWhatCannotBe) {
  const auto run = [&](const std::string& what, std::vector<std::string> more) {
    std::vector<std::string> all{"run", what, "-p", "x", "-n", "1", "--activations", "integer-only"};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  };
  const auto floats = run(model, {});
  EXPECT_EQ(floats.status, 4);
  EXPECT_NE(floats.err.find("are not whole numbers times a scale"), std::string::npos) << floats.err;
  EXPECT_NE(floats.err.find("hint: nibble quantize MODEL OUT --to int8:channel"), std::string::npos)
      << floats.err;
  EXPECT_EQ(run(out, {"--cache", "f16"}).status, 2);
  EXPECT_EQ(run(out, {"--act-keep", "*ffn_down"}).status, 2);
}

TEST(IntegerOnlyRecipe, WhatItsRunWouldRefuseIsRefusedBeforeAnyWork) {
  const test::Scratch scratch;
  const std::string model = std::string(NIBBLE_SOURCE_DIR) + "/models/demo", out = scratch.file("out");
  const auto refused = [&](std::vector<std::string> more, int status, const std::string& says) {
    more.insert(more.begin(), {"quantize", model, out, "-q"});
    const auto o = run_program(more);
    EXPECT_EQ(o.status, status) << o.err;
    EXPECT_NE(o.err.find(says), std::string::npos) << "expected '" << says << "' in: " << o.err;
    EXPECT_TRUE(std::filesystem::is_empty(scratch.path())) << says;
  };
  const std::string hint = "hint: nibble quantize MODEL OUT --to int8:channel makes them that";
  refused({"--recipe", "integer-only", "--keep", "lm_head"}, 4, "integer-only: output reads output.weight");
  refused({"--recipe", "integer-only", "--tensor", "*down_proj=int4:g64:zf"}, 4, "blk.0.ffn_down.weight");
  refused({"--recipe", "integer-only", "--to", "nf4", "--dry-run"}, 4, hint);
  refused({"--recipe", "integer-only", "--act-keep", "*ffn_down"}, 2,
          "integer-only inference keeps no floats");
  refused({"--recipe", "integer-only", "--solver", "gptq", "--calibrate", model + "/heldout.txt", "--keep",
           "lm_head"},
          4, "integer-only: output reads");
  for (const char* scheme : {"int8", "int8:static"}) {
    refused({"--to", "q8_0", "--activations", scheme, "--act-keep", "*ffn_dwn", "--calibrate",
             model + "/heldout.txt"},
            2, "the pattern '*ffn_dwn' matches no matrix");
  }
}

}  // namespace
}  // namespace nibble
