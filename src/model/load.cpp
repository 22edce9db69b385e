#include "model/load.h"

namespace nibble {
namespace {

struct CheckpointSource final : WeightSource {
  const Checkpoint& checkpoint;
  explicit CheckpointSource(const Checkpoint& c) : checkpoint(c) {}
  std::optional<QTensor> find(std::string_view name) const override {
    const CanonicalTensor* tensor = checkpoint.find(name);
    if (tensor != nullptr) return checkpoint.load(*tensor);
    // Scales stand beside the matrices they belong to and are no tensors of the architecture.
    if (checkpoint.source() != SourceKind::gguf || !name.ends_with(".scale")) return std::nullopt;
    const StoredTensor* stored = checkpoint.file().find(name);
    if (stored == nullptr) return std::nullopt;
    return stored->weights();
  }
};

}  // namespace

Program load_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options) {
  for (const CanonicalTensor& t : checkpoint.tensors()) {
    if (t.experts > 0 && !t.scale.empty())
      fail(ErrorKind::unsupported, "{}: scales of stacked experts are not supported ({})", checkpoint.path(),
           t.name);
  }
  return build_program(checkpoint.arch(), checkpoint.hparams(), CheckpointSource(checkpoint), pool, options);
}

}  // namespace nibble
