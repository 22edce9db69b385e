#include "pipeline/scaling.h"

#include <algorithm>

#include "model/load.h"
#include "model/rewrite.h"

namespace nibble {
namespace {

bool stands_as_rows(const CanonicalTensor& t) { return t.rewrite != Rewrite::transpose; }

/// Statistics of an input that was divided by scales.
class DividedStats {
 public:
  DividedStats(const Stats& stats, std::span<const float> scale)
      : importance_(stats.importance.begin(), stats.importance.end()),
        hessian_(stats.hessian.begin(), stats.hessian.end()),
        maxima_(stats.maxima.begin(), stats.maxima.end()) {
    const size_t n = scale.size();
    for (size_t i = 0; i < importance_.size(); ++i) importance_[i] /= scale[i] * scale[i];
    for (size_t i = 0; i < hessian_.size(); ++i) hessian_[i] /= scale[i / n] * scale[i % n];
    for (size_t i = 0; i < maxima_.size(); ++i) maxima_[i] /= scale[i];
  }
  Stats view() const { return {importance_, hessian_, maxima_}; }

 private:
  std::vector<float> importance_, hessian_, maxima_;
};

}  // namespace

PartScaling::PartScaling(const QuantizationPlan& plan) : plan_(plan) {
  for (const std::string& word : plan.recipe.with) {
    if (const ChannelTransform* t = find_channel_transform(word)) transforms_.push_back(t);
  }
}

const ExportTensor* PartScaling::exported(const std::string& canonical) const {
  for (const ExportTensor& t : plan_.file.tensors) {
    if (t.source != nullptr && t.source->name == canonical) return &t;
  }
  return nullptr;
}

bool PartScaling::can_scale(const ScalableInput& input) const {
  const Checkpoint& model = plan_.file.checkpoint();
  bool gains = false;
  for (const std::string& name : input.readers) {
    const CanonicalTensor* t = model.find(name);
    const ExportTensor* e = exported(name);
    if (t == nullptr || e == nullptr || !stands_as_rows(*t)) return false;
    gains = gains || !is_plain_float(e->format->spec()) || plan_.recipe.activations;
  }
  const CanonicalTensor* maker = model.find(input.maker);
  if (maker == nullptr || exported(input.maker) == nullptr || !stands_as_rows(*maker)) return false;
  // Where no reader is rounded there is nothing to gain.
  return gains && (input.maker_bias.empty() || model.find(input.maker_bias) != nullptr);
}

void PartScaling::begin(int64_t part, ThreadPool& pool) {
  inputs_.clear();
  scales_.clear();
  factors_.clear();
  const Checkpoint& model = plan_.file.checkpoint();
  if (transforms_.empty() || part < 0) return;
  BuildOptions options;
  options.decoded_bytes = 0;
  options.part = part < model.hparams().layers ? ProgramPart::only_layer(part) : ProgramPart::only_head();
  inputs_ = scalable_inputs(load_program(model, pool, options));
  std::erase_if(inputs_, [&](const ScalableInput& input) { return !can_scale(input); });
  scales_.resize(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    for (const std::string& name : inputs_[i].readers) factors_[name].columns = &scales_[i];
    for (const std::string& name : {inputs_[i].maker, inputs_[i].maker_bias}) {
      if (name.empty()) continue;
      factors_[name].rows = &scales_[i];
      factors_[name].first_row = inputs_[i].maker_row;
    }
  }
}

bool PartScaling::touches(const ExportTensor& t) const {
  return t.source != nullptr && factors_.count(t.source->name) != 0;
}

/// A gain is stored in some float type: the readers undo what it really became.
void PartScaling::keep_gain(const ScalableInput& input, std::vector<float>& scale) const {
  const Checkpoint& model = plan_.file.checkpoint();
  const CanonicalTensor& t = model.at(input.maker);
  if (t.shape.rank() != 1) return;
  const ExportTensor& e = *exported(input.maker);
  std::vector<float> gain(scale.size()), stored(scale.size());
  model.read_rows(t, 0, 1, gain.data());
  plan_.file.read_rows(e, 0, 1, stored.data());
  rescale(e, 0, stored);
  std::vector<float> back(scale.size());
  decode_range(encode_nearest(*e.format, e.shape, stored), 0, e.shape.elements(), back.data());
  const float offset =
      plan_.file.target == Target::huggingface && t.rewrite == Rewrite::plus_one ? 1.0f : 0.0f;
  for (size_t i = 0; i < scale.size(); ++i) {
    const float left = back[i] + offset;
    if (left != 0 && gain[i] != 0 && gain[i] / left > 0) scale[i] = gain[i] / left;
  }
}

/// The readers with their columns times `scale` (empty: as they are).
std::vector<InputReader> PartScaling::readers_of(const ScalableInput& input,
                                                 const std::vector<float>& scale) const {
  const Checkpoint& model = plan_.file.checkpoint();
  std::vector<InputReader> readers;
  for (const std::string& name : input.readers) {
    const CanonicalTensor& t = model.at(name);
    readers.push_back({*exported(name)->format, t.shape.rows(), [&](int64_t row, int64_t n, float* out) {
                         model.read_rows(t, row, n, out);
                         if (!scale.empty())
                           multiply_columns({out, static_cast<size_t>(n * t.shape.cols())}, scale);
                       }});
  }
  return readers;
}

void PartScaling::choose(const ScalableInput& input, std::vector<float>& scale, ThreadPool& pool) {
  std::optional<KnownInput> known;
  for (const std::string& name : input.readers) {
    if (!known) known = plan_.stats->find(plan_.file.checkpoint().at(name), 0);
  }
  if (!known || known->stats.importance.empty()) return;
  std::string note;
  std::vector<float> product;
  for (const ChannelTransform* transform : transforms_) {
    std::optional<DividedStats> divided;
    if (!product.empty()) divided.emplace(known->stats, product);
    const ChannelChoice found =
        transform->choose(readers_of(input, product), divided ? divided->view() : known->stats, pool);
    if (found.scale.empty()) continue;
    if (product.empty()) product.assign(found.scale.size(), 1.0f);
    for (size_t i = 0; i < product.size(); ++i) product[i] *= found.scale[i];
    note += (note.empty() ? "" : "; ") + found.note;
  }
  if (product.empty()) return;
  scale = std::move(product);
  keep_gain(input, scale);
  for (const std::string& name : input.readers) notes_[exported(name)->name] = note;
}

void PartScaling::search(ThreadPool& pool) {
  for (size_t i = 0; i < inputs_.size(); ++i) choose(inputs_[i], scales_[i], pool);
}

std::span<const float> PartScaling::columns(const CanonicalTensor& t) const {
  const auto it = factors_.find(t.name);
  if (it == factors_.end() || it->second.columns == nullptr) return {};
  return *it->second.columns;
}

void PartScaling::rescale(const ExportTensor& t, int64_t row, std::span<float> x) const {
  if (t.source == nullptr) return;
  const auto it = factors_.find(t.source->name);
  if (it == factors_.end()) return;
  const Factors& f = it->second;
  if (f.columns != nullptr && !f.columns->empty()) multiply_columns(x, *f.columns);
  if (f.rows == nullptr || f.rows->empty()) return;
  const std::vector<float>& scale = *f.rows;
  const auto n = static_cast<int64_t>(scale.size());
  const bool folder = plan_.file.target == Target::huggingface;
  const Hparams& h = plan_.file.checkpoint().hparams();
  const auto channel_of = [&](int64_t r) {
    return (folder ? canonical_row(t.source->rewrite, h, r) : r) - f.first_row;
  };
  if (t.shape.rank() == 1) {
    const float offset = folder && t.source->rewrite == Rewrite::plus_one ? 1.0f : 0.0f;
    for (int64_t i = 0; i < static_cast<int64_t>(x.size()); ++i) {
      const int64_t c = channel_of(i);
      if (c >= 0 && c < n)
        x[static_cast<size_t>(i)] =
            (x[static_cast<size_t>(i)] + offset) / scale[static_cast<size_t>(c)] - offset;
    }
    return;
  }
  const int64_t cols = t.shape.cols(), rows = static_cast<int64_t>(x.size()) / cols;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t c = channel_of(row + r);
    if (c < 0 || c >= n) continue;
    for (int64_t j = 0; j < cols; ++j) x[static_cast<size_t>(r * cols + j)] /= scale[static_cast<size_t>(c)];
  }
}

}  // namespace nibble
