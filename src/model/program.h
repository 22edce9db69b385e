#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/arch.h"
#include "model/arrangement.h"
#include "model/kv_cache.h"
#include "ops/op.h"

namespace nibble {

/// Where a program takes its weights from, by canonical name.
struct WeightSource {
  virtual ~WeightSource() = default;
  virtual std::optional<QTensor> find(std::string_view canonical_name) const = 0;
  /// What lets go of the memory of the bytes that find() showed, until they are read again. It may be called
  /// when the source is gone. Null: nothing does.
  virtual std::function<void()> releaser(std::string_view canonical_name) const;
};

/// A model as a list of operations on numbered slots, each slot written once. Built from an architecture's
/// table; inference runs it (model/executor.h), training saves the slots and walks it backward.
struct Program {
  struct Slot {
    Extent extent;
    std::string name;  ///< of the node that writes it
  };

  std::vector<Node> nodes;
  std::vector<Slot> slots;
  std::vector<std::shared_ptr<const Weight>> weights;
  std::shared_ptr<Arrangement> arrangement;  ///< of the weights; null: there is nothing to arrange
  int input = -1;                            ///< of a part without embedding: what the layers before it gave
  int result = -1;  ///< logits of the selected tokens; of an encoder: their hidden states
  int hidden = -1;  ///< last hidden states of all tokens, after the final norm; of a part without head: both

  int64_t vocab = 0;
  int64_t context = 0;      ///< trained context in tokens (LongRoPE: before stretching); 0: unknown
  int64_t positions = 0;    ///< learned positions, which no sequence can exceed; 0: any
  KvShape kv;               ///< what a sequence leaves in every layer
  bool integer_kv = false;  ///< keys and values are whole numbers (ops/integer/attention.h)
  bool encoder = false;
  Precision precision = Precision::exact;  ///< as in BuildOptions

  /// An empty cache for one sequence of at most `capacity` tokens, which keeps keys and values as these words
  /// say (KvStorages::parse). Throws Error{usage}, also for words other than f32 where a program keeps whole
  /// numbers, which have no choice.
  KvCache cache(int64_t capacity, std::string_view words = "f32",
                KvCache::Layers layers = KvCache::Layers::all) const;
};

/// A stretch of a model that runs by itself (Executor::run_part), so that no more of its weights need be in
/// memory: the embedding, some layers, the head (final norm and output matrix).
struct ProgramPart {
  bool embedding = true;
  int64_t first_layer = 0, end_layer = -1;  ///< -1: to the last one
  bool head = true;

  static ProgramPart only_embedding() { return {true, 0, 0, false}; }
  static ProgramPart only_layer(int64_t layer) { return {false, layer, layer + 1, false}; }
  static ProgramPart only_head() { return {false, 0, 0, true}; }
};

struct ActivationPlan;  // model/rewrites/activations.h
struct ActivationReport;

struct BuildOptions {
  /// Quantized matrices are kept as f32 as well if all of them fit into this many bytes: decoding each of
  /// them for every token is what costs most in small models. The results are the same.
  int64_t decoded_bytes = int64_t{512} << 20;
  /// Precision::fast is what running a model wants; nothing is kept decoded then that a kernel can read as it
  /// is.
  Precision precision = Precision::exact;
  ProgramPart part{};
  /// Linear maps whose input is turned first (ops/turn.h), by name: "blk.0.ffn_down". What their weights are
  /// made for; load_program knows it of a checkpoint.
  std::vector<std::string> turned{};
  /// Rounds the inputs of matrices; null: none. What becomes of them is written to `report` unless null.
  const ActivationPlan* activations = nullptr;
  ActivationReport* report = nullptr;
};

/// Throws Error{bad_input} naming a tensor that is missing or has another shape than expected.
Program build_program(const Arch& arch, const Hparams& hparams, const WeightSource& source, ThreadPool& pool,
                      const BuildOptions& options = {});

/// Its nodes alone, to look at and not to run: matrices have a name and a shape, and no weights, so that the
/// source may leave out the bytes of what has more than one dimension.
Program outline_program(const Arch& arch, const Hparams& hparams, const WeightSource& source,
                        const BuildOptions& options = {});

/// Angles of the rotation for a layer that attends within a window (`local`) or fully. `factors` are GGUF's
/// rope_freqs, rope_factors_long and rope_factors_short, empty where absent.
struct RopeFactors {
  std::vector<double> all, long_context, short_context;
};
RopeTable rope_table(const Hparams& hparams, bool local, const RopeFactors& factors);

/// Whether a layer attends within the sliding window only.
bool layer_is_local(const Hparams& hparams, int64_t layer);

}  // namespace nibble
