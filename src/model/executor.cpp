#include "model/executor.h"

#include <algorithm>
#include <cmath>

#include "base/finite.h"
#include "base/interrupt.h"
#include "ops/activation.h"

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
    if (!all_finite(v.row(i), static_cast<size_t>(v.cols))) return i;
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
  readers_.resize(program.slots.size());
  for (const Node& node : program.nodes) {
    for (const int slot : node.in) ++readers_[static_cast<size_t>(slot)];
  }
  for (const int slot : {program.result, program.hidden}) ++readers_[static_cast<size_t>(slot)];
}

int64_t Executor::result_cols() const noexcept {
  return program_.slots[static_cast<size_t>(program_.result)].extent.cols;
}

Value Executor::value(int slot, const RunContext& context) {
  const Extent& extent = program_.slots[static_cast<size_t>(slot)].extent;
  const auto rows =
      static_cast<int64_t>(extent.rows == RowSet::all ? context.tokens.size() : context.selected.size());
  const auto at = static_cast<size_t>(buffer_of_[static_cast<size_t>(slot)]);
  Buffer& buffer = buffers_[at];
  const auto need = static_cast<size_t>(rows * extent.cols);
  if (buffer.floats < need) buffer = {memory_.take(need * sizeof(float)), need};
  auto* data = reinterpret_cast<float*>(buffer.memory.get());
  if (!extent.whole) return {data, rows, extent.cols};
  if (exponents_[at].size() < static_cast<size_t>(rows)) exponents_[at].resize(static_cast<size_t>(rows));
  return {data, rows, extent.cols, exponents_[at].data()};
}

size_t Executor::together(size_t first, size_t end) const {
  const Node& node = program_.nodes[first];
  size_t n = 1;
  if (node.op->forward_together == nullptr || node.in.size() != 1) return n;
  while (first + n < end && program_.nodes[first + n].op == node.op &&
         program_.nodes[first + n].in == node.in)
    ++n;
  return n;
}

bool Executor::gated(size_t n) const {
  if (n + 2 >= program_.nodes.size() || program_.nodes[n].op->forward_gated == nullptr) return false;
  const Node& activation = program_.nodes[n + 2];
  const int gate = program_.nodes[n].out[0], up = program_.nodes[n + 1].out[0];
  const int x = program_.nodes[n].in[0];
  const auto buffer = [&](int slot) { return buffer_of_[static_cast<size_t>(slot)]; };
  return activation.op == &activation_op && activation.in == std::vector{gate, up} &&
         buffer(activation.out[0]) != buffer(x) &&  // which is read to the end
         readers_[static_cast<size_t>(gate)] == 1 && readers_[static_cast<size_t>(up)] == 1;
}

void Executor::run_batch(RunContext& context, std::span<const float> input, bool want_result,
                         bool check_all) {
  if (program_.input >= 0) {
    const Value to = value(program_.input, context);
    pool_.parallel_for(static_cast<size_t>(to.rows), [&](size_t r) {
      const int64_t row = static_cast<int64_t>(r);
      std::copy_n(input.data() + row * to.cols, to.cols, to.data + row * to.cols);
    });
  }
  size_t end = program_.nodes.size();
  while (!want_result && end > 0 && !program_.nodes[end - 1].op->products) --end;
  std::vector<Value> in, out;
  const bool alone = !want_result || check_all;
  size_t count = 1;
  for (size_t n = 0; n < end; n += count) {
    const Node& node = program_.nodes[n];
    count = alone ? 1 : together(n, end);
    const bool gate = count == 2 && n + 2 < end && gated(n);
    context.observe_only = !want_result && n + 1 == end;
    // What follows the selection has nothing to do where no row is selected.
    if (program_.slots[static_cast<size_t>(node.out[0])].extent.rows == RowSet::selected &&
        context.selected.empty())
      continue;
    check_interrupt();
    in.clear();
    out.clear();
    // Outputs first: making room for one may move a buffer, but never one of an input, which has its size.
    for (size_t i = n; i < n + count; ++i) {
      for (const int slot : program_.nodes[i].out) out.push_back(value(slot, context));
    }
    if (gate) out.push_back(value(program_.nodes[n + 2].out[0], context));
    for (const int slot : node.in) in.push_back(value(slot, context));
    if (gate) {
      node.op->forward_gated({&node, 2}, program_.nodes[n + 2], context, in[0], {out.data(), 2}, out[2]);
      ++count;
      continue;
    }
    if (count > 1) {
      node.op->forward_together({&node, count}, context, in[0], out);
      continue;
    }
    node.op->forward(node, context, in, out);
    if (!check_all || context.observe_only || node.op->integer) continue;
    for (const Value& v : out) {
      int64_t row = first_bad_row(v);
      if (row < 0) continue;
      if (program_.slots[static_cast<size_t>(node.out[0])].extent.rows == RowSet::selected)
        row = context.selected[static_cast<size_t>(row)];
      fail(ErrorKind::bad_input,
           "NaN or infinite values in the output of {} ({}) for the token at position {}{}", node.name,
           node.op->name, context.position_of(row), bad_weight(node));
    }
  }
}

Value Executor::batch(const Batch& b) {
  if (program_.arrangement) program_.arrangement->before_pass(pool_);
  std::vector<int32_t> tokens;
  std::vector<int64_t> selected;
  std::vector<std::vector<KvLayer>> layers;
  std::vector<SequenceRows> sequences;
  layers.reserve(b.parts.size());
  for (const Part& part : b.parts) {
    const auto first = static_cast<int64_t>(tokens.size()), count = static_cast<int64_t>(part.tokens.size());
    part.cache->reserve(count);
    layers.push_back(part.cache->layers());
    sequences.push_back({first, count, part.cache->length(), part.cache->capacity(), layers.back()});
    tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
    const int64_t wanted = part.want == Want::all    ? count
                           : part.want == Want::last ? std::min<int64_t>(count, 1)
                                                     : 0;
    for (int64_t row = first + count - wanted; row < first + count; ++row) selected.push_back(row);
  }
  RunContext context{pool_, tokens, b.types, sequences, selected, {}, b.observer};
  run_batch(context, b.input, b.want_result, false);
  if (!b.want_result) return {};
  const Value hidden = value(program_.hidden, context);
  const Value result = value(program_.result, context);
  bool bad = first_bad_row(hidden) >= 0;
  // An encoder's result are rows of the hidden states.
  if (result.data != hidden.data && !program_.encoder) bad = bad || first_bad_row(result) >= 0;
  if (bad) {
    context.rotations.clear();
    context.observer = nullptr;
    run_batch(context, b.input, true, true);
    fail(ErrorKind::internal, "NaN or infinite values in the result that a second run did not show");
  }
  for (const Part& part : b.parts) part.cache->advance(static_cast<int64_t>(part.tokens.size()));
  return result;
}

std::span<const float> Executor::run(std::span<const int32_t> tokens, KvCache& cache, Want want) {
  const Part part{tokens, &cache, want};
  return run({&part, 1});
}

std::span<const float> Executor::run(std::span<const Part> parts) {
  if (program_.encoder) fail(ErrorKind::usage, "an encoder gives no logits: it has no next token");
  std::vector<int64_t> before;
  for (const Part& part : parts) {
    before.push_back(part.cache->length());
    const auto total = static_cast<int64_t>(part.tokens.size());
    if (total > part.cache->capacity() - before.back())
      fail(ErrorKind::usage, "{} tokens do not fit into the context: {} of {} are in use", total,
           before.back(), part.cache->capacity());
    if (part.cache->storages() != parts[0].cache->storages())
      fail(ErrorKind::internal, "sequences that run together must keep keys and values alike");
  }
  result_.clear();
  try {
    // Pieces of at most so many rows, each with whatever parts reach into it.
    std::vector<Part> piece;
    int64_t room = most_batch_rows;
    const auto flush = [&] {
      if (!piece.empty()) {
        const Value result = batch({.parts = piece, .types = {}, .input = {}});
        result_.insert(result_.end(), result.data, result.data + result.rows * result.cols);
      }
      piece.clear();
      room = most_batch_rows;
    };
    for (const Part& part : parts) {
      for (size_t begin = 0; begin < part.tokens.size();) {
        const size_t n = std::min(static_cast<size_t>(room), part.tokens.size() - begin);
        const bool ends = begin + n == part.tokens.size();
        piece.push_back({part.tokens.subspan(begin, n), part.cache,
                         part.want == Want::last && !ends ? Want::none : part.want});
        begin += n;
        room -= static_cast<int64_t>(n);
        if (room == 0) flush();
      }
    }
    flush();
  } catch (...) {
    for (size_t i = 0; i < parts.size(); ++i) parts[i].cache->truncate(before[i]);
    throw;
  }
  return result_;
}

KvCache& Executor::passing(int64_t rows) {
  if (!passing_ || passing_->capacity() < rows) {
    passing_.emplace(program_.cache(rows, program_.precision == Precision::fast ? "f16" : "f32",
                                    KvCache::Layers::in_turn));
  }
  passing_->wipe();
  return *passing_;
}

std::span<const float> Executor::run_part(std::span<const int32_t> tokens, std::span<const float> input,
                                          InputObserver* observer, bool want_result) {
  const auto rows = static_cast<int64_t>(tokens.size());
  const int64_t cols =
      program_.input < 0 ? 0 : program_.slots[static_cast<size_t>(program_.input)].extent.cols;
  if (rows == 0 || static_cast<int64_t>(input.size()) != rows * cols)
    fail(ErrorKind::internal, "{} tokens with {} inputs of {} columns", rows, input.size(), cols);
  const Part part{tokens, &passing(rows), Want::all};
  const Value result = batch({{&part, 1}, {}, input, observer, want_result});
  return {result.data, static_cast<size_t>(result.rows * result.cols)};
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
  const Part part{tokens, &passing(rows), Want::all};
  const Value result = batch({.parts = {&part, 1}, .types = token_types, .input = {}});
  return {result.data, static_cast<size_t>(result.rows * result.cols)};
}

}  // namespace nibble
