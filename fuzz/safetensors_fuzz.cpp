#include "containers/hf_folder.h"
#include "containers/safetensors.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return nibble::fuzz::run(data, size, [](std::span<const std::byte> bytes) {
    nibble::TensorListing listing = nibble::parse_safetensors(bytes, "input");
    nibble::fuzz::touch(listing);
    nibble::assemble_by_metadata(listing, "input");
    nibble::fuzz::touch(listing);
  });
}
