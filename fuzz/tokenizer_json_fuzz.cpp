#include "target.h"
#include "tokenizers/hf_json.h"
#include "tokenizers/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nibble;
  return fuzz::run(data, size, [](std::span<const std::byte> bytes) {
    TokenizerData found = read_hf_tokenizer(fuzz::text(bytes), "input");
    read_hf_config(fuzz::text(bytes), "input", found);
    const Tokenizer tokenizer(std::move(found));
    const auto ids = tokenizer.encode("  The quick\xff brown \xe2\x96\x81\xc3\xa9 it's <s> 12 [CLS]",
                                      {.parse_special = true});
    tokenizer.decode(ids);
    tokenizer.encode(fuzz::text(bytes.first(std::min<size_t>(bytes.size(), 200))));
  });
}
