// GGUF files that break the format one rule at a time.
#include <filesystem>

#include "containers/gguf.h"
#include "hostile.h"
#include "temp_folder.h"

namespace nibble {
namespace {

using test::Hostile;
using test::raw;

std::string text(std::string_view s) { return raw<uint64_t>(s.size()) + std::string(s); }
std::string kv(std::string_view key, uint32_t type, std::string_view value) {
  return text(key) + raw(type) + std::string(value);
}
std::string array(uint32_t element, uint64_t count, std::string_view values) {
  return raw(element) + raw(count) + std::string(values);
}

struct Gguf {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::string> keys = {kv("general.architecture", 8, text("llama"))};
  std::vector<std::string> infos;
  std::string data = std::string(128, '\x11');
  uint64_t more_keys = 0, more_tensors = 0;  // claimed beyond what is there

  static std::string info(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                          uint64_t offset) {
    std::string s = text(name) + raw<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (const uint64_t d : dims) s += raw(d);
    return s + raw(type) + raw(offset);
  }
  std::string bytes() const {
    std::string s = magic + raw(version) + raw<uint64_t>(infos.size() + more_tensors) +
                    raw<uint64_t>(keys.size() + more_keys);
    for (const std::string& k : keys) s += k;
    for (const std::string& i : infos) s += i;
    s.resize((s.size() + 31) / 32 * 32);
    return s + data;
  }
};

// A valid file: 8 f32 at 0, 32 q4_0 at 32, 16 f16 at 64.
Gguf good() {
  Gguf g;
  g.infos = {Gguf::info("a", {4, 2}, 0, 0), Gguf::info("b", {32}, 2, 32), Gguf::info("c", {16}, 1, 64)};
  return g;
}

template <class Change>
std::string changed(Change&& change) {
  Gguf g = good();
  change(g);
  return g.bytes();
}
std::string with_key(const std::string& key) {
  return changed([&](Gguf& g) { g.keys.push_back(key); });
}
std::string with_info(const std::string& info) {
  return changed([&](Gguf& g) { g.infos[1] = info; });
}

std::vector<Hostile> cases() {
  return {
      {"Empty", "", {"offset 0", "magic"}},
      {"OnlyTheMagic", "GGUF", {"offset 4", "version"}},
      {"AnotherMagic", changed([](Gguf& g) { g.magic = "GGML"; }), {"offset 0", "GGUF"}},
      {"VersionZero", changed([](Gguf& g) { g.version = 0; }), {"offset 4", "version 2 or 3, found 0"}},
      {"VersionOne", changed([](Gguf& g) { g.version = 1; }), {"version 2 or 3, found 1"}},
      {"VersionFour", changed([](Gguf& g) { g.version = 4; }), {"version 2 or 3, found 4"}},
      {"BigEndian", changed([](Gguf& g) { g.version = 0x03000000; }), {"offset 4", "big-endian"}},
      {"CountsCutShort", good().bytes().substr(0, 20), {"offset 16", "key count"}},
      {"TensorsWithoutNumber",
       changed([](Gguf& g) { g.more_tensors = UINT64_MAX - 100; }),
       {"offset 24", "tensors do not fit"}},
      {"KeysWithoutNumber",
       changed([](Gguf& g) { g.more_keys = UINT64_MAX - 100; }),
       {"offset 24", "keys do not fit"}},
      {"OneTensorTooMany",
       changed([](Gguf& g) {
         g.more_tensors = 1;
         g.data.clear();
       }),
       {"offset"}},
      {"OneKeyTooMany", changed([](Gguf& g) { g.more_keys = 1; }), {"offset"}},
      {"KeyOfNothing", with_key(kv("", 0, "x")), {"key of 1 to 65535 bytes", "offset"}},
      {"KeyWithControlCharacters", with_key(kv("k\x1b[2J", 0, "x")), {"control character 0x1b"}},
      {"KeyTooLong", with_key(kv(std::string(70000, 'k'), 0, "x")), {"70000"}},
      {"KeyBeyondTheEnd", with_key(raw<uint64_t>(60000) + "k"), {"60000"}},
      {"KeyTwice",
       with_key(kv("general.architecture", 8, text("gpt2"))),
       {"'general.architecture' occurs twice"}},
      {"ValueOfNoType", with_key(kv("k", 13, "x")), {"'k'", "0 to 12, found 13"}},
      {"ArrayOfNoType", with_key(kv("k", 9, array(77, 1, "x"))), {"'k'", "found 77"}},
      {"ArrayOfArrays", with_key(kv("k", 9, array(9, 1, array(0, 1, "x")))), {"'k'", "array of arrays"}},
      {"ArrayWithoutNumber",
       with_key(kv("k", 9, array(6, UINT64_MAX, "xxxx"))),
       {"'k'", "18446744073709551615"}},
      {"ArrayWhoseSizeOverflows",
       with_key(kv("k", 9, array(10, uint64_t{1} << 61, "xxxx"))),
       {"'k'", "does not fit"}},
      {"StringsWithoutNumber",
       with_key(kv("k", 9, array(8, uint64_t{1} << 40, "xxxx"))),
       {"'k'", "does not fit"}},
      {"StringOfMaximalLength",
       with_key(kv("k", 8, raw<uint64_t>(UINT64_MAX))),
       {"'k'", "18446744073709551615"}},
      {"StringInArrayBeyondTheEnd",
       with_key(kv("k", 9, array(8, 2, text("x") + raw<uint64_t>(1 << 20)))),
       {"'k'", "1048576"}},
      {"AlignmentZero",
       with_key(kv("general.alignment", 4, raw<uint32_t>(0))),
       {"general.alignment", "power of two"}},
      {"AlignmentThree", with_key(kv("general.alignment", 4, raw<uint32_t>(3))), {"general.alignment"}},
      {"AlignmentEnormous",
       with_key(kv("general.alignment", 4, raw<uint32_t>(1u << 31))),
       {"general.alignment"}},
      {"AlignmentOfAnotherType",
       with_key(kv("general.alignment", 10, raw<uint64_t>(32))),
       {"general.alignment", "u32"}},
      {"AlignmentInWords", with_key(kv("general.alignment", 8, text("32"))), {"general.alignment"}},
      {"TensorNameTooLong", with_info(Gguf::info(std::string(65, 'n'), {32}, 2, 32)), {"64 bytes", "65"}},
      {"TensorNameOfNothing", with_info(Gguf::info("", {32}, 2, 32)), {"name is empty"}},
      {"TensorNameWithControlCharacters",
       with_info(Gguf::info("b\n", {32}, 2, 32)),
       {"control character 0x0a"}},
      {"TensorTwice", with_info(Gguf::info("a", {32}, 2, 32)), {"'a' occurs twice"}},
      {"FiveDimensions",
       with_info(Gguf::info("b", {32, 1, 1, 1, 1}, 2, 32)),
       {"'b'", "at most 4", "found 5"}},
      {"DimensionsWithoutNumber", with_info(text("b") + raw<uint32_t>(UINT32_MAX)), {"'b'", "4294967295"}},
      {"SizeOfMaximalValue",
       with_info(Gguf::info("b", {UINT64_MAX}, 2, 32)),
       {"'b'", "18446744073709551615"}},
      {"SizeThatLooksNegative", with_info(Gguf::info("b", {uint64_t{1} << 63}, 2, 32)), {"'b'"}},
      {"ProductOverflows",
       with_info(Gguf::info("b", {uint64_t{1} << 40, uint64_t{1} << 40}, 2, 32)),
       {"'b'", "impossible shape"}},
      {"RowsThatDoNotFitTheBlock", with_info(Gguf::info("b", {33}, 2, 32)), {"'b'", "33", "32"}},
      {"OffsetNotAligned", with_info(Gguf::info("b", {32}, 2, 40)), {"'b'", "multiple of 32, found 40"}},
      {"OffsetBeyondTheEnd", with_info(Gguf::info("b", {32}, 2, 1 << 20)), {"'b'", "1048576", "128 bytes"}},
      {"OffsetThatOverflows", with_info(Gguf::info("b", {32}, 2, UINT64_MAX - 31)), {"'b'"}},
      {"TensorRunsPastTheEnd", with_info(Gguf::info("b", {1024}, 0, 96)), {"'b'", "4096 bytes"}},
      {"Overlap", with_info(Gguf::info("b", {64}, 0, 0)), {"overlaps"}},
      {"OverlapOfTheNext", with_info(Gguf::info("b", {32, 4}, 2, 32)), {"'b'", "overlaps 'c'"}},
      {"DataCutShort", good().bytes().substr(0, good().bytes().size() - 33), {"'c'", "32 bytes"}},
      {"NoDataAtAll", changed([](Gguf& g) { g.data.clear(); }), {"data section"}},
      {"UnknownTypeBeyondTheEnd", with_info(Gguf::info("b", {32}, 150, 4096)), {"'b'", "4096"}},
  };
}

class HostileGguf : public testing::TestWithParam<Hostile> {};

TEST_P(HostileGguf, IsRefused) {
  const Hostile& h = GetParam();
  test::expect_refused(h.says, h.bytes.size(), [&] { parse_gguf(test::bytes_of(h.bytes), "hostile.gguf"); });
}

INSTANTIATE_TEST_SUITE_P(Files, HostileGguf, testing::ValuesIn(cases()),
                         [](const auto& of) { return test::case_name(of); });

TEST(Gguf, WhatTheCasesAreMadeFromIsValid) {
  const std::string whole = good().bytes();
  const TensorListing listing = parse_gguf(test::bytes_of(whole), "good.gguf");
  ASSERT_EQ(listing.tensors.size(), 3u);
  EXPECT_EQ(listing.tensors[0].shape, (Shape{2, 4}));
  EXPECT_EQ(listing.tensors[1].weights().format.to_string(), "q4_0");
}

TEST(Gguf, TypesNibbleDoesNotKnowAreListed) {
  for (const uint32_t type : {4u, 31u, 36u, 150u, UINT32_MAX}) {
    const std::string whole = with_info(Gguf::info("b", {32}, type, 32));
    const TensorListing listing = parse_gguf(test::bytes_of(whole), "good.gguf");
    ASSERT_EQ(listing.tensors.size(), 3u);
    EXPECT_EQ(listing.tensors[1].raw.bytes.size(), 32u);
    EXPECT_THROW(listing.tensors[1].weights(), Error);
    EXPECT_NE(listing.tensors[1].unsupported.find(std::to_string(type)), std::string::npos);
  }
}

TEST(Gguf, PlainIntegers) {
  for (const auto& [type, dtype] : {std::pair{24u, DType::i8},
                                    {25u, DType::i16},
                                    {26u, DType::i32},
                                    {27u, DType::i64},
                                    {28u, DType::f64}}) {
    const std::string whole = with_info(Gguf::info("b", {4}, type, 32));
    const TensorListing listing = parse_gguf(test::bytes_of(whole), "good.gguf");
    EXPECT_EQ(listing.tensors[1].dtype, dtype);
    EXPECT_EQ(listing.tensors[1].raw.bytes.size(), 4 * dtype_size(dtype));
  }
}

// --- files in parts

Gguf part(uint16_t number, uint16_t count) {
  Gguf g;
  g.keys = {kv("split.no", 2, raw(number)), kv("split.count", 2, raw(count)),
            kv("split.tensors.count", 5, raw<int32_t>(2))};
  if (number == 0) g.keys.push_back(kv("general.architecture", 8, text("llama")));
  g.infos = {Gguf::info(number == 0 ? "a" : "b", {8}, 0, 0)};
  return g;
}

TEST(GgufParts, AnyPartOpensAll) {
  const test::TempFolder dir;
  test::spill(dir / "m-00001-of-00002.gguf", part(0, 2).bytes());
  test::spill(dir / "m-00002-of-00002.gguf", part(1, 2).bytes());
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}) {
    const TensorFile file = open_tensor_file(dir / name);
    EXPECT_EQ(file.tensors().size(), 2u);
    EXPECT_EQ(file.metadata().text("general.architecture"), "llama");
    EXPECT_EQ(file.gguf().size(), 1u) << "the keys of the split describe no whole file";
    EXPECT_EQ(file.files().size(), 2u);
    EXPECT_TRUE(file.at("b").file.ends_with("m-00002-of-00002.gguf"));
  }
}

TEST(GgufParts, HostileSetsAreRefused) {
  const test::TempFolder dir;
  const std::string first = dir / "hostile-00001-of-00002.gguf", second = dir / "hostile-00002-of-00002.gguf";
  const auto refused = [&](const std::string& one, const std::string& two,
                           const std::vector<std::string>& says) {
    test::spill(first, one);
    test::spill(second, two);
    test::expect_refused(says, one.size() + two.size(), [&] { open_tensor_file(first); });
  };
  refused(part(0, 2).bytes(), part(0, 2).bytes(), {"00002-of-00002", "split.no 1"});
  refused(part(0, 2).bytes(), part(1, 3).bytes(), {"split.count 2"});
  refused(part(1, 2).bytes(), part(1, 2).bytes(), {"part 2 of 2"});
  refused(part(0, 60000).bytes(), "", {"part 1 of 60000"});
  Gguf twice = part(1, 2);
  twice.infos = {Gguf::info("a", {8}, 0, 0)};
  refused(part(0, 2).bytes(), twice.bytes(), {"'a' also stands in another file"});
  Gguf more = part(1, 2);
  more.infos.push_back(Gguf::info("c", {8}, 0, 32));
  refused(part(0, 2).bytes(), more.bytes(), {"expected 2 tensors", "found 3"});
  test::spill(dir / "hostile.gguf", part(0, 2).bytes());
  test::expect_refused({"-00001-of-00002.gguf"}, 300, [&] { open_tensor_file(dir / "hostile.gguf"); });
  test::spill(first, part(0, 2).bytes());
  std::filesystem::remove(second);
  try {
    open_tensor_file(first);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
    EXPECT_NE(std::string(e.what()).find("00002-of-00002"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble
