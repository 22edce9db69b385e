#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/pool.h"
#include "containers/tensor_file.h"

namespace nibble {

/// Of everything in the files of a checkpoint, wherever they stand and whatever they are called: 32
/// hexadecimal digits of XXH3-128 over those of pieces of 1 MiB, file after file. Gigabytes pass through
/// memory once: who reads them for another end says so, and they are hashed on the way.
class ContentHash {
 public:
  explicit ContentHash(const TensorFile& file);

  /// To be called when `bytes` of the files are about to be read: the pieces that begin there are hashed,
  /// which leaves them in the processor's cache. A hint: bytes from elsewhere are ignored, and what is
  /// never announced is left for finish(). Safe from any thread.
  void before_reading(std::span<const std::byte> bytes);

  /// Bytes that nobody announced so far.
  uint64_t left() const noexcept;
  /// The hash. Reads what is left on all threads and tells `step` of its bytes, from several of them; the
  /// result depends on the content alone. Throws Error{interrupted}.
  std::string finish(
      ThreadPool& pool, const std::function<void(uint64_t bytes)>& step = [](uint64_t) {});

 private:
  /// Hashes a piece unless somebody has; returns its bytes, none if somebody had.
  std::span<const std::byte> take(const MappedFile& file, size_t first_piece, size_t piece);

  std::vector<MappedFile> files_;
  std::vector<size_t> first_;  ///< piece of each file
  std::vector<std::atomic<bool>> taken_;
  std::vector<std::string> hashes_;  ///< of the pieces
};

}  // namespace nibble
