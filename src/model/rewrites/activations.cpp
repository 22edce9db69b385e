#include "model/rewrites/activations.h"

#include <fnmatch.h>

#include <algorithm>

#include "model/program.h"
#include "model/rewrites/integer_only.h"
#include "ops/activation.h"
#include "ops/int8_linear.h"

namespace nibble {
namespace {

/// The patterns, and which of them matched.
class KeepList {
 public:
  explicit KeepList(const std::vector<std::string>& patterns)
      : patterns_(patterns), used_(patterns.size(), false) {}

  bool matches(const std::string& name) {
    bool any = false;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      if (fnmatch(patterns_[i].c_str(), name.c_str(), 0) != 0) continue;
      any = used_[i] = true;
    }
    return any;
  }
  /// Whether a node's input is rounded.
  bool leaves(const Node& node) {
    return node.op == &linear_op && node.name.starts_with("blk.") && !matches(node.name);
  }
  void all_used() const {
    const auto unused = std::find(used_.begin(), used_.end(), false);
    if (unused == used_.end()) return;
    throw Error(ErrorKind::usage,
                fmt::format("the pattern '{}' matches no matrix of the layers",
                            patterns_[static_cast<size_t>(unused - used_.begin())]),
                "names are like blk.0.attn_q or blk.0.ffn_down; quote patterns such as '*ffn_down'");
  }

 private:
  const std::vector<std::string>& patterns_;
  std::vector<bool> used_;
};

/// An activation of one input that follows a product of whole numbers, and is all that reads it, becomes part
/// of it. (Residuals do not: their lines are in the cache of the thread that owns the row, not the column.)
void join_activations(Program& program) {
  std::vector<int> readers(program.slots.size(), 0), writer(program.slots.size(), -1);
  for (const Node& node : program.nodes) {
    for (const int slot : node.in) ++readers[static_cast<size_t>(slot)];
  }
  for (const int slot : {program.result, program.hidden}) ++readers[static_cast<size_t>(slot)];
  std::vector<Node> kept;
  kept.reserve(program.nodes.size());
  const auto joined = [&](const Node& node) {
    if (node.op != &activation_op || node.in.size() != 1) return false;
    const auto from = static_cast<size_t>(node.in[0]);
    if (writer[from] < 0 || readers[from] != 1) return false;
    Node& product = kept[static_cast<size_t>(writer[from])];
    auto* a = std::any_cast<Int8LinearAttributes>(&product.attributes);
    if (a == nullptr || a->matrix == nullptr || a->activation) return false;
    a->activation = node.attribute<ActivationAttributes>().kind;
    product.out = node.out;
    writer[static_cast<size_t>(node.out[0])] = writer[from];
    return true;
  };
  for (Node& node : program.nodes) {
    if (joined(node)) continue;
    for (const int slot : node.out) writer[static_cast<size_t>(slot)] = static_cast<int>(kept.size());
    kept.push_back(std::move(node));
  }
  program.nodes = std::move(kept);
}

}  // namespace

void check_activations(const Program& program, const ActivationPlan& plan, const WeightFormats& formats) {
  if (plan.scheme.bits == 0) return;
  if (plan.scheme.integer_only) {
    if (!plan.keep.empty())
      throw Error(ErrorKind::usage, "integer-only inference keeps no floats",
                  "leave the patterns to keep out");
    require_integer_only(program, formats);
    return;
  }
  KeepList keep(plan.keep);
  for (const Node& node : program.nodes) keep.leaves(node);
  keep.all_used();
}

ActivationReport round_activations(Program& program, const ActivationPlan& plan, ThreadPool& pool) {
  ActivationReport report;
  HugeMemory memory;
  check_activations(program, plan, [](const Weight& w) { return w.matrix->tensor().format; });
  if (plan.scheme.bits == 0) return report;
  if (plan.scheme.integer_only) {
    report.whole = make_integer_only(program, pool);
    return report;
  }
  KeepList keep(plan.keep);
  for (Node& node : program.nodes) {
    if (!node.op->products) continue;
    if (!keep.leaves(node)) {
      report.kept.push_back(node.name);
      continue;
    }
    Int8LinearAttributes a{node.attribute<LinearAttributes>(), plan.scheme.grid(), nullptr, nullptr, {}};
    if (plan.scheme.range == ActivationScheme::Range::adaptive) a.running = std::make_shared<RunningRange>();
    if (plan.scheme.range == ActivationScheme::Range::fixed) {
      const auto range = plan.ranges.find(node.name);
      if (range == plan.ranges.end()) {
        throw Error(ErrorKind::bad_input,
                    fmt::format("no range was calibrated for the input of {}", node.name),
                    "rounding to static ranges needs a model that was calibrated for it");
      }
      a.grid.low = std::min(range->second.low, 0.0f);
      a.grid.high = std::max(range->second.high, 0.0f);
    }
    const Matrix& matrix = *node.weight(0)->matrix;
    // A scale beside the matrix (NVFP4) goes with formats that are no whole numbers.
    if (node.weight(2) == nullptr && Int8Matrix::possible(matrix)) {
      a.matrix = std::make_shared<Int8Matrix>(matrix, a.linear.first, a.linear.rows, pool, &memory);
      ++report.whole;
    } else {
      ++report.rounded;
    }
    node.op = &int8_linear_op;
    node.attributes = a;
  }
  join_activations(program);
  return report;
}

std::set<const Weight*> read_as_whole_numbers(const Program& program) {
  std::set<const Weight*> whole, others;
  for (const Node& node : program.nodes) {
    const bool copied = node.op->integer || (node.op == &int8_linear_op &&
                                             node.attribute<Int8LinearAttributes>().matrix != nullptr);
    for (const auto& w : node.weights) {
      if (w) (copied ? whole : others).insert(w.get());
    }
  }
  for (const Weight* w : others) whole.erase(w);
  return whole;
}

}  // namespace nibble
