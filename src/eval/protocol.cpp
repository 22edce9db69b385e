#include "eval/protocol.h"

#include <algorithm>

#include "base/error.h"

namespace nibble {
namespace {

std::vector<EvalWindow> cut_chunks(std::span<const int32_t> tokens, std::optional<int32_t> bos,
                                   const Protocol& p) {
  const auto total = static_cast<int64_t>(tokens.size()) / p.context;
  if (total == 0) {
    throw Error(ErrorKind::bad_input,
                fmt::format("the text has {} tokens, fewer than one chunk of {}", tokens.size(), p.context),
                "use a longer text or a smaller --ctx");
  }
  const int64_t count = p.max_windows > 0 ? std::min(total, p.max_windows) : total;
  std::vector<EvalWindow> windows;
  for (int64_t i = 0; i < count; ++i) {
    const auto piece = tokens.subspan(static_cast<size_t>(i * p.context), static_cast<size_t>(p.context));
    EvalWindow w{{piece.begin(), piece.end()}, p.context / 2};
    if (bos) w.tokens.front() = *bos;
    windows.push_back(std::move(w));
  }
  return windows;
}

std::vector<EvalWindow> cut_strides(std::span<const int32_t> tokens, const Protocol& p) {
  if (p.stride < 1 || p.stride >= p.context)
    fail(ErrorKind::usage, "the stride must lie between 1 and the context of {}", p.context);
  const auto n = static_cast<int64_t>(tokens.size());
  if (n < 2) fail(ErrorKind::bad_input, "the text has {} tokens; nothing to predict", n);
  std::vector<EvalWindow> windows;
  int64_t scored = 1;  // tokens before this one have been predicted; nothing predicts the first
  for (int64_t begin = 0; scored < n; begin += p.stride) {
    const int64_t end = std::min(begin + p.context, n);
    const auto piece = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    windows.push_back({{piece.begin(), piece.end()}, scored - 1 - begin});
    scored = end;
    if (p.max_windows > 0 && static_cast<int64_t>(windows.size()) == p.max_windows) break;
  }
  return windows;
}

}  // namespace

std::string Protocol::to_string() const {
  const std::string limit = max_windows > 0 ? fmt::format(", first {}", max_windows) : "";
  if (kind == Kind::chunks)
    return fmt::format("chunks of {}, second half scored (as llama.cpp){}", context, limit);
  return fmt::format("full text, windows of {} with stride {} (as Hugging Face){}", context, stride, limit);
}

std::vector<EvalWindow> cut_windows(std::span<const int32_t> tokens, std::optional<int32_t> bos,
                                    const Protocol& protocol) {
  if (protocol.context < 4)
    fail(ErrorKind::usage, "a context of {} tokens is too short to score anything", protocol.context);
  return protocol.kind == Protocol::Kind::chunks ? cut_chunks(tokens, bos, protocol)
                                                 : cut_strides(tokens, protocol);
}

}  // namespace nibble
