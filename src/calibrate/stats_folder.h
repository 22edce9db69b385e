#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/input_stats.h"

namespace nibble {

/// A folder of statistics (docs/storage.md): statistics.json says of what, part-NNN.safetensors holds what
/// one layer's matrices (the last: the head's) read. Parts are written one by one, each complete when it
/// stands there: a calibration that was killed goes on with the first one missing.
class StatsFolder {
 public:
  /// What the statistics are of.
  struct About {
    std::string identity;     ///< of model and text: another one begins anew
    std::string description;  ///< for people
    bool hessian = false;
    int64_t parts = 0;
    int64_t chunks = 0, chunk_size = 0;
    std::string dataset;  ///< name of the text
    bool histogram = false;
  };

  /// Opens or makes a folder to write to; what it holds of another identity is deleted. Throws Error{io},
  /// Error{usage} if it holds something else than statistics.
  static StatsFolder create(const std::string& path, const About& about);
  /// Opens one to read. Throws Error{io, bad_input} if it is none, or not complete.
  static StatsFolder open(const std::string& path);

  const About& about() const noexcept { return about_; }
  bool has(int64_t part) const;
  void write(int64_t part, std::span<const InputStats> inputs) const;
  /// Throws Error{bad_input} naming the file for anything that is not as write() makes it.
  std::vector<InputStats> read(int64_t part) const;
  /// Deletes what it holds, and the folder if nothing else stands in it.
  void remove() const;

 private:
  StatsFolder(std::string path, About about) : path_(std::move(path)), about_(std::move(about)) {}
  std::string file(int64_t part) const;

  std::string path_;
  About about_;
};

}  // namespace nibble
