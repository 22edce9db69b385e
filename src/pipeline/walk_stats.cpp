#include <filesystem>

#include "base/error.h"
#include "calibrate/layer_walk.h"
#include "pipeline/found_input.h"

namespace nibble {
namespace {

class WalkStats final : public StatsSource {
 public:
  WalkStats(const Checkpoint& model, CalibrationText text, Needs needs, std::string scratch, ThreadPool& pool)
      : model_(model), text_(std::move(text)), needs_(needs), scratch_(std::move(scratch)), pool_(pool) {}

  Needs gives() const noexcept override { return {true, needs_.hessian, true}; }
  std::string identity() const override { return "text " + text_.identity(); }
  Precision precision() const noexcept override { return text_.precision; }
  std::string description() const override { return text_.description; }
  uint64_t steps() const noexcept override {
    // The embedding, every layer and the head.
    return text_.sequences.size() * static_cast<uint64_t>(model_.hparams().layers + 2);
  }
  uint64_t disk() const noexcept override { return LayerWalk::file_bytes(model_, text_.sequences); }

  uint64_t memory() const noexcept override {
    // Of the layer that needs most: its weights as f32, and the Hessians of its inputs.
    uint64_t weights = 0, inputs = 0, most = 0;
    int64_t part = -2;
    for (const CanonicalTensor& t : model_.tensors()) {
      if (t.shape.rank() < 2) continue;
      if (const int64_t p = part_of(t, model_.hparams()); p != part) {
        part = p;
        weights = inputs = 0;
      }
      weights += static_cast<uint64_t>(t.shape.elements()) * sizeof(float);
      const uint64_t slices = t.experts > 0 ? static_cast<uint64_t>(t.experts) : 1;
      if (needs_.hessian) inputs += Gram::most_bytes(t.shape.cols(), text_.precision) * slices;
      most = std::max(most, weights + inputs);
    }
    return most;
  }

  void enter(int64_t part, const std::function<void()>& step) override {
    if (part < 0 || part == part_) return;
    if (!walk_)
      walk_ = std::make_unique<LayerWalk>(model_, text_.sequences, scratch_, pool_, text_.precision);
    inputs_.clear();
    Collector collector({.hessian = needs_.hessian, .precision = text_.precision}, pool_);
    walk_->observe(part, collector, step);
    inputs_.reset(collector.take());
    part_ = part;
  }

  std::optional<KnownInput> find(const CanonicalTensor& t, int64_t expert) override {
    if (part_of(t, model_.hparams()) != part_) return std::nullopt;
    return inputs_.find(t, expert);
  }

  void finish() override {
    // An earlier try may have left it where this one had nothing to collect any more.
    std::error_code ignored;
    std::filesystem::remove(scratch_, ignored);
  }

 private:
  const Checkpoint& model_;
  CalibrationText text_;
  Needs needs_;
  std::string scratch_;
  ThreadPool& pool_;
  std::unique_ptr<LayerWalk> walk_;
  FoundInputs inputs_;
  int64_t part_ = -1;
};

}  // namespace

int64_t part_of(const CanonicalTensor& t, const Hparams& hparams) noexcept {
  if (t.layer >= 0) return t.layer;
  const bool before = t.role == Role::token_embedding || t.role == Role::position_embedding ||
                      t.role == Role::type_embedding || t.name.starts_with("token_embd");
  if (!before || (t.role == Role::token_embedding && hparams.tied)) return hparams.layers;
  return -1;
}

std::shared_ptr<StatsSource> walk_stats(const Checkpoint& model, CalibrationText text, Needs needs,
                                        std::string scratch, ThreadPool& pool) {
  return std::make_shared<WalkStats>(model, std::move(text), needs, std::move(scratch), pool);
}

}  // namespace nibble
