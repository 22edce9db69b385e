#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace nibble {

/// Positions of one page: what attention takes in at once.
constexpr int64_t kv_page = 64;
/// Pages of so many positions.
constexpr int64_t kv_pages(int64_t positions) { return (positions + kv_page - 1) / kv_page; }

/// What kernels may read, but never use, beyond the last page of a cache.
constexpr size_t kv_slack = 64;

/// How the keys or values of attention are stored. A page holds those of one key head at 64 positions that
/// start at a multiple of 64, in whatever order suits the kernels (kernels/attend.h); every format decides
/// that for itself, in its own file under kernels/kv. Reading gives the truth; kernels may only round.
struct KvFormat {
  std::string_view word;
  /// Bytes of a page for heads of d columns, a multiple of 64.
  int64_t (*page_bytes)(int64_t d);
  /// Stores the d numbers of one position, 0 <= slot < 64. NaN and infinity come out as NaN or infinity.
  void (*put_key)(std::byte* page, int64_t slot, int64_t d, const float* x) = nullptr;
  void (*put_value)(std::byte* page, int64_t slot, int64_t d, const float* x) = nullptr;
  /// The first n positions as f32, rows of d. The same bits on every machine.
  void (*keys)(const std::byte* page, int64_t n, int64_t d, float* out) = nullptr;
  void (*values)(const std::byte* page, int64_t n, int64_t d, float* out) = nullptr;
  bool plain = false;    ///< a page is just such rows
  bool rotates = false;  ///< so coarse that heads should be rotated first unless told otherwise
  /// The least magnitude of a number that would come out as infinity.
  float overflow = std::numeric_limits<float>::infinity();
  /// Its operation lays out all heads of a page together; else the pages of a head follow each other.
  bool joins_heads = false;
};

/// All of kernels/kv/list.inc.
std::span<const KvFormat* const> kv_formats();
/// Null for a word that is none.
const KvFormat* find_kv_format(std::string_view word);
/// Throws Error{usage} listing the words.
const KvFormat& kv_format_of(std::string_view word);

}  // namespace nibble
