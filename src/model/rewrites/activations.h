#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/program.h"
#include "ops/activation_scheme.h"
#include "ops/op.h"

namespace nibble {

struct Program;

/// The ends of what a matrix's input takes.
struct InputRange {
  float low = 0, high = 0;
};

/// How a model's activations are to be rounded.
struct ActivationPlan {
  ActivationScheme scheme;
  /// Globs over node names ("blk.0.ffn_down", "*attn*"): what stays a float.
  std::vector<std::string> keep;
  /// By node name, for a scheme of fixed ranges.
  std::map<std::string, InputRange, std::less<>> ranges;
};

/// What became of the matrices.
struct ActivationReport {
  int64_t whole = 0;              ///< products of whole numbers
  int64_t rounded = 0;            ///< rounded inputs of a matrix that is made of other numbers
  std::vector<std::string> kept;  ///< names of the nodes that multiply floats still
};

/// The format of a matrix.
using WeightFormats = std::function<FormatSpec(const Weight&)>;

/// Refuses as round_activations does, before there are weights or ranges: `program` may be an
/// outline_program, and its matrices will have these formats.
void check_activations(const Program& program, const ActivationPlan& plan, const WeightFormats& formats);

/// Rounds the inputs of the linear maps within the layers. Embedding and output stay as they are, and so do
/// mixtures of experts. The scheme `integer-only` goes on to model/rewrites/integer_only.h instead. Throws
/// Error{bad_input} naming a node without a range if the scheme wants one, Error{usage} if a pattern matches
/// nothing.
ActivationReport round_activations(Program& program, const ActivationPlan& plan, ThreadPool& pool);

/// Matrices that nothing reads but products of whole numbers, which have their own copy.
std::set<const Weight*> read_as_whole_numbers(const Program& program);

}  // namespace nibble
