#include "containers/hf_folder.h"
#include "containers/json_meta.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nibble::fuzz;
  return run(data, size,
             [](std::span<const std::byte> bytes) { nibble::parse_json_meta(text(bytes), "input"); }) +
         run(data, size,
             [](std::span<const std::byte> bytes) { nibble::parse_shard_index(text(bytes), "input"); });
}
