#include "model/weight_change.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/activation_note.h"
#include "model/checkpoint_identity.h"
#include "model/export.h"
#include "model/load.h"
#include "model/seeded_checkpoint.h"
#include "support/scratch.h"

namespace nibble {
namespace {

constexpr const char* config = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
  "num_key_value_heads": 1, "vocab_size": 40, "max_position_embeddings": 64, "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})";

/// Twice the queries and the output, whose input it says is turned.
class Doubled final : public WeightChange {
 public:
  explicit Doubled(const Checkpoint& model) : model_(model) {}
  std::string identity() const override { return "doubled"; }
  bool touches(const CanonicalTensor& t) const override {
    return t.role == Role::attn_q || t.role == Role::output;
  }
  std::string note(const CanonicalTensor& t) const override { return touches(t) ? "doubled" : ""; }
  void read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const override {
    model_.read_rows(t, row, n, out);
    for (int64_t i = 0; i < n * t.shape.cols(); ++i) out[i] *= 2;
  }
  std::vector<std::string> turned_inputs() const override { return {"blk.0.ffn_down"}; }
  void release(const CanonicalTensor&) const noexcept override { ++released; }
  uint64_t memory() const noexcept override { return 0; }

  mutable int released = 0;

 private:
  Checkpoint model_;
};

std::vector<float> floats_of(const QTensor& t) {
  std::vector<float> x(static_cast<size_t>(t.shape.elements()));
  decode_range(t, 0, t.shape.elements(), x.data());
  return x;
}

class WeightChangeTest : public testing::Test {
 protected:
  void SetUp() override {
    test::write_seeded_checkpoint({"made", config}, scratch_.path() / "model", {});
    model_.emplace(open_checkpoint(scratch_.file("model")));
    change_ = std::make_shared<Doubled>(*model_);
    changed_.emplace(with_change(*model_, change_, true));
  }
  std::vector<float> twice(const std::string& name) const {
    std::vector<float> x = floats_of(model_->load(model_->at(name)));
    for (float& v : x) v *= 2;
    return x;
  }

  test::Scratch scratch_;
  std::optional<Checkpoint> model_, changed_;
  std::shared_ptr<Doubled> change_;
};

TEST_F(WeightChangeTest, WhoeverReadsMeetsTheChangedWeights) {
  const CanonicalTensor& q = changed_->at("blk.0.attn_q.weight");
  EXPECT_FALSE(changed_->is_view(q));
  EXPECT_EQ(floats_of(changed_->load(q)), twice(q.name));
  EXPECT_EQ(change_->released, 1);
  const CanonicalTensor& up = changed_->at("blk.0.ffn_up.weight");
  EXPECT_TRUE(changed_->is_view(up));
  EXPECT_EQ(floats_of(changed_->load(up)), floats_of(model_->load(up)));
  changed_->release(q);
  EXPECT_EQ(change_->released, 2);
}

TEST_F(WeightChangeTest, ATiedModelGetsAnOutputMatrixOfItsOwn) {
  EXPECT_TRUE(model_->hparams().tied);
  EXPECT_FALSE(changed_->hparams().tied);
  EXPECT_EQ(model_->find("output.weight"), nullptr);
  EXPECT_EQ(floats_of(changed_->load(changed_->at("output.weight"))), twice("token_embd.weight"));
  EXPECT_EQ(floats_of(changed_->load(changed_->at("token_embd.weight"))),
            floats_of(model_->load(model_->at("token_embd.weight"))));
}

TEST_F(WeightChangeTest, FilesAreWrittenWithThemAndNothingIsCopiedAsItIsStored) {
  for (const Target target : {Target::gguf, Target::huggingface}) {
    const ExportPlan plan = plan_export(*changed_, target, float_choice(nullptr), 0);
    int touched = 0;
    for (const ExportTensor& t : plan.tensors) {
      if (!changed_->changes(*t.source)) {
        EXPECT_TRUE(target == Target::gguf || plan.as_stored(t)) << t.name;
        continue;
      }
      ++touched;
      EXPECT_FALSE(plan.as_stored(t)) << t.name;
      std::vector<float> x(static_cast<size_t>(t.shape.elements())), plain(x.size());
      plan.read_rows(t, 0, t.shape.rows(), x.data());
      const bool output = t.source->role == Role::output;
      EXPECT_EQ(t.name, output ? (target == Target::gguf ? "output.weight" : "lm_head.weight") : t.name);
      const ExportPlan before = plan_export(*model_, target, float_choice(nullptr), 0);
      for (const ExportTensor& b : before.tensors) {
        if (b.source->name == (output ? "token_embd.weight" : t.source->name))
          before.read_rows(b, 0, b.shape.rows(), plain.data());
      }
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], 2 * plain[i]) << t.name;
    }
    EXPECT_EQ(touched, 2);
    for (const ExportFile& f : plan.files) {
      if (f.name == "config.json") {
        EXPECT_NE(f.content.find("\"tie_word_embeddings\": false"), std::string::npos);
      }
    }
  }
}

TEST_F(WeightChangeTest, IsPartOfTheIdentityAndOfTheProgram) {
  EXPECT_EQ(files_state(*changed_), files_state(*model_) + "doubled\n");
  EXPECT_EQ(turned_inputs(*changed_), std::vector<std::string>{"blk.0.ffn_down"});
  EXPECT_TRUE(turned_inputs(*model_).empty());
  ThreadPool pool(1);
  const auto count = [&](const Checkpoint& c) {
    const Program program = load_program(c, pool);
    return std::count_if(program.nodes.begin(), program.nodes.end(),
                         [](const Node& n) { return n.name == "blk.0.ffn_down input"; });
  };
  EXPECT_EQ(count(*changed_), 1);
  EXPECT_EQ(count(*model_), 0);
  EXPECT_THROW(with_change(*changed_, change_, false), Error);
}

}  // namespace
}  // namespace nibble
