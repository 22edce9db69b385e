#include "kernels/measure.h"

#include <gtest/gtest.h>

#include "kernels/matmul.h"

namespace nibble {
namespace {

TEST(Measure, EveryLevelReadsAllBytesAndCountsItsProducts) {
  std::vector<unsigned char> bytes(4096 + 3);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 31 + i / 256);
  for (const IsaLevel level : isa_levels()) {
    SCOPED_TRACE(isa_name(level));
    uint64_t expected = 0;
    for (size_t i = 0; i < 4096; i += 8) {
      for (size_t b = 0; b < 8; ++b) expected += uint64_t{bytes[3 + i + b]} << (8 * b);
    }
    EXPECT_EQ(cpu_kernels(level).read(bytes.data() + 3, 4096), expected);
    const int64_t done = cpu_kernels(level).peak.run(640);
    EXPECT_GE(done, 640);
    EXPECT_EQ(cpu_kernels(level).peak.run(1920), 3 * done);
  }
}

TEST(Measure, SpeedsAreOfThisWorld) {
  ThreadPool pool(2);
  EXPECT_GT(read_bandwidth(pool, size_t{8} << 20), 1e8);
  EXPECT_GT(matrix_peak(pool).flops, 1e8);
}

}  // namespace
}  // namespace nibble
