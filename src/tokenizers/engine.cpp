#include "tokenizers/engine.h"

#include "base/error.h"

namespace nibble {

std::unique_ptr<TextEncoder> make_encoder(const TokenizerData& data, const Vocab& vocab) {
  switch (data.source) {
    case TokenizerSource::sentencepiece:
      return make_sentencepiece_encoder(data, vocab);
    case TokenizerSource::huggingface:
      return make_pipeline_encoder(data, vocab);
    case TokenizerSource::gguf:
      return data.model == TokenizerModel::bpe ? make_pipeline_encoder(data, vocab)
                                               : make_gguf_encoder(data, vocab);
  }
  fail(ErrorKind::internal, "a vocabulary of unknown source");
}

}  // namespace nibble
