#pragma once

#include <cstdint>

namespace nibble {

/// How streams of weights are read fastest (docs/kernels.md).
enum class Streams : uint8_t {
  alone,  ///< by the processor's own prefetchers
  asked,  ///< what comes next asked for ahead (Intel)
  /// The same; with 512 bits floats are asked for to the second level only, and read two streams at a time
  /// (AMD from Zen 5 on).
  asked_in_pairs,
};

}  // namespace nibble
