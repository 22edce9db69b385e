// The expressions that the names in `tokenizer.ggml.pre` stand for. They are part of the format: files name
// them, llama.cpp (src/llama-vocab.cpp) defines them. Each is applied to the words that the one before left.
#include "tokenizers/gguf_pre.h"

#include <array>
#include <sstream>

namespace nibble {

namespace {

// Parts that many expressions share.
#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define PUNCTUATION R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define UPPER R"((?:(?=[\p{L}])[^a-z]))"
#define LOWER R"((?:(?=[\p{L}])[^A-Z]))"
#define UPPER_M R"((?:(?=[\p{L}\p{M}])[^a-z]))"
#define LOWER_M R"((?:(?=[\p{L}\p{M}])[^A-Z]))"
#define LEAD R"([^\r\n\p{L}\p{N}]?)"
#define HAN                                                                                                           \
  R"(\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}\x{2b740}-\x{2b81f}\x{2b820}-\x{2ceaf})" \
  R"(\x{2ceb0}-\x{2ebef}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f})"
#define MARKS_AND_WORDS \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)" SPACES
// Letters that have case, as far as DeepSeek's expression lists them.
#define CASED_LETTERS                                                                                                   \
  R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}-\x{373})" \
  R"(\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481})"   \
  R"(\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba})"               \
  R"(\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})"           \
  R"(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"    \
  R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec})"   \
  R"(\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126})"     \
  R"(\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184})"     \
  R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b})"            \
  R"(\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"           \
  R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2})"   \
  R"(\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943})"

constexpr const char* gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr const char* llama3 = CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N}{1,3})" PUNCTUATION SPACES;
constexpr const char* qwen2 = CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N})" PUNCTUATION SPACES;
constexpr const char* deepseek_cjk = R"([\x{800}-\x{9fa5}\x{ac00}-\x{d7ff}]+)";
constexpr const char* sentence_marks =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr const char* lines = R"([^\n]+|\n+)";

/// Stands for the step digit_triples in a row's patterns.
constexpr const char* triples = "";

enum Flag : unsigned {
  none = 0,
  ignore_merges = 1,
  add_bos = 2,
  add_sep = 4,
  no_bos = 8,
  raw_utf8 = 16,       // tokens are plain UTF-8, bytes are <0xHH>
  escape_spaces = 32,  // spaces become U+2581
  drop_spaces = 64     // what no expression matches is dropped
};

struct Row {
  const char* names;  // separated by spaces
  unsigned flags;
  std::array<const char*, 6> patterns;  // up to the first null
};

const Row rows[] = {
    {"default", none, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt olmo jais "
     "trillion "
     "granite-docling exaone4",
     none,
     {gpt2}},
    {"jina-v1-en jina-v2-code roberta-bpe", add_sep, {gpt2}},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     ignore_merges | add_bos,
     {llama3}},
    {"dbrx smaug-bpe", none, {llama3}},
    {"glm4 chatglm-bpe", no_bos, {llama3}},
    {"jais-2",
     none,
     {CONTRACTIONS
      "|" LEAD R"(\p{L}+|\p{N}{1,3})" PUNCTUATION
      R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S))"
      R"(|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", none, {qwen2}},
    {"qwen35", none, {CONTRACTIONS "|" LEAD R"([\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" SPACES}},
    {"deepseek-llm",
     none,
     // The ideographic space counts as whitespace only, although the range 3000–3002 would hold it.
     {R"([\r\n])", R"(\s?[)" CASED_LETTERS "]+",
      R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3001}\x{3002}]+)", R"(\s+\z)",
      deepseek_cjk, R"(\p{N}+)"}},
    {"deepseek-coder", none, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseek_cjk, R"(\p{N})"}},
    {"deepseek-v3 hunyuan-dense joyai-llm",
     none,
     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)", MARKS_AND_WORDS}},
    {"youtu",
     ignore_merges,
     {R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+)"
      R"(|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c}\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+)"
      R"(|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
      LEAD R"([\p{L}\p{M}]+)" CONTRACTIONS R"(?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES}},
    {"falcon", none, {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2, "[0-9][0-9][0-9]"}},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", none, {R"(\p{N})", gpt2}},
    {"poro-chat bloom gpt3-finnish", none, {sentence_marks}},
    {"viking", none, {sentence_marks, R"(\p{N})"}},
    {"tekken",
     ignore_merges | add_bos,
     {LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2",
     none,
     {LEAD UPPER "*" LOWER "+" CONTRACTIONS "?|" LEAD UPPER "+" LOWER "*" CONTRACTIONS
                 R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES}},
    {"granite-embed-multi-97m",
     ignore_merges,
     {LEAD UPPER_M "*" LOWER_M "+" CONTRACTIONS "?|" LEAD UPPER_M "+" LOWER_M "*" CONTRACTIONS
                   R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES}},
    {"tiny_aya cohere2moe",
     none,
     {triples, LEAD R"([\p{L}\p{M}]+)" CONTRACTIONS R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" SPACES}},
    {"chameleon",
     add_bos,
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"([\t\n]|    |  )", R"(\p{N})",
      R"([\p{P}!-/:-@\[-`{-~])", gpt2}},
    {"kimi-k2",
     none,
     {"[" HAN "]+|" LEAD "(?:(?![" HAN R"(])\p{L})+)" CONTRACTIONS R"(?|\p{N}{1,3})" PUNCTUATION SPACES}},
    {"superbpe", none, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
    {"bailingmoe bailingmoe2 llada-moe",
     none,
     {R"('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|)" LEAD R"(\p{L}+|\p{N})" PUNCTUATION
      R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    {"seed-coder", none, {CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" SPACES}},
    {"afmoe",
     none,
     {triples,
      R"([\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{f900}-\x{faff}\x{3040}-\x{309f}\x{30a0}-\x{30ff}\x{ff65}-\x{ff9f})"
      R"(\x{2f00}-\x{2fdf}\x{e40}-\x{e7f}\x{e80}-\x{eff}\x{1780}-\x{17ff}\x{1000}-\x{109f}\x{aa60}-\x{aa7f})"
      R"(\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]+)",
      MARKS_AND_WORDS}},
    {"laguna", none, {lines, qwen2}},
    {"exaone-moe",
     none,
     {CONTRACTIONS "|" LEAD R"((?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?)"
                   R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    {"gemma4 granite-embed-multi-311m", add_bos | raw_utf8 | escape_spaces, {lines}},
    {"sarvam-moe", raw_utf8 | escape_spaces, {lines}},
    {"minicpm5",
     ignore_merges,
     {R"(\p{N}{1,3})", CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N}+)" PUNCTUATION SPACES}},
    {"whitespace", raw_utf8 | drop_spaces, {R"(\S+)"}},
};

}  // namespace

std::optional<PreRule> gguf_pre_rule(std::string_view name) {
  if (name.empty()) name = "default";
  for (const Row& row : rows) {
    std::istringstream names(row.names);
    bool found = false;
    for (std::string each; names >> each;) found = found || each == name;
    if (!found) continue;
    PreRule rule;
    for (const char* pattern : row.patterns) {
      if (pattern == nullptr) break;
      PreTokenizerStep step;
      step.kind = *pattern == '\0' ? PreTokenizerKind::digit_triples : PreTokenizerKind::split;
      step.pattern = pattern;
      step.regex = true;
      if (row.flags & drop_spaces) {
        step.behavior = SplitBehavior::removed;
        step.invert = true;
      }
      rule.steps.push_back(std::move(step));
    }
    rule.byte_level = (row.flags & raw_utf8) == 0;
    if (rule.byte_level) {
      PreTokenizerStep step;
      step.kind = PreTokenizerKind::byte_level;
      step.use_regex = false;
      rule.steps.push_back(std::move(step));
    }
    rule.escape_spaces = (row.flags & escape_spaces) != 0;
    rule.ignore_merges = (row.flags & ignore_merges) != 0;
    rule.add_bos = (row.flags & add_bos) != 0;
    rule.add_sep = (row.flags & add_sep) != 0;
    rule.no_bos = (row.flags & no_bos) != 0;
    return rule;
  }
  return std::nullopt;
}

std::vector<std::string> gguf_pre_names() {
  std::vector<std::string> all;
  for (const Row& row : rows) {
    std::istringstream names(row.names);
    for (std::string each; names >> each;) all.push_back(each);
  }
  return all;
}

}  // namespace nibble
