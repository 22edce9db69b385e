// The cases that every line of formats/list.inc gets, and of the tests' own list: they know no format by
// name.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "formats/under_test.h"

namespace nibble {
namespace {

// Every example word of the product's list and of the tests' own.
std::vector<const Format*> all_formats() {
  std::vector<const Format*> formats;
  for (const FormatFamily& family : test::families_under_test()) {
    for (const std::string& word : family.examples()) formats.push_back(&test::format_under_test(word));
  }
  return formats;
}

std::vector<float> gaussian(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal() * 0.02);
  return x;
}

class EveryFormat : public testing::TestWithParam<const Format*> {
 protected:
  static const Format& format() { return *GetParam(); }
  static void decode(const QTensor& t, int64_t begin, int64_t n, float* out) {
    decode_range(format(), t, begin, n, out);
  }
};

TEST_P(EveryFormat, WordPrintsBack) {
  const std::string word = format().spec().to_string();
  EXPECT_EQ(FormatSpec::parse(word), format().spec());
  EXPECT_EQ(test::format_under_test(word).spec(), format().spec());
}

TEST_P(EveryFormat, RoundedValuesAreWhatDecodeGives) {
  if (!format().info().can_encode) GTEST_SKIP() << "read-only format";
  const Shape shape{6, 512};
  const auto x = gaussian(shape.elements(), 3);
  const QTensor t = encode_nearest(format(), shape, x);
  std::vector<float> y(x.size());
  decode(t, 0, shape.elements(), y.data());
  // Encoding block by block once more, by hand, and comparing what round promised.
  const auto info = format().planes(shape);
  std::vector<std::byte*> base, at(info.size());
  for (const Plane& p : t.planes) base.push_back(const_cast<std::byte*>(p.bytes.data()));
  const int64_t block = format().block(shape);
  auto params = std::make_unique<Params>();
  for (int64_t b = 0; b * block < shape.elements(); ++b) {
    const int64_t n = std::min(block, shape.elements() - b * block);
    std::vector<Code> codes(static_cast<size_t>(n));
    std::vector<float> values(static_cast<size_t>(n));
    block_pointers(info, base.data(), b, at.data());
    format().fit(x.data() + b * block, nullptr, n, at.data(), *params);
    format().round(x.data() + b * block, 0, n, *params, codes.data(), values.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(values[size_t(i)], y[size_t(b * block + i)]) << "weight " << i;
  }
}

TEST_P(EveryFormat, DistortionLiesBetweenBounds) {
  if (!format().info().can_encode) GTEST_SKIP() << "read-only format";
  const Shape shape{8, 1024};
  const auto x = gaussian(shape.elements(), 5);
  const QTensor t = encode_nearest(format(), shape, x);
  std::vector<float> y(x.size());
  decode(t, 0, shape.elements(), y.data());
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(double(x[i]) - y[i], 2);
    power += std::pow(double(x[i]), 2);
  }
  const double bits = 8.0 * double(format_bytes(format(), shape)) / double(shape.elements());
  const double ratio = std::sqrt(error / power);
  // No format of b bits beats the Gaussian rate-distortion bound 2^-b; a useful one is within a factor of it.
  if (bits < 24) {  // f32 input has no more to lose
    EXPECT_GE(ratio, std::exp2(-bits) * 0.99) << bits << " bits per weight";
  }
  EXPECT_LE(ratio, std::min(0.9, std::exp2(-bits) * (bits > 9 ? 1e9 : 16.0))) << bits << " bits per weight";
}

TEST_P(EveryFormat, ExtremeInputsStayFinite) {
  if (!format().info().can_encode) GTEST_SKIP() << "read-only format";
  const Shape shape{2, 512};
  std::vector<float> x(1024, 0.0f);
  for (const float big : {0.0f, 1e-30f, 1e-6f, 1.0f, 1e4f}) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = (i % 37 == 0) ? big : (i % 41 == 0 ? -big : 0.0f);
    const QTensor t = encode_nearest(format(), shape, x);
    std::vector<float> y(x.size());
    decode(t, 0, shape.elements(), y.data());
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_TRUE(std::isfinite(y[i])) << "input " << x[i] << " among " << big;
  }
}

TEST_P(EveryFormat, RangesDecodeLikeTheWhole) {
  if (!format().info().can_encode) GTEST_SKIP() << "read-only format";
  const Shape shape{4, 512};
  const auto x = gaussian(shape.elements(), 9);
  const QTensor t = encode_nearest(format(), shape, x);
  std::vector<float> whole(x.size());
  decode(t, 0, shape.elements(), whole.data());
  Rng rng(1);
  for (int k = 0; k < 20; ++k) {
    const auto begin = static_cast<int64_t>(rng.below(2000));
    const auto n = static_cast<int64_t>(rng.below(static_cast<uint64_t>(2049 - begin)));
    std::vector<float> part(static_cast<size_t>(n));
    decode(t, begin, n, part.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(part[size_t(i)], whole[size_t(begin + i)]);
  }
}

// Any bytes at all decode without touching memory outside of the block (ASan watches).
TEST_P(EveryFormat, AnyBytesDecode) {
  const Shape shape{2, 512};
  Rng rng(11);
  for (int k = 0; k < 20; ++k) {
    QTensor t{format().spec(), shape, {}};
    for (const PlaneInfo& p : format().planes(shape)) {
      auto bytes = std::make_shared<std::vector<std::byte>>(p.bytes);
      for (std::byte& b : *bytes) b = static_cast<std::byte>(k == 0 ? 0 : k == 1 ? 255 : rng.next());
      t.planes.push_back({p.name, {bytes->data(), bytes->size()}, bytes});
    }
    std::vector<float> y(1024);
    decode(t, 0, 1024, y.data());
  }
}

INSTANTIATE_TEST_SUITE_P(List, EveryFormat, testing::ValuesIn(all_formats()),
                         [](const auto& param_info) { return test::case_name(*param_info.param); });

}  // namespace
}  // namespace nibble
