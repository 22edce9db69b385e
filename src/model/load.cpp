#include "model/load.h"

#include "model/activation_note.h"

namespace nibble {
namespace {

/// Matrices without bytes.
class Shapes final : public WeightSource {
 public:
  explicit Shapes(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  std::optional<QTensor> find(std::string_view name) const override {
    const CanonicalTensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr) return std::nullopt;
    if (tensor->shape.rank() >= 2) return QTensor{tensor->format, tensor->shape, {}};
    return checkpoint_.load(*tensor);
  }

 private:
  const Checkpoint& checkpoint_;
};

}  // namespace

std::optional<QTensor> CheckpointWeights::find(std::string_view name) const {
  const CanonicalTensor* tensor = checkpoint_.find(name);
  if (tensor != nullptr) return checkpoint_.load(*tensor);
  // Scales stand beside the matrices they belong to and are no tensors of the architecture.
  if (checkpoint_.source() != SourceKind::gguf || !name.ends_with(".scale")) return std::nullopt;
  const StoredTensor* stored = checkpoint_.file().find(name);
  if (stored == nullptr) return std::nullopt;
  return stored->weights();
}

std::function<void()> CheckpointWeights::releaser(std::string_view name) const {
  const CanonicalTensor* tensor = checkpoint_.find(name);
  if (tensor == nullptr) return {};
  return [checkpoint = checkpoint_, tensor] { checkpoint.release(*tensor); };
}

Program load_program(const Checkpoint& checkpoint, ThreadPool& pool, const BuildOptions& options) {
  for (const CanonicalTensor& t : checkpoint.tensors()) {
    if (t.experts > 0 && !t.scale.empty())
      fail(ErrorKind::unsupported, "{}: scales of stacked experts are not supported ({})", checkpoint.path(),
           t.name);
  }
  BuildOptions all = options;
  all.turned = turned_inputs(checkpoint);
  return build_program(checkpoint.arch(), checkpoint.hparams(), CheckpointWeights(checkpoint), pool, all);
}

Program outline_program(const Checkpoint& checkpoint) {
  BuildOptions options;
  options.turned = turned_inputs(checkpoint);
  return outline_program(checkpoint.arch(), checkpoint.hparams(), Shapes(checkpoint), options);
}

}  // namespace nibble
