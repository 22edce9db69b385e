#include "model/executor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/interrupt.h"

namespace nibble {
namespace {

constexpr int64_t most_batch_rows = 512;

/// Slots whose lives do not overlap share a buffer.
std::vector<int> assign_buffers(const Program& program) {
  const size_t nodes = program.nodes.size();
  std::vector<size_t> last(program.slots.size(), 0);
  for (size_t n = 0; n < nodes; ++n) {
    for (const int slot : program.nodes[n].in) last[static_cast<size_t>(slot)] = n;
  }
  for (const int slot : {program.result, program.hidden}) last[static_cast<size_t>(slot)] = nodes;
  std::vector<int> buffer(program.slots.size(), -1), free;
  int count = 0;
  if (program.input >= 0) buffer[static_cast<size_t>(program.input)] = count++;
  for (size_t n = 0; n < nodes; ++n) {
    const Node& node = program.nodes[n];
    std::vector<int> ending;
    for (const int slot : node.in) {
      if (last[static_cast<size_t>(slot)] == n &&
          std::find(ending.begin(), ending.end(), slot) == ending.end())
        ending.push_back(slot);
    }
    for (size_t o = 0; o < node.out.size(); ++o) {
      int& mine = buffer[static_cast<size_t>(node.out[o])];
      if (o == 0 && node.op->in_place && !node.in.empty() && !ending.empty() &&
          ending.front() == node.in[0]) {
        mine = buffer[static_cast<size_t>(node.in[0])];
        ending.erase(ending.begin());
      } else if (!free.empty()) {
        mine = free.back();
        free.pop_back();
      } else {
        mine = count++;
      }
    }
    for (const int slot : ending) free.push_back(buffer[static_cast<size_t>(slot)]);
  }
  return buffer;
}

/// Row of the first NaN or infinity, or -1.
int64_t first_bad_row(const Value& v) {
  for (int64_t i = 0; i < v.rows; ++i) {
    // Infinities and NaN stay what they are when zero times them is added.
    float sum = 0;
    for (int64_t c = 0; c < v.cols; ++c) sum += v.row(i)[c] * 0.0f;
    if (!(sum == 0.0f)) return i;
  }
  return -1;
}

std::string bad_weight(const Node& node) {
  for (const auto& w : node.weights) {
    if (!w) continue;
    std::vector<float> row = w->values;
    for (int64_t r = 0; r < (w->matrix ? w->matrix->rows() : 1); ++r) {
      if (w->matrix) {
        row.resize(static_cast<size_t>(w->matrix->cols()));
        w->matrix->decode_rows(r, 1, row.data(), w->matrix->cols());
      }
      const bool fine = std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
      if (!fine) return fmt::format("; row {} of {} is not finite itself", r, w->name);
    }
  }
  return {};
}

}  // namespace

Executor::Executor(const Program& program, ThreadPool& pool)
    : program_(program), pool_(pool), buffer_of_(assign_buffers(program)) {
  buffers_.resize(static_cast<size_t>(*std::max_element(buffer_of_.begin(), buffer_of_.end())) + 1);
  exponents_.resize(buffers_.size());
}

int64_t Executor::result_cols() const noexcept {
  return program_.slots[static_cast<size_t>(program_.result)].extent.cols;
}

Value Executor::value(int slot, const RunContext& context) {
  const Extent& extent = program_.slots[static_cast<size_t>(slot)].extent;
  const auto rows =
      static_cast<int64_t>(extent.rows == RowSet::all ? context.tokens.size() : context.selected.size());
  const auto at = static_cast<size_t>(buffer_of_[static_cast<size_t>(slot)]);
  std::vector<float>& buffer = buffers_[at];
  const auto need = static_cast<size_t>(rows * extent.cols);
  if (buffer.size() < need) buffer.resize(need);
  if (!extent.whole) return {buffer.data(), rows, extent.cols};
  if (exponents_[at].size() < static_cast<size_t>(rows)) exponents_[at].resize(static_cast<size_t>(rows));
  return {buffer.data(), rows, extent.cols, exponents_[at].data()};
}

void Executor::run_batch(RunContext& context, std::span<const float> input, bool want_result,
                         bool check_all) {
  if (program_.input >= 0) std::copy(input.begin(), input.end(), value(program_.input, context).data);
  size_t end = program_.nodes.size();
  while (!want_result && end > 0 && !program_.nodes[end - 1].op->products) --end;
  std::vector<Value> in, out;
  for (size_t n = 0; n < end; ++n) {
    const Node& node = program_.nodes[n];
    context.observe_only = !want_result && n + 1 == end;
    // What follows the selection has nothing to do where no row is selected.
    if (program_.slots[static_cast<size_t>(node.out[0])].extent.rows == RowSet::selected &&
        context.selected.empty())
      continue;
    check_interrupt();
    in.clear();
    out.clear();
    // Outputs first: making room for one may move a buffer, but never one of an input, which has its size.
    for (const int slot : node.out) out.push_back(value(slot, context));
    for (const int slot : node.in) in.push_back(value(slot, context));
    node.op->forward(node, context, in, out);
    if (!check_all || context.observe_only || node.op->integer) continue;
    for (const Value& v : out) {
      int64_t row = first_bad_row(v);
      if (row < 0) continue;
      if (program_.slots[static_cast<size_t>(node.out[0])].extent.rows == RowSet::selected)
        row = context.selected[static_cast<size_t>(row)];
      fail(ErrorKind::bad_input,
           "NaN or infinite values in the output of {} ({}) for the token at position {}{}", node.name,
           node.op->name, context.position + row, bad_weight(node));
    }
  }
}

void Executor::batch(std::span<const int32_t> tokens, std::span<const int32_t> types, KvCache& cache,
                     std::span<const int64_t> selected, std::span<const float> input, InputObserver* observer,
                     bool want_result) {
  const auto rows = static_cast<int64_t>(tokens.size());
  cache.reserve(rows);
  const std::vector<KvLayer> layers = cache.layers();
  RunContext context{pool_, tokens, types, cache.length(), cache.capacity(), selected, layers, {}, observer};
  run_batch(context, input, want_result, false);
  if (!want_result) return;
  const Value hidden = value(program_.hidden, context);
  bool bad = first_bad_row(hidden) >= 0;
  if (!selected.empty()) {
    const Value result = value(program_.result, context);
    bad = bad || first_bad_row(result) >= 0;
    result_.insert(result_.end(), result.data, result.data + result.rows * result.cols);
  }
  if (bad) {
    context.rotations.clear();
    context.observer = nullptr;
    run_batch(context, input, true, true);
    fail(ErrorKind::internal, "NaN or infinite values in the result that a second run did not show");
  }
  cache.advance(rows);
}

std::span<const float> Executor::run(std::span<const int32_t> tokens, KvCache& cache, Want want) {
  if (program_.encoder) fail(ErrorKind::usage, "an encoder gives no logits: it has no next token");
  const int64_t before = cache.length();
  const auto total = static_cast<int64_t>(tokens.size());
  if (total > cache.capacity() - before)
    fail(ErrorKind::usage, "{} tokens do not fit into the context: {} of {} are in use", total, before,
         cache.capacity());
  result_.clear();
  try {
    for (int64_t begin = 0; begin < total; begin += most_batch_rows) {
      const int64_t n = std::min(most_batch_rows, total - begin);
      std::vector<int64_t> selected;
      if (want == Want::all) {
        selected.resize(static_cast<size_t>(n));
        std::iota(selected.begin(), selected.end(), 0);
      } else if (want == Want::last && begin + n == total) {
        selected.push_back(n - 1);
      }
      batch(tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(n)), {}, cache, selected);
    }
  } catch (...) {
    cache.truncate(before);
    throw;
  }
  return result_;
}

std::span<const float> Executor::run_part(std::span<const int32_t> tokens, std::span<const float> input,
                                          InputObserver* observer, bool want_result) {
  const auto rows = static_cast<int64_t>(tokens.size());
  const int64_t cols =
      program_.input < 0 ? 0 : program_.slots[static_cast<size_t>(program_.input)].extent.cols;
  if (rows == 0 || static_cast<int64_t>(input.size()) != rows * cols)
    fail(ErrorKind::internal, "{} tokens with {} inputs of {} columns", rows, input.size(), cols);
  KvCache cache = program_.cache(rows);
  std::vector<int64_t> selected(tokens.size());
  std::iota(selected.begin(), selected.end(), 0);
  result_.clear();
  batch(tokens, {}, cache, selected, input, observer, want_result);
  return result_;
}

std::span<const float> Executor::encode(std::span<const int32_t> tokens,
                                        std::span<const int32_t> token_types) {
  if (!program_.encoder) fail(ErrorKind::usage, "this model is no encoder");
  if (tokens.empty()) fail(ErrorKind::usage, "there are no tokens to encode");
  if (!token_types.empty() && token_types.size() != tokens.size())
    fail(ErrorKind::usage, "{} token types for {} tokens", token_types.size(), tokens.size());
  const auto rows = static_cast<int64_t>(tokens.size());
  if (program_.context > 0 && rows > program_.context)
    fail(ErrorKind::usage, "{} tokens are more than the {} this encoder was made for", rows,
         program_.context);
  KvCache cache = program_.cache(rows);
  std::vector<int64_t> selected(tokens.size());
  std::iota(selected.begin(), selected.end(), 0);
  result_.clear();
  batch(tokens, token_types, cache, selected);
  return result_;
}

}  // namespace nibble
