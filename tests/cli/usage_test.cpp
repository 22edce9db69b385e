// What the command line does with what people type, right or wrong.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/data.h"

namespace nibble {
namespace {

using test::run_program;

std::vector<std::string> all_verbs() {
  std::vector<std::string> verbs;
  std::ifstream list(test::source_dir() / "src/cli/verbs.inc");
  for (std::string line; std::getline(list, line);) {
    if (line.rfind("VERB(", 0) == 0) verbs.push_back(line.substr(5, line.find(')') - 5));
  }
  return verbs;
}

TEST(Usage, HelpNamesEveryVerbAndEveryVerbHasExamples) {
  const auto help = run_program({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const std::string& verb : all_verbs()) {
    EXPECT_NE(help.out.find(verb), std::string::npos) << verb;
    const auto own = run_program({verb, "--help"});
    EXPECT_EQ(own.status, 0) << verb;
    EXPECT_NE(own.out.find("Examples:\n  nibble " + verb), std::string::npos) << own.out;
  }
}

TEST(Usage, MistakesExitWithTwoAndSayWhatToDo) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"no-such-verb"},
                                             {"formats", "--no-such-flag"},
                                             {"formats", "--threads", "0"},
                                             {"formats", "-t", "x"}}) {
    const auto o = run_program(arguments);
    EXPECT_EQ(o.status, 2);
    EXPECT_EQ(o.err.rfind("error: ", 0), 0u) << o.err;
    EXPECT_NE(o.err.find("\nhint: "), std::string::npos) << o.err;
  }
}

TEST(Usage, FormatsListsInBothShapes) {
  const auto text = run_program({"formats"});
  EXPECT_EQ(text.status, 0);
  EXPECT_NE(text.out.find("q4_0"), std::string::npos);
  const auto o = run_program({"formats", "--json"});
  const auto rows = nlohmann::json::parse(o.out);
  ASSERT_TRUE(rows.is_array());
  bool found = false;
  for (const auto& row : rows) {
    if (row["format"] == "q8_0") {
      found = true;
      EXPECT_DOUBLE_EQ(row["bits_per_weight"].get<double>(), 8.5);
    }
  }
  EXPECT_TRUE(found);
}

TEST(Usage, ASolverWithoutItsStatisticsIsRefusedByName) {
  const auto o = test::run_program(
      {"quantize", std::string(NIBBLE_SOURCE_DIR) + "/models/demo", "/nowhere/out.gguf", "q4_0", "--solver",
       "gptq", "--imatrix", std::string(NIBBLE_SOURCE_DIR) + "/tests/data/goldens/imatrix/demo.gguf"});
  EXPECT_EQ(o.status, 4) << o.err;
  EXPECT_NE(o.err.find("gptq"), std::string::npos);
  EXPECT_NE(o.err.find("hint:"), std::string::npos);
}

}  // namespace
}  // namespace nibble
