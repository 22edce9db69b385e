#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "model/generate.h"
#include "model/load.h"
#include "support/data.h"

namespace nibble::test {

/// A character-level model of children's stories, which splits every stop string into many tokens.
class Stories : public testing::Test {
 protected:
  void SetUp() override {
    NIBBLE_NEEDS_DATA(folder, "models/babyllama-tok105");
    tokenizer_.emplace(Tokenizer::open((folder / "tok105.model").string()));
    program_.emplace(load_program(open_checkpoint((folder / "hf_converted").string()), pool_));
    options_.sampling.temperature = 0;
    options_.max_tokens = 120;
  }
  std::vector<int32_t> encode(const std::string& text) {
    return tokenizer_->encode(text, {.add_special = true});
  }

  ThreadPool pool_{2};
  std::optional<Tokenizer> tokenizer_;
  std::optional<Program> program_;
  GenerateOptions options_;
};

}  // namespace nibble::test
