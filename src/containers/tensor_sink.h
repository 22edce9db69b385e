#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "containers/output_plan.h"

namespace nibble {

/// Writes a planned output. All bytes go to PATH.partial; finish() syncs and renames, so no half-written file
/// ever bears the final name. Destroyed without finish() or discard(), the partial files stay for a later
/// run.
class TensorSink {
 public:
  enum class Start {
    fresh,  ///< whatever an earlier run left is overwritten
    resume  ///< go on where an earlier run with exactly this plan stopped, if it left its files
  };

  /// Creates folders as needed, reserves the disk space and writes the headers. Throws Error{io} when the
  /// disk cannot hold the plan (nothing is left behind then), when another process is writing the same
  /// output, or the folder already holds a model.safetensors that readers would prefer to planned shards.
  explicit TensorSink(OutputPlan plan, Start start = Start::fresh);
  ~TensorSink();
  TensorSink(const TensorSink&) = delete;
  TensorSink& operator=(const TensorSink&) = delete;

  /// True if all files of an earlier run were taken over: which tensors they hold is for its journal to say.
  bool resumed() const noexcept;
  const OutputPlan& plan() const noexcept;

  /// Writes bytes of a plane from `offset` (within the plane) on. Safe from any thread; ranges may come in
  /// any order. Throws Error{io}.
  void write(size_t tensor, size_t plane, uint64_t offset, std::span<const std::byte> bytes);
  /// Reads back what stands there, to check it against a journal.
  void read(size_t tensor, size_t plane, uint64_t offset, std::span<std::byte> bytes) const;
  /// Returns when everything written so far is on disk. Safe beside writes.
  void sync();
  /// Puts `text`, which is as long, in the place of every text_to_come of the headers.
  void fill_in(std::string_view text);
  /// Syncs, gives every file its final name, writes the small files. Nothing may be written afterwards.
  void finish();
  /// Removes the partial files.
  void discard();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes a small file through PATH.partial, sync and rename; its folder must exist. Throws Error{io}.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::string& path, std::string_view text);

}  // namespace nibble
