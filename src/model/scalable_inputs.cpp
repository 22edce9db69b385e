#include "model/scalable_inputs.h"

#include <algorithm>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"

namespace nibble {
namespace {

const Node* maker_of(const Program& program, int slot) {
  for (const Node& node : program.nodes) {
    if (std::find(node.out.begin(), node.out.end(), slot) != node.out.end()) return &node;
  }
  return nullptr;
}

/// Names of the matrices that read a slot; empty if anything else does.
std::vector<std::string> readers_of(const Program& program, int slot) {
  std::vector<std::string> names;
  for (const Node& node : program.nodes) {
    if (std::find(node.in.begin(), node.in.end(), slot) == node.in.end()) continue;
    size_t matrices = 0;
    if (node.op == &linear_op) matrices = 1;
    if (node.op == &moe_op) matrices = 3;  // the router, gate and up; down reads what these make
    if (matrices == 0) return {};
    for (size_t i = 0; i < matrices; ++i) {
      const std::string& name = node.weight(i)->name;
      if (name.starts_with("token_embd")) return {};
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  if (slot == program.result || slot == program.hidden) return {};
  return names;
}

/// A matrix whose output nothing else reads, as the maker of what is computed from it channel by channel.
bool make_by_rows(const Program& program, int slot, ScalableInput& input) {
  const Node* linear = maker_of(program, slot);
  if (linear == nullptr || linear->op != &linear_op) return false;
  int uses = 0;
  for (const Node& node : program.nodes)
    uses += static_cast<int>(std::count(node.in.begin(), node.in.end(), slot));
  if (uses != 1) return false;
  input.maker = linear->weight(0)->name;
  input.maker_row = linear->attribute<LinearAttributes>().first;
  if (linear->weight(1) != nullptr) input.maker_bias = linear->weight(1)->name;
  return true;
}

bool find_maker(const Program& program, int slot, ScalableInput& input) {
  const Node* node = maker_of(program, slot);
  // What only picks rows passes scales on.
  while (node != nullptr && node->op->name == "select_rows") {
    slot = node->in.front();
    node = maker_of(program, slot);
  }
  if (node == nullptr) return false;
  if (node->op == &norm_op) {
    if (slot != node->out.back()) return false;  // the sum that it was made of
    if (node->weight(0) == nullptr || node->attribute<NormAttributes>().width != input.cols) return false;
    input.maker = node->weight(0)->name;
    if (node->weight(1) != nullptr) input.maker_bias = node->weight(1)->name;
    return true;
  }
  if (node->op == &activation_op) {
    // f(gate) * up is linear in up; a rectifier keeps positive factors.
    if (node->in.size() == 2) return make_by_rows(program, node->in[1], input);
    return node->attribute<ActivationAttributes>().kind == ActivationKind::relu &&
           make_by_rows(program, node->in[0], input);
  }
  if (node->op == &attention_op) {
    const auto& a = node->attribute<AttentionAttributes>();
    return a.heads == a.kv_heads && make_by_rows(program, node->in[2], input);
  }
  return false;
}

}  // namespace

std::vector<ScalableInput> scalable_inputs(const Program& program) {
  std::vector<ScalableInput> all;
  for (size_t slot = 0; slot < program.slots.size(); ++slot) {
    ScalableInput input;
    input.cols = program.slots[slot].extent.cols;
    input.readers = readers_of(program, static_cast<int>(slot));
    if (input.readers.empty() || !find_maker(program, static_cast<int>(slot), input)) continue;
    all.push_back(std::move(input));
  }
  return all;
}

}  // namespace nibble
