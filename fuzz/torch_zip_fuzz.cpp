#include "containers/pickle.h"
#include "containers/torch_zip.h"
#include "touch.h"

// The same bytes as an archive and as the pickle inside of one: most mutations of an archive never get that
// far.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nibble::fuzz;
  return run(data, size,
             [](std::span<const std::byte> bytes) { touch(nibble::parse_torch(bytes, "input")); }) +
         run(data, size, [](std::span<const std::byte> bytes) { nibble::run_pickle(bytes, "input"); });
}
