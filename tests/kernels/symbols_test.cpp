// An inline function emitted in a file with instruction-set flags may be the copy that the linker keeps for
// the whole program, which then crashes on machines without those instructions. So these files may emit none.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace {

TEST(Symbols, InstructionSetFilesEmitNothingTheLinkerMayShare) {
  if (std::string(NIBBLE_SANITIZED) != "") GTEST_SKIP() << "sanitizers add weak symbols of their own";
  FILE* nm = popen(NIBBLE_NM " -A --defined-only " NIBBLE_KERNELS_LIBRARY " 2>/dev/null", "r");
  ASSERT_NE(nm, nullptr);
  const std::filesystem::path cpu = NIBBLE_SOURCE_DIR "/src/kernels/cpu";
  char line[4096];
  int kernels = 0;
  while (std::fgets(line, sizeof line, nm) != nullptr) {
    const std::string text = line;
    const size_t end = text.find(".cpp.o:"), begin = text.rfind(':', end) + 1;
    if (end == std::string::npos) continue;
    if (!std::filesystem::exists(cpu / (text.substr(begin, end - begin) + ".cpp"))) continue;
    // path:member:address type name
    // A pointer to the handler of exceptions is data, the same in every file.
    if (text.find("DW.ref.__gxx_personality") != std::string::npos) continue;
    const size_t type = text.find(' ');
    ASSERT_NE(type, std::string::npos) << text;
    EXPECT_EQ(std::string("WwVvu").find(text.at(type + 1)), std::string::npos) << "weak symbol: " << text;
    kernels += text.find("cpu_") != std::string::npos;
  }
  if (pclose(nm) != 0) GTEST_SKIP() << "nm cannot be run";
  EXPECT_GE(kernels, 2) << "the kernel tables were not found in " NIBBLE_KERNELS_LIBRARY;
}

}  // namespace
