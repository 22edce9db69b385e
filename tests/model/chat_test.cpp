#include "model/chat.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

const std::vector<ChatMessage> talk{
    {"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello."}, {"user", "Bye"}};

// What the published templates of these families give for the same conversation, without the first token.
TEST(Chat, RendersEveryStyle) {
  EXPECT_EQ(
      render_chat(ChatStyle::chatml, talk, ""),
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
      "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_chat(ChatStyle::llama3, talk, "<|eot_id|>"),
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render_chat(ChatStyle::llama2, talk, "</s>"),
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST]");
  EXPECT_EQ(render_chat(ChatStyle::mistral, talk, "</s>"),
            "[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] Bye [/INST]");
  EXPECT_EQ(render_chat(ChatStyle::gemma, talk, ""),
            "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
            "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(render_chat(ChatStyle::phi3, talk, ""),
            "<|system|>\nBe "
            "brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\nBye<|end|>\n"
            "<|assistant|>\n");
  EXPECT_EQ(render_chat(ChatStyle::zephyr, {talk.data() + 1, 1}, "</s>"),
            "<|user|>\nHi</s>\n<|assistant|>\n");
  EXPECT_EQ(render_chat(ChatStyle::plain, talk, ""),
            "Be brief.\n\nUser: Hi\nAssistant: Hello.\nUser: Bye\nAssistant:");
}

TEST(Chat, StylesAreKnownByTheirMarkers) {
  EXPECT_EQ(chat_style(""), ChatStyle::plain);
  EXPECT_EQ(chat_style("{{ '<|im_start|>' + message['role'] }}"), ChatStyle::chatml);
  EXPECT_EQ(chat_style("{{ '<|start_header_id|>' + message['role'] }}"), ChatStyle::llama3);
  EXPECT_EQ(chat_style("{{ bos_token }}{{ '<start_of_turn>' }}"), ChatStyle::gemma);
  EXPECT_EQ(chat_style("'[INST] <<SYS>>'"), ChatStyle::llama2);
  EXPECT_EQ(chat_style("'[INST] ' + content + ' [/INST]'"), ChatStyle::mistral);
  EXPECT_EQ(chat_style("'<|user|>' '<|end|>' '<|assistant|>'"), ChatStyle::phi3);
  EXPECT_EQ(chat_style("'<|user|>' + eos_token + '<|assistant|>'"), ChatStyle::zephyr);
}

}  // namespace
}  // namespace nibble
