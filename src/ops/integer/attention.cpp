#include "ops/integer/attention.h"

#include <algorithm>

#include "ops/integer/rows.h"

namespace nibble {
namespace {

constexpr int value_bits = 10;  // times weights of 15 bits, 32 of them fit 32 bits
constexpr int64_t query_block = 8;
// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 64 * 1024;
constexpr int least_exponent = -16000, most_exponent = 16000;  // that the cache holds
constexpr int32_t nothing = INT32_MIN;                         // exponent of a head of zeros

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  const auto& a = node.attribute<IntegerAttention>();
  if (a.kv_heads <= 0 || a.head_dim <= 0 || a.heads % a.kv_heads != 0)
    fail(ErrorKind::bad_input, "{}: {} heads cannot share {} key heads", node.name, a.heads, a.kv_heads);
  if (a.head_dim % 2 != 0 || a.head_dim > 4096)
    fail(ErrorKind::unsupported, "{}: heads of {} entries are not supported in whole numbers", node.name,
         a.head_dim);
  expect_cols(node, in[0], a.heads * a.head_dim);
  expect_cols(node, in[1], a.kv_heads * a.head_dim);
  expect_cols(node, in[2], a.kv_heads * a.head_dim);
  return {in[0]};
}

/// Bits of queries and keys: a sum of `dim` products has 30.
int score_bits(int64_t dim) {
  const int log = 64 - __builtin_clzll(static_cast<uint64_t>(dim - 1) | 1);
  return std::min(14, (30 - log) / 2);
}

/// Brings n mantissas to `bits` bits; returns their exponent. Neighbours stand `one` apart, pairs `pair`.
int narrow_head(const IntegerKernels& kernels, const int32_t* x, int64_t n, int exponent, int bits,
                int16_t* out, int64_t pair, int64_t one) {
  const uint32_t most = kernels.most(x, n);
  if (most == 0) exponent = least_exponent;
  const int left = most == 0 ? 0 : room_above(most, bits);
  for (int64_t d = 0; d < n; ++d) {
    const int64_t v = left >= 0 ? int64_t{x[d]} * (int64_t{1} << left) : shift_right(x[d], -left);
    out[d / 2 * pair + d % 2 * one] = static_cast<int16_t>(v);
  }
  return std::clamp(exponent - left, least_exponent, most_exponent);
}

struct Cache {
  int16_t *keys, *values;
  int64_t record;     ///< int16 in one
  int64_t exponents;  ///< where they begin in a record

  Cache(const IntegerAttention& a, const KvLayer& kv)
      : keys(reinterpret_cast<int16_t*>(kv.keys)),
        values(reinterpret_cast<int16_t*>(kv.values)),
        record(kv_record * kv.heads * (kv.dim + 1)),
        exponents(kv_record * a.kv_heads * a.head_dim) {}
};

void store(const IntegerKernels& kernels, const IntegerAttention& a, const Cache& cache, int64_t position,
           const Value& k, const Value& v, int64_t row) {
  const int64_t at = position / kv_record * cache.record, lane = position % kv_record;
  const int64_t cols = a.kv_heads * a.head_dim;
  for (int64_t h = 0; h < a.kv_heads; ++h) {
    const int64_t first = h * a.head_dim, exponent = at + cache.exponents + h * kv_record + lane;
    cache.keys[exponent] = static_cast<int16_t>(
        narrow_head(kernels, k.whole(row) + first, a.head_dim, k.exponent[row], score_bits(a.head_dim),
                    cache.keys + at + first * kv_record + 2 * lane, 2 * kv_record, 1));
    // Two neighbours in memory belong to two positions.
    cache.values[exponent] = static_cast<int16_t>(
        narrow_head(kernels, v.whole(row) + first, a.head_dim, v.exponent[row], value_bits,
                    cache.values + at + lane / 2 * 2 * cols + first * 2 + lane % 2, 4, 2));
  }
}

/// What a thread needs for some queries of one key head.
struct Workplace {
  std::vector<int16_t> q, weights;
  std::vector<int32_t> scores;
  std::vector<int64_t> mixed;
};

/// mixed * 2^exponent / sum to mantissas; returns their exponent.
int32_t divide_head(const int64_t* mixed, int64_t n, const IntegerSoftmax& of, int32_t* out) {
  uint64_t most = 0;
  for (int64_t c = 0; c < n; ++c)
    most = std::max(most, static_cast<uint64_t>(mixed[c] < 0 ? -mixed[c] : mixed[c]));
  if (most == 0 || of.sum == 0) {
    std::fill_n(out, n, 0);
    return nothing;
  }
  const int left = __builtin_clzll(most) - (64 - mantissa_bits);
  const int sum_left = __builtin_clzll(of.sum) - 32;
  const uint64_t sum = sum_left >= 0 ? of.sum << sum_left : of.sum >> -sum_left;  // 32 bits
  const auto inverse = static_cast<int64_t>((uint64_t{1} << 62) / sum);
  for (int64_t c = 0; c < n; ++c) {
    const int64_t v = left >= 0 ? mixed[c] * (int64_t{1} << left) : shift_right(mixed[c], -left);
    out[c] = static_cast<int32_t>(shift_right(v * inverse, 31));
  }
  return of.exponent - left + sum_left - 31;
}

class Attention {
 public:
  Attention(const IntegerAttention& a, const KvLayer& kv, int64_t position, const Value& q, const Value& out)
      : a_(a),
        kernels_(integer_kernels()),
        cache_(a, kv),
        position_(position),
        q_(q),
        out_(out),
        exponents_(static_cast<size_t>(q.rows * a.heads)) {}

  /// Queries [first, first + count) of the heads that share a key head.
  void attend(int64_t kv_head, int64_t first, int64_t count) {
    thread_local Workplace place;
    const int64_t dim = a_.head_dim, group = a_.heads / a_.kv_heads, m = count * group;
    int64_t begin = 0;
    if (a_.window > 0) begin = std::max<int64_t>(0, position_ + first - a_.window + 1);
    const int64_t end = position_ + (a_.causal ? first + count : q_.rows);
    const int64_t first_record = begin / kv_record;
    const int64_t records = (end + kv_record - 1) / kv_record - first_record;
    const int64_t padded = records * kv_record;
    place.q.resize(static_cast<size_t>(m * dim));
    place.scores.resize(static_cast<size_t>(m * padded));
    place.weights.resize(place.scores.size());
    place.mixed.resize(place.q.size());
    int32_t q_exponents[query_block];
    std::vector<IntegerSoftmax> sums(static_cast<size_t>(m));

    const int64_t keys_at = first_record * cache_.record + kv_head * dim * kv_record;
    const int64_t exponents_at = first_record * cache_.record + cache_.exponents + kv_head * kv_record;
    for (int64_t g = 0; g < group; ++g) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t head = kv_head * group + g;
        q_exponents[i] = narrow_head(kernels_, q_.whole(first + i) + head * dim, dim, q_.exponent[first + i],
                                     score_bits(dim), place.q.data() + (g * count + i) * dim, 2, 1);
      }
      kernels_.score({place.q.data() + g * count * dim, count, dim, cache_.keys + keys_at, cache_.record,
                      records, place.scores.data() + g * count * padded, padded});
      for (int64_t i = 0; i < count; ++i) {
        const auto [from, to] = seen(position_ + first + i, end);
        const int64_t at = (g * count + i) * padded;
        sums[static_cast<size_t>(g * count + i)] = kernels_.softmax(
            {place.scores.data() + at, from - first_record * kv_record, to - first_record * kv_record, padded,
             cache_.keys + exponents_at, cache_.values + exponents_at, cache_.record, a_.scale.mantissa,
             a_.scale.exponent + q_exponents[i], a_.turn.mantissa, a_.turn.exponent + q_exponents[i], a_.cap,
             place.weights.data() + at});
      }
    }
    kernels_.mix({place.weights.data(), m, padded,
                  cache_.values + first_record * cache_.record + kv_head * dim * 2, a_.kv_heads * dim,
                  cache_.record, records, dim, place.mixed.data()});
    for (int64_t r = 0; r < m; ++r) {
      const int64_t row = first + r % count, head = kv_head * group + r / count;
      exponents_[static_cast<size_t>(row * a_.heads + head)] = divide_head(
          place.mixed.data() + r * dim, dim, sums[static_cast<size_t>(r)], out_.whole(row) + head * dim);
    }
  }

  /// Gives the heads of a row one exponent.
  void align(int64_t row) {
    const int32_t* exponents = exponents_.data() + row * a_.heads;
    const int32_t most = *std::max_element(exponents, exponents + a_.heads);
    out_.exponent[row] = most == nothing ? 0 : most;
    for (int64_t h = 0; h < a_.heads; ++h) {
      if (exponents[h] == most || exponents[h] == nothing) continue;
      const int right = std::min(most - exponents[h], 31);
      int32_t* y = out_.whole(row) + h * a_.head_dim;
      for (int64_t c = 0; c < a_.head_dim; ++c) y[c] = static_cast<int32_t>(shift_right(y[c], right));
    }
  }

 private:
  /// Positions that a query sees.
  std::pair<int64_t, int64_t> seen(int64_t position, int64_t end) const {
    int64_t from = 0, to = a_.causal ? std::min(position + 1, end) : end;
    if (a_.window > 0) {
      from = std::max<int64_t>(0, position - a_.window + 1);
      if (!a_.causal) to = std::min(to, position + a_.window);
    }
    return {from, to};
  }

  const IntegerAttention& a_;
  const IntegerKernels& kernels_;
  Cache cache_;
  int64_t position_;
  Value q_, out_;
  std::vector<int32_t> exponents_;  ///< [row][head]
};

/// Rows of a value that belong to one sequence.
Value part(const Value& x, const SequenceRows& rows) {
  return {x.data + rows.first * x.cols, rows.count, x.cols, x.exponent + rows.first};
}

void attend_sequence(const IntegerAttention& a, const SequenceRows& sequence, std::span<const Value> in,
                     const Value& out, ThreadPool& pool) {
  const KvLayer& kv = sequence.kv[static_cast<size_t>(a.layer)];
  const int64_t rows = sequence.count;
  const IntegerKernels& kernels = integer_kernels();
  const Value k = part(in[1], sequence), v = part(in[2], sequence);
  parallel_ranges(pool, rows, 16, [&](int64_t begin, int64_t end) {
    const Cache cache(a, kv);
    for (int64_t i = begin; i < end; ++i) store(kernels, a, cache, sequence.position + i, k, v, i);
  });

  Attention attention(a, kv, sequence.position, part(in[0], sequence), part(out, sequence));
  const int64_t blocks = (rows + query_block - 1) / query_block;
  const auto attend = [&](size_t task) {
    const int64_t kv_head = static_cast<int64_t>(task) % a.kv_heads;
    const int64_t first = static_cast<int64_t>(task) / a.kv_heads * query_block;
    attention.attend(kv_head, first, std::min(query_block, rows - first));
  };
  const auto tasks = static_cast<size_t>(blocks * a.kv_heads);
  if (rows * (sequence.position + rows) * a.heads * a.head_dim <= serial_work) {
    for (size_t task = 0; task < tasks; ++task) attend(task);
  } else {
    pool.parallel_for(tasks, attend);
  }
  for (int64_t i = 0; i < rows; ++i) attention.align(i);
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerAttention>();
  for (const SequenceRows& sequence : run.sequences) {
    const KvLayer& kv = sequence.kv[static_cast<size_t>(a.layer)];
    if (kv.k.format != &integer_kv_format || kv.v.format != &integer_kv_format)
      fail(ErrorKind::internal, "{} needs a cache of whole numbers", node.name);
    attend_sequence(a, sequence, in, out[0], run.pool);
  }
}

int64_t page_bytes(int64_t d) { return kv_page * (d + 1) * 2; }

}  // namespace

const KvFormat integer_kv_format{.word = "whole", .page_bytes = page_bytes, .joins_heads = true};

const Op integer_attention_op{
    .name = "integer attention", .shape = shape, .forward = forward, .integer = true};

}  // namespace nibble
