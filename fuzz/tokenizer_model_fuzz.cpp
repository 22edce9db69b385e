#include "target.h"
#include "tokenizers/sentencepiece.h"
#include "tokenizers/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nibble;
  return fuzz::run(data, size, [](std::span<const std::byte> bytes) {
    const Tokenizer tokenizer(read_sentencepiece(fuzz::text(bytes), "input"));
    const auto ids = tokenizer.encode("  The quick\xff brown \xe2\x96\x81\xc3\xa9 <s> 12");
    tokenizer.decode(ids);
    tokenizer.encode(fuzz::text(bytes.first(std::min<size_t>(bytes.size(), 200))), {.parse_special = true});
  });
}
