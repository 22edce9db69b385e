#pragma once

#include "model/checkpoint.h"
#include "model/program.h"

namespace nibble {

/// A checkpoint's tensors, as a program takes them. The checkpoint must outlive it.
class CheckpointWeights final : public WeightSource {
 public:
  explicit CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  std::optional<QTensor> find(std::string_view canonical_name) const override;
  std::function<void()> releaser(std::string_view canonical_name) const override;

 private:
  const Checkpoint& checkpoint_;
};

/// The program of a checkpoint. Weights stay in the mapped files where their bytes can be used as they are;
/// for Precision::fast they may be copied in another order from the second pass on, and their pages of the
/// file let go. Inputs that
/// the checkpoint's weights want turned are, whatever the options say. Throws like build_program and
/// turned_inputs.
Program load_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options = {});

/// outline_program of a checkpoint; reads nothing but vectors. Throws as load_program does.
Program outline_program(const Checkpoint& checkpoint);

}  // namespace nibble
