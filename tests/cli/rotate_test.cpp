// Rotated models as their users meet them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::run_program;

class Rotate : public testing::Test {
 protected:
  void SetUp() override { test::make_checkpoint(scratch_.path() / "source", {}); }
  test::Outcome quantize(const std::string& out, std::vector<std::string> more) const {
    more.insert(more.begin(), {"quantize", scratch_.file("source"), scratch_.file(out), "--to", "q8_0"});
    return run_program(more);
  }
  test::Scratch scratch_;
};

TEST_F(Rotate, OnlyFilesWithTurnedInputsAreSaidToBeNibblesOwn) {
  const char* remark = "other runtimes would compute something else";
  const auto plain = quantize("plain.gguf", {"--with", "rotate"});
  ASSERT_EQ(plain.status, 0) << plain.err;
  EXPECT_EQ(plain.err.find(remark), plain.err.npos) << plain.err;
  const auto online = quantize("online.gguf", {"--with", "rotate:online"});
  ASSERT_EQ(online.status, 0) << online.err;
  EXPECT_NE(online.err.find(remark), online.err.npos) << online.err;
  const auto converted = run_program({"convert", scratch_.file("online.gguf"), scratch_.file("folder")});
  ASSERT_EQ(converted.status, 0) << converted.err;
  EXPECT_NE(converted.err.find(remark), converted.err.npos) << converted.err;
  const auto j = run_program({"convert", scratch_.file("folder"), scratch_.file("back.gguf"), "--type", "f16",
                              "--json", "--dry-run"});
  EXPECT_EQ(nlohmann::json::parse(j.out)["turned_inputs"], 2);
}

TEST_F(Rotate, TheRecipeHoldsTheSeed) {
  ASSERT_EQ(quantize("out.gguf", {"--with", "rotate:seed=5,gptq", "--solver", "nearest", "--dry-run",
                                  "--save-recipe", scratch_.file("recipe"), "--calibrate",
                                  (test::source_dir() / "models/demo/heldout.txt").string()})
                .status,
            3);  // a model without tokenizer reads no text
  const auto recipe = nlohmann::json::parse(test::file_bytes(scratch_.path() / "recipe"));
  EXPECT_EQ(recipe["with"], nlohmann::json::array({"rotate:seed=5"}));
  EXPECT_EQ(recipe["solver"], "gptq");
}

TEST_F(Rotate, WhatCannotBeIsRefusedWithAHint) {
  const auto stats = quantize("out", {"--with", "rotate", "--imatrix", "some.dat"});
  EXPECT_EQ(stats.status, 2);
  EXPECT_NE(stats.err.find("hint: --calibrate"), stats.err.npos) << stats.err;
  EXPECT_EQ(quantize("out", {"--with", "awq,rotate"}).status, 2);
  EXPECT_EQ(quantize("out", {"--with", "rotate:online", "--activations", "integer-only"}).status, 2);
  ASSERT_EQ(quantize("small.gguf", {}).status, 0);
  const auto twice = run_program({"quantize", scratch_.file("small.gguf"), scratch_.file("out"), "int4:g32",
                                  "--with", "rotate", "--allow-requantize"});
  EXPECT_EQ(twice.status, 4);
  EXPECT_NE(twice.err.find("start from the original model"), twice.err.npos) << twice.err;
  const std::string bert = (test::source_dir() / "tests/data/goldens/arch/gpt2").string();
  const auto layer_norm =
      run_program({"quantize", bert, scratch_.file("out"), "int4:g32", "--with", "rotate"});
  EXPECT_EQ(layer_norm.status, 4) << layer_norm.err;
  EXPECT_NE(layer_norm.err.find("cannot be rotated"), layer_norm.err.npos) << layer_norm.err;
}

}  // namespace
}  // namespace nibble
