// Safetensors files that break the format one rule at a time.
#include "containers/safetensors.h"
#include "hostile.h"

namespace nibble {
namespace {

using test::Hostile;
using test::raw;

std::string file_of(std::string header, size_t data = 32) {
  return raw<uint64_t>(header.size()) + header + std::string(data, '\x11');
}

const std::string a = R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]})";
const std::string b = R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]})";

std::string with_a(const std::string& entry) { return file_of("{\"a\":" + entry + "," + b + "}"); }

std::string deep(const std::string& open, const std::string& close, int n) {
  std::string s;
  for (int i = 0; i < n; ++i) s += open;
  s += "1";
  for (int i = 0; i < n; ++i) s += close;
  return s;
}

std::string many_dims() {
  std::string s = "1";
  for (int i = 0; i < 70; ++i) s += ",1";
  return s;
}

std::vector<Hostile> cases() {
  return {
      {"Empty", "", {"offset 0", "header length"}},
      {"ShorterThanItsLength", std::string(7, '\0'), {"offset 0", "header length"}},
      {"HeaderBeyondTheEnd", raw<uint64_t>(1000) + "{}", {"offset 8", "1000 bytes"}},
      {"HeaderOfMaximalLength", raw<uint64_t>(UINT64_MAX) + "{}", {"100000000", "18446744073709551615"}},
      {"HeaderOverTheLimit", raw<uint64_t>(100'000'001) + "{}", {"100000000"}},
      {"HeaderOfNoBytes", raw<uint64_t>(0), {"offset 8", "'{'"}},
      {"HeaderIsAnArray", file_of("[1,2]"), {"offset 8", "'{'"}},
      {"HeaderIsCutShort", file_of("{" + a), {"valid JSON"}},
      {"HeaderIsNoJson", file_of("{" + a + "," + b + ",}"), {"valid JSON", "offset"}},
      {"WordsAfterTheHeader", file_of("{" + a + "," + b + "} x"), {"valid JSON"}},
      {"TensorTwice", file_of("{" + a + "," + a + "}", 24), {"'a' occurs twice", "offset"}},
      {"FieldTwice",
       with_a(R"({"dtype":"F32","dtype":"F32","shape":[6],"data_offsets":[0,24]})"),
       {"'dtype' occurs twice"}},
      {"NoType", with_a(R"({"shape":[6],"data_offsets":[0,24]})"), {"'a'", "dtype"}},
      {"NoShape", with_a(R"({"dtype":"F32","data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"NoOffsets", with_a(R"({"dtype":"F32","shape":[6]})"), {"'a'", "data_offsets"}},
      {"TypeIsANumber",
       with_a(R"({"dtype":32,"shape":[6],"data_offsets":[0,24]})"),
       {"'a'", "string for dtype"}},
      {"TensorIsANumber", with_a("7"), {"'a'"}},
      {"TensorIsAnArray", with_a("[]"), {"'a'"}},
      {"ShapeIsANumber", with_a(R"({"dtype":"F32","shape":6,"data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"ShapeOfShapes", with_a(R"({"dtype":"F32","shape":[[6]],"data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"NegativeSize", with_a(R"({"dtype":"F32","shape":[-6],"data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"FractionalSize", with_a(R"({"dtype":"F32","shape":[6.5],"data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"SizeAsText", with_a(R"({"dtype":"F32","shape":["6"],"data_offsets":[0,24]})"), {"'a'", "shape"}},
      {"ProductOverflows",
       with_a(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,24]})"),
       {"'a'", "impossible shape"}},
      {"ProductOverflowsToTheRightSize",
       with_a(R"({"dtype":"F32","shape":[4611686018427387910],"data_offsets":[0,24]})"),
       {"'a'", "impossible shape"}},
      {"SeventyDimensions",
       with_a("{\"dtype\":\"F32\",\"shape\":[" + many_dims() + "],\"data_offsets\":[0,24]}"),
       {"'a'", "64"}},
      {"OffsetsReversed", with_a(R"({"dtype":"F32","shape":[6],"data_offsets":[24,0]})"), {"'a'", "[24, 0]"}},
      {"OffsetsBeyondTheEnd",
       file_of("{" + a + R"(,"b":{"dtype":"BF16","shape":[16],"data_offsets":[24,56]}})"),
       {"'b'", "[24, 56]", "32 bytes"}},
      {"OffsetOfMaximalValue",
       with_a(R"({"dtype":"F32","shape":[6],"data_offsets":[18446744073709551615,24]})"),
       {"'a'", "data_offsets"}},
      {"NegativeOffset",
       with_a(R"({"dtype":"F32","shape":[6],"data_offsets":[-24,0]})"),
       {"'a'", "data_offsets"}},
      {"ThreeOffsets",
       with_a(R"({"dtype":"F32","shape":[6],"data_offsets":[0,24,48]})"),
       {"'a'", "two data_offsets"}},
      {"OneOffset", with_a(R"({"dtype":"F32","shape":[6],"data_offsets":[0]})"), {"'a'", "two data_offsets"}},
      {"Overlap",
       with_a(R"({"dtype":"F32","shape":[7],"data_offsets":[0,28]})"),
       {"'b'", "overlaps", "expected its data at 28"}},
      {"Gap", with_a(R"({"dtype":"F32","shape":[5],"data_offsets":[0,20]})"), {"'b'", "gap"}},
      {"FirstTensorNotAtTheStart", file_of("{" + b + "}"), {"'b'", "gap", "expected its data at 0"}},
      {"BytesLeftOver", file_of("{" + a + "}", 40), {"24 bytes", "found 40"}},
      {"DataCutShort", file_of("{" + a + "," + b + "}", 31), {"'b'", "31 bytes"}},
      {"SizeContradictsShape",
       with_a(R"({"dtype":"F32","shape":[5],"data_offsets":[0,24]})"),
       {"'a'", "20 bytes, not 24"}},
      {"HalfByteSizeContradictsShape",
       with_a(R"({"dtype":"F4","shape":[5],"data_offsets":[0,24]})"),
       {"'a'", "3 bytes"}},
      {"NestedWithoutEnd", with_a("{\"x\":" + deep("[", "]", 5000) + "}"), {"nested more than 64"}},
      {"ObjectsWithoutEnd", with_a("{\"x\":" + deep("{\"y\":", "}", 5000) + "}"), {"nested more than 64"}},
      {"MetadataOfNumbers",
       file_of("{\"__metadata__\":{\"v\":1}," + a + "," + b + "}"),
       {"__metadata__", "'v'"}},
      {"MetadataIsAList", file_of("{\"__metadata__\":[]," + a + "," + b + "}"), {"__metadata__"}},
      {"MetadataNested",
       file_of("{\"__metadata__\":{\"v\":{\"w\":\"x\"}}," + a + "," + b + "}"),
       {"__metadata__"}},
      {"NameWithControlCharacters",
       file_of(R"({"a\u001b[2J":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}})"),
       {"control character"}},
      {"NameOfNothing",
       file_of(R"({"":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}})"),
       {"name is empty"}},
      {"NameIsNotUtf8",
       file_of("{\"\xff\xfe\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[0,32]}}"),
       {"valid JSON"}},
  };
}

class HostileSafetensors : public testing::TestWithParam<Hostile> {};

TEST_P(HostileSafetensors, IsRefused) {
  const Hostile& h = GetParam();
  test::expect_refused(h.says, h.bytes.size(),
                       [&] { parse_safetensors(test::bytes_of(h.bytes), "hostile.safetensors"); });
}

INSTANTIATE_TEST_SUITE_P(Files, HostileSafetensors, testing::ValuesIn(cases()),
                         [](const auto& of) { return test::case_name(of); });

TEST(Safetensors, WhatTheCasesAreMadeFromIsValid) {
  const std::string whole = file_of("{\"__metadata__\":{\"k\":\"v\"}," + a + "," + b + "}  ");
  const TensorListing listing = parse_safetensors(test::bytes_of(whole), "good.safetensors");
  ASSERT_EQ(listing.tensors.size(), 2u);
  EXPECT_EQ(listing.tensors[1].offset, whole.size() - 8);
  EXPECT_EQ(listing.metadata.text("k"), "v");
}

TEST(Safetensors, TypesWithoutAUseAreListed) {
  const std::string whole = file_of(R"({"a":{"dtype":"F4","shape":[32],"data_offsets":[0,16]},)"
                                    R"("b":{"dtype":"NEW_TYPE","shape":[3],"data_offsets":[16,32]}})");
  const TensorListing listing = parse_safetensors(test::bytes_of(whole), "good.safetensors");
  ASSERT_EQ(listing.tensors.size(), 2u);
  for (const StoredTensor& t : listing.tensors) {
    EXPECT_FALSE(t.has_weights());
    try {
      t.weights();
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::unsupported);
      EXPECT_NE(std::string(e.what()).find(fmt::format("good.safetensors: tensor '{}'", t.name)),
                std::string::npos);
      EXPECT_NE(std::string(e.what()).find(t.type), std::string::npos);
    }
  }
}

TEST(Safetensors, EveryTypeOfTheFormat) {
  size_t at = 0;
  std::string header = "{";
  for (const DType d : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::f8_e4m3, DType::f8_e5m2,
                        DType::f8_e8m0, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64, DType::u32,
                        DType::u16, DType::u8, DType::boolean}) {
    header +=
        fmt::format("{}\"t_{}\":{{\"dtype\":\"{}\",\"shape\":[3],\"data_offsets\":[{},{}]}}",
                    at > 0 ? "," : "", dtype_name(d), safetensors_dtype_name(d), at, at + 3 * dtype_size(d));
    at += 3 * dtype_size(d);
  }
  const std::string whole = file_of(header + "}", at);
  const TensorListing listing = parse_safetensors(test::bytes_of(whole), "good.safetensors");
  ASSERT_EQ(listing.tensors.size(), 16u);
  for (const StoredTensor& t : listing.tensors) {
    ASSERT_TRUE(t.dtype.has_value());
    EXPECT_EQ(t.name, fmt::format("t_{}", dtype_name(*t.dtype)));
    EXPECT_EQ(t.raw.bytes.size(), 3 * dtype_size(*t.dtype));
  }
}

}  // namespace
}  // namespace nibble
