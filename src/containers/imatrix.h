#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace nibble {

/// An importance matrix as llama.cpp's llama-imatrix writes it: for every matrix the sum of squares of each
/// channel of its input.
struct Imatrix {
  struct Entry {
    std::vector<float> sum2;    ///< [slices, cols]
    std::vector<float> counts;  ///< [slices] tokens that were summed
    int64_t cols() const noexcept {
      return counts.empty() ? 0 : static_cast<int64_t>(sum2.size() / counts.size());
    }
    /// [cols] mean squared input of a slice; empty where no token was seen. A file with one count for all
    /// slices answers for each of them.
    std::vector<float> importance(int64_t slice) const;
  };
  std::map<std::string, Entry> entries;  ///< by canonical (GGUF) name of the matrix
  std::vector<std::string> datasets;
  uint32_t chunks = 0, chunk_size = 0;
};

/// Reads both kinds: GGUF (tensors NAME.in_sum2 and NAME.counts) and the older binary one, which is told by
/// not being GGUF. `slices` of the older kind are found when an entry meets its matrix. Throws
/// Error{bad_input} with file and offset for anything that breaks the format.
Imatrix read_imatrix(const std::string& path);
/// The older kind from memory.
Imatrix parse_imatrix_dat(std::span<const std::byte> bytes, const std::string& file);

/// Writes the GGUF kind, or the older one where the path ends in .dat, atomically.
void write_imatrix(const Imatrix& imatrix, const std::string& path);

}  // namespace nibble
