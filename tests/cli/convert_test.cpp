// nibble convert goes through the job that writes all files: preflight, ledger, resume, nothing half-written.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "cli/program.h"
#include "model/checkpoint.h"
#include "support/checkpoint_maker.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using test::run_program;

std::string golden(const std::string& name) {
  return (test::source_dir() / "tests/data/goldens/arch" / name).string();
}

class Convert : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return scratch_.file(name); }
  test::Scratch scratch_;
};

TEST_F(Convert, ThereAndBackGivesTheSameWeights) {
  ASSERT_EQ(run_program({"convert", golden("qwen2"), file("out.gguf"), "--quiet"}).status, 0);
  ASSERT_EQ(run_program({"convert", file("out.gguf"), file("back"), "--quiet"}).status, 0);
  const Checkpoint before = open_checkpoint(golden("qwen2")), after = open_checkpoint(file("back"));
  ASSERT_EQ(before.tensors().size(), after.tensors().size());
  for (const CanonicalTensor& t : before.tensors()) {
    std::vector<float> a(static_cast<size_t>(t.shape.elements())), b(a.size());
    before.read_rows(t, 0, t.shape.rows(), a.data());
    after.read_rows(after.at(t.name), 0, t.shape.rows(), b.data());
    EXPECT_EQ(a, b) << t.name;
  }
}

TEST_F(Convert, TellsWhatItDidAsJsonAndInTheLedger) {
  const auto o = run_program(
      {"convert", golden("llama"), file("out"), "--type", "f16", "--json", "--ledger", file("l")});
  ASSERT_EQ(o.status, 0) << o.err;
  const auto j = nlohmann::json::parse(o.out);
  EXPECT_EQ(j["target"], "huggingface");
  EXPECT_EQ(j["architecture"], "llama");
  EXPECT_EQ(j["bits_per_weight"], 16.0);
  EXPECT_EQ(j["formats"]["f16"], j["tensors"]);
  const auto ledger = nlohmann::json::parse(test::file_bytes(file("l")));
  EXPECT_EQ(ledger.size(), j["tensors"].get<size_t>());
  for (const auto& line : ledger) {
    EXPECT_EQ(line["fate"], "kept");
    EXPECT_EQ(line["to"], "f16");
    EXPECT_EQ(line["reason"], line["from"] == "f16" ? "as it is" : "converted");
  }
}

TEST_F(Convert, DequantizesAndSaysSo) {
  test::make_checkpoint(file("source"), {});
  ASSERT_EQ(run_program({"quantize", file("source"), file("q.gguf"), "q4_k_m", "--quiet"}).status, 0);
  const auto o = run_program({"convert", file("q.gguf"), file("never.gguf"), "--dry-run"});
  ASSERT_EQ(o.status, 0);
  EXPECT_NE(o.out.find("dequantized"), std::string::npos) << o.out;
  EXPECT_FALSE(fs::exists(file("never.gguf")));
  ASSERT_EQ(run_program({"convert", file("q.gguf"), file("f.gguf"), "--quiet"}).status, 0);
  const Checkpoint q = open_checkpoint(file("q.gguf")), f = open_checkpoint(file("f.gguf"));
  for (const CanonicalTensor& t : q.tensors()) {
    EXPECT_EQ(f.at(t.name).format.to_string(), "f32");
    std::vector<float> a(static_cast<size_t>(t.shape.elements())), b(a.size());
    q.read_rows(t, 0, t.shape.rows(), a.data());
    f.read_rows(f.at(t.name), 0, t.shape.rows(), b.data());
    EXPECT_EQ(a, b) << t.name;
  }
}

TEST_F(Convert, SplitsFoldersAndOnlyThose) {
  test::make_checkpoint(file("source"), {});
  for (const char* verb : {"convert", "quantize"}) {
    std::vector<std::string> words{verb, file("source"), file(verb), "--shard-size", "0.5M", "--quiet"};
    if (std::string(verb) == "quantize") words.insert(words.begin() + 3, "q8_0");
    ASSERT_EQ(run_program(words).status, 0) << verb;
    EXPECT_TRUE(fs::exists(scratch_.path() / verb / "model.safetensors.index.json"));
    EXPECT_GT(open_checkpoint(file(verb)).file().files().size(), 2u);
  }
  const auto gguf = run_program({"convert", file("source"), file("x.gguf"), "--shard-size", "1M"});
  EXPECT_EQ(gguf.status, 2);
  EXPECT_NE(gguf.err.find("in one piece"), std::string::npos) << gguf.err;
  for (const char* word : {"0", "-1M", "M", "5Q", "1e99", "nan"}) {
    const auto o = run_program({"convert", file("source"), file("x"), std::string("--shard-size=") + word});
    EXPECT_EQ(o.status, 2) << word;
    EXPECT_NE(o.err.find("expected a size"), std::string::npos) << o.err;
  }
}

TEST_F(Convert, ABadWeightIsNamedAndNothingIsLeft) {
  test::MadeModel m;
  m.poison = "model.layers.1.mlp.up_proj.weight";
  test::make_checkpoint(file("source"), m);
  const auto o = run_program({"convert", file("source"), file("out.gguf"), "--type", "f16"});
  EXPECT_EQ(o.status, 3);
  EXPECT_NE(o.err.find("blk.1.ffn_up.weight holds NaN"), std::string::npos) << o.err;
  for (const char* end : {"", ".partial", ".journal"})
    EXPECT_FALSE(fs::exists(file("out.gguf") + end)) << end;
}

TEST_F(Convert, KilledItResumesToTheSameBytes) {
  test::MadeModel m;
  m.hidden = 512;
  m.ffn = 1536;
  m.layers = 8;
  m.vocab = 8192;
  test::make_checkpoint(file("source"), m);
  const std::vector<std::string> words{"convert", file("source"), file("out.gguf"),
                                       "--type",  "f32",          "--quiet"};
  std::vector<char*> argv{const_cast<char*>(NIBBLE_PROGRAM)};
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  for (const int milliseconds : {20, 40, 80}) {
    const pid_t child = fork();
    if (child == 0) {
      execv(NIBBLE_PROGRAM, argv.data());
      _exit(127);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
      EXPECT_FALSE(fs::exists(file("out.gguf")));
    }
  }
  ASSERT_EQ(run_program(words).status, 0);
  ASSERT_EQ(
      run_program({"convert", file("source"), file("straight.gguf"), "--type", "f32", "--quiet"}).status, 0);
  EXPECT_TRUE(test::file_bytes(file("out.gguf")) == test::file_bytes(file("straight.gguf")));
  EXPECT_FALSE(fs::exists(file("out.gguf.journal")));
}

}  // namespace
}  // namespace nibble
