// The dependency table of docs/architecture.md, enforced: a room includes only itself and what its row
// allows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

using Rooms = std::set<std::string>;

const std::map<std::string, Rooms> direct = {
    {"base", {}},
    {"tensor", {"base"}},
    {"formats", {"tensor"}},
    {"kernels", {"formats"}},
    {"containers", {"formats"}},
    {"tokenizers", {"base"}},
    {"ops", {"kernels"}},
    {"arch", {"tensor"}},
    {"model", {"ops", "arch", "containers", "tokenizers"}},
    {"calibrate", {"model"}},
    {"methods", {"formats", "kernels"}},
    {"pipeline", {"model", "methods", "calibrate"}},
    {"eval", {"model"}},
    {"allocate", {"pipeline", "eval"}},
    {"cli", {"allocate", "pipeline", "eval", "model"}},
};

// What a room may use includes what that room may use.
Rooms allowed(const std::string& room) {
  Rooms all{room};
  for (const std::string& next : direct.at(room)) all.merge(allowed(next));
  return all;
}

TEST(Rooms, IncludeOnlyWhatTheirRowAllows) {
  const std::filesystem::path src = std::filesystem::path(NIBBLE_SOURCE_DIR) / "src";
  const std::regex include(R"(^\s*#\s*include\s*"([a-z_]+)/)");
  int seen = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(src)) {
    const std::string ext = entry.path().extension();
    if (!entry.is_regular_file() || (ext != ".h" && ext != ".cpp" && ext != ".inc")) continue;
    const auto relative = std::filesystem::relative(entry.path(), src);
    if (relative.begin() == --relative.end()) continue;  // src/main.cpp stands above the rooms
    const std::string room = relative.begin()->string();
    ASSERT_TRUE(direct.count(room)) << "src/" << room << " has no row in the table";
    const Rooms may = allowed(room);
    std::ifstream file(entry.path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      ++seen;
      EXPECT_TRUE(may.count(match[1])) << relative.string() << ":" << number << " includes " << match[1]
                                       << "/, which room " << room << " may not use";
    }
  }
  EXPECT_GT(seen, 10);
}

}  // namespace
