#include "base/huge_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace nibble {
namespace {

TEST(HugeMemory, PartsAreZeroAlignedAndApart) {
  HugeMemory memory;
  std::vector<std::shared_ptr<std::byte>> parts;
  const size_t sizes[] = {1, 64, 100, size_t{3} << 20, 65, size_t{70} << 20, 0, 4096};
  for (const size_t bytes : sizes) {
    parts.push_back(memory.take(bytes));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(parts.back().get()) % 64, 0u) << bytes;
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(parts.back().get()[i], std::byte{0}) << bytes << " " << i;
    std::fill_n(parts.back().get(), bytes, static_cast<std::byte>(parts.size()));
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    for (size_t i = 0; i < sizes[p]; ++i) ASSERT_EQ(parts[p].get()[i], static_cast<std::byte>(p + 1));
  }
}

TEST(HugeMemory, PartsOutliveIt) {
  std::shared_ptr<std::byte> first, second;
  {
    HugeMemory memory;
    first = memory.take(1000);
    second = memory.take(1000);
  }
  first.get()[999] = std::byte{7};
  first.reset();
  second.get()[999] = std::byte{9};
  EXPECT_EQ(second.get()[999], std::byte{9});
}

TEST(HugeMemory, AddressSanitizerSeesWhereAPartEnds) {
  if (!parts_are_watched) GTEST_SKIP() << "parts of one block are neighbours, and nobody watches";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  HugeMemory memory;
  const auto first = memory.take(100), second = memory.take(100);
  volatile std::byte* const at = first.get();
  at[99] = std::byte{1};
  EXPECT_DEATH(at[100] = std::byte{1}, "heap-buffer-overflow");
  EXPECT_DEATH(static_cast<void>(at[-1]), "heap-buffer-overflow");
  LargeArray<float> array(3);
  EXPECT_DEATH(array[3] = 1, "heap-buffer-overflow");
}

TEST(LargeArray, IsZerosAndSharesWhatItsCopiesWrite) {
  const LargeArray<double> none;
  EXPECT_EQ(none.size(), 0u);
  const LargeArray<double> x(300'000);
  ASSERT_EQ(x.size(), 300'000u);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(x[i], 0.0) << i;
  x[299'999] = 7;
  EXPECT_EQ(x.data()[299'999], 7);
}

TEST(HugeMemory, TheSystemSaysWhatIsThere) { EXPECT_GT(available_memory(), size_t{1} << 20); }

}  // namespace
}  // namespace nibble
