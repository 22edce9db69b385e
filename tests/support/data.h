#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace nibble::test {

/// Folder of real models and texts: NIBBLE_TEST_DATA, else the default the build was made with.
inline std::filesystem::path data_dir() {
  const char* set = std::getenv("NIBBLE_TEST_DATA");
  return set != nullptr ? set : NIBBLE_TEST_DATA_DEFAULT;
}

/// Folder of this source tree.
inline std::filesystem::path source_dir() { return NIBBLE_SOURCE_DIR; }

}  // namespace nibble::test

/// Skips the test, visibly, when a file of the test data is absent; else `name` is its path.
#define NIBBLE_NEEDS_DATA(name, relative)                                   \
  const std::filesystem::path name = nibble::test::data_dir() / (relative); \
  if (!std::filesystem::exists(name)) GTEST_SKIP() << "test data absent: " << name
