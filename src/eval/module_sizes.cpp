#include "eval/module_sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace nibble {
namespace {

struct Node {
  std::string part;
  ModuleSize size;
  std::vector<std::unique_ptr<Node>> children;

  Node& child(std::string_view name) {
    for (auto& c : children) {
      if (c->part == name) return *c;
    }
    children.push_back(std::make_unique<Node>());
    children.back()->part = name;
    return *children.back();
  }
};

bool is_number(const std::string& s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool alike(const Node& a, const Node& b) {
  if (a.size.bytes != b.size.bytes || a.size.weights != b.size.weights ||
      a.children.size() != b.children.size())
    return false;
  for (size_t i = 0; i < a.children.size(); ++i) {
    if (a.children[i]->part != b.children[i]->part || !alike(*a.children[i], *b.children[i])) return false;
  }
  return true;
}

void add_up(Node& into, const Node& from) {
  into.size.weights += from.size.weights;
  into.size.bytes += from.size.bytes;
  into.size.tensors += from.size.tensors;
  for (size_t i = 0; i < into.children.size(); ++i) add_up(*into.children[i], *from.children[i]);
}

// Runs of numbered siblings of one size become one.
void fold(Node& node) {
  for (auto& c : node.children) fold(*c);
  std::vector<std::unique_ptr<Node>> folded;
  for (size_t i = 0; i < node.children.size();) {
    size_t end = i + 1;
    while (end < node.children.size() && is_number(node.children[i]->part) &&
           is_number(node.children[end]->part) && alike(*node.children[i], *node.children[end])) {
      ++end;
    }
    auto first = std::move(node.children[i]);
    if (end > i + 1) {
      const std::string last = node.children[end - 1]->part;
      for (size_t k = i + 1; k < end; ++k) add_up(*first, *node.children[k]);
      first->part += "-" + last;
    }
    folded.push_back(std::move(first));
    i = end;
  }
  node.children = std::move(folded);
}

void list(const Node& node, const std::string& name, int level, int depth, std::vector<ModuleSize>& out) {
  ModuleSize m = node.size;
  m.name = name;
  m.depth = level;
  out.push_back(m);
  if (level == depth) return;
  for (const auto& c : node.children) {
    if (c->children.empty() && level > 0) continue;  // a bare tensor of a module: part of its sum
    list(*c, name.empty() ? c->part : name + "." + c->part, level + 1, depth, out);
  }
}

}  // namespace

std::vector<ModuleSize> module_sizes(const std::vector<NamedSize>& tensors, int depth) {
  Node root;
  for (const NamedSize& t : tensors) {
    Node* node = &root;
    const auto add = [&](Node& n) {
      n.size.weights += t.weights;
      n.size.bytes += t.bytes;
      ++n.size.tensors;
    };
    add(*node);
    for (size_t begin = 0; begin <= t.name.size();) {
      const size_t dot = std::min(t.name.find('.', begin), t.name.size());
      node = &node->child(std::string_view(t.name).substr(begin, dot - begin));
      add(*node);
      begin = dot + 1;
    }
  }
  fold(root);
  std::vector<ModuleSize> out;
  list(root, "", 0, depth, out);
  return out;
}

}  // namespace nibble
