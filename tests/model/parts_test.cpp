// A model run part by part is the same model, and tells what its matrices multiply.
#include <gtest/gtest.h>

#include <set>

#include "model/executor.h"
#include "model/small_model.h"

namespace nibble {
namespace {

using test::llama_like;
using test::random_weights;
using test::small_hparams;

struct Recorder final : InputObserver {
  std::map<std::string, std::vector<float>> inputs;  ///< by weight and slice
  std::map<std::string, int64_t> rows;
  void see(const Node&, const Weight& weight, int64_t slice, const Value& x) override {
    const std::string key = weight.name + "#" + std::to_string(slice);
    auto& all = inputs[key];
    all.insert(all.end(), x.data, x.data + x.rows * x.cols);
    rows[key] += x.rows;
  }
};

class Parts : public testing::Test {
 protected:
  std::vector<float> run(const ProgramPart& part, const std::vector<float>& input, InputObserver* observer,
                         bool result = true) {
    const Program program =
        build_program(llama_like(), h, random_weights(h), pool, {.decoded_bytes = 0, .part = part});
    Executor executor(program, pool);
    const auto out = executor.run_part(tokens, input, observer, result);
    return {out.begin(), out.end()};
  }
  /// Logits, part after part.
  std::vector<float> chain(InputObserver* observer) {
    std::vector<float> x = run(ProgramPart::only_embedding(), {}, observer);
    for (int64_t l = 0; l < h.layers; ++l) x = run(ProgramPart::only_layer(l), x, observer);
    return run(ProgramPart::only_head(), x, observer);
  }
  std::vector<float> whole() {
    const Program program = build_program(llama_like(), h, random_weights(h), pool);
    Executor executor(program, pool);
    KvCache cache = program.cache(100);
    const auto out = executor.run(tokens, cache, Want::all);
    return {out.begin(), out.end()};
  }

  Hparams h = small_hparams();
  ThreadPool pool{2};
  std::vector<int32_t> tokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3};
};

TEST_F(Parts, ChainedGiveTheBitsOfTheWhole) {
  EXPECT_EQ(chain(nullptr), whole());
  h.experts = 4, h.experts_used = 2, h.expert_ffn = 24;
  EXPECT_EQ(chain(nullptr), whole());
  h.window = 9, h.window_every = 2;
  EXPECT_EQ(chain(nullptr), whole());
}

TEST_F(Parts, EveryMatrixTellsItsInput) {
  Recorder seen;
  chain(&seen);
  std::set<std::string> names;
  for (const auto& [key, n] : seen.rows) {
    names.insert(key);
    EXPECT_EQ(n, static_cast<int64_t>(tokens.size())) << key;
  }
  std::set<std::string> expected{"token_embd.weight#0"};  // tied: it is the output matrix
  for (const char* l : {"blk.0.", "blk.1."}) {
    for (const char* stem : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
      expected.insert(std::string(l) + stem + ".weight#0");
  }
  EXPECT_EQ(names, expected);
  EXPECT_EQ(seen.inputs["blk.1.attn_q.weight#0"], seen.inputs["blk.1.attn_v.weight#0"]);
  EXPECT_NE(seen.inputs["blk.1.attn_q.weight#0"], seen.inputs["blk.1.ffn_up.weight#0"]);
}

TEST_F(Parts, ExpertsTellTheRowsRoutedToThem) {
  h.experts = 4, h.experts_used = 2, h.expert_ffn = 24;
  Recorder seen;
  chain(&seen);
  for (const char* stem : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
    int64_t rows = 0;
    for (int e = 0; e < 4; ++e)
      rows += seen.rows[std::string("blk.0.") + stem + ".weight#" + std::to_string(e)];
    EXPECT_EQ(rows, 2 * static_cast<int64_t>(tokens.size())) << stem;
  }
  EXPECT_EQ(seen.inputs["blk.0.ffn_down_exps.weight#1"].size(),
            static_cast<size_t>(seen.rows["blk.0.ffn_down_exps.weight#1"] * 24));
}

TEST_F(Parts, WithoutResultTheSameInputsAreTold) {
  for (const int64_t experts : {0, 4}) {
    h.experts = experts, h.experts_used = 2, h.expert_ffn = 24;
    const std::vector<float> x = run(ProgramPart::only_embedding(), {}, nullptr);
    for (const ProgramPart& part : {ProgramPart::only_layer(1), ProgramPart::only_head()}) {
      Recorder with, without;
      EXPECT_FALSE(run(part, x, &with).empty());
      EXPECT_TRUE(run(part, x, &without, false).empty());
      EXPECT_EQ(with.inputs, without.inputs);
      EXPECT_FALSE(without.inputs.empty());
    }
  }
}

TEST_F(Parts, InputsOfAnotherSizeAreRefused) {
  EXPECT_THROW(run(ProgramPart::only_layer(0), std::vector<float>(7), nullptr), Error);
}

}  // namespace
}  // namespace nibble
