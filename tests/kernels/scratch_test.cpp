#include "kernels/scratch.h"

#include <gtest/gtest.h>

#include <thread>

namespace nibble {
namespace {

struct Mine {
  char c;
};

TEST(Scratch, KeepsItsPlaceForWhatFitsAndIsEachThreadsOwn) {
  Mine* const large = scratch<Mine>(1000);
  EXPECT_EQ(scratch<Mine>(1000), large);
  if (!parts_are_watched) {
    EXPECT_EQ(scratch<Mine>(10), large);
  }
  Mine* others = nullptr;
  std::thread([&] { others = scratch<Mine>(10); }).join();
  EXPECT_NE(others, scratch<Mine>(10));
}

TEST(Scratch, AddressSanitizerSeesTheEndOfWhatWasAskedForLast) {
  if (!parts_are_watched) GTEST_SKIP() << "nobody watches";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  scratch<Mine>(1000)[999].c = 1;
  volatile char* const at = &scratch<Mine>(10)->c;
  at[9] = 1;
  EXPECT_DEATH(at[10] = 1, "heap-buffer-overflow");
}

}  // namespace
}  // namespace nibble
