#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizers/tokenizer.h"

namespace nibble {

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// How a model wants the turns of a conversation written. Known by the markers in its Jinja template, which
/// is not run: a template that none of these describes counts as plain.
enum class ChatStyle : uint8_t {
  plain,    ///< User: ... Assistant: ..., for models without a template
  chatml,   ///< <|im_start|>role ... <|im_end|>
  llama2,   ///< [INST] <<SYS>> ... [/INST]
  llama3,   ///< <|start_header_id|>role<|end_header_id|> ... <|eot_id|>
  mistral,  ///< [INST] ... [/INST] without a system block
  gemma,    ///< <start_of_turn>user ... <end_of_turn>
  phi3,     ///< <|user|> ... <|end|>
  zephyr    ///< <|user|> ... and the end-of-sequence token
};

ChatStyle chat_style(std::string_view jinja);
std::string_view chat_style_name(ChatStyle style) noexcept;

/// The conversation as text, up to where the assistant's next answer begins. Styles without a system role put
/// such a message before the first question. `eos` is how the vocabulary spells the end of a sequence. The
/// beginning-of-sequence token is not part of it.
std::string render_chat(ChatStyle style, std::span<const ChatMessage> messages, std::string_view eos);

/// Text that ends an answer where the vocabulary has no token for it.
std::vector<std::string> chat_stops(ChatStyle style);

/// Ids of the rendered conversation, with the beginning of sequence where the vocabulary or the template
/// wants one and no end of sequence.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, ChatStyle style,
                                 std::span<const ChatMessage> messages);

}  // namespace nibble
