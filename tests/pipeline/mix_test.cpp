#include "pipeline/mix.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "support/data.h"

namespace nibble {
namespace {

const std::map<std::string, Role> roles = {
    {"output", Role::output},     {"token_embd", Role::token_embedding},
    {"attn_q", Role::attn_q},     {"attn_k", Role::attn_k},
    {"attn_v", Role::attn_v},     {"attn_output", Role::attn_output},
    {"ffn_gate", Role::ffn_gate}, {"ffn_up", Role::ffn_up},
    {"ffn_down", Role::ffn_down}};

Hparams four_layers() {
  Hparams h;
  h.layers = 4;
  h.heads = 8;
  h.kv_heads = 4;
  return h;
}

TEST(Mix, GivesEveryTensorTheTypeLlamaQuantizeGives) {
  std::ifstream file(test::source_dir() / "tests/data/goldens/mixes.txt");
  int checked = 0;
  for (std::string line; std::getline(file, line);) {
    if (line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, tensor, type;
    words >> name >> tensor >> type;
    const Mix* mix = mix_of(name);
    ASSERT_NE(mix, nullptr) << name;
    ++checked;
    if (tensor == "file_type") {
      EXPECT_EQ(mix->file_type, std::stoi(type)) << name;
      continue;
    }
    MixQuery q{Role::output, 0, 1, false};
    if (tensor.rfind("blk.", 0) == 0) {
      q.index = std::stoi(tensor.substr(4));
      q.count = 4;
      tensor = tensor.substr(tensor.find('.', 4) + 1);
    }
    q.role = roles.at(tensor.substr(0, tensor.find('.')));
    EXPECT_EQ(mix_format(*mix, q, four_layers()), type) << line;
  }
  EXPECT_GT(checked, 600);
}

TEST(Mix, NamesInAnyCaseAndAliases) {
  EXPECT_EQ(mix_of("Q4_K_M"), mix_of("q4_k_m"));
  EXPECT_EQ(mix_of("Q4_K"), mix_of("q4_k_m"));
  EXPECT_EQ(mix_of("int4:g128"), nullptr);
}

TEST(Mix, TiedModelsGiveTheEmbeddingTheOutputsFormat) {
  Hparams h = four_layers();
  h.tied = true;
  EXPECT_EQ(mix_format(*mix_of("q4_0"), {Role::token_embedding, 0, 1, false}, h), "q6_k");
}

TEST(Mix, EightExpertsAndManyQueryHeadsGetMore) {
  Hparams h = four_layers();
  h.experts = 8;
  EXPECT_EQ(mix_format(*mix_of("q4_k_m"), {Role::attn_v, 0, 32, false}, h), "q8_0");
  EXPECT_EQ(mix_format(*mix_of("q4_k_m"), {Role::attn_output, 0, 32, false}, h), "q5_k");
  h = four_layers();
  h.heads = 32;
  EXPECT_EQ(mix_format(*mix_of("q2_k"), {Role::attn_v, 0, 32, false}, h), "q4_k");
  EXPECT_EQ(mix_format(*mix_of("mxfp4_moe"), {Role::expert_up, 0, 32, true}, h), "mxfp4");
}

}  // namespace
}  // namespace nibble
