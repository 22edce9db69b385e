#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace nibble {
namespace {

TEST(MappedFile, HoldsItsBytesWhetherPagesAreWantedOrReleased) {
  const auto path = std::filesystem::temp_directory_path() / ("nibble_mapped_" + std::to_string(getpid()));
  std::string text(300001, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 % 251);
  std::ofstream(path, std::ios::binary) << text;
  const MappedFile file(path.string());
  std::filesystem::remove(path);
  ASSERT_EQ(file.size(), text.size());
  want_pages({});
  for (const size_t from : {0, 1, 4095, 4096, 299999}) {
    want_pages(file.data().subspan(from));
    EXPECT_EQ(std::memcmp(file.data().data(), text.data(), text.size()), 0);
    file.release(from, text.size() - from);
  }
  EXPECT_EQ(std::memcmp(file.data().data(), text.data(), text.size()), 0);
}

}  // namespace
}  // namespace nibble
