#pragma once

#include <memory>
#include <string>

#include "containers/tensor_sink.h"
#include "pipeline/planner.h"

namespace nibble {

/// The output of a job as files: one GGUF, or a Hugging Face folder with everything its readers need.
class Output {
 public:
  /// Lays the output out; touches no file. Throws Error{unsupported} for what the container cannot hold.
  Output(const QuantizationPlan& plan, const std::string& path, uint64_t shard_size);

  /// Bytes of an earlier try that already take their place on the disk.
  uint64_t already_on_disk() const;
  /// Creates or takes over the partial files. Afterwards `resumed` tells whether their contents may count.
  void open(bool fresh);
  bool resumed() const { return sink_->resumed(); }

  /// Changes when anything does that the output's bytes depend on: recipe, version, source files, layout.
  const std::string& identity() const noexcept { return identity_; }
  std::string journal_path() const;

  void write(size_t tensor, size_t plane, uint64_t offset, std::span<const std::byte> bytes) const {
    sink_->write(tensor, plane, offset, bytes);
  }
  void read(size_t tensor, size_t plane, uint64_t offset, std::span<std::byte> bytes) const {
    sink_->read(tensor, plane, offset, bytes);
  }
  void sync() const { sink_->sync(); }
  void fill_in(std::string_view text) const { sink_->fill_in(text); }
  /// Gives the files their names and writes the small ones (config, tokenizer). Then the output is complete.
  void finish();
  /// Removes the partial files.
  void discard() { sink_->discard(); }

 private:
  OutputPlan layout_;
  std::string identity_;
  std::unique_ptr<TensorSink> sink_;
};

}  // namespace nibble
