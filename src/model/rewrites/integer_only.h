#pragma once

#include "model/program.h"
#include "model/rewrites/activations.h"

namespace nibble {

/// Turns every operation of a whole model into one on whole numbers (Op::integer), from the look-up of
/// tokens to the logits, or to the hidden states of an encoder; one node behind them makes floats of those
/// (ops/integer/to_floats.h). Weights are converted here, once: nothing is left to convert while the program
/// runs. After I-BERT (Kim et al. 2021, arXiv 2101.01321) and I-LLM (Hu et al. 2024, arXiv 2405.17849).
/// Returns the number of matrices. Throws Error{unsupported} naming a node that has no such operation, or a
/// matrix whose weights are no whole numbers; Error{bad_input} for weights that are not finite.
int64_t make_integer_only(Program& program, ThreadPool& pool);

/// Throws the same Error{unsupported} where matrices will have these formats: what can be told without a
/// weight, so that an outline_program will do.
void require_integer_only(const Program& program, const WeightFormats& formats);

}  // namespace nibble
