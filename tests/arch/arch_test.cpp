// The tables by themselves: names, steps and shapes fit together.
#include "arch/arch.h"

#include <gtest/gtest.h>

#include <set>

namespace nibble {
namespace {

class Table : public ::testing::TestWithParam<const Arch*> {
 protected:
  bool has(const std::string& name) const {
    for (const TensorRow& row : GetParam()->tensors) {
      if (row.name == name) return true;
    }
    return false;
  }
  void expect(const std::string& stem) const {
    EXPECT_TRUE(has("blk.{l}." + stem + ".weight")) << GetParam()->name << ": no " << stem;
  }
  void expect_steps(const std::vector<Step>& steps) const {
    for (const Step& s : steps) {
      switch (s.kind) {
        case Step::Kind::norm:
          expect(std::string(s.norm.weight));
          break;
        case Step::Kind::attention:
          expect("attn_output");
          if (s.attention.fused_qkv) {
            expect("attn_qkv");
          } else {
            expect("attn_q"), expect("attn_k"), expect("attn_v");
          }
          if (s.attention.qk_norm) expect("attn_q_norm"), expect("attn_k_norm");
          break;
        case Step::Kind::mlp:
          expect("ffn_up"), expect("ffn_down");
          if (s.mlp.gated && !s.mlp.fused_gate_up) expect("ffn_gate");
          break;
        case Step::Kind::moe:
          for (const char* stem : {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"})
            expect(stem);
          break;
        case Step::Kind::add:
          EXPECT_NE(s.add.from, s.add.to);
          break;
      }
    }
  }
};

TEST_P(Table, NamesEveryTensorOnce) {
  std::set<std::string_view> names, hf;
  for (const TensorRow& row : GetParam()->tensors) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.name.ends_with(".weight") || row.name.ends_with(".bias")) << row.name;
    EXPECT_EQ(row.name.ends_with(".bias"), row.role == Role::bias) << row.name;
    EXPECT_EQ(row.rewrite == Rewrite::stack_experts, row.hf.find("{e}") != std::string_view::npos)
        << row.name;
    EXPECT_EQ(row.hf.empty(), row.role == Role::rope_factors) << row.name;
    if (row.hf.empty()) continue;
    EXPECT_TRUE(hf.insert(row.hf).second) << row.hf;
    const bool layered = row.name.find("{l}") != std::string_view::npos;
    EXPECT_EQ(layered, row.hf.find("{l}") != std::string_view::npos) << row.name;
  }
}

TEST_P(Table, HasTheWeightsOfEveryStep) {
  expect_steps(GetParam()->layer);
  expect_steps(GetParam()->layer_parallel);
  EXPECT_TRUE(has("token_embd.weight"));
  EXPECT_EQ(GetParam()->final_norm, has("output_norm.weight"));
  EXPECT_EQ(GetParam()->embedding_norm, has("token_embd_norm.weight"));
  EXPECT_NE(GetParam()->encoder, has("output.weight"));
}

TEST_P(Table, GivesEveryTensorAShape) {
  Hparams h;
  h.vocab = 100, h.hidden = 64, h.layers = 2, h.context = 32, h.heads = 8, h.kv_heads = 2, h.head_dim = 16;
  h.ffn = 48, h.rope_dim = 16, h.experts = 4, h.expert_ffn = 24, h.token_types = 2;
  for (const TensorRow& row : GetParam()->tensors) {
    const Shape shape = tensor_shape(*GetParam(), row, h);
    EXPECT_GT(shape.elements(), 0) << row.name;
    if (row.role == Role::norm || row.role == Role::bias) {
      EXPECT_EQ(shape.rank(), 1u) << row.name;
    }
    if (row.role == Role::attn_q) {
      EXPECT_EQ(shape, (Shape{128, 64}));
    }
    if (row.role == Role::attn_qkv) {
      EXPECT_EQ(shape, (Shape{192, 64}));
    }
    if (row.role == Role::attn_output) {
      EXPECT_EQ(shape, (Shape{64, 128}));
    }
    if (row.role == Role::expert_down) {
      EXPECT_EQ(shape, (Shape{4, 64, 24}));
    }
  }
}

TEST_P(Table, NamesEveryFieldOnce) {
  std::set<std::string_view> names, gguf;
  for (const FieldRow& row : GetParam()->fields) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    if (!row.gguf.empty()) {
      EXPECT_TRUE(gguf.insert(row.gguf).second) << row.gguf;
    }
    ASSERT_NE(row.set, nullptr);
    ASSERT_NE(row.get, nullptr);
  }
}

TEST_P(Table, IsFoundByItsNames) {
  if (!GetParam()->gguf.empty()) {
    EXPECT_EQ(arch_of_gguf(GetParam()->gguf)->gguf, GetParam()->gguf);
  }
  ASSERT_FALSE(GetParam()->hf_classes.empty());
  ASSERT_FALSE(GetParam()->hf_types.empty());
  for (const std::string_view name : GetParam()->hf_classes) {
    Meta config;
    config.set("architectures", std::vector<std::string>{std::string(name)});
    EXPECT_EQ(arch_of_hf(config), GetParam()) << name;
  }
  for (const std::string_view name : GetParam()->hf_types) {
    Meta config;
    config.set("model_type", std::string(name));
    EXPECT_EQ(arch_of_hf(config), GetParam()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Archs, Table, ::testing::ValuesIn(archs().begin(), archs().end()),
                         [](const auto& i) { return std::string(i.param->name); });

TEST(Archs, AreNotFoundByOtherNames) {
  EXPECT_EQ(arch_of_gguf("mamba"), nullptr);
  EXPECT_EQ(arch_of_gguf(""), nullptr);
  EXPECT_EQ(arch_of_hf(Meta{}), nullptr);
  Meta config;
  config.set("model_type", std::string("mamba"));
  EXPECT_EQ(arch_of_hf(config), nullptr);
}

}  // namespace
}  // namespace nibble
