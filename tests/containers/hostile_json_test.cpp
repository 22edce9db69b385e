// config.json, shard indexes and quantization_configs that break a rule each.
#include "containers/hf_folder.h"
#include "containers/hf_quant.h"
#include "containers/json_meta.h"
#include "containers/safetensors.h"
#include "hostile.h"
#include "temp_folder.h"

namespace nibble {
namespace {

using test::Hostile;
using test::raw;

std::string repeated(std::string_view s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

std::vector<Hostile> configs() {
  return {
      {"Empty", "", {"valid JSON"}},
      {"NoObject", "[1]", {"offset 1", "JSON object"}},
      {"OnlyAString", "\"x\"", {"JSON object"}},
      {"CutShort", R"({"a": 1, "b)", {"valid JSON", "offset"}},
      {"WordsAfterTheEnd", R"({"a": 1} {"b": 2})", {"valid JSON", "offset"}},
      {"KeyTwice", R"({"a": 1, "a": 2})", {"'a' occurs twice", "offset 12"}},
      {"KeyTwiceByFlattening", R"({"a.b": 1, "a": {"b": 2}})", {"'a.b' occurs twice"}},
      {"KeyTwiceByIndex", R"({"a.0": 1, "a": [1, "x"]})", {"'a.0' occurs twice"}},
      {"ArraysWithoutEnd", "{\"a\":" + repeated("[", 100000), {"nested more than 64"}},
      {"ObjectsWithoutEnd", repeated("{\"a\":", 100000), {"nested more than 64"}},
      {"KeyTooLong", "{\"" + std::string(2000, 'k') + "\": 1}", {"2000 bytes"}},
      {"KeyTooLongByFlattening",
       repeated("{\"" + std::string(100, 'k') + "\":", 20) + "1" + repeated("}", 20),
       {"flattened key"}},
      {"NumberTooLarge", R"({"a": 1e999})", {"valid JSON", "offset"}},
      {"NotANumber", R"({"a": NaN})", {"valid JSON", "offset"}},
      {"Infinity", R"({"a": -Infinity})", {"valid JSON"}},
      {"Comment", "{\"a\": 1 /* one */}", {"valid JSON"}},
      {"HalfASurrogate", R"({"a": "\ud800"})", {"valid JSON"}},
      {"UnknownEscape", R"({"a": "\x41"})", {"valid JSON"}},
      {"ControlCharacter", "{\"a\": \"\x01\"}", {"valid JSON"}},
      {"NotUtf8", "{\"a\": \"\xc0\x80\"}", {"valid JSON"}},
      {"NulByte", std::string("{\"a\": 1}\0", 9), {"valid JSON"}},
      {"ByteNoise", std::string("\x93NUMPY\x01\x00", 8), {"valid JSON"}},
  };
}

class HostileConfig : public testing::TestWithParam<Hostile> {};
TEST_P(HostileConfig, IsRefused) {
  const Hostile& h = GetParam();
  test::expect_refused(h.says, h.bytes.size(), [&] { parse_json_meta(h.bytes, "hostile.json"); });
}
INSTANTIATE_TEST_SUITE_P(Files, HostileConfig, testing::ValuesIn(configs()),
                         [](const auto& of) { return test::case_name(of); });

std::vector<Hostile> indexes() {
  return {
      {"NoMap", R"({"metadata": {}})", {"weight_map"}},
      {"NoObject", R"(["weight_map"])", {"JSON object"}},
      {"MapIsAnArray", R"({"weight_map": ["a"]})", {"weight_map"}},
      {"MapIsAName", R"({"weight_map": "model.safetensors"})", {"weight_map"}},
      {"FileIsANumber", R"({"weight_map": {"a": 1}})", {"'a'"}},
      {"FileIsAnArray", R"({"weight_map": {"a": ["x"]}})", {"'a'"}},
      {"FileIsNested", R"({"weight_map": {"a": {"b": "x"}}})", {"'b'"}},
      {"FileOutside", R"({"weight_map": {"a": "../../etc/passwd"}})", {"'../../etc/passwd'", "folder"}},
      {"FileAnywhere", R"({"weight_map": {"a": "/etc/passwd"}})", {"'/etc/passwd'"}},
      {"FileOfNoName", R"({"weight_map": {"a": ""}})", {"folder"}},
      {"FileIsTheFolder", R"({"weight_map": {"a": ".."}})", {"'..'"}},
      {"FileWithNul", R"({"weight_map": {"a": "x\u0000y"}})", {"folder"}},
      {"TensorTwice", R"({"weight_map": {"a": "x", "a": "y"}})", {"'a' occurs twice"}},
  };
}

class HostileIndex : public testing::TestWithParam<Hostile> {};
TEST_P(HostileIndex, IsRefused) {
  const Hostile& h = GetParam();
  test::expect_refused(h.says, h.bytes.size(), [&] { parse_shard_index(h.bytes, "hostile.index.json"); });
}
INSTANTIATE_TEST_SUITE_P(Files, HostileIndex, testing::ValuesIn(indexes()),
                         [](const auto& of) { return test::case_name(of); });

// One tensor "w" of 64 q8_0 weights, "v" plain.
std::string quantized_file() {
  const std::string header =
      R"({"w":{"dtype":"U8","shape":[68],"data_offsets":[0,68]},"v":{"dtype":"F32","shape":[1],"data_offsets":[68,72]}})";
  return raw<uint64_t>(header.size()) + header + std::string(72, '\x01');
}

std::string config_of(const std::string& body) {
  return R"({"model_type":"llama","quantization_config":)" + body + "}";
}
std::string tensors_of(const std::string& body) {
  return config_of(R"({"quant_method":"nibble","version":1,"tensors":)" + body + "}");
}

std::vector<Hostile> quantizations() {
  return {
      {"NoMethod", config_of(R"({"bits":4})"), {"quant_method"}},
      {"UnknownMethod", config_of(R"({"quant_method":"magic"})"), {"'magic'"}},
      {"NoVersion", config_of(R"({"quant_method":"nibble","tensors":{}})"), {"version 1"}},
      {"LaterVersion", config_of(R"({"quant_method":"nibble","version":2})"), {"version 1"}},
      {"UnknownFormat", tensors_of(R"({"w":{"format":"q99_x","shape":[64]}})"), {"'w'", "q99_x"}},
      {"NoFormatWord", tensors_of(R"({"w":{"format":"::","shape":[64]}})"), {"'w'", "'::'"}},
      {"FormatIsANumber", tensors_of(R"({"w":{"format":8,"shape":[64]}})"), {"'w'", "format word"}},
      {"NoShape", tensors_of(R"({"w":{"format":"q8_0"}})"), {"'w'", "shape"}},
      {"ShapeInWords", tensors_of(R"({"w":{"format":"q8_0","shape":["64"]}})"), {"'w'", "shape"}},
      {"NegativeShape", tensors_of(R"({"w":{"format":"q8_0","shape":[-64]}})"), {"'w'", "[-64]"}},
      {"EnormousShape",
       tensors_of(R"({"w":{"format":"q8_0","shape":[4611686018427387904,32]}})"),
       {"'w'", "impossible"}},
      {"AnotherShape", tensors_of(R"({"w":{"format":"q8_0","shape":[96]}})"), {"'w'", "[102]", "[68]"}},
      {"ShapeThatDoesNotFit", tensors_of(R"({"w":{"format":"q8_0","shape":[63]}})"), {"'w'", "63"}},
      {"NoSuchTensor", tensors_of(R"({"x":{"format":"q8_0","shape":[64]}})"), {"'x'", "found none"}},
      {"PlaneOfAnotherType", tensors_of(R"({"v":{"format":"q8_0","shape":[32]}})"), {"'v'", "F32"}},
  };
}

class HostileQuantization : public testing::TestWithParam<Hostile> {};
TEST_P(HostileQuantization, IsRefused) {
  const Hostile& h = GetParam();
  const std::string file = quantized_file();
  test::expect_refused(h.says, h.bytes.size(), [&] {
    TensorListing listing = parse_safetensors(test::bytes_of(file), "hostile.safetensors");
    assemble_quantized(listing, parse_json_meta(h.bytes, "hostile.json"), "hostile.json");
  });
}
INSTANTIATE_TEST_SUITE_P(Files, HostileQuantization, testing::ValuesIn(quantizations()),
                         [](const auto& of) { return test::case_name(of); });

TEST(Quantization, WhatTheCasesAreMadeFromIsValid) {
  const std::string file = quantized_file();
  TensorListing listing = parse_safetensors(test::bytes_of(file), "good.safetensors");
  assemble_quantized(listing, parse_json_meta(tensors_of(R"({"w":{"format":"q8_0","shape":[64]}})"), "c"),
                     "c");
  ASSERT_EQ(listing.tensors.size(), 2u);
  EXPECT_EQ(listing.tensors[0].weights().format.to_string(), "q8_0");
  EXPECT_EQ(listing.tensors[0].shape, Shape{64});
  EXPECT_EQ(listing.tensors[1].name, "v");
}

TEST(HostileFolder, IsRefused) {
  const test::TempFolder dir;
  const std::string folder = dir / "hostile";
  std::filesystem::create_directory(folder);
  try {
    open_tensor_file(folder);
    FAIL();
  } catch (const Error& e) {
    for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
    }
  }
  test::spill(folder + "/one.safetensors", quantized_file());
  test::spill(folder + "/model.safetensors.index.json",
              R"({"weight_map":{"w":"one.safetensors","lost":"one.safetensors"}})");
  test::expect_refused({"'lost'", "one.safetensors"}, 300, [&] { open_tensor_file(folder); });
  test::spill(folder + "/two.safetensors", quantized_file());
  test::spill(folder + "/model.safetensors.index.json",
              R"({"weight_map":{"w":"one.safetensors","v":"two.safetensors"}})");
  test::expect_refused({"also stands in another file"}, 300, [&] { open_tensor_file(folder); });
  for (const std::string& bytes :
       {std::string(), std::string("hello, world; this is no model"), std::string(600, '\0')}) {
    test::spill(dir / "hostile.bin", bytes);
    test::expect_refused({"offset 0", "GGUF, safetensors or torch"}, bytes.size(),
                         [&] { open_tensor_file(dir / "hostile.bin"); });
  }
}

}  // namespace
}  // namespace nibble
