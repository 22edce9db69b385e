#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using test::run_program;

class Bench : public testing::Test {
 protected:
  void SetUp() override {
    test::MadeModel shape;
    shape.layers = 1;
    shape.vocab = 64;
    test::make_checkpoint(scratch_.path() / "model", shape);
  }
  /// A program that answers like llama-bench and remembers how it was called.
  std::string peer(const std::string& answer, int status) {
    const std::string path = scratch_.file("it's a peer");
    std::ofstream(path) << "#!/bin/sh\necho \"$@\" >> \"$0.log\"\necho '" << answer << "'\nexit " << status
                        << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  std::string model() { return (scratch_.path() / "model").string(); }
  test::Scratch scratch_;
};

TEST_F(Bench, PrintsEachSpeedAsPartOfItsBound) {
  const auto r =
      run_program({"bench", model(), "-p", "8", "-n", "3", "-d", "5", "-r", "2", "-t", "2", "--json"});
  ASSERT_EQ(r.status, 0) << r.err;
  const auto j = nlohmann::json::parse(r.out);
  EXPECT_GT(j["read_bytes_per_second"], 1e8);
  EXPECT_GT(j["peak_flops"], 1e8);
  // Weights of the made model that a token needs: 256 x 256 twice, 128 x 256 twice, 512 x 256 three times,
  // and the output.
  EXPECT_EQ(j["products_per_token"], 2 * 65536 + 2 * 32768 + 3 * 131072 + 64 * 256);
  EXPECT_EQ(j["bytes_per_token"], 2 * j["products_per_token"].get<double>());
  ASSERT_EQ(j["results"].size(), 2);
  for (const auto& s : j["results"]) {
    EXPECT_EQ(s["runs"].size(), 2);
    EXPECT_GT(s["tokens_per_second"], 0);
    EXPECT_NEAR(s["bound"]["fraction"].get<double>(),
                s["tokens_per_second"].get<double>() / s["bound"]["tokens_per_second"].get<double>(), 1e-9);
  }
}

TEST_F(Bench, SequencesTogetherShareTheWeights) {
  const auto of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"bench", model(), "-p", "0", "-n", "3", "-d", "70", "-r", "1", "--json"};
    all.insert(all.end(), more.begin(), more.end());
    const auto r = run_program(all);
    EXPECT_EQ(r.status, 0) << r.err;
    return nlohmann::json::parse(r.out);
  };
  const auto f32 = of({"--kv", "f32"}), together = of({"--kv", "q8_0", "--together", "3"});
  EXPECT_EQ(together["together"], 3);
  EXPECT_EQ(together["results"][0]["name"], "decode 3 x 3");
  EXPECT_NEAR(together["kv_bytes_per_token"].get<double>() / f32["kv_bytes_per_token"].get<double>(),
              34.0 / 128, 1e-9);
  const auto bound = [](const nlohmann::json& j) {
    return j["results"][0]["bound"]["tokens_per_second"].get<double>() /
           j["read_bytes_per_second"].get<double>();
  };
  // Seconds of reading that a token costs: its share of the weights, its own keys and values.
  const double weights = f32["bytes_per_token"], kv = together["kv_bytes_per_token"];
  EXPECT_NEAR(1 / bound(together), weights / 3 + kv * 71.5, 1);
  EXPECT_EQ(run_program({"bench", model(), "--together", "2", "--peer", "x"}).status, 2);
}

TEST_F(Bench, APeerTakesTurns) {
  const std::string path = peer(R"([{"avg_ts": 4.0}])", 0);
  const auto r =
      run_program({"bench", model(), "-p", "8", "-n", "2", "-r", "2", "-t", "1", "--peer", path, "--json"});
  ASSERT_EQ(r.status, 0) << r.err;
  const auto j = nlohmann::json::parse(r.out);
  for (const auto& s : j["results"])
    EXPECT_NEAR(s["peer"]["ratio"].get<double>(), s["tokens_per_second"].get<double>() / 4.0, 1e-9);
  const std::string log = test::file_bytes(path + ".log");
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 4);
  EXPECT_NE(log.find("-p 8 -n 0"), std::string::npos) << log;
  EXPECT_NE(log.find("-p 0 -n 2"), std::string::npos) << log;
}

TEST_F(Bench, APeerThatFailsIsNamed) {
  const auto r =
      run_program({"bench", model(), "-p", "4", "-n", "0", "-r", "1", "--peer", peer("no json", 1)});
  EXPECT_EQ(r.status, 3) << r.err;
  EXPECT_NE(r.err.find("gave no speed"), std::string::npos) << r.err;
}

}  // namespace
}  // namespace nibble
