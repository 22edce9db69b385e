// The kernels of inference in whole numbers hold no floating-point instruction, on no path: every instruction
// of their object files is looked at. tests/model/no_floating_point_test.cpp traces whole models.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "../support/floating_point.h"

namespace nibble {
namespace {

TEST(NoFloatingPoint, InstructionsAreToldApart) {
  for (const char* name :
       {"addss",   "vaddps",      "mulsd",     "vfmadd231ps", "cvtsi2sd", "cvtsi2sdl", "vcvttps2dq",
        "ucomiss", "vcomisd",     "sqrtss",    "fld",         "fnstcw",   "vmaxps",    "minsd",
        "roundss", "vrndscaleps", "cmpltsd",   "vcmpps",      "rcpps",    "dpps",      "haddps",
        "ldmxcsr", "vdpbf16ps",   "vscalefps", "addsubps"})
    EXPECT_TRUE(test::is_floating_point(name)) << name;
  for (const char* name :
       {"add",      "movsd",       "movss",    "vmovaps",  "vmovups", "xorps",         "vandps",
        "shufps",   "pmaddwd",     "vpdpbusd", "vpdpwssd", "pmaxsd",  "pabsd",         "vpermps",
        "fxsave",   "xsavec",      "movslq",   "sets",     "rep",     "vextracti64x4", "vbroadcastss",
        "movmskps", "vinsertf128", "sbb",      "rdsspq",   "verw",    "vmovdqu64",     "imul",
        "idiv",     "unpcklps",    "vpsrlvq"})
    EXPECT_FALSE(test::is_floating_point(name)) << name;
}

TEST(NoFloatingPoint, KernelsOfWholeNumbersHoldNone) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "x86 instructions only";
#endif
  if (std::string(NIBBLE_SANITIZED) != "") GTEST_SKIP() << "sanitizers add code of their own";
  const auto lines = test::lines_of("objdump -d --no-show-raw-insn " NIBBLE_KERNELS_LIBRARY);
  if (lines.empty()) GTEST_SKIP() << "objdump cannot be run";
  // What makes matrices ready when a model is loaded (integer_matrix.cpp, to_fixed.cpp) may use floats.
  const std::set<std::string> whole{"integer_scalar.cpp.o", "integer_avx2.cpp.o", "integer_avx512.cpp.o",
                                    "integer_matmul.cpp.o", "fixed.cpp.o"};
  std::map<std::string, int64_t> instructions, floating;
  std::string member, where;
  for (const std::string& line : lines) {
    if (const size_t at = line.find(":     file format"); at != std::string::npos) {
      member = line.substr(0, at);
      continue;
    }
    test::Instruction i;
    if (!test::parse_instruction(line, i)) continue;
    ++instructions[member];
    if (!test::is_floating_point(i.name)) continue;
    ++floating[member];
    if (whole.contains(member)) where.append(member).append(": ").append(line).append("\n");
  }
  EXPECT_EQ(where, "");
  for (const std::string& name : whole) EXPECT_GT(instructions[name], 50) << name;
  // The kernels of floats show that such instructions are found.
  EXPECT_GT(floating["avx2.cpp.o"], 100);
  EXPECT_GT(floating["scalar.cpp.o"], 100);
}

}  // namespace
}  // namespace nibble
