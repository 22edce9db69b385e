#pragma once

#include <any>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/pool.h"
#include "kernels/matmul.h"
#include "ops/kv_layer.h"
#include "tensor/dtype.h"

// The operations that a model is made of, one file each. A program (model/program.h) is a list of nodes; a
// node applies an operation to values in numbered slots. Every value is a matrix, one row per token: of f32,
// or of whole numbers with one power of two a row (ops/integer/).

namespace nibble {

/// Which tokens of a batch a value has rows for.
enum class RowSet : uint8_t { all, selected };

/// What is known of a value before the program runs.
struct Extent {
  RowSet rows = RowSet::all;
  int64_t cols = 0;
  bool whole = false;  ///< whole numbers, not floats
  bool operator==(const Extent&) const = default;
};

/// A value while the program runs: rows of `cols` floats, close together. Where the extent says so, the cells
/// are whole numbers instead, and entry c of row i is whole(i)[c] * 2^exponent[i].
struct Value {
  float* data = nullptr;
  int64_t rows = 0, cols = 0;
  int32_t* exponent = nullptr;
  float* row(int64_t i) const noexcept { return data + i * cols; }
  int32_t* whole(int64_t i) const noexcept { return reinterpret_cast<int32_t*>(data) + i * cols; }
};

/// A tensor of the model, ready for use: vectors as f32, matrices in their own format.
struct Weight {
  std::string name;  ///< canonical: "blk.0.attn_q.weight"
  Shape shape;
  std::vector<float> values;       ///< rank 0 and 1
  std::unique_ptr<Matrix> matrix;  ///< rank 2 and more
};

/// Consecutive rows of a batch that continue one sequence.
struct SequenceRows {
  int64_t first = 0, count = 0;  ///< rows of the batch
  int64_t position = 0;          ///< of the first one in its sequence
  int64_t context = 0;           ///< tokens that the sequence may grow to
  std::span<const KvLayer> kv;   ///< what it remembers, by layer
};

struct RopeTable;
struct IntegerRopeTable;
struct Node;

/// Is told what each matrix multiplies while a program runs.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// `weight` of `node` is about to multiply the rows of x. `slice` is the expert of a stack, else 0.
  virtual void see(const Node& node, const Weight& weight, int64_t slice, const Value& x) = 0;
};

/// What a run of the program knows beside the values.
struct RunContext {
  ThreadPool& pool;
  std::span<const int32_t> tokens;          ///< one per row
  std::span<const int32_t> token_types;     ///< one per row, or empty: all 0
  std::span<const SequenceRows> sequences;  ///< all rows, in order
  std::span<const int64_t> selected;        ///< rows that RowSet::selected means
  /// Cosines, then sines of this batch's positions: rows * dim / 2 each. Filled by the first rotation.
  std::map<const RopeTable*, std::vector<float>> rotations;
  InputObserver* observer = nullptr;  ///< null: nobody asks
  bool observe_only = false;          ///< the outputs of the node that runs are not needed

  /// The sequence that a row of the batch belongs to.
  const SequenceRows& sequence_of(int64_t row) const;
  /// The position of a row in its sequence.
  int64_t position_of(int64_t row) const {
    const SequenceRows& s = sequence_of(row);
    return s.position + row - s.first;
  }
  /// The same as `rotations` in whole numbers.
  std::map<const IntegerRopeTable*, std::vector<int32_t>> integer_rotations{};
};

struct Op;

/// One step of a program.
struct Node {
  const Op* op = nullptr;
  std::string name;  ///< for messages: "blk.0.attn_q"
  std::vector<int> in, out;
  std::vector<std::shared_ptr<const Weight>> weights;  ///< null where an optional one is absent
  std::any attributes;                                 ///< of the struct that the operation's header names

  template <class T>
  const T& attribute() const {
    return std::any_cast<const T&>(attributes);
  }
  const Weight* weight(size_t i) const noexcept { return i < weights.size() ? weights[i].get() : nullptr; }
};

/// An operation. All functions are free of state.
struct Op {
  std::string_view name;
  /// Extents of the outputs. Throws Error{bad_input} naming a weight whose shape does not fit.
  std::vector<Extent> (*shape)(const Node&, std::span<const Extent> in) = nullptr;
  void (*forward)(const Node&, RunContext&, std::span<const Value> in, std::span<const Value> out) = nullptr;
  /// Of several nodes with the same single input, faster than one by one; null: there is no such way. Nobody
  /// observes.
  void (*forward_together)(std::span<const Node> nodes, RunContext&, const Value& in,
                           std::span<const Value> out) = nullptr;
  /// Of two nodes as above and the activation that makes one the gate of the other, when nobody else reads
  /// them: only `out`, the activation's, is written for good. Null: there is no such way.
  void (*forward_gated)(std::span<const Node> nodes, const Node& activation, RunContext&, const Value& in,
                        std::span<const Value> room, const Value& out) = nullptr;
  /// Gradients of the inputs from those of the outputs, `in` and `out` being saved values; null: the
  /// operation cannot be trained through.
  void (*backward)(const Node&, RunContext&, std::span<const Value> in, std::span<const Value> out,
                   std::span<const Value> grad_out, std::span<const Value> grad_in) = nullptr;
  bool in_place = false;  ///< the first output may stand where the first input stood
  bool products = false;  ///< multiplies matrices, and tells the observer of it
  bool integer = false;   ///< no floating-point instruction: whole numbers in, whole numbers out
};

/// Throws Error{bad_input} unless the weight is there and of this shape (-1: any size).
void expect_shape(const Node& node, const Weight* weight, std::span<const int64_t> shape);
inline void expect_shape(const Node& node, const Weight* weight, std::initializer_list<int64_t> shape) {
  expect_shape(node, weight, std::span<const int64_t>(shape.begin(), shape.size()));
}
/// Throws Error{bad_input} unless an input has this many columns.
void expect_cols(const Node& node, const Extent& in, int64_t cols);

/// Calls body(begin, end) for parts of [0, count) with at least `grain` indices each.
void parallel_ranges(ThreadPool& pool, int64_t count, int64_t grain,
                     const std::function<void(int64_t, int64_t)>& body);

}  // namespace nibble
