#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/collector.h"
#include "model/checkpoint.h"

namespace nibble {

/// Tokens of one forward pass.
using Sequence = std::vector<int32_t>;

/// Takes sequences through a model layer by layer, so that only one layer's weights and the hidden states
/// between two layers are needed at a time. Hidden states stand in a file, those before a layer and those
/// after it: a walk that was killed goes on at the last layer it reached.
class LayerWalk {
 public:
  /// `path`: the file; it is taken over if it tells of the same model and sequences. Parts are numbered by
  /// layer; the one after the last layer is the head. What Precision::fast gives depends on the level in use,
  /// and a walk does not go on at another. Throws Error{io}, Error{usage} for an encoder.
  LayerWalk(const Checkpoint& model, std::span<const Sequence> sequences, std::string path, ThreadPool& pool,
            Precision precision = Precision::exact);
  ~LayerWalk();
  LayerWalk(const LayerWalk&) = delete;
  LayerWalk& operator=(const LayerWalk&) = delete;

  int64_t parts() const noexcept;
  uint64_t sequences() const noexcept;
  /// Of the model's files and the sequences.
  std::string identity() const;
  /// Runs part `part` with an observer, after whatever parts lie between it and where the walk stands. Parts
  /// must be asked for in ascending order, but for the last one, which may be asked for again. `step` is
  /// called after every sequence and part. Throws Error{interrupted}, and Error{bad_input} for a model that
  /// computes NaN.
  void observe(int64_t part, Collector& collector, const std::function<void()>& step);
  /// Deletes the file.
  void remove();
  /// Bytes that the file takes.
  static uint64_t file_bytes(const Checkpoint& model, std::span<const Sequence> sequences);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
