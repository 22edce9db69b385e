#include "base/progress.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(Human, Bytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.00 kB");
  EXPECT_EQ(human_bytes(13555424), "13.6 MB");
  EXPECT_EQ(human_bytes(2.2e9), "2.20 GB");
  EXPECT_EQ(human_bytes(999999), "1.00 MB");
}

TEST(Human, Seconds) {
  EXPECT_EQ(human_seconds(0.44), "0.4 s");
  EXPECT_EQ(human_seconds(59.4), "59 s");
  EXPECT_EQ(human_seconds(200), "3 min 20 s");
  EXPECT_EQ(human_seconds(7500), "2 h 05 min");
}

TEST(Progress, LinesSayWhatWasDone) {
  testing::internal::CaptureStderr();
  {
    Progress p(Progress::Style::lines);
    p.start("quantizing", 1000, "B");
    p.advance(1000);
    p.finish();
  }
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_EQ(out.rfind("quantizing: 1.00 kB in 0.0 s, ", 0), 0u) << out;
}

TEST(Progress, SilentSaysNothing) {
  testing::internal::CaptureStderr();
  {
    Progress p(Progress::Style::silent);
    p.start("quantizing", 10, "rows");
    p.advance(10);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace nibble
