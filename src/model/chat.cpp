#include "model/chat.h"

#include "base/error.h"

namespace nibble {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Puts a system message in front of the first question.
std::vector<ChatMessage> merge_system(std::span<const ChatMessage> messages, const std::string& before,
                                      const std::string& after) {
  std::vector<ChatMessage> merged;
  std::string system;
  for (const ChatMessage& m : messages) {
    if (m.role == "system") {
      system += before;
      system += m.content;
      system += after;
      continue;
    }
    merged.push_back(m);
    if (m.role == "user" && !system.empty()) {
      merged.back().content = system + m.content;
      system.clear();
    }
  }
  return merged;
}

/// [INST] question [/INST] answer</s>
std::string instruct(std::span<const ChatMessage> messages, std::string_view eos, std::string_view between) {
  std::string text;
  for (const ChatMessage& m : messages) {
    if (m.role == "user") {
      if (!text.empty()) text += between;
      text += "[INST] " + m.content + " [/INST]";
    } else {
      text += " " + m.content;
      text += eos;
    }
  }
  return text;
}

std::string tagged(std::span<const ChatMessage> messages, std::string_view end) {
  std::string text;
  for (const ChatMessage& m : messages) {
    text += "<|" + m.role + "|>\n" + m.content;
    text += end;
    text += "\n";
  }
  return text + "<|assistant|>\n";
}

}  // namespace

ChatStyle chat_style(std::string_view jinja) {
  if (contains(jinja, "<|im_start|>")) return ChatStyle::chatml;
  if (contains(jinja, "<|start_header_id|>")) return ChatStyle::llama3;
  if (contains(jinja, "<start_of_turn>")) return ChatStyle::gemma;
  if (contains(jinja, "[INST]")) return contains(jinja, "<<SYS>>") ? ChatStyle::llama2 : ChatStyle::mistral;
  if (contains(jinja, "<|assistant|>"))
    return contains(jinja, "<|end|>") ? ChatStyle::phi3 : ChatStyle::zephyr;
  return ChatStyle::plain;
}

std::string_view chat_style_name(ChatStyle style) noexcept {
  switch (style) {
    case ChatStyle::plain:
      return "plain";
    case ChatStyle::chatml:
      return "chatml";
    case ChatStyle::llama2:
      return "llama2";
    case ChatStyle::llama3:
      return "llama3";
    case ChatStyle::mistral:
      return "mistral";
    case ChatStyle::gemma:
      return "gemma";
    case ChatStyle::phi3:
      return "phi3";
    case ChatStyle::zephyr:
      return "zephyr";
  }
  return "?";
}

std::string render_chat(ChatStyle style, std::span<const ChatMessage> messages, std::string_view eos) {
  std::string text;
  switch (style) {
    case ChatStyle::plain:
      for (const ChatMessage& m : messages) {
        if (m.role == "system") {
          text += m.content + "\n\n";
        } else {
          text += (m.role == "user" ? "User: " : "Assistant: ") + m.content + "\n";
        }
      }
      return text + "Assistant:";
    case ChatStyle::chatml:
      for (const ChatMessage& m : messages)
        text += "<|im_start|>" + m.role + "\n" + m.content + "<|im_end|>\n";
      return text + "<|im_start|>assistant\n";
    case ChatStyle::llama3:
      for (const ChatMessage& m : messages)
        text += "<|start_header_id|>" + m.role + "<|end_header_id|>\n\n" + m.content + "<|eot_id|>";
      return text + "<|start_header_id|>assistant<|end_header_id|>\n\n";
    case ChatStyle::gemma:
      for (const ChatMessage& m : merge_system(messages, "", "\n\n")) {
        text += std::string("<start_of_turn>") + (m.role == "user" ? "user" : "model") + "\n" + m.content;
        text += "<end_of_turn>\n";
      }
      return text + "<start_of_turn>model\n";
    case ChatStyle::llama2:
      // Each exchange is a sequence of its own.
      return instruct(merge_system(messages, "<<SYS>>\n", "\n<</SYS>>\n\n"), " " + std::string(eos),
                      eos == "</s>" ? "<s>" : "");
    case ChatStyle::mistral:
      return instruct(merge_system(messages, "", "\n\n"), eos, "");
    case ChatStyle::phi3:
      return tagged(messages, "<|end|>");
    case ChatStyle::zephyr:
      return tagged(messages, eos);
  }
  return text;
}

std::vector<std::string> chat_stops(ChatStyle style) {
  switch (style) {
    case ChatStyle::plain:
      return {"\nUser:"};
    case ChatStyle::chatml:
      return {"<|im_end|>"};
    case ChatStyle::llama3:
      return {"<|eot_id|>"};
    case ChatStyle::gemma:
      return {"<end_of_turn>"};
    case ChatStyle::phi3:
      return {"<|end|>"};
    case ChatStyle::llama2:
    case ChatStyle::mistral:
    case ChatStyle::zephyr:
      return {};
  }
  return {};
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, ChatStyle style,
                                 std::span<const ChatMessage> messages) {
  const std::string eos = tokenizer.eos() >= 0 ? tokenizer.piece(tokenizer.eos()) : "";
  std::vector<int32_t> ids =
      tokenizer.encode(render_chat(style, messages, eos), {.add_special = true, .parse_special = true});
  if (tokenizer.add_eos() && !ids.empty() && ids.back() == tokenizer.eos()) ids.pop_back();
  const bool wants_bos = contains(tokenizer.chat_template(), "bos_token") && tokenizer.bos() >= 0;
  if (wants_bos && (ids.empty() || ids.front() != tokenizer.bos())) ids.insert(ids.begin(), tokenizer.bos());
  return ids;
}

}  // namespace nibble
