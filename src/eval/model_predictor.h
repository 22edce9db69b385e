#pragma once

#include <memory>
#include <string>

#include "base/pool.h"
#include "eval/evaluate.h"
#include "kernels/matmul.h"
#include "model/checkpoint.h"
#include "model/program.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// How a model runs that is measured.
struct PredictorOptions {
  Precision precision = Precision::exact;
  const ActivationPlan* activations = nullptr;  ///< null: what the model's file says
  std::string kv = "f32";                       ///< how keys and values are kept (KvStorages::parse)
};

/// Runs a decoder for evaluate(). Throws Error{usage} for an encoder, which predicts no text.
std::unique_ptr<Predictor> model_predictor(const Checkpoint& checkpoint, int64_t context, ThreadPool& pool,
                                           const PredictorOptions& options = {});
/// The same for a program.
std::unique_ptr<Predictor> program_predictor(Program program, int64_t context, ThreadPool& pool,
                                             std::string_view kv = "f32");

}  // namespace nibble
