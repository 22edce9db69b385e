#include "cli/scoring.h"

#include <optional>

#include "eval/evaluate.h"
#include "tokenizers/tokenizer.h"

namespace nibble::cli {

Scoring score(const std::vector<Checkpoint>& models, const Checkpoint* reference, const std::string& text,
              const Protocol& protocol, const Common& common, const PredictorOptions& how) {
  ThreadPool pool(common.threads);
  const Tokenizer tokenizer = (reference != nullptr ? *reference : models.front()).tokenizer();
  const auto tokens = tokenizer.encode(text, {.add_special = true});
  const auto windows =
      cut_windows(tokens, tokenizer.add_bos() ? std::optional(tokenizer.bos()) : std::nullopt, protocol);
  std::vector<std::unique_ptr<Predictor>> owned;
  std::vector<Predictor*> predictors;
  for (const Checkpoint& c : models) {
    owned.push_back(model_predictor(c, protocol.context, pool, how));
    predictors.push_back(owned.back().get());
  }
  std::unique_ptr<Predictor> beside;
  if (reference != nullptr) beside = model_predictor(*reference, protocol.context, pool);

  Scoring s;
  s.windows = windows.size();
  for (const EvalWindow& w : windows) s.scored += w.tokens.size() - 1 - static_cast<size_t>(w.first);
  Progress progress(common.progress_style());
  progress.start("scoring", s.scored, "tokens");
  s.results = evaluate(predictors, beside.get(), windows,
                       [&](int64_t n) { progress.advance(static_cast<uint64_t>(n)); });
  progress.finish();
  return s;
}

}  // namespace nibble::cli
