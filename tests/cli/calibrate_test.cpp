// nibble calibrate, and quantize with statistics, as their user meets them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "containers/annotation.h"
#include "model/content_hash.h"
#include "model/seeded_checkpoint.h"
#include "support/checkpoint_maker.h"
#include "support/data.h"
#include "support/patch.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class Calibrate : public testing::Test {
 protected:
  void SetUp() override {
    make("source", 4096, 128);
    std::string words;
    for (int i = 0; i < 80; ++i)
      words +=
          "Process " + std::to_string(i * 31 % 97) + " waits for page " + std::to_string(i) + " to come. ";
    text_ = file("text.txt", words);
  }
  void make(const std::string& name, int64_t vocab, int64_t ffn) {
    const std::string config =
        R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "vocab_size": )" +
        std::to_string(vocab) + ", \"intermediate_size\": " + std::to_string(ffn) + "}";
    test::write_seeded_checkpoint({name.c_str(), config.c_str()}, scratch_.path() / name,
                                  test::source_dir() / "models" / "demo" / "tokenizer.model");
  }
  std::string file(const std::string& name, const std::string& bytes) {
    std::ofstream(scratch_.file(name), std::ios::binary) << bytes;
    return scratch_.file(name);
  }
  test::Outcome calibrate(const std::string& text, const std::string& out,
                          const Words& more = {"--length", "16"}) {
    Words words{"calibrate", scratch_.file("source"), text, "-o", scratch_.file(out)};
    words.insert(words.end(), more.begin(), more.end());
    return test::run_program(words);
  }
  test::Outcome quantize(const Words& more, const std::string& source = "source") {
    Words words{"quantize", scratch_.file(source), scratch_.file("out.gguf"), "q4_0", "--pure"};
    words.insert(words.end(), more.begin(), more.end());
    return test::run_program(words);
  }
  /// A message that says what is wrong, exit code `status`, and no output.
  void expect_error(const test::Outcome& o, int status, const std::string& says) {
    EXPECT_EQ(o.status, status) << o.err;
    EXPECT_NE(o.err.find("error:"), std::string::npos) << o.err;
    EXPECT_NE(o.err.find(says), std::string::npos) << "expected '" << says << "' in: " << o.err;
    for (const char* left : {"out.gguf", "out.gguf.partial", "out.gguf.journal", "out.gguf.hidden.partial",
                             "stats", "stats.hidden.partial"})
      EXPECT_FALSE(fs::exists(scratch_.path() / left)) << left << " is left behind";
  }

  test::Scratch scratch_;
  std::string text_;
};

TEST_F(Calibrate, MakesImportanceMatricesAndFoldersThatQuantizeTakes) {
  for (const char* name : {"imatrix.gguf", "imatrix.dat"}) {
    const auto made = calibrate(text_, name);
    ASSERT_EQ(made.status, 0) << made.err;
    const auto used = quantize({"--imatrix", scratch_.file(name), "--fresh"});
    EXPECT_EQ(used.status, 0) << used.err;
  }
  const auto made = calibrate(text_, "stats", {"--length", "16", "--json"});
  ASSERT_EQ(made.status, 0) << made.err;
  const auto j = nlohmann::json::parse(made.out);
  EXPECT_EQ(j.at("output"), scratch_.file("stats"));
  EXPECT_EQ(j.at("tokens").get<int64_t>(), 16 * j.at("sequences").get<int64_t>());
  const auto used = quantize({"--stats", scratch_.file("stats"), "--solver", "gptq", "--fresh"});
  EXPECT_EQ(used.status, 0) << used.err;
  // The output says what it was made of.
  ThreadPool pool(2);
  const Checkpoint source = open_checkpoint(scratch_.file("source"));
  const auto output = open_tensor_file(scratch_.file("out.gguf"));
  EXPECT_EQ(annotation(output, "nibble.source"), ContentHash(source.file()).finish(pool));
  EXPECT_NE(annotation(output, "nibble.recipe").value_or("").find("solver=gptq statistics=folder "),
            std::string::npos);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(scratch_.path())) {
    const std::string name = entry.path().filename().string();
    if (name.find("partial") != name.npos || name.find("journal") != name.npos) left.push_back(name);
  }
  EXPECT_TRUE(left.empty()) << left.front();
}

TEST_F(Calibrate, ColumnsTakeAnotherOrderWhereItIsAskedFor) {
  ASSERT_EQ(calibrate(text_, "stats").status, 0);
  const auto bytes_of = [&](const Words& more, const std::string& said) {
    Words words{"--stats", scratch_.file("stats"), "--passes", "0"};
    words.insert(words.end(), more.begin(), more.end());
    const auto o = quantize(words);
    EXPECT_EQ(o.status, 0) << o.err;
    const auto output = open_tensor_file(scratch_.file("out.gguf"));
    const std::string recipe = annotation(output, "nibble.recipe").value_or("");
    EXPECT_NE(recipe.find("passes=0" + said + " statistics="), std::string::npos) << recipe;
    std::string all;  // the weights alone: what stands before them names the recipe
    for (const StoredTensor& t : output.tensors())
      all.append(reinterpret_cast<const char*>(t.raw.bytes.data()), t.raw.bytes.size());
    return all;
  };
  const std::string saved = scratch_.file("saved.json");
  const std::string usual = bytes_of({"--solver", "gptq"}, "");
  const std::string fixed = bytes_of({"--solver", "gptq", "--static-groups"}, " static-groups");
  const std::string ordered =
      bytes_of({"--solver", "gptq", "--act-order", "--save-recipe", saved}, " act-order");
  EXPECT_TRUE(usual != fixed && fixed != ordered && ordered != usual);
  EXPECT_TRUE(bytes_of({"--recipe", saved}, " act-order") == ordered);
  // Static groups come with the order.
  EXPECT_TRUE(bytes_of({"--recipe", saved, "--static-groups"}, " act-order static-groups") == ordered);
  fs::remove(scratch_.path() / "out.gguf");
  for (const char* option : {"--act-order", "--static-groups"}) {
    const auto o = quantize({"--solver", "nearest", option});
    EXPECT_EQ(o.status, 2) << o.err;
    EXPECT_NE(o.err.find("nearest"), std::string::npos) << o.err;
    EXPECT_NE(o.err.find("hint: they belong to error feedback: --solver gptq"), std::string::npos) << o.err;
    EXPECT_FALSE(fs::exists(scratch_.path() / "out.gguf"));
  }
}

TEST_F(Calibrate, WhatIsGivenByHandWinsOverARecipeFile) {
  const std::string recipe =
      file("recipe.json",
           R"({"solver": "gptq", "calibration": {"samples": 3, "length": 16, "seed": 5, "fast": true}})");
  const auto samples_of = [&](const Words& more) {
    Words words{"--recipe", recipe, "--calibrate", text_, "--save-recipe", scratch_.file("saved.json"),
                "--fresh"};
    words.insert(words.end(), more.begin(), more.end());
    const auto o = quantize(words);
    EXPECT_EQ(o.status, 0) << o.err;
    return nlohmann::json::parse(test::file_bytes(scratch_.file("saved.json"))).at("calibration");
  };
  const auto as_written = samples_of({});
  EXPECT_EQ(as_written.at("samples"), 3);
  EXPECT_EQ(as_written.at("length"), 16);
  EXPECT_EQ(as_written.at("seed"), 5);
  EXPECT_EQ(as_written.at("fast"), true);
  EXPECT_FALSE(samples_of({"--no-fast"}).contains("fast"));
  EXPECT_EQ(samples_of({"--no-fast", "--fast"}).at("fast"), true) << "the last one counts";
  // The default, said in so many words.
  const auto by_hand = samples_of({"--samples", "128", "--seed", "0"});
  EXPECT_EQ(by_hand.at("samples"), 128);
  EXPECT_EQ(by_hand.at("length"), 16);
  EXPECT_EQ(by_hand.at("seed"), 0);
}

TEST_F(Calibrate, WhatARecipeFileSwitchesOnIsSwitchedOffByHand) {
  const std::string recipe = file("recipe.json", R"({"type": "q4_0", "solver": "gptq", "act_order": true,
      "static_groups": true, "pure": true, "allow_substitution": true})");
  const std::string saved = scratch_.file("saved.json");
  const auto saved_with = [&](const Words& more) {
    Words words{"quantize",
                scratch_.file("source"),
                scratch_.file("out.gguf"),
                "--recipe",
                recipe,
                "--calibrate",
                text_,
                "--length",
                "16",
                "--save-recipe",
                saved,
                "--dry-run"};
    words.insert(words.end(), more.begin(), more.end());
    const auto o = test::run_program(words);
    EXPECT_EQ(o.status, 0) << o.err;
    return nlohmann::json::parse(test::file_bytes(saved));
  };
  const std::pair<const char*, const char*> keys[] = {{"act_order", "--no-act-order"},
                                                      {"static_groups", "--no-static-groups"},
                                                      {"pure", "--no-pure"},
                                                      {"allow_substitution", "--no-allow-substitution"}};
  const auto as_written = saved_with({});
  for (const auto& [key, off] : keys) {
    EXPECT_EQ(as_written.at(key), true);
    const auto without = saved_with({off});
    for (const auto& [other, unused] : keys) EXPECT_EQ(without.contains(other), other != key) << off;
  }
  // Another solver by hand: what belongs to the recipe's own can be taken back.
  EXPECT_EQ(saved_with({"--solver", "nearest", "--no-act-order", "--no-static-groups"}).at("solver"),
            "nearest");
}

TEST_F(Calibrate, HowToCollectIsNoOptionWhereNothingIsCollected) {
  ASSERT_EQ(calibrate(text_, "imatrix.gguf").status, 0);
  const std::string imatrix = scratch_.file("imatrix.gguf");
  for (const Words& how : {Words{"--fast"}, {"--samples", "4"}, {"--length", "16"}, {"--seed", "1"}}) {
    const auto with = [&](Words words) {
      words.insert(words.end(), how.begin(), how.end());
      return quantize(words);
    };
    expect_error(with({"--imatrix", imatrix}), 2, how[0] + " says how statistics are collected");
    expect_error(with({"--imatrix", imatrix}), 2, "--imatrix " + imatrix + " stand there already");
    expect_error(with({"--stats", scratch_.file("stats"), "--solver", "gptq"}), 2, "hint: leave it out");
    expect_error(with({}), 2, "solver 'nearest' needs none");
  }
  expect_error(quantize({"--imatrix", imatrix, "--fast", "--samples", "4"}), 2, "--samples, --fast say");
  // A recipe speaks for more than one command: its text and how to read it give way to what is named by hand.
  const std::string recipe =
      file("recipe.json", R"({"solver": "nearest", "calibration": {"text": "absent.txt",
      "samples": 3, "fast": true}})");
  const auto o = quantize({"--recipe", recipe, "--imatrix", imatrix});
  EXPECT_EQ(o.status, 0) << o.err;
}

TEST_F(Calibrate, WithoutATextTheModelWritesItsOwnAndThatIsSaid) {
  const auto o = quantize({"--solver", "gptq", "--samples", "3", "--length", "16"});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.err.find("the model writes its own"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("3 sequences of 16 tokens that the model wrote itself"), std::string::npos) << o.err;
}

TEST_F(Calibrate, TextsThatCannotBeUsedAreNamed) {
  const std::string empty = file("empty.txt", ""), brief = file("short.txt", "Too short."),
                    latin = file("latin.txt", std::string(400, '\xe9'));
  for (const auto& [path, says] : {std::pair{empty, "empty.txt has"},
                                   {brief, "fewer than one sequence of 16"},
                                   {latin, "latin.txt is no UTF-8 text"},
                                   {scratch_.file("absent.txt"), "absent.txt"},
                                   {file("bad.jsonl", "{}\n"), "bad.jsonl line 1"}}) {
    expect_error(calibrate(path, "stats"), 3, says);
    expect_error(quantize({"--solver", "gptq", "--calibrate", path, "--length", "16"}), 3, says);
  }
  expect_error(calibrate(text_, "stats", {"--length", "65"}), 2, "up to 64");
}

TEST_F(Calibrate, AVocabularyThatIsNotTheModelsIsNamed) {
  make("source", 300, 128);
  expect_error(calibrate(text_, "stats"), 3, "vocabulary ends at 300");
  expect_error(quantize({"--solver", "gptq", "--calibrate", text_, "--length", "16"}), 3,
               "vocabulary ends at 300");
}

TEST_F(Calibrate, ActivationsThatOverflowAreNamed) {
  for (const char* name : {"model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"}) {
    test::patch_tensor(scratch_.path() / "source" / "model.safetensors", name,
                       [](std::vector<float>& x, int64_t) {
                         for (float& v : x) v *= 1e22f;
                       });
  }
  expect_error(quantize({"--solver", "gptq", "--calibrate", text_, "--length", "16"}), 3, "blk.0.ffn_down");
  const auto o = calibrate(text_, "folder");
  EXPECT_EQ(o.status, 3);
  EXPECT_NE(o.err.find("blk.0.ffn_down"), std::string::npos) << o.err;
}

TEST_F(Calibrate, StatisticsOfAnotherModelAreNamed) {
  make("other", 4096, 160);
  ASSERT_EQ(calibrate(text_, "imatrix.gguf").status, 0);
  expect_error(quantize({"--imatrix", scratch_.file("imatrix.gguf")}, "other"), 3, "blk.0.ffn_down.weight");
  ASSERT_EQ(calibrate(text_, "folder").status, 0);
  expect_error(quantize({"--stats", scratch_.file("folder"), "--solver", "gptq"}, "other"), 3,
               "blk.0.ffn_down.weight");
}

TEST_F(Calibrate, MistakesAreNamed) {
  ASSERT_EQ(calibrate(text_, "imatrix.gguf").status, 0);
  const std::string imatrix = scratch_.file("imatrix.gguf");
  expect_error(quantize({"--imatrix", imatrix, "--solver", "gptq"}), 4, "needs the Hessian");
  expect_error(quantize({"--imatrix", imatrix, "--calibrate", text_}), 2, "sources of the same thing");
  expect_error(quantize({"--activations", "int8:static", "--calibrate", text_, "--length", "16", "--tensor",
                         "blk.0.ffn_down=q4_k"}),
               4, "do not fit");
  EXPECT_FALSE(fs::exists(scratch_.path() / "out.gguf.statistics.partial"));
  expect_error(quantize({"--stats", scratch_.file("absent")}), 3, "absent holds no statistics.json");
  expect_error(quantize({"--imatrix", scratch_.file("source/model.safetensors")}), 3, "model.safetensors");
  fs::create_directories(scratch_.path() / "mine");
  file("mine/notes.txt", "mine");
  const auto o = calibrate(text_, "mine");
  expect_error(o, 2, "holds something else than statistics");
  EXPECT_EQ(test::file_bytes(scratch_.path() / "mine" / "notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(scratch_.path() / "mine.hidden.partial"));
}

}  // namespace
}  // namespace nibble
