#include "arch/residual.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace nibble {
namespace {

bool writes(const ResidualStream& s, Role role) {
  return std::find(s.writers.begin(), s.writers.end(), role) != s.writers.end();
}
std::string_view gain_of(const ResidualStream& s, Role role) {
  for (const auto& r : s.readers) {
    if (r.role == role) return r.gain;
  }
  return "not a reader";
}

TEST(ResidualStream, CanBeTurnedWhereOnlyRmsNormsStandInIt) {
  std::set<std::string_view> can;
  for (const Arch* arch : archs()) {
    try {
      residual_stream(*arch, Hparams());
      can.insert(arch->name);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::unsupported);
      EXPECT_NE(std::string(e.what()).find(arch->name), std::string::npos) << e.what();
      EXPECT_FALSE(e.hint().empty());
    }
  }
  EXPECT_EQ(can, (std::set<std::string_view>{"llama", "qwen2", "qwen3", "qwen3moe", "phi3"}));
}

TEST(ResidualStream, TellsReadersWithTheirGainsAndWriters) {
  const ResidualStream s = residual_stream(*arch_of_gguf("llama"), Hparams());
  EXPECT_EQ(gain_of(s, Role::attn_k), "attn_norm");
  EXPECT_EQ(gain_of(s, Role::ffn_up), "ffn_norm");
  EXPECT_EQ(gain_of(s, Role::router), "ffn_norm");
  EXPECT_EQ(gain_of(s, Role::ffn_down), "not a reader");
  EXPECT_TRUE(writes(s, Role::attn_output) && writes(s, Role::ffn_down) && writes(s, Role::expert_down));
  EXPECT_FALSE(writes(s, Role::attn_v));
}

TEST(ResidualStream, FollowsSideBySideBlocksAndReadersWithoutNorm) {
  Arch arch;
  arch.name = "made";
  arch.layer = {NormStep{"attn_norm"}, AttentionStep{}, MlpStep{.from = Reg::x, .to = Reg::a}, AddStep{},
                AddStep{.from = Reg::a}};
  const ResidualStream s = residual_stream(arch, Hparams());
  EXPECT_EQ(gain_of(s, Role::attn_q), "attn_norm");
  EXPECT_EQ(gain_of(s, Role::ffn_gate), "");
  // The other order of norm and sum (BERT's) leaves a norm in the stream.
  arch.layer = {AttentionStep{.from = Reg::x}, AddStep{}, NormStep{"attn_output_norm", Reg::x, Reg::x}};
  EXPECT_THROW(residual_stream(arch, Hparams()), Error);
  arch.layer = {NormStep{"attn_norm"}, AddStep{}};
  EXPECT_THROW(residual_stream(arch, Hparams()), Error);
}

}  // namespace
}  // namespace nibble
