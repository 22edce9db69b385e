#pragma once

#include <map>
#include <optional>
#include <string>

namespace nibble {

/// The record, beside an unfinished output, of which tensors are already on disk and what they hash to. Lines
/// are appended only after the bytes they vouch for have been synced; a torn last line is ignored.
class Journal {
 public:
  /// Opens PATH. If it tells of the same job (`identity`) its tensors count as done, else it starts afresh.
  /// Throws Error{io}.
  Journal(std::string path, const std::string& identity);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  bool resumed() const noexcept { return !done_.empty(); }
  /// Hash of a finished tensor; nothing if it is not finished.
  std::optional<std::string> find(const std::string& tensor) const;
  void record(const std::string& tensor, const std::string& hash);
  /// Forgets a tensor whose bytes turned out to be wrong (in memory: the next record of it counts).
  void forget(const std::string& tensor) { done_.erase(tensor); }
  /// Pushes the recorded lines to disk.
  void sync();
  /// The job is complete: the file goes away.
  void remove();

 private:
  std::string path_;
  int fd_ = -1;
  std::map<std::string, std::string> done_;
};

}  // namespace nibble
