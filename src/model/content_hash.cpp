#include "model/content_hash.h"

#include <algorithm>

#include "base/hash.h"
#include "base/interrupt.h"

namespace nibble {
namespace {

/// Half of a second-level cache of today's servers.
constexpr size_t piece_bytes = size_t{1} << 20;

size_t pieces_of(const MappedFile& file) { return (file.size() + piece_bytes - 1) / piece_bytes; }

}  // namespace

ContentHash::ContentHash(const TensorFile& file) : files_(file.mapped().begin(), file.mapped().end()) {
  size_t count = 0;
  for (const MappedFile& f : files_) {
    first_.push_back(count);
    count += pieces_of(f);
  }
  taken_ = std::vector<std::atomic<bool>>(count);
  hashes_.resize(count);
}

std::span<const std::byte> ContentHash::take(const MappedFile& file, size_t first_piece, size_t piece) {
  if (taken_[first_piece + piece].exchange(true)) return {};
  const size_t from = piece * piece_bytes;
  const auto bytes = file.data().subspan(from, std::min(piece_bytes, file.size() - from));
  want_pages(bytes);
  Hasher hasher;
  hasher.update(bytes);
  hashes_[first_piece + piece] = hasher.hex();
  return bytes;
}

void ContentHash::before_reading(std::span<const std::byte> bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()), end = begin + bytes.size();
  for (size_t i = 0; i < files_.size(); ++i) {
    const auto base = reinterpret_cast<uintptr_t>(files_[i].data().data());
    if (begin < base || end > base + files_[i].size()) continue;
    for (size_t k = (begin - base + piece_bytes - 1) / piece_bytes; base + k * piece_bytes < end; ++k)
      take(files_[i], first_[i], k);
  }
}

uint64_t ContentHash::left() const noexcept {
  uint64_t bytes = 0;
  for (size_t i = 0; i < files_.size(); ++i) {
    for (size_t k = 0; k < pieces_of(files_[i]); ++k) {
      if (!taken_[first_[i] + k]) bytes += std::min(piece_bytes, files_[i].size() - k * piece_bytes);
    }
  }
  return bytes;
}

std::string ContentHash::finish(ThreadPool& pool, const std::function<void(uint64_t)>& step) {
  Hasher all;
  for (size_t i = 0; i < files_.size(); ++i) {
    const size_t count = pieces_of(files_[i]);
    pool.parallel_for(count, [&](size_t k) {
      check_interrupt();
      const size_t length = take(files_[i], first_[i], k).size();
      if (length == 0) return;
      files_[i].release(k * piece_bytes, length);
      step(length);
    });
    for (size_t k = 0; k < count; ++k) all.update(std::as_bytes(std::span(hashes_[first_[i] + k])));
  }
  return all.hex();
}

}  // namespace nibble
