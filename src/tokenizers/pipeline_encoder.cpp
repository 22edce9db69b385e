// Normalizer, pre-tokenizer, word model: tokenizer.json, and byte-level BPE of GGUF files.
#include <unordered_map>

#include "base/error.h"
#include "tokenizers/added_tokens.h"
#include "tokenizers/byte_level.h"
#include "tokenizers/engine.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/text_normalizer.h"
#include "tokenizers/utf8.h"
#include "tokenizers/word_model.h"

namespace nibble {

namespace {

std::unique_ptr<WordModel> make_word_model(const TokenizerData& data, const Vocab& vocab) {
  switch (data.model) {
    case TokenizerModel::bpe:
      return make_bpe(data, vocab);
    case TokenizerModel::word_piece:
      return make_word_piece(data, vocab);
    case TokenizerModel::unigram:
      return make_unigram(data, vocab);
    case TokenizerModel::word_level:
      return make_word_level(data, vocab);
    default:
      fail(ErrorKind::unsupported, "a tokenizer.json cannot hold this kind of model");
  }
}

class PipelineEncoder : public TextEncoder {
 public:
  PipelineEncoder(const TokenizerData& data, const Vocab& vocab)
      : huggingface_(data.source == TokenizerSource::huggingface),
        normalizer_(data.normalizers),
        pre_tokenizer_(data.pre_tokenizers),
        added_raw_(data, false, normalizer_),
        added_normalized_(data, true, normalizer_),
        model_(make_word_model(data, vocab)) {}

  bool finds_special() const override { return huggingface_; }

  void encode(std::string_view text, Place place, std::vector<int32_t>& ids) const override {
    constexpr size_t most = size_t{1} << 30;
    if (text.size() > most) fail(ErrorKind::unsupported, "cannot encode more than 1 GiB at once");
    Run run{*this, ids};
    std::string clean;
    if (!utf8::valid(text)) {
      clean = utf8::lossy(text, huggingface_ ? utf8::Lossy::maximal : utf8::Lossy::per_byte);
      text = clean;
    }
    if (!huggingface_) {
      run.normalize(text, place.first, false);
      return;
    }
    bool first = place.first;
    for (const Part& part : added_raw_.split(text, place.parse_special)) {
      if (part.id >= 0)
        ids.push_back(part.id);
      else
        run.normalize(part.text, first, place.parse_special);
      first = false;
    }
  }

 private:
  /// Work on one text. Equal words are encoded once.
  struct Run {
    const PipelineEncoder& owner;
    std::vector<int32_t>& ids;
    std::deque<std::string> texts{};
    PreTokenizer::Words words{};
    std::unordered_map<std::string_view, std::vector<int32_t>> known{};

    void normalize(std::string_view text, bool first, bool parse_special) {
      if (!owner.normalizer_.empty()) text = texts.emplace_back(owner.normalizer_.run(std::string(text)));
      if (!owner.huggingface_) {
        encode(text, first);
        return;
      }
      for (const Part& part : owner.added_normalized_.split(text, parse_special)) {
        if (part.id >= 0)
          ids.push_back(part.id);
        else
          encode(part.text, first);
        first = false;
      }
    }

    void encode(std::string_view text, bool first) {
      owner.pre_tokenizer_.run(text, first, words);
      for (const PreTokenizer::Word& word : words.list) {
        constexpr size_t longest = 256;
        if (word.text.size() > longest) {
          word_ids(word.text, ids);
          continue;
        }
        const auto [entry, fresh] = known.try_emplace(word.text);
        if (fresh) word_ids(word.text, entry->second);
        ids.insert(ids.end(), entry->second.begin(), entry->second.end());
      }
    }

    void word_ids(std::string_view word, std::vector<int32_t>& out) const {
      if (owner.pre_tokenizer_.spells_bytes())
        owner.model_->encode(to_byte_level(word), out);
      else
        owner.model_->encode(word, out);
    }
  };

  const bool huggingface_;
  TextNormalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_raw_, added_normalized_;
  std::unique_ptr<WordModel> model_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_pipeline_encoder(const TokenizerData& data, const Vocab& vocab) {
  return std::make_unique<PipelineEncoder>(data, vocab);
}

}  // namespace nibble
