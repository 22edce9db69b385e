#pragma once

#include <vector>

#include "base/rng.h"
#include "ops/op.h"
#include "support/gaussian.h"

namespace nibble::test {

inline std::shared_ptr<const Weight> weight(const std::string& name, const Shape& shape,
                                            const std::vector<float>& values,
                                            const std::string& format = "f32") {
  auto w = std::make_shared<Weight>();
  w->name = name;
  w->shape = shape;
  if (shape.rank() >= 2) {
    w->matrix = std::make_unique<Matrix>(encode_nearest(format_of(format), shape, values), name);
  } else {
    w->values = values;
  }
  return w;
}

struct Input {
  std::vector<float> values;
  int64_t cols;
};

/// Applies one operation outside of any program.
inline std::vector<float> run_op(const Op& op, RunContext& context, const std::vector<Input>& inputs,
                                 std::vector<std::shared_ptr<const Weight>> weights, std::any attributes) {
  Node node{&op, "node", {}, {}, std::move(weights), std::move(attributes)};
  std::vector<Extent> extents;
  std::vector<std::vector<float>> copies;
  for (const Input& i : inputs) {
    extents.push_back({RowSet::all, i.cols});
    copies.push_back(i.values);
  }
  const std::vector<Extent> shapes = op.shape(node, extents);
  std::vector<Value> in;
  for (size_t i = 0; i < inputs.size(); ++i)
    in.push_back({copies[i].data(), static_cast<int64_t>(copies[i].size()) / inputs[i].cols, inputs[i].cols});
  const auto rows =
      static_cast<int64_t>(shapes[0].rows == RowSet::all ? context.tokens.size() : context.selected.size());
  std::vector<float> y(static_cast<size_t>(rows * shapes[0].cols));
  const Value out{y.data(), rows, shapes[0].cols};
  op.forward(node, context, in, {&out, 1});
  return y;
}

}  // namespace nibble::test
