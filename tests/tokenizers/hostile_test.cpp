// Files made by hand to break the readers: each is refused with a message that says what and where.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "tokenizers/hf_json.h"
#include "tokenizers/reference.h"
#include "tokenizers/sentencepiece.h"

namespace nibble {
namespace {

template <class Read>
void expect_refused(Read read, const std::string& part, ErrorKind kind = ErrorKind::bad_input) {
  try {
    read();
    FAIL() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// ---- tokenizer.json ----

Tokenizer from_json(const std::string& json) { return Tokenizer(read_hf_tokenizer(json, "t.json")); }

std::string bpe(const std::string& vocab, const std::string& merges, const std::string& rest = "") {
  return R"({"model":{"type":"BPE","vocab":)" + vocab + R"(,"merges":)" + merges + "}" + rest + "}";
}

struct BadJson {
  std::string name, json, message;
  ErrorKind kind = ErrorKind::bad_input;
};

std::vector<BadJson> bad_json() {
  const std::string ab = R"({"a":0,"b":1,"ab":2})";
  const auto step = [&](const char* part, const std::string& what) {
    return bpe(ab, "[]", ",\"" + std::string(part) + "\":" + what);
  };
  return {
      {"empty", "", "invalid JSON at byte"},
      {"no_object", "[]", "expected an object"},
      {"truncated", R"({"model":{"type":"BPE","vocab":{"a":)", "invalid JSON at byte"},
      {"deep", std::string(100000, '['), "nested deeper than 100"},
      {"deep_in_vocab", R"({"model":)" + std::string(5000, '{'), "nested deeper"},
      {"no_utf8", "{\"model\":\"\xff\"}", "invalid JSON"},
      {"no_model", "{}", "expected an object, found null"},
      {"empty_vocab", bpe("{}", "[]"), "the vocabulary is empty"},
      {"vocab_of_arrays", bpe("[]", "[]"), "t.json.model.vocab: expected an object"},
      {"same_id_twice", bpe(R"({"a":0,"b":0})", "[]"), "belongs to"},
      {"negative_id", bpe(R"({"a":-1})", "[]"), "-1 is not in 0"},
      {"huge_id", bpe(R"({"a":99999999999999999999})", "[]"), "whole number"},
      {"id_bomb", bpe(R"({"a":0,"b":16000000})", "[]"), "only 2 entries"},
      {"id_no_number", bpe(R"({"a":"0"})", "[]"), "whole number, found string"},
      {"merge_of_strangers", bpe(ab, R"(["a z"])"), "needs the token 'z'"},
      {"merge_without_result", bpe(R"({"a":0,"b":1})", R"(["a b"])"), "needs the token 'ab'"},
      {"merge_of_one", bpe(ab, R"(["ab"])"), "merges[0]: 'ab' is not two pieces"},
      {"merge_of_three", bpe(ab, R"(["a b c"])"), "is not two pieces"},
      {"merge_of_numbers", bpe(ab, "[[1,2]]"), "expected a string"},
      {"unknown_model", R"({"model":{"type":"Magic"}})", "'Magic' is not supported", ErrorKind::unsupported},
      {"unknown_step", step("normalizer", R"({"type":"Magic"})"), "normalizer: 'Magic'",
       ErrorKind::unsupported},
      {"typeless_step", step("pre_tokenizer", "{}"), "pre_tokenizer.type: expected a string"},
      {"bad_regex",
       step("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
       "invalid at byte"},
      {"nested_regex",
       step("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":")" + std::string(3000, '(') +
                                 R"("},"behavior":"Isolated"})"),
       "invalid at byte"},
      {"long_regex",
       step("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":")" + std::string(70000, 'a') +
                                 R"("},"behavior":"Isolated"})"),
       "70000 bytes"},
      {"bad_behavior", step("pre_tokenizer", R"({"type":"Split","pattern":{"String":"a"},"behavior":"Odd"})"),
       "'Odd'", ErrorKind::unsupported},
      {"sequence_of_text", step("decoder", R"({"type":"Sequence","decoders":"x"})"), "expected an array"},
      {"added_id_taken", bpe(ab, "[]", R"(,"added_tokens":[{"id":1,"content":"x"}])"), "belongs to 'b'"},
      {"added_twice", bpe(ab, "[]", R"(,"added_tokens":[{"id":3,"content":"x"},{"id":3,"content":"x"}])"),
       "occurs twice"},
      {"added_empty", bpe(ab, "[]", R"(,"added_tokens":[{"id":3,"content":""}])"), "empty token"},
      {"added_far", bpe(ab, "[]", R"(,"added_tokens":[{"id":9000000,"content":"x"}])"), "only 4 entries"},
      {"processor_id", step("post_processor", R"({"type":"BertProcessing","cls":["c",7],"sep":["s",1]})"),
       "7 is not in 0"},
      {"template_id",
       step(
           "post_processor",
           R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"c"}}],"special_tokens":{"c":{"ids":[5]}}})"),
       "5 is not in 0"},
      {"charsmap_cut", step("normalizer", R"({"type":"Precompiled","precompiled_charsmap":"////fwA="})"),
       "trie claims"},
      {"charsmap_no_base64", step("normalizer", R"({"type":"Precompiled","precompiled_charsmap":"?"})"),
       "base64"},
      {"unk_missing", R"({"model":{"type":"WordPiece","unk_token":"u","vocab":{"a":0}}})",
       "unknown token 'u'"},
      {"unigram_score", R"({"model":{"type":"Unigram","vocab":[["a","b"]]}})", "no finite number"},
      {"unigram_unk", R"({"model":{"type":"Unigram","unk_id":4,"vocab":[["a",0]]}})", "4 is not in 0"},
      {"decoder_strip", step("decoder", R"({"type":"Strip","content":" ","start":-1,"stop":0})"),
       "-1 is not in"},
  };
}

TEST(Hostile, TokenizerJson) {
  const auto files = bad_json();
  EXPECT_GE(files.size(), 20u);
  for (const BadJson& file : files) {
    SCOPED_TRACE(file.name);
    expect_refused([&] { from_json(file.json); }, file.message, file.kind);
  }
}

TEST(Hostile, RegexThatBacktracksWithoutEnd) {
  const Tokenizer slow = from_json(
      bpe(R"({"a":0,"b":1,"ab":2})", "[]",
          R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"^(a+)+(a|aa)+$"},"behavior":"Isolated"})"));
  expect_refused([&] { slow.encode(std::string(5000, 'a') + "b"); }, "too costly");
}

TEST(Hostile, LongTextOfOneKind) {
  const Tokenizer tokenizer = from_json(bpe(R"({"a":0,"b":1,"aa":2,"aaaa":3})", R"(["a a","aa aa"])"));
  EXPECT_EQ(tokenizer.encode(std::string(400000, 'a')).size(), 100000u);
}

// ---- tokenizer.model ----

std::string varint(uint64_t n) {
  std::string out;
  for (; n > 127; n >>= 7) out += static_cast<char>((n & 127) | 128);
  return out + static_cast<char>(n);
}
std::string field(unsigned number, const std::string& payload) {
  return varint(number << 3 | 2) + varint(payload.size()) + payload;
}
std::string piece(const std::string& text, float score, unsigned type) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return field(1, field(1, text) + "\x15" + bits + "\x18" + varint(type));
}

TEST(Hostile, TokenizerModel) {
  const std::string base = piece("<unk>", 0, 2) + piece("a", -1, 1);
  const auto refused = [](const std::string& bytes, const std::string& part,
                          ErrorKind kind = ErrorKind::bad_input) {
    SCOPED_TRACE(part);
    expect_refused([&] { Tokenizer(read_sentencepiece(bytes, "t.model")); }, part, kind);
  };
  EXPECT_EQ(Tokenizer(read_sentencepiece(base, "t.model")).vocab_size(), 2);
  refused("", "no pieces");
  refused("hello, this is no model", "t.model: ");
  refused(base.substr(0, base.size() - 3), "claims");
  refused(base + std::string(1, '\x0a'), "truncated");
  refused(base + "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "claims 9223372036854775807 bytes");
  refused(std::string(12, '\xff'), "more than 10 bytes");
  refused(base + std::string(2, '\0'), "field number 0");
  refused(base + "\x0b", "wire type 3");
  refused(base + piece("a", -2, 1), "piece 2 'a' occurs twice");
  refused(base + piece("", -2, 1), "piece 2 is empty");
  refused(base + piece("b", -2, 9), "type 9");
  refused(base + piece("b", std::numeric_limits<float>::quiet_NaN(), 1), "not finite");
  refused(base + piece("<u>", 0, 2), "both unknown");
  refused(piece("a", -1, 1), "no piece has the type unknown");
  refused(base + field(1, "\x08\x01"), "wire type 0, expected 2");
  refused(base + field(2, "\x18\x07"), "model type 7", ErrorKind::unsupported);
  refused(base + field(2, varint(35 << 3) + "\x01"), "without a piece <0x00>");
  refused(base + field(3, field(2, "\xff\xff\xff\x7f")), "precompiled_charsmap");
  refused(base + field(3, field(2, std::string("\0\0\0\0x", 5))), "no end");
  refused(base + field(5, field(2, "abc")), "denormalizer_spec", ErrorKind::unsupported);
}

// A damaged trie points out of itself: no match, no crash.
TEST(Hostile, TrieThatPointsAnywhere) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    std::string map(4, '\0');
    map[0] = '\x40';
    for (int i = 0; i < 64; ++i) map += static_cast<char>(rng.below(256));
    map += std::string("text\0", 5);
    const Tokenizer tokenizer(
        read_sentencepiece(piece("<unk>", 0, 2) + piece("a", -1, 1) + field(3, field(2, map)), "t.model"));
    tokenizer.encode("The quick brown \xff fox");
  }
}

TEST(Hostile, ConfigAndPlainVocabularies) {
  TokenizerData data = read_hf_tokenizer(bpe(R"({"a":0})", "[]"), "t.json");
  expect_refused([&] { read_hf_config(R"({"added_tokens_decoder":{"x":{"content":"y"}}})", "c.json", data); },
                 "the id is no number");
  expect_refused([&] { read_hf_config(R"({"bos_token":7})", "c.json", data); }, "expected a string");
  expect_refused([&] { read_vocab_and_merges(R"({"a":0})", "#version\nab\n", "v"); }, "line 2 'ab'");
  expect_refused([&] { read_vocab_txt("a\nb\n", "v"); }, "no [UNK]");
  expect_refused([&] { Tokenizer::open("/nonexistent"); }, "nonexistent", ErrorKind::io);
}

}  // namespace
}  // namespace nibble
