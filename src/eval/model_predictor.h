#pragma once

#include <memory>

#include "base/pool.h"
#include "eval/evaluate.h"
#include "kernels/matmul.h"
#include "model/checkpoint.h"
#include "model/program.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// Runs a decoder for evaluate(), its activations rounded as the plan says, or without one (null) as the
/// model's file says. Throws Error{usage} for an encoder, which predicts no text.
std::unique_ptr<Predictor> model_predictor(const Checkpoint& checkpoint, int64_t context, ThreadPool& pool,
                                           Precision precision = Precision::exact,
                                           const ActivationPlan* activations = nullptr);
/// The same for a program.
std::unique_ptr<Predictor> program_predictor(Program program, int64_t context, ThreadPool& pool);

}  // namespace nibble
