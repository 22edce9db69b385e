#include "model/load.h"

#include "model/activation_note.h"

namespace nibble {
std::optional<QTensor> CheckpointWeights::find(std::string_view name) const {
  const CanonicalTensor* tensor = checkpoint_.find(name);
  if (tensor != nullptr) return checkpoint_.load(*tensor);
  // Scales stand beside the matrices they belong to and are no tensors of the architecture.
  if (checkpoint_.source() != SourceKind::gguf || !name.ends_with(".scale")) return std::nullopt;
  const StoredTensor* stored = checkpoint_.file().find(name);
  if (stored == nullptr) return std::nullopt;
  return stored->weights();
}

void CheckpointWeights::release(std::string_view name) const {
  if (const CanonicalTensor* tensor = checkpoint_.find(name); tensor != nullptr) checkpoint_.release(*tensor);
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

}  // namespace nibble
