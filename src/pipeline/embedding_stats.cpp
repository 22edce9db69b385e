#include "pipeline/embedding_stats.h"

#include "methods/readers.h"

namespace nibble {
namespace {

bool reads_first(const CanonicalTensor& t) {
  return t.layer == 0 && (t.role == Role::attn_q || t.role == Role::attn_k || t.role == Role::attn_v ||
                          t.role == Role::attn_qkv);
}

/// The gain of the norm between the embedding and its readers; empty where there is none.
std::vector<float> first_gain(const Checkpoint& model, int64_t cols) {
  for (const char* name : {"token_embd_norm.weight", "blk.0.attn_norm.weight"}) {
    const CanonicalTensor* t = model.find(name);
    if (t == nullptr || t->shape.cols() != cols) continue;
    std::vector<float> gain(static_cast<size_t>(cols));
    model.read_rows(*t, 0, 1, gain.data());
    return gain;
  }
  return {};
}

}  // namespace

std::vector<float> embedding_hessian(const Checkpoint& model, ThreadPool& pool) {
  const int64_t cols = model.hparams().hidden;
  const std::vector<float> gain = first_gain(model, cols);
  ReaderHessian sum(cols);
  bool any = false;
  constexpr int64_t rows_at_once = 256;
  std::vector<float> rows;
  for (const CanonicalTensor& t : model.tensors()) {
    if (!reads_first(t) || t.shape.rank() != 2 || t.shape.cols() != cols) continue;
    any = true;
    for (int64_t row = 0; row < t.shape.rows(); row += rows_at_once) {
      const int64_t n = std::min(rows_at_once, t.shape.rows() - row);
      rows.resize(static_cast<size_t>(n * cols));
      model.read_rows(t, row, n, rows.data());
      sum.add(rows, gain, pool);
    }
  }
  return any ? sum.hessian() : std::vector<float>();
}

}  // namespace nibble
