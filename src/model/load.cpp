#include "model/load.h"

namespace nibble {
namespace {

struct CheckpointSource final : WeightSource {
  const Checkpoint& checkpoint;
  explicit CheckpointSource(const Checkpoint& c) : checkpoint(c) {}
  std::optional<QTensor> find(std::string_view name) const override {
    const CanonicalTensor* tensor = checkpoint.find(name);
    if (tensor == nullptr) return std::nullopt;
    return checkpoint.load(*tensor);
  }
};

}  // namespace

Program load_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options) {
  return build_program(checkpoint.arch(), checkpoint.hparams(), CheckpointSource(checkpoint), pool, options);
}

}  // namespace nibble
