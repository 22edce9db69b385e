#include "eval/evaluate.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"

namespace nibble {
namespace {

// Rows whose logits are held at once: enough for an efficient product, no more than 16 MB for each model.
int64_t rows_for(int64_t vocab) {
  return std::clamp<int64_t>((int64_t{4} << 20) / std::max<int64_t>(1, vocab), 8, 256);
}

}  // namespace

std::vector<Divergence> evaluate(std::span<Predictor* const> models, Predictor* reference,
                                 std::span<const EvalWindow> windows,
                                 const std::function<void(int64_t)>& step) {
  std::vector<Divergence> results(models.size());
  for (const Predictor* m : models) {
    if (reference != nullptr && m->vocab() != reference->vocab()) {
      fail(ErrorKind::bad_input, "the models have {} and {} tokens; they cannot be compared", m->vocab(),
           reference->vocab());
    }
  }
  std::vector<float> own, theirs;
  const int64_t rows_at_once = models.empty() ? 1 : rows_for(models[0]->vocab());
  for (const EvalWindow& w : windows) {
    check_interrupt();
    if (reference != nullptr) reference->run(w.tokens);
    for (Predictor* m : models) m->run(w.tokens);
    const auto last = static_cast<int64_t>(w.tokens.size()) - 1;  // its prediction lies beyond the window
    for (int64_t row = w.first; row < last; row += rows_at_once) {
      const int64_t n = std::min(rows_at_once, last - row);
      if (reference != nullptr) {
        theirs.resize(static_cast<size_t>(n * reference->vocab()));
        reference->logits(row, n, theirs.data());
      }
      for (size_t k = 0; k < models.size(); ++k) {
        const auto vocab = static_cast<size_t>(models[k]->vocab());
        own.resize(static_cast<size_t>(n) * vocab);
        models[k]->logits(row, n, own.data());
        for (int64_t i = 0; i < n; ++i) {
          const std::span<const float> a(own.data() + static_cast<size_t>(i) * vocab, vocab);
          const int32_t right = w.tokens[static_cast<size_t>(row + i + 1)];
          if (reference == nullptr) {
            results[k].add(a, right);
          } else {
            results[k].add(a, {theirs.data() + static_cast<size_t>(i) * vocab, vocab}, right);
          }
        }
      }
    }
    step(last - w.first);
  }
  return results;
}

}  // namespace nibble
