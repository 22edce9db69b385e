#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "kernels/attend.h"
#include "ops/math.h"

namespace nibble {
namespace {

constexpr int64_t key_block = 64;
constexpr int64_t query_block = 32;
// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 64 * 1024;
constexpr float hidden_score = -std::numeric_limits<float>::infinity();

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  const auto& a = node.attribute<AttentionAttributes>();
  if (a.kv_heads <= 0 || a.head_dim <= 0 || a.heads % a.kv_heads != 0)
    fail(ErrorKind::bad_input, "{}: {} heads cannot share {} key heads", node.name, a.heads, a.kv_heads);
  expect_cols(node, in[0], a.heads * a.head_dim);
  expect_cols(node, in[1], a.kv_heads * a.head_dim);
  expect_cols(node, in[2], a.kv_heads * a.head_dim);
  return {in[0]};
}

/// The level's own kernels; null functions where it has none.
const AttendKernels& attend_kernels() {
  static const AttendKernels none;
#if defined(__x86_64__)
  if (isa_level() == IsaLevel::amx) return amx_attend;
#endif
  return none;
}

void store_rows(const Value& from, std::byte* to, DType type, int64_t position) {
  const int64_t n = from.rows * from.cols;
  if (type == DType::f32) {
    std::memcpy(to + static_cast<size_t>(position * from.cols) * sizeof(float), from.data,
                static_cast<size_t>(n) * sizeof(float));
    return;
  }
  auto* half = reinterpret_cast<uint16_t*>(to) + position * from.cols;
  if (const auto narrow = attend_kernels().narrow; narrow != nullptr) {
    narrow(from.data, n, half);
    return;
  }
  for (int64_t i = 0; i < n; ++i) half[i] = f32_to_f16(from.data[i]);
}

/// The f32 rows [first, first + n) of one head: where they stand, or a copy in `scratch`.
struct HeadRows {
  const float* data;
  int64_t stride;
};
HeadRows head_rows(const std::byte* base, const KvLayer& kv, int64_t first, int64_t n, int64_t column,
                   int64_t dim, float* scratch) {
  if (kv.type == DType::f32)
    return {reinterpret_cast<const float*>(base) + first * kv.cols + column, kv.cols};
  const auto* half = reinterpret_cast<const uint16_t*>(base) + first * kv.cols + column;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < dim; ++c) scratch[i * dim + c] = f16_to_f32(half[i * kv.cols + c]);
  }
  return {scratch, dim};
}

/// Sum of a block in a fixed tree, whatever part of it is zero.
float block_sum(const float* p) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = (p[i] + p[i + 16]) + (p[i + 32] + p[i + 48]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

/// Attention of some queries to one key head: the state of their running softmax.
class Group {
 public:
  Group(const AttentionAttributes& a, int64_t rows)
      : a_(a),
        rows_(static_cast<size_t>(rows)),
        query_(rows_ * dim()),
        score_(rows_ * key_block),
        sum_(rows_ * dim()),
        most_(rows_, hidden_score),
        total_(rows_),
        keys_(key_block * dim()),
        values_(key_block * dim()) {}

  void load_query(size_t row, const float* q) { std::copy_n(q, a_.head_dim, query_.data() + row * dim()); }

  /// Takes in keys [first, first + n). `position(row)` is the position of a query.
  template <class Position>
  void see(const KvLayer& kv, int64_t kv_head, int64_t first, int64_t n, const Position& position) {
    const int64_t d = a_.head_dim;
    const CpuKernels& cpu = cpu_kernels();
    const HeadRows k = head_rows(kv.keys, kv, first, n, kv_head * d, d, keys_.data());
    const auto m = static_cast<int64_t>(rows_);
    cpu.products({query_.data(), m, d, k.data, n, k.stride, d, score_.data(), key_block});
    for (size_t r = 0; r < rows_; ++r) soften(r, first, n, position(r));
    const HeadRows v = head_rows(kv.values, kv, first, n, kv_head * d, d, values_.data());
    cpu.weighted_sum({score_.data(), m, key_block, v.data, n, v.stride, d, sum_.data(), d});
  }

  void result(size_t row, float* out) const {
    const float f = 1.0f / total_[row];
    for (size_t c = 0; c < dim(); ++c) out[c] = sum_[row * dim() + c] * f;
  }

 private:
  size_t dim() const { return static_cast<size_t>(a_.head_dim); }

  /// Scores of one query to weights, relative to the largest score so far.
  void soften(size_t r, int64_t first, int64_t n, int64_t position) {
    float* s = score_.data() + r * key_block;
    int64_t begin = 0, end = n;  // what the query may see
    if (a_.causal) end = std::clamp<int64_t>(position + 1 - first, 0, n);
    if (a_.window > 0) {
      begin = std::clamp<int64_t>(position - a_.window + 1 - first, 0, n);
      if (!a_.causal) end = std::clamp<int64_t>(position + a_.window - first, 0, n);
    }
    if (begin >= end) {
      std::fill_n(s, key_block, 0.0f);
      return;
    }
    for (int64_t t = begin; t < end; ++t) s[t] *= a_.scale;
    if (a_.softcap != 0) {
      for (int64_t t = begin; t < end; ++t) s[t] = a_.softcap * std::tanh(s[t] / a_.softcap);
    }
    float most = most_[r];
    for (int64_t t = begin; t < end; ++t) most = s[t] > most ? s[t] : most;
    const float factor = exp_f32(most_[r] - most);
    std::fill_n(s, begin, hidden_score);
    std::fill(s + end, s + key_block, hidden_score);
    for (int64_t t = 0; t < key_block; ++t) s[t] = exp_f32(s[t] - most);
    total_[r] = total_[r] * factor + block_sum(s);
    most_[r] = most;
    if (factor == 1.0f) return;
    for (size_t c = 0; c < dim(); ++c) sum_[r * dim() + c] *= factor;
  }

  const AttentionAttributes& a_;
  size_t rows_;
  std::vector<float> query_, score_, sum_, most_, total_, keys_, values_;
};

bool can_attend_fast(const AttentionAttributes& a) {
  return a.precision == Precision::fast && attend_kernels().attend != nullptr && a.softcap == 0 &&
         a.head_dim % 32 == 0 && a.head_dim <= attend_dim && a.heads / a.kv_heads <= attend_rows;
}

/// The same by the level's own kernel.
void attend_fast(const AttentionAttributes& a, const KvLayer& kv, RunContext& run, const Value& q,
                 const Value& out) {
  const int64_t group = a.heads / a.kv_heads;
  const int64_t step = std::min<int64_t>(query_block, attend_rows / group);
  const int64_t blocks = (q.rows + step - 1) / step;
  const auto attend = [&](size_t task) {
    const int64_t kv_head = static_cast<int64_t>(task) % a.kv_heads;
    const int64_t first = static_cast<int64_t>(task) / a.kv_heads * step;
    const int64_t query_column = kv_head * group * a.head_dim;
    const size_t key_column = static_cast<size_t>(kv_head * a.head_dim) * dtype_size(kv.type);
    attend_kernels().attend({q.row(first) + query_column, out.row(first) + query_column, q.cols,
                             std::min(step, q.rows - first), group, a.head_dim, kv.keys + key_column,
                             kv.values + key_column, kv.cols, kv.type == DType::f16, a.scale,
                             run.position + first, run.position + q.rows, a.window, a.causal});
  };
  const auto tasks = static_cast<size_t>(blocks * a.kv_heads);
  if (q.rows * (run.position + q.rows) * a.heads * a.head_dim <= 4 * serial_work) {
    for (size_t task = 0; task < tasks; ++task) attend(task);
  } else {
    run.pool.parallel_for(tasks, attend);
  }
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<AttentionAttributes>();
  const KvLayer& kv = run.kv[static_cast<size_t>(a.layer)];
  const int64_t rows = in[0].rows;
  store_rows(in[1], kv.keys, kv.type, run.position);
  store_rows(in[2], kv.values, kv.type, run.position);
  if (can_attend_fast(a)) {
    attend_fast(a, kv, run, in[0], out[0]);
    return;
  }

  const int64_t group = a.heads / a.kv_heads;
  const int64_t blocks = (rows + query_block - 1) / query_block;
  const auto attend = [&](size_t task) {
    const int64_t kv_head = static_cast<int64_t>(task) % a.kv_heads;
    const int64_t first = static_cast<int64_t>(task) / a.kv_heads * query_block;
    const int64_t count = std::min(query_block, rows - first);
    const auto at = [&](const Value& v, int64_t r) {
      return v.row(first + r / group) + (kv_head * group + r % group) * a.head_dim;
    };
    Group state(a, count * group);
    for (int64_t r = 0; r < count * group; ++r) state.load_query(static_cast<size_t>(r), at(in[0], r));
    const auto position = [&](size_t r) { return run.position + first + static_cast<int64_t>(r) / group; };

    int64_t begin = 0;
    if (a.window > 0)
      begin = std::max<int64_t>(0, run.position + first - a.window + 1) / key_block * key_block;
    const int64_t end = run.position + (a.causal ? first + count : rows);
    for (int64_t k = begin; k < end; k += key_block)
      state.see(kv, kv_head, k, std::min(key_block, end - k), position);
    for (int64_t r = 0; r < count * group; ++r) state.result(static_cast<size_t>(r), at(out[0], r));
  };
  const auto tasks = static_cast<size_t>(blocks * a.kv_heads);
  if (rows * (run.position + rows) * a.heads * a.head_dim <= serial_work) {
    for (size_t task = 0; task < tasks; ++task) attend(task);
  } else {
    run.pool.parallel_for(tasks, attend);
  }
}

}  // namespace

const Op attention_op{.name = "attention", .shape = shape, .forward = forward};

}  // namespace nibble
