// Which of llama.cpp's pre-tokenizer names says the same as the steps of a tokenizer.json.
#include <array>

#include "tokenizers/gguf_pre.h"
#include "tokenizers/hf_json.h"

namespace nibble {

namespace {

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define TAIL_SLASH R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define LEAD R"([^\r\n\p{L}\p{N}]?)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"

struct Known {
  const char* pattern;
  const char* merged;   // name where the model takes whole words first (ignore_merges)
  const char* regular;  // name where it does not
};
constexpr std::array<Known, 5> known = {{
    {CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N}{1,3})" TAIL, "llama-bpe", "dbrx"},
    {CONTRACTIONS "|" LEAD R"(\p{L}+|\p{N})" TAIL, "", "qwen2"},
    {CONTRACTIONS "|" LEAD R"([\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "", "qwen35"},
    {LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER R"(*|\p{N})" TAIL_SLASH, "tekken", ""},
    {LEAD UPPER "*" LOWER "+" CONTRACTIONS "?|" LEAD UPPER "+" LOWER "*" CONTRACTIONS
                R"(?|\p{N}{1,3})" TAIL_SLASH,
     "", "gpt-4o"},
}};

bool is_split(const PreTokenizerStep& step) {
  return step.kind == PreTokenizerKind::split && step.regex &&
         (step.behavior == SplitBehavior::isolated || step.behavior == SplitBehavior::removed);
}

}  // namespace

std::string gguf_name_of_pre_tokenizer(const TokenizerData& data) {
  const auto& steps = data.pre_tokenizers;
  if (steps.empty() || steps.back().kind != PreTokenizerKind::byte_level || steps.back().add_prefix_space)
    return {};
  const bool splits = steps.back().use_regex;
  if (steps.size() == 1) return splits ? "gpt-2" : "";
  if (steps.size() == 2 && splits)
    return steps[0].kind == PreTokenizerKind::digits && steps[0].individual ? "starcoder" : "";
  if (splits) return {};
  for (size_t i = 0; i + 1 < steps.size(); ++i)
    if (!is_split(steps[i])) return {};
  if (steps.size() == 2)
    for (const Known& one : known)
      if (steps[0].pattern == one.pattern) return data.ignore_merges ? one.merged : one.regular;
  // The same expressions as in llama.cpp's own table.
  for (const std::string& name : gguf_pre_names()) {
    const auto rule = gguf_pre_rule(name);
    bool same =
        rule->byte_level && rule->steps.size() == steps.size() && rule->ignore_merges == data.ignore_merges;
    for (size_t i = 0; same && i + 1 < steps.size(); ++i) same = rule->steps[i].pattern == steps[i].pattern;
    if (same) return name;
  }
  return {};
}

}  // namespace nibble
