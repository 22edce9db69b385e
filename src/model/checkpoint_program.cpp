#include "model/checkpoint_program.h"

namespace nibble {
namespace {

struct CheckpointWeights final : WeightSource {
  explicit CheckpointWeights(const Checkpoint& c) : checkpoint(c) {}
  std::optional<QTensor> find(std::string_view name) const override {
    const CanonicalTensor* t = checkpoint.find(name);
    if (t == nullptr) return std::nullopt;
    return checkpoint.load(*t);
  }
  const Checkpoint& checkpoint;
};

}  // namespace

Program build_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options) {
  return build_program(checkpoint.arch(), checkpoint.hparams(), CheckpointWeights(checkpoint), pool, options);
}

}  // namespace nibble
