#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/meta.h"
#include "tokenizers/data.h"

namespace nibble {

struct EncodeOptions {
  bool add_special = true;     ///< begin/end of sequence tokens, as the vocabulary wants them
  bool parse_special = false;  ///< control tokens spelled in the text become those tokens
};

struct DecodeOptions {
  bool skip_special = true;   ///< control tokens leave no text
  bool continuation = false;  ///< the ids go on after other text: a leading space is kept
};

/// A vocabulary and the rules that turn text into its ids and back. Immutable, cheap to copy, safe to use
/// from several threads.
class Tokenizer {
 public:
  /// Compiles `data`. Throws Error{bad_input} where the description contradicts itself (ids out of range,
  /// an invalid regular expression, ...), Error{unsupported} for parts nibble does not know.
  explicit Tokenizer(TokenizerData data);

  /// Opens a Hugging Face folder (tokenizer.json, else tokenizer.model, else vocab.json with merges.txt, else
  /// vocab.txt), or one such file. GGUF files are opened by their container; see from_gguf.
  static Tokenizer open(const std::string& path);

  /// Reads the `tokenizer.ggml.*` keys of a GGUF file. Follows llama.cpp.
  static Tokenizer from_gguf(const Meta& meta);

  /// Ids of `text`. Bytes that are no UTF-8 are read as U+FFFD, except by byte-fallback vocabularies that can
  /// spell them.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Text of `ids`. Always valid UTF-8: bytes that form none become U+FFFD. Ids out of range throw
  /// Error{usage}.
  std::string decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;

  /// Decodes ids as they come. The concatenated pieces equal decode() of the whole.
  class StreamDecoder {
   public:
    explicit StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options = {});
    ~StreamDecoder();
    StreamDecoder(StreamDecoder&&) noexcept;
    StreamDecoder& operator=(StreamDecoder&&) noexcept;

    /// Complete code points that `id` added; may be empty.
    std::string push(int32_t id);
    /// The rest, with incomplete bytes as U+FFFD. The decoder can be used again afterwards.
    std::string finish();

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

  int32_t vocab_size() const noexcept;
  const std::string& piece(
      int32_t id) const;  ///< the entry as spelled in the vocabulary; throws Error{usage}
  std::optional<int32_t> id_of(std::string_view piece) const;
  TokenType type(int32_t id) const;  ///< throws Error{usage} for ids out of range
  float score(int32_t id) const;     ///< 0 where the scheme has no scores

  // Special ids; -1 where there is none.
  int32_t bos() const noexcept { return data().bos; }
  int32_t eos() const noexcept { return data().eos; }
  int32_t unk() const noexcept { return data().unk; }
  int32_t pad() const noexcept { return data().pad; }
  int32_t eot() const noexcept { return data().eot; }
  bool add_bos() const noexcept { return data().add_bos; }
  bool add_eos() const noexcept { return data().add_eos; }
  /// Ids after which generation stops: end of sequence, of turn, of text.
  bool ends_generation(int32_t id) const;

  /// Jinja source of the chat template, empty if the files hold none.
  const std::string& chat_template() const noexcept { return data().chat_template; }
  /// "sentencepiece BPE", "byte-level BPE", "WordPiece" ...
  std::string kind() const;
  const TokenizerData& data() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace nibble
