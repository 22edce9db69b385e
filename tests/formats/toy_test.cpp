// HACKING.md's claim, counted: a format added by one line of a list gets every generated case from it.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "formats/under_test.h"
#include "support/data.h"

namespace nibble {
namespace {

// Generated case -> words it is made for.
std::map<std::string, std::set<std::string>> generated_cases() {
  std::map<std::string, std::set<std::string>> cases;
  const auto& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    const auto& suite = *unit.GetTestSuite(s);
    if (std::string(suite.name()) != "List/EveryFormat") continue;
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const std::string name = suite.GetTestInfo(t)->name();
      const size_t slash = name.find('/');
      cases[name.substr(0, slash)].insert(name.substr(slash + 1));
    }
  }
  return cases;
}

TEST(ToyFormat, StandsInOneLineOfAList) {
  int lines = 0;
  std::ifstream list(test::source_dir() / "tests/formats/toy/list.inc");
  for (std::string line; std::getline(list, line);) lines += line.find("Toy") != std::string::npos;
  EXPECT_EQ(lines, 1);
  EXPECT_EQ(test::families_under_test().size(), format_families().size() + 1);
  EXPECT_THROW(format_of("toy"), Error) << "the product knows a format of the tests";
}

TEST(ToyFormat, GetsEveryGeneratedCase) {
  const auto cases = generated_cases();
  int count = 0;
  for (const auto& [name, words] : cases) {
    EXPECT_TRUE(words.count("toy")) << name;
    count += static_cast<int>(words.count("toy"));
  }
  EXPECT_EQ(count, 6);
  for (const char* name : {"WordPrintsBack", "RoundedValuesAreWhatDecodeGives", "DistortionLiesBetweenBounds",
                           "ExtremeInputsStayFinite", "RangesDecodeLikeTheWhole", "AnyBytesDecode"})
    EXPECT_TRUE(cases.count(name)) << name;
}

TEST(EveryWord, GetsEveryGeneratedCase) {
  std::set<std::string> words;
  for (const FormatFamily& family : test::families_under_test()) {
    for (const std::string& word : family.examples())
      words.insert(test::case_name(test::format_under_test(word)));
  }
  for (const auto& [name, made_for] : generated_cases()) EXPECT_EQ(made_for, words) << name;
}

}  // namespace
}  // namespace nibble
