#include "tokenizers/engine.h"

#include "base/error.h"

namespace nibble {

std::unique_ptr<TextEncoder> make_encoder(const TokenizerData& data, const Vocab& vocab) {
  if (data.source == TokenizerSource::sentencepiece) return make_sentencepiece_encoder(data, vocab);
  fail(ErrorKind::unsupported, "this kind of vocabulary");
}

}  // namespace nibble
