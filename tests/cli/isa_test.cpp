// What nibble writes is the same on every instruction set that this machine has.
#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/program.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

/// NIBBLE_ISA for the programs started while it lives.
class AskedIsa {
 public:
  explicit AskedIsa(std::string_view name) { setenv("NIBBLE_ISA", std::string(name).c_str(), 1); }
  ~AskedIsa() { unsetenv("NIBBLE_ISA"); }
  AskedIsa(const AskedIsa&) = delete;
  AskedIsa& operator=(const AskedIsa&) = delete;
};

TEST(Isa, AnUnknownNameIsAnErrorForEveryVerb) {
  const AskedIsa asked("mmx");
  const auto o = test::run_program({"formats"});
  EXPECT_EQ(o.status, 2);
  EXPECT_NE(o.err.find("'mmx'"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("scalar"), std::string::npos) << o.err;
}

TEST(Isa, QuantizedBytesAreTheSameForEveryLevel) {
  const test::Scratch scratch;
  test::MadeModel m;
  m.layers = 1;
  m.vocab = 128;
  m.ffn = 256;
  test::make_checkpoint(scratch.path() / "source", m);
  for (const char* word : {"q3_k_m", "q4_k_m", "q4_0", "q5_0", "q8_0", "iq4_xs", "nvfp4", "int4:g128:asym",
                           "nf4:b64:dq", "kmeans16:channel"}) {
    std::string expected;
    for (const IsaLevel level : isa_levels()) {
      const AskedIsa asked(isa_name(level));
      const std::string name = std::string("out-") + std::string(isa_name(level));
      const auto o = test::run_program(
          {"quantize", scratch.file("source"), scratch.file(name), "--to", word, "--quiet", "--fresh"});
      ASSERT_EQ(o.status, 0) << word << "\n" << o.err;
      const std::string bytes = test::file_bytes(scratch.path() / name / "model.safetensors");
      ASSERT_FALSE(bytes.empty());
      if (expected.empty()) expected = bytes;
      EXPECT_TRUE(bytes == expected) << word << " on " << isa_name(level);
    }
  }
}

}  // namespace
}  // namespace nibble
