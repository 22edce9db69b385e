#include "ops/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/attend.h"
#include "kernels/elementwise.h"
#include "kernels/rotation.h"
#include "kernels/widen.h"
#include "ops/turn.h"

namespace nibble {
namespace {

constexpr int64_t key_block = kv_page;
constexpr int64_t query_block = 32;
// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 64 * 1024;
// Keys that one task of few queries looks at, whatever the number of threads: more of them are shared out.
constexpr int64_t split_keys = 1024;
constexpr int64_t split_rows = 16;
constexpr int64_t store_block = 16;  // divides kv_page
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

/// Refuses finite numbers that a format would make infinite: softmax could hide that, or make it NaN later.
void require_range(const Node& node, const char* what, const float* x, int64_t n, const KvFormat& format,
                   int64_t position) {
  if (magnitude_bits(x, n) < std::bit_cast<int32_t>(format.overflow)) return;
  // What is no number has an error of its own, which tells where it came from.
  float most = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (std::isfinite(x[i]) && std::fabs(x[i]) > std::fabs(most)) most = x[i];
  }
  if (std::fabs(most) < format.overflow) return;
  throw Error(ErrorKind::bad_input,
              fmt::format("{}: a {} of the token at position {} reaches {}, which {} cannot hold", node.name,
                          what, position, most, format.word),
              "f32 keeps keys and values as they are: calibrate without --fast, run with --kv f32");
}

/// New keys and values on their way to the cache.
struct Fresh {
  const Node& node;
  const Value &k, &v;

  /// Writes those of positions [begin, end) of a sequence, of heads [first, last). Heads stand apart in the
  /// cache.
  void store(const SequenceRows& rows, const KvLayer& kv, int64_t begin, int64_t end, int64_t first,
             int64_t last) const {
    std::vector<float> turned;
    const auto source = [&](const Value& from, const char* what, const KvStorage& storage, int64_t p,
                            int64_t head) {
      const float* x = from.row(rows.first + p - rows.position) + head * kv.dim;
      if (storage.rotated) {
        turned.assign(x, x + kv.dim);
        fixed_rotation(kv.dim).turn(turned.data());
        x = turned.data();
      }
      require_range(node, what, x, kv.dim, *storage.format, p);
      return x;
    };
    for (int64_t p = begin; p < end; ++p) {
      const int64_t page = p / kv_page, slot = p % kv_page;
      for (int64_t head = first; head < last; ++head)
        kv.k.format->put_key(kv.key_page(page, head), slot, kv.dim, source(k, "key", kv.k, p, head));
      for (int64_t head = first; head < last; ++head)
        kv.v.format->put_value(kv.value_page(page, head), slot, kv.dim, source(v, "value", kv.v, p, head));
    }
  }

  void store_all(const SequenceRows& rows, const KvLayer& kv, ThreadPool& pool) const {
    // Positions that may share a line of the cache go together.
    const int64_t end = rows.position + rows.count, first = rows.position / store_block * store_block;
    const auto block = [&](size_t i) {
      const int64_t begin = first + static_cast<int64_t>(i) * store_block;
      store(rows, kv, std::max(begin, rows.position), std::min(begin + store_block, end), 0, kv.heads);
    };
    const auto blocks = static_cast<size_t>((end - first + store_block - 1) / store_block);
    if (rows.count * kv.heads * kv.dim < 4096) {
      for (size_t i = 0; i < blocks; ++i) block(i);
    } else {
      pool.parallel_for(blocks, block);
    }
  }
};

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
        page_(key_block * dim()) {}

  void load_query(size_t row, const float* q) { std::copy_n(q, a_.head_dim, query_.data() + row * dim()); }

  /// Takes in keys [first, first + n). `position(row)` is the position of a query.
  template <class Position>
  void see(const KvLayer& kv, int64_t kv_head, int64_t first, int64_t n, const Position& position) {
    const int64_t d = a_.head_dim;
    const CpuKernels& cpu = cpu_kernels();
    const float* k = rows_of(*kv.k.format, kv.key_page(first / kv_page, kv_head), n, true);
    const auto m = static_cast<int64_t>(rows_);
    cpu.products({query_.data(), m, d, k, n, d, d, score_.data(), key_block});
    for (size_t r = 0; r < rows_; ++r) soften(r, first, n, position(r));
    const float* v = rows_of(*kv.v.format, kv.value_page(first / kv_page, kv_head), n, false);
    cpu.sums.weighted_sum({score_.data(), m, key_block, v, n, d, d, sum_.data(), d});
  }

  void result(size_t row, float* out) const {
    const float f = 1.0f / total_[row];
    for (size_t c = 0; c < dim(); ++c) out[c] = sum_[row * dim() + c] * f;
  }

 private:
  size_t dim() const { return static_cast<size_t>(a_.head_dim); }

  /// Keys or values as f32: where they stand, or a copy that lives until the next call.
  const float* rows_of(const KvFormat& format, const std::byte* page, int64_t n, bool keys) {
    if (format.plain) return reinterpret_cast<const float*>(page);
    (keys ? format.keys : format.values)(page, n, a_.head_dim, page_.data());
    return page_.data();
  }

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
    float factor = most_[r];
    exponentials(&factor, most, &factor, 1);
    std::fill_n(s, begin, hidden_score);
    std::fill(s + end, s + key_block, hidden_score);
    exponentials(s, most, s, key_block);
    total_[r] = total_[r] * factor + block_sum(s);
    most_[r] = most;
    if (factor == 1.0f) return;
    for (size_t c = 0; c < dim(); ++c) sum_[r * dim() + c] *= factor;
  }

  const AttentionAttributes& a_;
  size_t rows_;
  std::vector<float> query_, score_, sum_, most_, total_, page_;
};

/// What one call of attention works on.
struct Call {
  const AttentionAttributes& a;
  const Value& q;
  const Value& out;
  const Fresh& fresh;
  ThreadPool& pool;
  int64_t group() const { return a.heads / a.kv_heads; }
};

/// In a fixed order: the same bits at every level and in every batch.
void attend_exact(const Call& call, const SequenceRows& rows, const KvLayer& kv) {
  const AttentionAttributes& a = call.a;
  const int64_t group = call.group();
  const int64_t blocks = (rows.count + query_block - 1) / query_block;
  const auto attend = [&](size_t task) {
    const int64_t kv_head = static_cast<int64_t>(task) % a.kv_heads;
    const int64_t first = static_cast<int64_t>(task) / a.kv_heads * query_block;
    const int64_t count = std::min(query_block, rows.count - first);
    const auto at = [&](const Value& v, int64_t r) {
      return v.row(rows.first + first + r / group) + (kv_head * group + r % group) * a.head_dim;
    };
    Group state(a, count * group);
    for (int64_t r = 0; r < count * group; ++r) state.load_query(static_cast<size_t>(r), at(call.q, r));
    const auto position = [&](size_t r) { return rows.position + first + static_cast<int64_t>(r) / group; };

    int64_t begin = 0;
    if (a.window > 0)
      begin = std::max<int64_t>(0, rows.position + first - a.window + 1) / key_block * key_block;
    const int64_t end = rows.position + (a.causal ? first + count : rows.count);
    for (int64_t k = begin; k < end; k += key_block)
      state.see(kv, kv_head, k, std::min(key_block, end - k), position);
    for (int64_t r = 0; r < count * group; ++r) state.result(static_cast<size_t>(r), at(call.out, r));
  };
  const auto tasks = static_cast<size_t>(blocks * a.kv_heads);
  if (rows.count * (rows.position + rows.count) * a.heads * a.head_dim <= serial_work) {
    for (size_t task = 0; task < tasks; ++task) attend(task);
  } else {
    call.pool.parallel_for(tasks, attend);
  }
}

/// The level's kernels for a way of keeping keys and values.
struct Kernels {
  const KeyKernel* keys = nullptr;
  const ValueKernel* values = nullptr;
  const TilePage *tile_keys = nullptr, *tile_values = nullptr;
  bool tiles() const noexcept { return tile_keys != nullptr && tile_values != nullptr; }
};

Kernels fast_kernels(const AttentionAttributes& a, const KvLayer& kv) {
  const AttendKernels& level = attend_kernels();
  if (a.precision != Precision::fast || level.attend == nullptr || a.head_dim > attend_dim ||
      a.heads / a.kv_heads > attend_rows)
    return {};
  Kernels k{key_kernel(level, kv.k.format->word), value_kernel(level, kv.v.format->word)};
  if (level.tiles != nullptr && a.softcap == 0 && a.head_dim % 32 == 0) {
    k.tile_keys = tile_page(level, kv.k.format->word);
    k.tile_values = tile_page(level, kv.v.format->word);
  }
  return k.keys != nullptr && k.values != nullptr ? k : Kernels{};
}

/// Attention of all sequences by the level's own kernels, shared out among the threads at once.
class FastAttention {
 public:
  FastAttention(const Call& call, const Kernels& kernels) : call_(call), kernels_(kernels) {}

  void add(const SequenceRows& rows, const KvLayer& kv) {
    const AttentionAttributes& a = call_.a;
    // Tiles take keys apart for all queries of a task at once; how many those are changes no bit.
    const int64_t most = attend_rows / call_.group();
    const int64_t fair = rows.count * a.kv_heads / (3 * call_.pool.threads()) / 16 * 16;
    const int64_t least = std::min<int64_t>(query_block, most);
    const bool tiles = kernels_.tiles() && rows.count * call_.group() > split_rows;
    const int64_t step = tiles ? std::clamp(fair, least, most) : least;
    const int64_t keys = rows.position + rows.count;
    work_ += rows.count * keys * a.heads * a.head_dim;
    // Few queries have little to share: their keys are shared out.
    const int64_t seen = a.window > 0 ? std::max<int64_t>(0, rows.position - a.window + 1) : 0;
    const int64_t begin = seen / split_keys * split_keys;
    const int64_t parts = (keys - begin + split_keys - 1) / split_keys;
    const bool split = rows.count * call_.group() <= split_rows && parts > 1;
    // The one task of a head that sees the new keys writes them, too.
    const bool writes = split ? rows.position >= begin + (parts - 1) * split_keys : rows.count <= step;
    if (!writes) call_.fresh.store_all(rows, kv, call_.pool);
    for (int64_t kv_head = 0; kv_head < a.kv_heads; ++kv_head) {
      if (split) merges_.push_back({&rows, kv_head, parts, partial_});
      for (int64_t part = 0; split && part < parts; ++part) {
        AttendTask t = task_of(rows, kv, kv_head, 0, rows.count);
        t.first = begin + part * split_keys;
        t.last = std::min(keys, t.first + split_keys);
        tasks_.push_back({t, partial_, false, writes && part + 1 == parts ? &rows : nullptr, &kv, kv_head});
        partial_ += t.tokens * t.group * (t.d + 2);
      }
      for (int64_t first = 0; !split && first < rows.count; first += step)
        tasks_.push_back({task_of(rows, kv, kv_head, first, std::min(step, rows.count - first)), -1, tiles,
                          writes ? &rows : nullptr, &kv, kv_head});
    }
  }

  void run() {
    const AttendKernels& level = attend_kernels();
    std::vector<float> partial(static_cast<size_t>(partial_));
    const auto attend = [&](size_t i) {
      const Task& task = tasks_[i];
      AttendTask t = task.task;
      if (task.writes != nullptr)
        call_.fresh.store(*task.writes, *task.kv, task.writes->position, t.keys, task.kv_head,
                          task.kv_head + 1);
      if (task.partial >= 0) t.partial = partial.data() + task.partial;
      if (task.tiles) {
        level.tiles(t, kernels_.tile_keys->keys, kernels_.tile_values->values);
      } else {
        level.attend(t, *kernels_.keys, *kernels_.values);
      }
    };
    if (work_ <= serial_work / 2) {
      for (size_t i = 0; i < tasks_.size(); ++i) attend(i);
    } else {
      try {
        call_.pool.parallel_for(tasks_.size(), attend);
      } catch (const Error&) {
        // Which thread was the first is chance: what it says shall not be.
        for (const Task& t : tasks_) {
          if (t.writes != nullptr)
            call_.fresh.store(*t.writes, *t.kv, t.writes->position, t.task.keys, 0, t.kv->heads);
        }
        throw;
      }
    }
    const int64_t d = call_.a.head_dim, group = call_.group();
    for (const Merge& m : merges_) {
      const int64_t n = m.rows->count * group;
      for (int64_t r = 0; r < n; ++r)
        merge_attention(partial.data() + m.partial + r * (d + 2), m.parts, n * (d + 2), d,
                        call_.out.row(m.rows->first + r / group) + (m.kv_head * group + r % group) * d);
    }
  }

 private:
  struct Task {
    AttendTask task;
    int64_t partial;  ///< where its partial results stand; -1: it has none
    bool tiles;       ///< not by what is left of a sequence: its end has the bits that it has anywhere
    const SequenceRows* writes;  ///< whose new keys and values it writes first; null: they stand there
    const KvLayer* kv;
    int64_t kv_head;
  };
  struct Merge {
    const SequenceRows* rows;
    int64_t kv_head, parts, partial;
  };

  AttendTask task_of(const SequenceRows& rows, const KvLayer& kv, int64_t kv_head, int64_t first,
                     int64_t count) const {
    const AttentionAttributes& a = call_.a;
    const int64_t column = kv_head * call_.group() * a.head_dim, row = rows.first + first;
    const int64_t keys = rows.position + rows.count;
    return {.q = call_.q.row(row) + column,
            .out = call_.out.row(row) + column,
            .q_stride = call_.q.cols,
            .tokens = count,
            .group = call_.group(),
            .d = a.head_dim,
            .k = kv.key_page(0, kv_head),
            .v = kv.value_page(0, kv_head),
            .k_step = kv.k.format->page_bytes(kv.dim),
            .v_step = kv.v.format->page_bytes(kv.dim),
            .scale = a.scale,
            .softcap = a.softcap,
            .position = rows.position + first,
            .keys = keys,
            .window = a.window,
            .causal = a.causal,
            .first = 0,
            .last = keys,
            .partial = nullptr,
            .prefetch = attend_kernels().prefetch};
  }

  const Call& call_;
  Kernels kernels_;
  std::vector<Task> tasks_;
  std::vector<Merge> merges_;
  int64_t partial_ = 0, work_ = 0;
};

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<AttentionAttributes>();
  const auto layer = static_cast<size_t>(a.layer);
  Value q = in[0];
  std::vector<float> turned;
  // All sequences of a run keep theirs alike.
  const bool rotated_keys = !run.sequences.empty() && run.sequences[0].kv[layer].k.rotated;
  const bool rotated_values = !run.sequences.empty() && run.sequences[0].kv[layer].v.rotated;
  if (rotated_keys) {
    turned.assign(q.data, q.data + q.rows * q.cols);
    q.data = turned.data();
    turn_runs(q, a.head_dim, false, run.pool);
  }
  const Fresh fresh{node, in[1], in[2]};
  const Call call{a, q, out[0], fresh, run.pool};
  const Kernels kernels = run.sequences.empty() ? Kernels{} : fast_kernels(a, run.sequences[0].kv[layer]);
  FastAttention fast(call, kernels);
  for (const SequenceRows& rows : run.sequences) {
    if (kernels.keys != nullptr) {
      fast.add(rows, rows.kv[layer]);
    } else {
      fresh.store_all(rows, rows.kv[layer], run.pool);
      attend_exact(call, rows, rows.kv[layer]);
    }
  }
  fast.run();
  if (rotated_values) turn_runs(out[0], a.head_dim, true, run.pool);
}

}  // namespace

const Op attention_op{.name = "attention", .shape = shape, .forward = forward};

}  // namespace nibble
