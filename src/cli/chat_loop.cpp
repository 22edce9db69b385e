#include "cli/chat_loop.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "base/interrupt.h"
#include "model/chat.h"

namespace nibble::cli {
namespace {

/// Ids of the conversation; forgets the oldest exchanges until it leaves room for an answer.
std::vector<int32_t> fitting_ids(const Generator& generator, const Tokenizer& tokenizer, ChatStyle style,
                                 std::vector<ChatMessage>& messages) {
  const size_t room = static_cast<size_t>(generator.context()) * 3 / 4;
  for (;;) {
    std::vector<int32_t> ids = encode_chat(tokenizer, style, messages);
    const size_t first = !messages.empty() && messages[0].role == "system" ? 1 : 0;
    if (ids.size() <= room || messages.size() < first + 3) return ids;
    messages.erase(messages.begin() + static_cast<ptrdiff_t>(first),
                   messages.begin() + static_cast<ptrdiff_t>(first) + 2);
  }
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n\t\r");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \n\t\r") - begin + 1);
}

}  // namespace

void chat(Generator& generator, const Tokenizer& tokenizer, const GenerateOptions& options,
          const ChatOptions& chat) {
  const ChatStyle style = chat_style(tokenizer.chat_template());
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (!chat.quiet)
    fmt::print(stderr, "[chat in the {} style; an empty line or Ctrl-D ends it]\n", chat_style_name(style));
  GenerateOptions turn = options;
  for (const std::string& stop : chat_stops(style)) turn.stop.push_back(stop);
  std::vector<ChatMessage> messages;
  if (!chat.system.empty()) messages.push_back({"system", chat.system});
  std::string question = chat.first;
  for (;;) {
    if (question.empty()) {
      if (terminal && !chat.quiet) fmt::print(stderr, "> ");
      if (!std::getline(std::cin, question) || trimmed(question).empty()) break;
    }
    messages.push_back({"user", trimmed(question)});
    question.clear();
    const Generation answer = generator.generate(fitting_ids(generator, tokenizer, style, messages), turn,
                                                 [](std::string_view piece) {
                                                   std::fwrite(piece.data(), 1, piece.size(), stdout);
                                                   std::fflush(stdout);
                                                   return true;
                                                 });
    fmt::print("\n");
    std::fflush(stdout);
    check_interrupt();
    messages.push_back({"assistant", trimmed(answer.text)});
    if (!chat.quiet && answer.reason == StopReason::context_full)
      fmt::print(stderr, "[the context is full: the oldest turns will be forgotten]\n");
  }
}

}  // namespace nibble::cli
