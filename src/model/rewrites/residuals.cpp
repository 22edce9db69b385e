#include "model/rewrites/residuals.h"

#include "ops/elementwise.h"
#include "ops/norm.h"

namespace nibble {

void join_residuals(Program& program) {
  std::vector<int> readers(program.slots.size(), 0), norm_of(program.slots.size(), -1);
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    for (const int slot : node.in) ++readers[static_cast<size_t>(slot)];
    if (node.op != &norm_op || node.in.size() != 1) continue;
    const auto from = static_cast<size_t>(node.in[0]);
    const bool whole_rows = node.attribute<NormAttributes>().width == program.slots[from].extent.cols;
    if (whole_rows && norm_of[from] < 0) norm_of[from] = static_cast<int>(n);
  }
  for (const int slot : {program.result, program.hidden}) ++readers[static_cast<size_t>(slot)];
  // The norm moves to where the addition stands: others may read the sum before the norm does.
  std::vector<bool> moved(program.nodes.size(), false);
  std::vector<Node> kept;
  kept.reserve(program.nodes.size());
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    if (moved[n]) continue;
    Node& node = program.nodes[n];
    const int follower = node.op == &add_op ? norm_of[static_cast<size_t>(node.out[0])] : -1;
    if (follower < 0) {
      kept.push_back(std::move(node));
      continue;
    }
    Node& norm = program.nodes[static_cast<size_t>(follower)];
    norm.in = node.in;
    if (readers[static_cast<size_t>(node.out[0])] > 1) norm.out.insert(norm.out.begin(), node.out[0]);
    kept.push_back(std::move(norm));
    moved[static_cast<size_t>(follower)] = true;
  }
  program.nodes = std::move(kept);
}

}  // namespace nibble
