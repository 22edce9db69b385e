#include "model/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <new>
#include <set>

#include "model/rewrites/activations.h"
#include "model/rewrites/residuals.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/integer/attention.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/turn.h"

namespace nibble {
namespace {

ActivationKind kind_of(Activation act) {
  switch (act) {
    case Activation::silu:
      return ActivationKind::silu;
    case Activation::gelu_tanh:
      return ActivationKind::gelu_tanh;
    case Activation::gelu_erf:
      return ActivationKind::gelu_erf;
    case Activation::relu:
      return ActivationKind::relu;
  }
  return ActivationKind::silu;
}

using WeightRef = std::shared_ptr<const Weight>;

/// Turns the steps of an architecture into nodes.
class Builder {
 public:
  Builder(const Arch& arch, const Hparams& hparams, const WeightSource& source, const BuildOptions& options,
          bool outline = false)
      : arch_(arch),
        hparams_(hparams),
        source_(source),
        precision_(options.precision),
        part_(options.part),
        outline_(outline),
        turned_(options.turned.begin(), options.turned.end()) {
    if (part_.end_layer < 0) part_.end_layer = hparams_.layers;
  }

  Program build() {
    program_.vocab = hparams_.vocab;
    program_.context = hparams_.context;
    // LongRoPE turns all tokens otherwise once the context is longer than the original one, which nobody
    // should get without asking.
    if (hparams_.rope_scaling == RopeScaling::longrope && hparams_.rope_original_context > 0)
      program_.context = std::min(hparams_.context, hparams_.rope_original_context);
    program_.kv = {part_.end_layer - part_.first_layer, hparams_.kv_heads, hparams_.head_dim};
    program_.encoder = arch_.encoder;
    if (arch_.rope != RopeStyle::none) make_rope_tables();

    int x = part_.embedding ? embed() : input();
    for (int64_t layer = part_.first_layer; layer < part_.end_layer; ++layer) x = add_layer(layer, x);
    program_.hidden = program_.result = x;
    if (!part_.head) return std::move(program_);
    if (arch_.final_norm) x = norm("output_norm", x, hparams_.hidden);
    program_.hidden = x;
    x = add_node(select_rows_op, "selected rows", {x}, {}, {});
    program_.result = arch_.encoder ? x : logits(x);
    return std::move(program_);
  }

  /// Weights as they were made, for what is done to them once all are known.
  std::vector<std::shared_ptr<Weight>>& loaded() { return loaded_; }

 private:
  // --- weights

  WeightRef weight(const std::string& name) {
    WeightRef found = optional_weight(name);
    if (!found) {
      throw Error(ErrorKind::bad_input, fmt::format("the model has no tensor {}", name),
                  fmt::format("architecture {} needs it", arch_.name));
    }
    return found;
  }

  WeightRef optional_weight(const std::string& name) {
    if (const auto it = known_.find(name); it != known_.end()) return it->second;
    std::optional<QTensor> tensor = source_.find(name);
    if (!tensor) return known_[name] = nullptr;
    auto made = std::make_shared<Weight>();
    made->name = name;
    made->shape = tensor->shape;
    if (tensor->shape.rank() >= 2) {
      if (!outline_) made->matrix = std::make_unique<Matrix>(std::move(*tensor), name);
    } else {
      const Matrix one_row(std::move(*tensor), name);
      made->values.resize(static_cast<size_t>(one_row.cols()));
      one_row.decode_rows(0, 1, made->values.data(), one_row.cols());
    }
    loaded_.push_back(made);
    program_.weights.push_back(made);
    return known_[name] = made;
  }

  bool has(const std::string& name) { return optional_weight(name) != nullptr; }

  std::vector<double> factors(const std::string& name) {
    const WeightRef found = optional_weight(name);
    if (!found) return {};
    return {found->values.begin(), found->values.end()};
  }

  static std::string in_layer(int64_t layer, std::string_view stem) {
    return fmt::format("blk.{}.{}", layer, stem);
  }

  // --- nodes

  int add_node(const Op& op, std::string name, std::vector<int> in, std::vector<WeightRef> weights,
               std::any attributes) {
    Node node{&op, std::move(name), std::move(in), {}, std::move(weights), std::move(attributes)};
    std::vector<Extent> extents;
    for (const int slot : node.in) extents.push_back(program_.slots[static_cast<size_t>(slot)].extent);
    for (const Extent& extent : op.shape(node, extents)) {
      node.out.push_back(static_cast<int>(program_.slots.size()));
      program_.slots.push_back({extent, node.name});
    }
    program_.nodes.push_back(std::move(node));
    return program_.nodes.back().out.front();
  }

  int norm(const std::string& stem, int from, int64_t width) {
    const NormAttributes attributes{arch_.norm == NormKind::layer, hparams_.norm_eps, width};
    return add_node(norm_op, stem, {from}, {weight(stem + ".weight"), optional_weight(stem + ".bias")},
                    attributes);
  }

  /// Rows [first, first + rows) of stem.weight, which has all_rows.
  int linear(const std::string& stem, int from, int64_t first, int64_t rows, int64_t all_rows) {
    if (turned_.contains(stem)) from = add_node(turn_op, stem + " input", {from}, {}, {});
    return add_node(linear_op, stem, {from}, linear_weights(stem, stem),
                    LinearAttributes{first, rows, all_rows});
  }
  std::vector<WeightRef> linear_weights(const std::string& stem, const std::string& matrix) {
    return {weight(matrix + ".weight"), optional_weight(stem + ".bias"), optional_weight(matrix + ".scale")};
  }
  int linear(const std::string& stem, int from, int64_t rows) { return linear(stem, from, 0, rows, rows); }

  int input() {
    program_.slots.push_back({{RowSet::all, hparams_.hidden}, "hidden states"});
    return program_.input = static_cast<int>(program_.slots.size()) - 1;
  }

  int embed() {
    std::vector<WeightRef> tables{weight("token_embd.weight"), optional_weight("position_embd.weight"),
                                  optional_weight("token_types.weight")};
    expect_table(*tables[0], hparams_.vocab);
    if (tables[1]) program_.positions = tables[1]->shape[0] - hparams_.position_offset;
    int x =
        add_node(embedding_op, "token_embd", {}, std::move(tables),
                 EmbeddingAttributes{static_cast<float>(hparams_.embedding_scale), hparams_.position_offset});
    if (arch_.embedding_norm) x = norm("token_embd_norm", x, hparams_.hidden);
    return x;
  }

  void expect_table(const Weight& table, int64_t rows) const {
    if (table.shape != Shape{rows, hparams_.hidden})
      fail(ErrorKind::bad_input, "{} has shape {}, expected [{}, {}]", table.name, table.shape.to_string(),
           rows, hparams_.hidden);
  }

  int logits(int x) {
    const bool own = has("output.weight");
    if (!own && !hparams_.tied) weight("output.weight");  // says what is missing
    x = add_node(linear_op, "output", {x}, linear_weights("output", own ? "output" : "token_embd"),
                 LinearAttributes{0, hparams_.vocab, hparams_.vocab});
    if (hparams_.logit_softcap != 0)
      x = add_node(softcap_op, "logit softcap", {x}, {},
                   SoftcapAttributes{static_cast<float>(hparams_.logit_softcap)});
    return x;
  }

  // --- layers

  int add_layer(int64_t layer, int x) {
    std::map<Reg, int> reg{{Reg::x, x}};
    const auto& steps =
        hparams_.parallel_residual && !arch_.layer_parallel.empty() ? arch_.layer_parallel : arch_.layer;
    for (const Step& step : steps) {
      switch (step.kind) {
        case Step::Kind::norm:
          reg[step.norm.to] =
              norm(in_layer(layer, step.norm.weight), reg.at(step.norm.from), hparams_.hidden);
          break;
        case Step::Kind::attention:
          reg[step.attention.to] = attention(layer, step.attention, reg.at(step.attention.from));
          break;
        case Step::Kind::mlp:
          reg[step.mlp.to] = mlp(layer, step.mlp, reg.at(step.mlp.from));
          break;
        case Step::Kind::moe:
          reg[step.moe.to] = moe(layer, step.moe, reg.at(step.moe.from));
          break;
        case Step::Kind::add:
          reg[step.add.to] = add_node(add_op, in_layer(layer, "residual"),
                                      {reg.at(step.add.to), reg.at(step.add.from)}, {}, {});
          break;
      }
    }
    return reg.at(Reg::x);
  }

  int attention(int64_t layer, const AttentionStep& step, int from) {
    const int64_t dim = hparams_.head_dim;
    const int64_t q_rows = hparams_.heads * dim, kv_rows = hparams_.kv_heads * dim;
    int q, k, v;
    if (step.fused_qkv ? !has(in_layer(layer, "attn_q.weight")) : has(in_layer(layer, "attn_qkv.weight"))) {
      const std::string stem = in_layer(layer, "attn_qkv");
      const int64_t all = q_rows + 2 * kv_rows;
      q = linear(stem, from, 0, q_rows, all);
      k = linear(stem, from, q_rows, kv_rows, all);
      v = linear(stem, from, q_rows + kv_rows, kv_rows, all);
    } else {
      q = linear(in_layer(layer, "attn_q"), from, q_rows);
      k = linear(in_layer(layer, "attn_k"), from, kv_rows);
      v = linear(in_layer(layer, "attn_v"), from, kv_rows);
    }
    if (step.qk_norm) {
      q = norm(in_layer(layer, "attn_q_norm"), q, dim);
      k = norm(in_layer(layer, "attn_k_norm"), k, dim);
    }
    const bool local = layer_is_local(hparams_, layer);
    if (arch_.rope != RopeStyle::none) {
      const RopeAttributes rope{local ? local_rope_ : rope_, dim, arch_.rope == RopeStyle::interleaved};
      q = add_node(rope_op, in_layer(layer, "attn_q rotation"), {q}, {}, rope);
      k = add_node(rope_op, in_layer(layer, "attn_k rotation"), {k}, {}, rope);
    }
    AttentionAttributes attributes;
    attributes.layer = layer - part_.first_layer;
    attributes.heads = hparams_.heads;
    attributes.kv_heads = hparams_.kv_heads;
    attributes.head_dim = dim;
    attributes.scale = static_cast<float>(
        hparams_.query_scale != 0 ? hparams_.query_scale : 1 / std::sqrt(static_cast<double>(dim)));
    attributes.softcap = static_cast<float>(hparams_.attn_softcap);
    attributes.window = local ? hparams_.window : 0;
    attributes.causal = step.causal;
    attributes.precision = precision_;
    const int mixed = add_node(attention_op, in_layer(layer, "attention"), {q, k, v}, {}, attributes);
    return linear(in_layer(layer, "attn_output"), mixed, hparams_.hidden);
  }

  int mlp(int64_t layer, const MlpStep& step, int from) {
    const std::string up_stem = in_layer(layer, "ffn_up");
    const bool fused = step.gated && step.fused_gate_up && !has(in_layer(layer, "ffn_gate.weight"));
    std::vector<int> inner;
    if (fused) {
      inner = {linear(up_stem, from, 0, hparams_.ffn, 2 * hparams_.ffn),
               linear(up_stem, from, hparams_.ffn, hparams_.ffn, 2 * hparams_.ffn)};
    } else {
      if (step.gated) inner.push_back(linear(in_layer(layer, "ffn_gate"), from, hparams_.ffn));
      inner.push_back(linear(up_stem, from, hparams_.ffn));
    }
    const int mixed = add_node(activation_op, in_layer(layer, "ffn activation"), std::move(inner), {},
                               ActivationAttributes{kind_of(hparams_.activation.value_or(step.act))});
    return linear(in_layer(layer, "ffn_down"), mixed, hparams_.hidden);
  }

  int moe(int64_t layer, const MoeStep& step, int from) {
    if (hparams_.experts == 0) {
      MlpStep dense;
      dense.act = step.act;
      return mlp(layer, dense, from);
    }
    const MoeAttributes attributes{hparams_.experts, hparams_.experts_used, hparams_.experts_renormalize,
                                   kind_of(hparams_.activation.value_or(step.act))};
    return add_node(
        moe_op, in_layer(layer, "experts"), {from},
        {weight(in_layer(layer, "ffn_gate_inp.weight")), weight(in_layer(layer, "ffn_gate_exps.weight")),
         weight(in_layer(layer, "ffn_up_exps.weight")), weight(in_layer(layer, "ffn_down_exps.weight"))},
        attributes);
  }

  void make_rope_tables() {
    const RopeFactors found{factors("rope_freqs.weight"), factors("rope_factors_long.weight"),
                            factors("rope_factors_short.weight")};
    rope_ = std::make_shared<RopeTable>(rope_table(hparams_, false, found));
    local_rope_ = std::make_shared<RopeTable>(rope_table(hparams_, true, found));
  }

  const Arch& arch_;
  const Hparams& hparams_;
  const WeightSource& source_;
  Precision precision_;
  ProgramPart part_;
  bool outline_;
  std::set<std::string> turned_;
  Program program_;
  std::map<std::string, WeightRef> known_;
  std::vector<std::shared_ptr<Weight>> loaded_;
  std::shared_ptr<const RopeTable> rope_, local_rope_;
};

}  // namespace

std::function<void()> WeightSource::releaser(std::string_view) const { return {}; }

KvCache Program::cache(int64_t capacity, std::string_view words, KvCache::Layers layers) const {
  const KvStorages storages = KvStorages::parse(words);
  if (!integer_kv) return KvCache(kv, capacity, storages, layers);
  // f32 and f16 stand for keys and values as they are computed.
  for (const KvStorage& side : {storages.k, storages.v}) {
    if ((side.format->word != "f32" && side.format->word != "f16") || side.rotated)
      throw Error(ErrorKind::usage, fmt::format("a model in whole numbers has no cache of {}", words),
                  "its keys and values are 16 bits anyway: leave --kv out");
  }
  const KvStorage whole{&integer_kv_format, false};
  return KvCache(kv, capacity, {whole, whole}, layers);
}

namespace {

/// Has products read their weights in the order that they want, if there is memory for a copy. Lanes are made
/// when they are read again; what has none is copied as it is.
void arrange_weights(Program& program, std::span<const std::shared_ptr<Weight>> loaded,
                     const std::set<const Weight*>& unread, const WeightSource& source, ThreadPool& pool) {
  std::set<const Weight*> read;
  for (const Node& node : program.nodes) {
    if (!node.op->products) continue;
    for (const auto& w : node.weights) {
      if (w != nullptr && w->matrix && !unread.contains(w.get())) read.insert(w.get());
    }
  }
  size_t bytes = 0;
  for (const Weight* w : read) bytes += w->matrix->arranged_bytes();
  // What is mapped counts as available: it can leave. What other programs will take does not.
  const size_t available = available_memory(), promised = Arrangement::promised();
  const auto leave_to_products = [&] {  // each of which then puts its own rows into lanes
    for (const auto& w : loaded) {
      if (read.contains(w.get()) && w->matrix->lanes() == nullptr && w->matrix->needs_lanes())
        w->matrix->use_lanes();
    }
  };
  if (bytes > (available - std::min(available, promised)) / 5 * 4) return leave_to_products();
  HugeMemory memory;
  std::vector<Arrangement::Part> later;
  try {
    for (const auto& w : loaded) {
      if (!read.contains(w.get())) continue;
      const std::function<void()> let_go = source.releaser(w->name);
      if (w->matrix->use_lanes()) {
        later.push_back({w, let_go});
      } else if (w->matrix->arrange(memory, pool) && let_go) {
        let_go();
      }
    }
  } catch (const std::bad_alloc&) {
    // A limit that nobody told of (ulimit -v): the rest is read where it is.
    leave_to_products();
  }
  if (!later.empty()) program.arrangement = std::make_shared<Arrangement>(std::move(later));
}

}  // namespace

Program build_program(const Arch& arch, const Hparams& hparams, const WeightSource& source, ThreadPool& pool,
                      const BuildOptions& options) {
  Builder builder(arch, hparams, source, options);
  Program program = builder.build();
  program.precision = options.precision;
  if (options.activations != nullptr) {
    const ActivationReport report = round_activations(program, *options.activations, pool);
    if (options.report != nullptr) *options.report = report;
  }
  join_residuals(program);
  const std::set<const Weight*> unread = read_as_whole_numbers(program);
  double floats = 0;
  const auto fast = [&](const Matrix& m) {
    return options.precision == Precision::fast &&
           (kernel_for(m.word(), m.cols(), isa_level()).dot != nullptr || m.needs_lanes());
  };
  for (const auto& w : builder.loaded()) {
    if (w->matrix) w->matrix->set_precision(options.precision);
    if (w->matrix && w->matrix->decoded() == nullptr && !fast(*w->matrix) && !unread.contains(w.get()))
      floats += static_cast<double>(w->matrix->rows()) * static_cast<double>(w->matrix->cols());
  }
  const bool keep_all = floats * sizeof(float) <= static_cast<double>(options.decoded_bytes);
  for (const auto& w : builder.loaded()) {
    if (w->matrix && !unread.contains(w.get()) &&
        ((keep_all && !fast(*w->matrix)) || w->matrix->wants_decoded()))
      w->matrix->keep_decoded(pool);
  }
  if (options.precision == Precision::fast) arrange_weights(program, builder.loaded(), unread, source, pool);
  return program;
}

Program outline_program(const Arch& arch, const Hparams& hparams, const WeightSource& source,
                        const BuildOptions& options) {
  return Builder(arch, hparams, source, options, true).build();
}

}  // namespace nibble
