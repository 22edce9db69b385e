#include "pipeline/recipe.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "methods/transforms/channel_transform.h"
#include "pipeline/recipe_file.h"
#include "support/scratch.h"

namespace nibble {
namespace {

TEST(Recipe, PatternsCoverWholeNamesWithOrWithoutWeight) {
  EXPECT_TRUE(name_matches("lm_head", "lm_head.weight"));
  EXPECT_TRUE(name_matches("lm_head.weight", "lm_head.weight"));
  EXPECT_TRUE(name_matches("*norm*", "blk.0.attn_norm.weight"));
  EXPECT_TRUE(name_matches("blk.[01].*", "blk.1.ffn_up.weight"));
  EXPECT_FALSE(name_matches("blk.[01].*", "blk.2.ffn_up.weight"));
  EXPECT_FALSE(name_matches("norm", "blk.0.attn_norm.weight"));
}

TEST(Recipe, OverridesSplitAtTheLastEqualsSign) {
  const auto o = parse_override("*.down_proj=int8:channel");
  EXPECT_EQ(o.pattern, "*.down_proj");
  EXPECT_EQ(o.format, "int8:channel");
  for (const char* bad : {"", "x", "=q4_0", "x="}) EXPECT_THROW(parse_override(bad), Error) << bad;
}

TEST(Recipe, SaysItAllInOneLine) {
  Recipe a;
  a.type = "q4_k_m";
  Recipe b = a;
  EXPECT_EQ(a.to_string(), b.to_string());
  b.overrides.push_back({"x", "q8_0"});
  EXPECT_NE(a.to_string(), b.to_string());
  // What the solver is told: no job may go on where one with other options stopped.
  std::set<std::string> said{a.to_string()};
  for (const SolverOptions& options :
       {SolverOptions{.damping = 0.1}, SolverOptions{.passes = 1}, SolverOptions{.act_order = true},
        SolverOptions{.static_groups = true}}) {
    b = a;
    b.options = options;
    EXPECT_TRUE(said.insert(b.to_string()).second) << b.to_string();
  }
}

TEST(Recipe, TellsWhatItNeedsToKnow) {
  Recipe r;
  EXPECT_FALSE(r.needs().any());
  r.solver = "gptq";
  EXPECT_TRUE(r.needs().hessian);
  r.solver = "nearest";
  r.with = {"awq"};
  EXPECT_TRUE(r.needs().importance && !r.needs().maxima);
  r.with = {"smoothquant"};
  EXPECT_TRUE(r.needs().maxima && !r.needs().importance);
  r.with = {"smooth"};
  EXPECT_THROW(r.needs(), Error);
  r.with.clear();
  r.activations = ActivationScheme::parse("int8");
  EXPECT_FALSE(r.needs().any());
  r.activations = ActivationScheme::parse("int8:static");
  EXPECT_TRUE(r.needs().maxima && !r.needs().histogram);
  r.range = "entropy";
  EXPECT_TRUE(r.needs().histogram);
}

TEST(Recipe, ARotationStandsFirstAndNeedsNothing) {
  Recipe r;
  EXPECT_FALSE(r.rotation());
  r.with = {"rotate:online:seed=12"};
  ASSERT_TRUE(r.rotation());
  EXPECT_TRUE(r.rotation()->online);
  EXPECT_EQ(r.rotation()->seed, 12u);
  EXPECT_EQ(r.rotation()->to_string(), "rotate:online:seed=12");
  EXPECT_FALSE(r.needs().any());
  r.with = {"rotate", "awq"};
  EXPECT_EQ(r.rotation()->to_string(), "rotate");
  EXPECT_TRUE(r.needs().importance);
  for (const char* word : {"rotate:seed=", "rotate:seed=-1", "rotate:offline", "rotate:seed=1x"}) {
    r.with = {word};
    EXPECT_THROW(r.rotation(), Error) << word;
  }
  r.with = {"rotate", "rotate:online"};
  EXPECT_THROW(r.needs(), Error);
}

TEST(RecipeFile, PresetsNameTypesSolversAndTransformsThatThereAre) {
  EXPECT_GE(presets().size(), 6U);
  for (const Preset& p : presets()) {
    const RecipeText t = read_recipe(std::string(p.name));
    EXPECT_NO_THROW(solver_of(t.recipe.solver)) << p.name;
    EXPECT_NO_THROW(format_of(t.recipe.type.empty() ? "q4_k" : t.recipe.type)) << p.name;
    EXPECT_NO_THROW(format_of(t.gguf_type.empty() ? "q4_k" : t.gguf_type)) << p.name;
    for (const std::string& word : t.recipe.with)
      EXPECT_TRUE(RotationWord::parse(word) || find_channel_transform(word) != nullptr) << word;
    EXPECT_EQ(t.recipe.activations ? t.recipe.activations->to_string() : "", p.activations) << p.name;
    EXPECT_NO_THROW(t.recipe.needs()) << p.name;
  }
  EXPECT_EQ(read_recipe("gptq").recipe.options.passes, 0);
}

TEST(RecipeFile, ReadsWhatItWrites) {
  RecipeText t;
  t.recipe.type = "q4_k_m";
  t.recipe.solver = "gptq";
  t.recipe.with = {"awq"};
  t.recipe.options = {.damping = 0.02, .passes = 3, .act_order = true, .static_groups = true};
  t.recipe.overrides = {{"lm_head", "int8:channel"}, {"*norm*", "keep"}};
  t.recipe.activations = ActivationScheme::parse("int8:static");
  t.recipe.activations_keep = {"*ffn_down"};
  t.recipe.range = "std=6";
  t.calibration = {"wiki.txt", 64, 256, 7};
  const test::Scratch scratch;
  const std::string path = scratch.file("recipe.json");
  std::ofstream(path) << recipe_json(t);
  const RecipeText back = read_recipe(path);
  EXPECT_EQ(back.recipe.to_string(), t.recipe.to_string());
  EXPECT_EQ(recipe_json(back), recipe_json(t));
  EXPECT_TRUE(back.recipe.options.act_order && back.recipe.options.static_groups);
  // Each by itself, and said to be off.
  std::ofstream(path) << R"({"type": "q4_0", "act_order": true, "static_groups": false})";
  EXPECT_TRUE(read_recipe(path).recipe.options.act_order);
  EXPECT_FALSE(read_recipe(path).recipe.options.static_groups);
}

TEST(RecipeFile, RefusesWhatItDoesNotKnow) {
  const test::Scratch scratch;
  int made = 0;
  for (const char* text :
       {"", "[1]", R"({"typ": "q4_0"})", R"({"passes": -1})", R"({"damping": 2})", R"({"act_order": 1})",
        R"({"act-order": true})", R"({"static_groups": "yes"})", R"({"calibration": {"fast": 1}})",
        R"({"calibration": {"fast": "true"}})", R"({"pure": 1})", R"({"allow_substitution": "no"})",
        R"({"with": "awq"})", R"({"calibration": {"txt": "x"}})", R"({"type": 3})"}) {
    const std::string path = scratch.file(std::to_string(made++));
    std::ofstream(path) << text;
    try {
      read_recipe(path);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_input) << text;
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
    }
  }
  EXPECT_THROW(read_recipe("gtpq"), Error);
}

TEST(RecipeFile, AnActivationWordIsReadWithTheFile) {
  const test::Scratch scratch;
  const std::string path = scratch.file("recipe.json");
  std::ofstream(path) << R"({"type": "q8_0", "activations": "int8:asym:static"})";
  const Recipe r = read_recipe(path).recipe;
  EXPECT_TRUE(r.static_ranges());
  EXPECT_NE(r.to_string().find("activations=int8:static:asym"), std::string::npos) << "one spelling";
  std::ofstream(path) << R"({"type": "q8_0", "activations": "int9"})";
  try {
    read_recipe(path);
    ADD_FAILURE() << "int9 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path + ": 'int9'"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.hint()).find("int2 to int8; integer-only"), std::string::npos) << e.hint();
  }
}

TEST(RecipeFile, NamesTheKeyWhoseValueIsOfAnotherKind) {
  const test::Scratch scratch;
  const std::string path = scratch.file("recipe.json");
  const std::pair<const char*, const char*> refused[] = {
      {R"({"calibration": {"fast": 1}})", "'calibration.fast' is 1, expected true or false"},
      {R"({"calibration": {"fast": "true"}})", "'calibration.fast' is \"true\", expected true or false"},
      {R"({"calibration": {"samples": 1.5}})", "'calibration.samples' is 1.5, expected a whole number"},
      {R"({"calibration": {"seed": -1}})", "'calibration.seed' is -1, expected a whole number that is not"},
      {R"({"calibration": true})", "'calibration' is true, expected an object"},
      {R"({"act_order": 1})", "'act_order' is 1, expected true or false"},
      {R"({"pure": null})", "'pure' is null, expected true or false"},
      {R"({"passes": true})", "'passes' is true, expected a whole number"},
      {R"({"passes": 4294967297})", "'passes' is 4294967297, expected a whole number"},
      {R"({"damping": "0.1"})", "'damping' is \"0.1\", expected a number"},
      {R"({"type": 3})", "'type' is 3, expected a text"},
      {R"({"with": "awq"})", "'with' is \"awq\", expected a list of texts"},
      {R"({"keep": ["a", 1]})", "'keep' is [\"a\",1], expected a list of texts"},
      {R"({"tensor": {"lm_head": 8}})", "'tensor.lm_head' is 8, expected a text"},
      {R"({"tensor": "q8_0"})", "'tensor' is \"q8_0\", expected an object"},
  };
  for (const auto& [text, says] : refused) {
    std::ofstream(path) << text;
    try {
      read_recipe(path);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::bad_input) << text;
      EXPECT_NE(std::string(e.what()).find(path + ": " + says), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace nibble
