#include "methods/under_solver.h"

#include <cctype>

#include "base/rng.h"

namespace nibble::test {

Problem make_problem(int64_t rows, int64_t cols, uint64_t seed) {
  Problem p{Shape{rows, cols}, {}, {}, {}};
  Rng rng(seed);
  p.weights.resize(static_cast<size_t>(rows * cols));
  for (float& v : p.weights) v = static_cast<float>(rng.normal() * 0.02);
  const int64_t samples = 2 * cols;
  std::vector<double> h(static_cast<size_t>(cols * cols)), x(static_cast<size_t>(cols));
  for (int64_t s = 0; s < samples; ++s) {
    double walk = rng.normal();
    for (int64_t j = 0; j < cols; ++j) {
      walk = 0.9 * walk + 0.45 * rng.normal();
      x[static_cast<size_t>(j)] = walk * (j % 29 == 3 ? 6.0 : 1.0);
    }
    for (int64_t i = 0; i < cols; ++i) {
      for (int64_t j = 0; j < cols; ++j)
        h[static_cast<size_t>(i * cols + j)] += x[static_cast<size_t>(i)] * x[static_cast<size_t>(j)];
    }
  }
  for (const double v : h) p.hessian.push_back(static_cast<float>(v / static_cast<double>(samples)));
  for (int64_t j = 0; j < cols; ++j) p.importance.push_back(p.hessian[static_cast<size_t>(j * cols + j)]);
  return p;
}

QTensor solve(const Solver& solver, const Format& format, const Problem& p, ThreadPool& pool,
              int64_t window_rows, const SolverOptions& options) {
  const auto info = format.planes(p.shape);
  QTensor t{format.spec(), p.shape, {}};
  std::vector<std::byte*> base, at(info.size());
  for (const PlaneInfo& plane : info) {
    auto buffer = std::make_shared<std::vector<std::byte>>(plane.bytes);
    base.push_back(buffer->data());
    t.planes.push_back({plane.name, {buffer->data(), buffer->size()}, buffer});
  }
  if (auto pass = format.tensor_pass(p.shape)) {
    pass->add(p.weights);
    pass->finish(base.data());
  }
  Stats stats{{}, p.hessian};
  const auto prepared = solver.prepare(stats, options, pool);
  stats = {p.importance, {}};
  const int64_t rows = p.shape.rows(), cols = p.shape.cols(), block = format.block(p.shape);
  const int64_t step = window_rows > 0 ? window_rows : rows;
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t n = std::min(step, rows - row);
    block_pointers(info, base.data(), row * cols / block, at.data());
    solver.solve(
        {format, p.shape, info, row * cols / block,
         std::span(p.weights).subspan(static_cast<size_t>(row * cols), static_cast<size_t>(n * cols)), stats,
         at},
        prepared.get());
  }
  return t;
}

std::vector<float> decoded(const Format& format, const QTensor& t) {
  std::vector<float> y(static_cast<size_t>(t.shape.elements()));
  decode_range(format, t, 0, t.shape.elements(), y.data());
  return y;
}

std::vector<std::byte> bytes_of(const QTensor& t) {
  std::vector<std::byte> all;
  for (const Plane& p : t.planes) all.insert(all.end(), p.bytes.begin(), p.bytes.end());
  return all;
}

double relative_error(const Problem& p, const std::vector<float>& decoded) {
  const int64_t rows = p.shape.rows(), cols = p.shape.cols();
  double error = 0, power = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) {
      double e = 0, w = 0;
      for (int64_t j = 0; j < cols; ++j) {
        const double h = p.hessian[static_cast<size_t>(i * cols + j)];
        const auto at = static_cast<size_t>(r * cols + j);
        e += h * (double{p.weights[at]} - decoded[at]);
        w += h * p.weights[at];
      }
      const auto at = static_cast<size_t>(r * cols + i);
      error += e * (double{p.weights[at]} - decoded[at]);
      power += w * p.weights[at];
    }
  }
  return error / power;
}

std::vector<const Format*> writable_formats() {
  std::vector<const Format*> formats;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const Format& f = format_of(word);
      if (f.info().can_encode) formats.push_back(&f);
    }
  }
  return formats;
}

std::string case_name(const Format& format) {
  std::string name = format.spec().to_string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

}  // namespace nibble::test
