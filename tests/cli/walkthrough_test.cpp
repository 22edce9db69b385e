// The steps of docs/walkthroughs on a small GPT-NeoX checkpoint, and the matrix by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/data.h"
#include "support/scratch.h"

namespace nibble {
namespace {

using nlohmann::json;
using test::run_program;

json run_json(std::vector<std::string> arguments) {
  arguments.emplace_back("--json");
  const auto o = run_program(arguments);
  EXPECT_EQ(o.status, 0) << o.err;
  return json::parse(o.out, nullptr, false);
}

TEST(Walkthrough, AMatrixByHand) {
  const json j = run_json({"explain", "--matrix", "191.6 -13.5 728.6; 92.14 295.5 -184; 0 684.6 245.5"});
  const json& asymmetric = j["formats"][0];
  EXPECT_NEAR(asymmetric["scale"][0].get<double>(), 912.6 / 255, 1e-5);
  EXPECT_EQ(asymmetric["zero"][0], 51);
  EXPECT_EQ(asymmetric["codes"], json({105, 47, 255, 77, 134, 0, 51, 242, 120}));
  EXPECT_NEAR(std::pow(asymmetric["rmse"].get<double>(), 2), 1.5730, 1e-3);
  const json& symmetric = j["formats"][1];
  EXPECT_NEAR(symmetric["scale"][0].get<double>(), 728.6 / 127, 1e-5);
  EXPECT_NEAR(std::pow(symmetric["rmse"].get<double>(), 2), 2.5092, 1e-3);
}

TEST(Walkthrough, MatricesThatAreNone) {
  for (const char* bad : {"1 2; 3", "1 x", "nan", "1 2;;3 4"}) {
    EXPECT_EQ(run_program({"explain", "--matrix", bad}).status, 2) << bad;
  }
  EXPECT_EQ(run_program({"explain", "--matrix", "1 2 3", "--to", "q8_0"}).status, 4);
}

TEST(Walkthrough, AGptNeoxFolderToInt8) {
  const std::string folder = (test::source_dir() / "tests/data/goldens/arch/gptneox").string();
  const test::Scratch scratch;
  const std::string out = scratch.file("int8");
  const json before = run_json({"inspect", folder, "--depth", "5"});
  const json plan =
      run_json({"quantize", folder, out, "--to", "int8:channel", "--keep", "*embed*", "--dry-run"});
  EXPECT_GT(plan["ledger"].size(), 20u);
  run_json({"quantize", folder, out, "--to", "int8:channel", "--keep", "*embed*"});
  const json after = run_json({"inspect", out, "--against", folder, "--depth", "5"});
  EXPECT_EQ(after["weights"], before["weights"]);
  EXPECT_LT(after["bytes"].get<double>(), 0.65 * before["bytes"].get<double>());
  ASSERT_EQ(after["modules"].size(), before["modules"].size());
  for (size_t i = 0; i < before["modules"].size(); ++i)
    EXPECT_EQ(after["modules"][i]["name"], before["modules"][i]["name"]);
  int rounded = 0;
  for (const json& t : after["tensors"]) {
    if (t["format"] == "int8:channel") {
      ++rounded;
      EXPECT_LT(t["error"]["relative"].get<double>(), 0.01) << t["name"];
    } else {
      EXPECT_EQ(t["error"]["max"], 0) << t["name"];
    }
  }
  EXPECT_EQ(rounded, 8);
  const auto shown =
      run_program({"explain", "--model", folder, "--tensor", "gpt_neox.layers.0.attention.dense.weight",
                   "--to", "int8:channel", "--rows", "6", "--cols", "6"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_NE(shown.out.find("scale (f16):"), std::string::npos);
  EXPECT_NE(shown.out.find("error (dequantized - original)"), std::string::npos);
}

}  // namespace
}  // namespace nibble
