#include "containers/imatrix.h"
#include "target.h"

// What was read has the sizes that it claims, and means that are numbers.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return nibble::fuzz::run(data, size, [](std::span<const std::byte> bytes) {
    const nibble::Imatrix m = nibble::parse_imatrix_dat(bytes, "input");
    for (const auto& [name, e] : m.entries) {
      const auto importance = e.importance(0);
      if (static_cast<int64_t>(importance.size()) != e.cols()) __builtin_trap();
      for (const float v : importance) {
        if (!(v >= 0)) __builtin_trap();
      }
    }
  });
}
