#include "pipeline/found_input.h"

#include "base/error.h"

namespace nibble {

void FoundInputs::clear() { reset({}); }

void FoundInputs::reset(std::vector<InputStats> inputs) {
  index_.clear();
  pooled_.clear();
  columns_.clear();
  inputs_ = std::move(inputs);
  for (const InputStats& s : inputs_) {
    for (const std::string& reader : s.readers) index_[{reader, s.slice}] = &s;
  }
}

const InputStats* FoundInputs::seen(const CanonicalTensor& t) const {
  const auto it = index_.find(std::tuple(t.name, int64_t{0}));
  return it == index_.end() ? nullptr : it->second;
}

std::optional<KnownInput> FoundInputs::find(const CanonicalTensor& t, int64_t expert) {
  const auto it = index_.find(std::tuple(t.name, expert));
  const InputStats* seen = it == index_.end() ? nullptr : it->second;
  if (t.experts > 0 && (seen == nullptr || seen->rows < fewest_expert_tokens)) return pooled(t, seen);
  if (seen == nullptr) return std::nullopt;
  return known(*seen, t);
}

KnownInput FoundInputs::known(const InputStats& s, const CanonicalTensor& t) {
  if (s.cols != t.shape.cols()) {
    throw Error(
        ErrorKind::bad_input,
        fmt::format("{} has {} columns, and the statistics are of {}", t.name, t.shape.cols(), s.cols),
        "the statistics were collected on another model");
  }
  Columns& columns = columns_[&s];
  if (columns.importance.empty()) {
    columns.importance = s.importance();
    if (s.rows > 0) columns.maxima = s.maxima();
  }
  return {&s, {columns.importance, s.hessian, columns.maxima}, s.rows, {}};
}

KnownInput FoundInputs::pooled(const CanonicalTensor& t, const InputStats* seen) {
  auto [it, made] = pooled_.try_emplace(t.name);
  if (made) {
    for (int64_t e = 0; e < t.experts; ++e) {
      if (const auto s = index_.find(std::tuple(t.name, e)); s != index_.end())
        add_stats(it->second, *s->second);
    }
  }
  if (it->second.rows == 0) {
    throw Error(ErrorKind::bad_input, fmt::format("no expert of {} was ever used", t.name),
                "calibrate on more or other text");
  }
  KnownInput k = known(it->second, t);
  k.note = fmt::format("saw {} tokens, fewer than {}: calibrated on those of all experts",
                       seen == nullptr ? 0 : seen->rows, fewest_expert_tokens);
  return k;
}

}  // namespace nibble
