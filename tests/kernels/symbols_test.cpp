// An inline function emitted in a file with instruction-set flags may be the copy that the linker keeps for
// the whole program, which then crashes on machines without those instructions. So these files may emit none.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace {

TEST(Symbols, InstructionSetFilesEmitNothingTheLinkerMayShare) {
  if (std::string(NIBBLE_SANITIZED) != "") GTEST_SKIP() << "sanitizers add weak symbols of their own";
  FILE* nm = popen(NIBBLE_NM " -A --defined-only " NIBBLE_KERNELS_LIBRARY " 2>/dev/null", "r");
  ASSERT_NE(nm, nullptr);
  char line[4096];
  int kernels = 0;
  while (std::fgets(line, sizeof line, nm) != nullptr) {
    const std::string text = line;
    bool ours = false;
    for (const char* name : {":scalar.cpp.o:",
                             ":avx2.cpp.o:",
                             ":avx512.cpp.o:",
                             ":avx512_vnni.cpp.o:",
                             ":amx.cpp.o:",
                             ":neon.cpp.o:",
                             ":attend256.cpp.o:",
                             ":attend512.cpp.o:",
                             ":integer_scalar.cpp.o:",
                             ":integer_avx2.cpp.o:",
                             ":lanes_avx2.cpp.o:",
                             ":lanes_vnni.cpp.o:",
                             ":encode_vnni.cpp.o:",
                             ":integer_avx512.cpp.o:",
                             ":integer_neon.cpp.o:",
                             ":lanes_neon.cpp.o:",
                             ":lanes_dotprod.cpp.o:",
                             ":lanes_i8mm.cpp.o:",
                             ":int8_dotprod.cpp.o:", ":int8_i8mm.cpp.o:", ":attend_neon.cpp.o:",
                             ":attend_dotprod.cpp.o:"})
      ours = ours || text.find(name) != std::string::npos;
    if (!ours) continue;
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
