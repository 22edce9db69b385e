#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/program.h"

namespace nibble::test {

/// All weights of a model as f32, to be changed.
class ChangeableWeights final : public WeightSource {
 public:
  explicit ChangeableWeights(const Checkpoint& model) {
    for (const CanonicalTensor& t : model.tensors()) {
      std::vector<float>& x = values[t.name];
      x.resize(static_cast<size_t>(t.shape.elements()));
      model.read_rows(t, 0, t.shape.rows(), x.data());
      shapes.emplace(t.name, t.shape);
    }
  }
  std::optional<QTensor> find(std::string_view name) const override {
    const auto it = values.find(name);
    if (it == values.end()) return std::nullopt;
    const Shape& shape = shapes.find(name)->second;
    const bool inside = name.starts_with("blk.") && shape.rank() > 1;
    return encode_nearest(format_of(inside ? format : "f32"), shape, it->second);
  }
  void scale_row(const std::string& name, int64_t row, float factor) {
    const int64_t cols = shapes.find(name)->second.cols();
    for (int64_t c = 0; c < cols; ++c) values.at(name)[static_cast<size_t>(row * cols + c)] *= factor;
  }
  void scale_column(const std::string& name, int64_t column, float factor) {
    const Shape& shape = shapes.find(name)->second;
    for (int64_t r = 0; r < shape.rows(); ++r)
      values.at(name)[static_cast<size_t>(r * shape.cols() + column)] *= factor;
  }

  std::map<std::string, std::vector<float>, std::less<>> values;
  std::map<std::string, Shape, std::less<>> shapes;
  std::string format = "f32";  ///< of the layers' matrices
};

}  // namespace nibble::test
