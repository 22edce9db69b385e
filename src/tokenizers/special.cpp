#include "tokenizers/special.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace nibble {

namespace {

// End of turn or text, as spelled by the models in use.
constexpr std::array<std::string_view, 12> turn_ends = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",         "<|endoftext|>",      "<|end_of_text|>",
    "<EOT>",      "_<EOT>",     "[EOT]",   "<｜end▁of▁sentence｜>", "<end_of_utterance>", "<turn|>"};
constexpr std::array<std::string_view, 9> other_ends = {
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "</s>", "<|eom_id|>", "[EOS]", "<eos>", "[e~["};

bool in(const auto& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

std::unordered_set<int32_t> ending_ids(const TokenizerData& data) {
  std::unordered_set<int32_t> ids;
  int32_t end = -1;
  bool returns = false, calls = false, flushes = false;
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string_view text = data.tokens[i];
    if (text.size() < 5 || text.size() > 40) {
      if (text != "</s>" && text != "[e~[") continue;
    }
    if (data.types[i] != TokenType::control || !(in(turn_ends, text) || in(other_ends, text))) continue;
    const auto id = static_cast<int32_t>(i);
    ids.insert(id);
    returns = returns || text == "<|return|>";
    calls = calls || text == "<|call|>" || text == "<|calls|>";
    flushes = flushes || text == "<|flush|>";
    if (text == "<|end|>") end = id;
  }
  // With a channel syntax <|end|> closes a message, not the answer.
  if (end >= 0 && calls && (returns || flushes)) ids.erase(end);
  if (data.eos >= 0) ids.insert(data.eos);
  if (data.eot >= 0 && !(data.eot == end && calls)) ids.insert(data.eot);
  return ids;
}

void find_turn_end(TokenizerData& data) {
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string_view text = data.tokens[i];
    if (text.size() < 4 || text.size() > 40) continue;
    const bool turn_end = in(turn_ends, text);
    if (!turn_end && !in(other_ends, text)) continue;
    data.types[i] = TokenType::control;
    if (turn_end && data.eot < 0) data.eot = static_cast<int32_t>(i);
  }
}

}  // namespace nibble
