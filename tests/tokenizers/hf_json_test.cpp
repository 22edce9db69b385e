#include "tokenizers/hf_json.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "tokenizers/reference.h"

namespace nibble {
namespace {

using Ids = std::vector<int32_t>;
using test::data_dir;

const EncodeOptions plain{.add_special = false};

TEST(HfJson, Gpt2EqualsLlamaCppsCases) {
  NIBBLE_NEEDS_DATA(folder, "tokenizers/gpt2");
  NIBBLE_NEEDS_DATA(cases, "tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf.inp");
  const Tokenizer whole = Tokenizer::open((folder / "tokenizer.json").string());
  const Tokenizer pair = Tokenizer::open((folder / "vocab.json").string());
  size_t compared = 0;
  for (const auto& [text, ids] : test::llama_cpp_cases("gpt-2")) {
    EXPECT_EQ(whole.encode(text, plain), ids) << text;
    EXPECT_EQ(pair.encode(text, plain), ids) << text;
    ++compared;
  }
  EXPECT_GT(compared, 40u);
  EXPECT_EQ(whole.data().pre, "gpt-2");
  const Tokenizer opened = Tokenizer::open(folder.string());
  EXPECT_EQ(opened.eos(), 50256);
  EXPECT_EQ(opened.encode("a<|endoftext|>", {.parse_special = true}).back(), 50256);
  EXPECT_NE(opened.encode("a<|endoftext|>").back(), 50256);
}

// The goldens are by the npm package @huggingface/tokenizers, see tests/tokenizers/oracle/hf_ids.mjs.
TEST(HfJson, EqualsGoldensOfHuggingFace) {
  NIBBLE_NEEDS_DATA(neox, "tokenizers/gptneox/20B_tokenizer.json");
  NIBBLE_NEEDS_DATA(gpt2, "tokenizers/gpt2/tokenizer.json");
  const std::map<std::string, Tokenizer> tokenizers = {
      {"gptneox/20B_tokenizer.json", Tokenizer::open(neox.string())},
      {"gpt2/tokenizer.json", Tokenizer::open(gpt2.string())}};
  std::map<std::string, std::filesystem::path> paths;
  for (const auto& path : test::texts()) paths[path.filename()] = path;
  std::ifstream goldens(test::source_dir() / "tests/data/goldens/tokenizers/huggingface.txt");
  ASSERT_TRUE(goldens);
  const EncodeOptions special{.add_special = false, .parse_special = true};  // as the package always does
  size_t compared = 0;
  for (std::string line; std::getline(goldens, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream fields(line);
    std::string name, text, hash;
    size_t count = 0;
    fields >> name >> text >> count >> hash;
    ASSERT_TRUE(paths.contains(text)) << text;
    const auto ids = tokenizers.at(name).encode(test::read_text(paths[text]), special);
    EXPECT_EQ(ids.size(), count) << name << ' ' << text;
    EXPECT_EQ(test::hash_ids(ids), hash) << name << ' ' << text;
    ++compared;
  }
  EXPECT_GE(compared, 8u);
}

TEST(HfJson, DecodesWhatItEncodes) {
  for (const char* name : {"tokenizers/gptneox/20B_tokenizer.json", "tokenizers/gpt2/tokenizer.json"}) {
    NIBBLE_NEEDS_DATA(file, name);
    const Tokenizer tokenizer = Tokenizer::open(file.string());
    const bool composes = !tokenizer.data().normalizers.empty();
    Rng rng(9);
    for (int round = 0; round < 200; ++round) {
      std::string text = test::random_text(rng);
      if (composes) text = tokenizer.decode(tokenizer.encode(text));  // NFC changes some texts, once
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
      ASSERT_EQ(test::streamed(tokenizer, tokenizer.encode(text)), text);
    }
  }
}

Tokenizer from(const std::string& json) { return Tokenizer(read_hf_tokenizer(json, "t.json")); }

TEST(HfJson, WordPieceAsInBert) {
  const Tokenizer bert = from(R"({"added_tokens":[{"id":0,"content":"[UNK]","special":true},
    {"id":1,"content":"[CLS]","special":true},{"id":2,"content":"[SEP]","special":true}],
    "normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
    "pre_tokenizer":{"type":"BertPreTokenizer"},
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},
      {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],
      "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[2],"tokens":["[SEP]"]}}},
    "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
    "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":10,
      "vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"un":3,"##aff":4,"##able":5,"cafe":6,",":7,"中":8}}})");
  EXPECT_EQ(bert.encode("UNaffable, café"), (Ids{1, 3, 4, 5, 7, 6, 2}));
  EXPECT_EQ(bert.decode(Ids{1, 3, 4, 5, 7, 6, 2}), "unaffable, cafe");
  EXPECT_EQ(bert.bos(), 1);
  EXPECT_TRUE(bert.add_bos());
  EXPECT_EQ(bert.data().sep, 2);
  EXPECT_EQ(bert.encode("中cafe\t unx", plain), (Ids{8, 6, 0}));
  EXPECT_EQ(bert.encode("ununununununun", plain), Ids{0});
  EXPECT_EQ(bert.encode("[SEP]un", {.add_special = false, .parse_special = true}), (Ids{2, 3}));
}

TEST(HfJson, UnigramWithMetaspace) {
  const Tokenizer t5 =
      from(R"({"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"},
    "decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"},
    "model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁",-3],["▁he",-2],["llo",-2.5],["h",-9],["e",-9],["l",-9],["o",-9]]}})");
  EXPECT_EQ(t5.encode("hello hello"), (Ids{2, 3, 2, 3}));
  EXPECT_EQ(t5.encode("xyz"), (Ids{1, 0}));
  EXPECT_EQ(t5.decode(Ids{2, 3, 2, 3}), "hello hello");
}

TEST(HfJson, ByteFallbackAsInLlama) {
  std::string vocab = R"("<unk>":0,"▁":1,"a":2,"b":3,"ab":4,"▁ab":5)";
  for (int b = 0; b < 256; ++b) vocab += fmt::format(",\"<0x{:02X}>\":{}", b, 6 + b);
  const Tokenizer llama =
      from(R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
    {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
    {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":{)" +
           vocab + R"(},"merges":["a b",["▁","ab"]]}})");
  EXPECT_EQ(llama.encode("ab ab"), (Ids{5, 5}));
  EXPECT_EQ(llama.encode("é"), (Ids{1, 6 + 0xc3, 6 + 0xa9}));
  EXPECT_EQ(llama.decode(llama.encode("ab é ab ")), "ab é ab ");
  EXPECT_EQ(llama.decode(Ids{6 + 0xc3}), "\ufffd");
}

TEST(HfJson, AddedTokens) {
  const Tokenizer t =
      from(R"({"added_tokens":[{"id":3,"content":"<x>","lstrip":true,"rstrip":true,"special":true},
    {"id":4,"content":"wo","single_word":true,"special":false,"normalized":false}],
    "pre_tokenizer":{"type":"WhitespaceSplit"},"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"a":1,"b":2}}})");
  const EncodeOptions all{.add_special = false, .parse_special = true};
  EXPECT_EQ(t.encode("a  <x>  b", all), (Ids{1, 3, 2}));
  EXPECT_EQ(t.encode("a <x> b", plain), (Ids{1, 0, 2}));
  EXPECT_EQ(t.encode("wo two wo", all), (Ids{4, 0, 4}));
}

TEST(HfJson, SplitBehaviours) {
  const auto words = [](const std::string& step, const std::string& text) {
    const Tokenizer t = from(
        R"({"pre_tokenizer":)" + step +
        R"(,"model":{"type":"WordLevel","unk_token":"u","vocab":{"u":0,"-":1,"a":2,"a-":3,"-a":4,"--":5,"1":6,"12":7}}})");
    return t.encode(text, plain);
  };
  const auto split = [&](const std::string& behavior, const std::string& text) {
    return words(R"({"type":"Split","pattern":{"String":"-"},"behavior":")" + behavior + "\"}", text);
  };
  EXPECT_EQ(split("Isolated", "a--a"), (Ids{2, 1, 1, 2}));
  EXPECT_EQ(split("Removed", "a--a"), (Ids{2, 2}));
  EXPECT_EQ(split("MergedWithPrevious", "a-a"), (Ids{3, 2}));
  EXPECT_EQ(split("MergedWithNext", "a-a"), (Ids{2, 4}));
  EXPECT_EQ(split("Contiguous", "a--a"), (Ids{2, 5, 2}));
  EXPECT_EQ(words(R"({"type":"Digits","individual_digits":false})", "a12a"), (Ids{2, 7, 2}));
  EXPECT_EQ(words(R"({"type":"Digits","individual_digits":true})", "a11a"), (Ids{2, 6, 6, 2}));
  EXPECT_EQ(words(R"({"type":"Whitespace"})", "a -- a"), (Ids{2, 5, 2}));
  EXPECT_EQ(words(R"({"type":"Punctuation","behavior":"Isolated"})", "a--"), (Ids{2, 1, 1}));
}

}  // namespace
}  // namespace nibble
