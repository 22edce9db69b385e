#include "eval/model_predictor.h"

#include "base/error.h"
#include "model/activation_note.h"
#include "model/executor.h"
#include "model/load.h"

namespace nibble {
namespace {

class ModelPredictor final : public Predictor {
 public:
  ModelPredictor(Program program, int64_t context, ThreadPool& pool, std::string_view kv)
      : program_(std::move(program)), executor_(program_, pool), cache_(program_.cache(context, kv)) {}

  int64_t vocab() const override { return program_.vocab; }

  void run(std::span<const int32_t> tokens) override {
    tokens_.assign(tokens.begin(), tokens.end());
    cache_.clear();
  }

  // Rows are asked for in order, so nothing is computed before or twice.
  void logits(int64_t row, int64_t n, float* out) override {
    if (row < cache_.length()) cache_.truncate(row);
    const std::span<const int32_t> all(tokens_);
    const auto done = static_cast<size_t>(cache_.length());
    if (done < static_cast<size_t>(row))
      executor_.run(all.subspan(done, static_cast<size_t>(row) - done), cache_, Want::none);
    const auto rows =
        executor_.run(all.subspan(static_cast<size_t>(row), static_cast<size_t>(n)), cache_, Want::all);
    std::copy(rows.begin(), rows.end(), out);
  }

 private:
  Program program_;
  Executor executor_;
  KvCache cache_;
  std::vector<int32_t> tokens_;
};

}  // namespace

std::unique_ptr<Predictor> model_predictor(const Checkpoint& checkpoint, int64_t context, ThreadPool& pool,
                                           const PredictorOptions& options) {
  if (checkpoint.arch().encoder)
    fail(ErrorKind::usage, "{} is an encoder: it predicts no text", checkpoint.path());
  const ActivationPlan* activations = options.activations;
  std::optional<ActivationPlan> own;
  if (activations == nullptr && (own = activation_plan(checkpoint))) activations = &*own;
  return program_predictor(
      load_program(checkpoint, pool, {.precision = options.precision, .activations = activations}), context,
      pool, options.kv);
}

std::unique_ptr<Predictor> program_predictor(Program program, int64_t context, ThreadPool& pool,
                                             std::string_view kv) {
  return std::make_unique<ModelPredictor>(std::move(program), context, pool, kv);
}

}  // namespace nibble
