#include "eval/module_sizes.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(ModuleSizes, SumsAndFoldsEqualLayers) {
  std::vector<NamedSize> tensors{{"model.embed_tokens.weight", 100, 200}};
  for (int i = 0; i < 3; ++i) {
    const std::string layer = "model.layers." + std::to_string(i);
    tensors.push_back({layer + ".mlp.up_proj.weight", 10, 20});
    tensors.push_back({layer + ".mlp.down_proj.weight", 10, i == 2 ? 40u : 20u});
  }
  tensors.push_back({"lm_head.weight", 7, 14});
  const auto m = module_sizes(tensors, 4);
  std::vector<std::string> names;
  for (const ModuleSize& s : m) names.push_back(s.name);
  EXPECT_EQ(names, (std::vector<std::string>{"", "model", "model.embed_tokens", "model.layers",
                                             "model.layers.0-1", "model.layers.0-1.mlp", "model.layers.2",
                                             "model.layers.2.mlp", "lm_head"}));
  EXPECT_EQ(m[0].weights, 167u);
  EXPECT_EQ(m[4].bytes, 80u);
  EXPECT_EQ(m[4].tensors, 4);
  EXPECT_EQ(m[6].bytes, 60u);
  EXPECT_EQ(module_sizes(tensors, 1).size(), 3u);
}

}  // namespace
}  // namespace nibble
