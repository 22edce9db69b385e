#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/format_spec.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

TEST(FormatSpec, ParsesAndPrintsBack) {
  const FormatSpec s = FormatSpec::parse("Int4:G128:asym");
  EXPECT_EQ(s.name, "int4");
  EXPECT_EQ(s.options, (std::vector<std::string>{"g128", "asym"}));
  EXPECT_EQ(s.to_string(), "int4:g128:asym");
}

TEST(FormatSpec, RefusesWhatIsNoWord) {
  for (const char* bad : {"", ":", "q4:", ":q4", "q4::x", "q4 0", "q4/0", "q\n"}) {
    EXPECT_THROW(FormatSpec::parse(bad), Error) << bad;
  }
}

TEST(Shape, CountsAndRefusesOverflow) {
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape({2, 3, 4}).rows(), 6);
  EXPECT_EQ(Shape({}).elements(), 1);
  EXPECT_EQ(Shape({0, 1 << 30}).elements(), 0);
  const int64_t big = int64_t{1} << 40;
  EXPECT_THROW(Shape({big, big}).elements(), Error);
  EXPECT_THROW(Shape({-1}).elements(), Error);
}

}  // namespace
}  // namespace nibble
