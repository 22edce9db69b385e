#include "model/embed.h"

#include <cmath>

namespace nibble {

Pooling pooling_from_name(std::string_view name) {
  if (name == "none") return Pooling::none;
  if (name == "mean") return Pooling::mean;
  if (name == "cls") return Pooling::cls;
  if (name == "last") return Pooling::last;
  throw Error(ErrorKind::usage, fmt::format("unknown pooling '{}'", name), "one of none, mean, cls, last");
}

std::vector<float> pool_hidden(std::span<const float> hidden, int64_t cols, Pooling pooling, bool normalize) {
  const auto width = static_cast<size_t>(cols);
  std::vector<float> v;
  switch (pooling) {
    case Pooling::none:
      v.assign(hidden.begin(), hidden.end());
      break;
    case Pooling::cls:
      v.assign(hidden.begin(), hidden.begin() + cols);
      break;
    case Pooling::last:
      v.assign(hidden.end() - cols, hidden.end());
      break;
    case Pooling::mean: {
      std::vector<double> sum(width);
      for (size_t i = 0; i < hidden.size(); ++i) sum[i % width] += hidden[i];
      const size_t rows = hidden.size() / width;
      for (const double s : sum) v.push_back(static_cast<float>(s / static_cast<double>(rows)));
      break;
    }
  }
  for (size_t row = 0; normalize && row < v.size(); row += width) {
    double square = 0;
    for (size_t c = 0; c < width; ++c) square += static_cast<double>(v[row + c]) * v[row + c];
    const double f = square > 0 ? 1 / std::sqrt(square) : 0;
    for (size_t c = 0; c < width; ++c) v[row + c] = static_cast<float>(v[row + c] * f);
  }
  return v;
}

std::vector<float> embed(Executor& executor, std::span<const int32_t> tokens, Pooling pooling,
                         bool normalize) {
  return pool_hidden(executor.encode(tokens), executor.result_cols(), pooling, normalize);
}

}  // namespace nibble
