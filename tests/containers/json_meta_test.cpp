#include "containers/json_meta.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/data.h"

namespace nibble {
namespace {

TEST(JsonMeta, FlattensObjectsWithDots) {
  const Meta m = parse_json_meta(
      R"({"a": 1, "rope": {"factor": 8.5, "deep": {"on": true}}, "s": "\u00e9", "n": null})", "config.json");
  EXPECT_EQ(m.integer("a"), 1);
  EXPECT_EQ(m.number("rope.factor"), 8.5);
  EXPECT_EQ(m.boolean("rope.deep.on"), true);
  EXPECT_EQ(m.text("s"), "\xc3\xa9");
  EXPECT_FALSE(m.has("n"));
  EXPECT_EQ(m.values().size(), 4u);
}

TEST(JsonMeta, ArraysOfOneKindAreOneValue) {
  const Meta m =
      parse_json_meta(R"({"i": [1, -2], "f": [1, 2.5], "b": [true, false], "s": ["x", "y"], "e": []})", "f");
  EXPECT_EQ(std::get<std::vector<int64_t>>(*m.find("i")), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(std::get<std::vector<double>>(*m.find("f")), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(std::get<std::vector<bool>>(*m.find("b")), (std::vector<bool>{true, false}));
  EXPECT_EQ(std::get<std::vector<std::string>>(*m.find("s")), (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(std::get<std::vector<int64_t>>(*m.find("e")).empty());
}

TEST(JsonMeta, OtherArraysAreFlattenedByIndex) {
  const Meta m =
      parse_json_meta(R"({"m": [1, "two", null, {"x": 4}, [5, 6], [[7]]], "o": [{"a": 1}, {"a": 2}]})", "f");
  EXPECT_EQ(m.integer("m.0"), 1);
  EXPECT_EQ(m.text("m.1"), "two");
  EXPECT_FALSE(m.has("m.2"));
  EXPECT_EQ(m.integer("m.3.x"), 4);
  EXPECT_EQ(std::get<std::vector<int64_t>>(*m.find("m.4")), (std::vector<int64_t>{5, 6}));
  EXPECT_EQ(std::get<std::vector<int64_t>>(*m.find("m.5.0")), (std::vector<int64_t>{7}));
  EXPECT_EQ(m.integer("o.1.a"), 2);
  EXPECT_FALSE(m.has("m"));
}

TEST(JsonMeta, ReadsAConfigFromTheWild) {
  NIBBLE_NEEDS_DATA(path, "models/docs-21m/config.json");
  const Meta m = read_json_meta(path.string());
  EXPECT_EQ(m.integer("hidden_size"), 512);
  EXPECT_EQ(m.number("rms_norm_eps"), 1e-5);
  EXPECT_EQ(std::get<std::vector<std::string>>(*m.find("architectures")).at(0), "LlamaForCausalLM");
}

TEST(JsonMeta, ErrorsNameFileAndOffset) {
  try {
    parse_json_meta("{\"a\": 1,\n \"b\": tru }", "config.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_input);
    EXPECT_NE(std::string(e.what()).find("config.json: offset 19: expected valid JSON"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace nibble
