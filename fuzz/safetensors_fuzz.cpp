#include "containers/safetensors.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return nibble::fuzz::run(data, size, [](std::span<const std::byte> bytes) {
    nibble::fuzz::touch(nibble::parse_safetensors(bytes, "input"));
  });
}
