#include "pipeline/job.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <future>

#include "base/hash.h"
#include "base/interrupt.h"
#include "kernels/widen.h"
#include "model/activation_note.h"
#include "model/content_hash.h"
#include "pipeline/journal.h"
#include "pipeline/output.h"
#include "pipeline/solving.h"
#include "pipeline/task.h"

namespace nibble {
namespace {

/// What is read and rounded at once where a solver gains nothing by more: it stays in the second-level cache.
constexpr int64_t piece_weights = int64_t{1} << 16;
constexpr uint64_t worth_showing = uint64_t{256} << 20;
/// After a batch that takes less, the next one is twice as large.
constexpr std::chrono::milliseconds short_batch{100};

/// Everything a tensor needs while its tasks run.
struct Target {
  const ExportTensor* tensor = nullptr;
  std::vector<PlaneInfo> planes;
  std::optional<QTensor> stored;              ///< to be copied as it is
  std::vector<std::vector<std::byte>> whole;  ///< tensor-wide planes, filled by the tensor pass
  std::vector<Task> tasks;
  std::vector<std::string> hashes;  ///< one per task
  std::vector<Solving::How> how;    ///< one, or one per expert
  int64_t rows_each = 0;            ///< rows that one of `how` is for
  std::string hash() const {
    std::string all;
    for (const std::string& h : hashes) all += h;
    return hash_hex(std::as_bytes(std::span(all)));
  }
};

void require_finite(std::span<const float> x, const ExportTensor& t, int64_t row) {
  if (magnitude_bits(x.data(), static_cast<int64_t>(x.size())) < infinity_bits) return;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i])) continue;
    throw Error(
        ErrorKind::bad_input,
        fmt::format("{} holds {} at row {}, column {}", t.name, std::isnan(x[i]) ? "NaN" : "infinity",
                    row + static_cast<int64_t>(i) / t.shape.cols(), static_cast<int64_t>(i) % t.shape.cols()),
        "the checkpoint is damaged; no format can hold such a weight");
  }
}

void require_f16_range(std::span<const float> x, const ExportTensor& t) {
  if (t.format->info().name != "f16") return;
  if (magnitude_bits(x.data(), static_cast<int64_t>(x.size())) < std::bit_cast<int32_t>(65520.0f)) return;
  for (const float v : x) {
    if (std::fabs(v) >= 65520.0f) {
      throw Error(ErrorKind::bad_input, fmt::format("{} holds {}, which f16 cannot", t.name, v),
                  "bf16 and f32 have the range");
    }
  }
}

void read_window(const ExportPlan& file, const Solving& solving, const ExportTensor& t, int64_t row,
                 std::span<float> x) {
  if (t.source != nullptr) {
    file.read_rows(t, row, static_cast<int64_t>(x.size()) / t.shape.cols(), x.data());
    solving.transform(t, row, x);
  } else {
    const auto begin = t.made.begin() + row * t.shape.cols();
    std::copy(begin, begin + static_cast<std::ptrdiff_t>(x.size()), x.begin());
  }
  require_finite(x, t, row);
}

class Job {
 public:
  /// `source` (may be null) is told what is read.
  Job(const QuantizationPlan& plan, Output& output, ContentHash* source, ThreadPool& pool, Progress& progress)
      : plan_(plan),
        output_(output),
        source_(source),
        pool_(pool),
        progress_(progress),
        solving_(plan, pool) {}

  /// Splits a tensor into tasks; reads it once if its format has tensor-wide parameters.
  Target prepare(size_t index) const {
    Target t;
    t.tensor = &plan_.file.tensors[index];
    t.planes = t.tensor->format->planes(t.tensor->shape);
    if (t.tensor->source != nullptr && !solving_.transforms(*t.tensor))
      t.stored = plan_.file.as_stored(*t.tensor);
    if (t.stored) {
      t.tasks = copy_tasks(index, t.planes);
    } else {
      split_rows(t, index);
    }
    t.hashes.resize(t.tasks.size());
    return t;
  }

  /// The tensor-wide parameters, from one pass over all rows.
  void pass(Target& t) const {
    t.whole.resize(t.planes.size());
    std::vector<std::byte*> base(t.planes.size(), nullptr);
    for (size_t p = 0; p < t.planes.size(); ++p) {
      if (t.planes[p].block_bytes != 0) continue;
      t.whole[p].resize(t.planes[p].bytes);
      base[p] = t.whole[p].data();
    }
    if (t.stored) return;
    const auto tensor_pass = t.tensor->format->tensor_pass(t.tensor->shape);
    if (!tensor_pass) return;
    std::vector<float> x;
    for (const Task& task : t.tasks) {
      if (task.rows == 0) continue;
      check_interrupt();
      x.resize(static_cast<size_t>(task.rows * t.tensor->shape.cols()));
      read_window(plan_.file, solving_, *t.tensor, task.row, x);
      tensor_pass->add(x);
    }
    tensor_pass->finish(base.data());
  }

  std::string run(const Target& t, const Task& task) const {
    check_interrupt();
    Hasher hasher;
    if (task.rows == 0) {
      for (const Range& r : task.ranges) {
        const auto bytes =
            t.stored ? t.stored->planes[r.plane].bytes : std::span<const std::byte>(t.whole[r.plane]);
        const auto part = bytes.subspan(r.offset, r.bytes);
        if (t.stored && source_ != nullptr) source_->before_reading(part);
        emit(task, r, part, hasher);
      }
      return hasher.hex();
    }
    std::vector<std::vector<std::byte>> bytes(t.planes.size());
    for (const Range& r : task.ranges) bytes[r.plane].resize(r.bytes);
    const Solving::How& how = t.how[static_cast<size_t>(task.row / t.rows_each)];
    const int64_t most =
        how.solver->needs().hessian ? task.rows : rows_of(*t.tensor->format, t.tensor->shape, piece_weights);
    // Not cleared: a window is read into it first.
    const std::unique_ptr<float[]> memory(
        new float[static_cast<size_t>(std::min(most, task.rows) * t.tensor->shape.cols())]);
    for (int64_t row = 0; row < task.rows; row += most)
      round_rows(t, task, row, std::min(most, task.rows - row), memory.get(), how, bytes);
    for (const Range& r : task.ranges) emit(task, r, bytes[r.plane], hasher);
    return hasher.hex();
  }

  /// Rows [row, row + rows) of a task, read to `memory`, into its planes.
  void round_rows(const Target& t, const Task& task, int64_t row, int64_t rows, float* memory,
                  const Solving::How& how, std::vector<std::vector<std::byte>>& bytes) const {
    const Format& format = *t.tensor->format;
    const int64_t cols = t.tensor->shape.cols(), block = format.block(t.tensor->shape);
    const std::span<float> x(memory, static_cast<size_t>(rows * cols));
    if (source_ != nullptr) source_->before_reading(plan_.file.stored_part(*t.tensor, task.row + row, rows));
    read_window(plan_.file, solving_, *t.tensor, task.row + row, x);
    require_f16_range(x, *t.tensor);
    const int64_t first = (task.row + row) * cols / block;
    const auto skip = static_cast<size_t>(first - task.row * cols / block);
    std::vector<std::byte*> at(t.planes.size());
    for (size_t p = 0; p < t.planes.size(); ++p) {
      at[p] = t.planes[p].block_bytes == 0 ? const_cast<std::byte*>(t.whole[p].data())
                                           : bytes[p].data() + skip * t.planes[p].block_bytes;
    }
    how.solver->solve({format, t.tensor->shape, t.planes, first, x, how.stats, at}, how.prepared);
  }

  /// Whether the output already holds what the journal vouches for.
  bool verify(Target& t, const std::string& expected) const {
    std::vector<std::byte> bytes;
    for (size_t i = 0; i < t.tasks.size(); ++i) {
      check_interrupt();
      Hasher hasher;
      for (const Range& r : t.tasks[i].ranges) {
        bytes.resize(r.bytes);
        output_.read(t.tasks[i].tensor, r.plane, r.offset, bytes);
        hasher.update(bytes);
      }
      t.hashes[i] = hasher.hex();
    }
    return t.hash() == expected;
  }

  size_t run_all(Journal& journal, const std::string& title) {
    uint64_t total = 0;
    for (const LedgerLine& l : plan_.ledger.lines) total += l.bytes_out;
    // Collecting statistics counts as much as all the rest.
    const uint64_t steps = plan_.stats ? plan_.stats->steps() : 0;
    step_bytes_ = steps > 0 ? std::max<uint64_t>(1, total / steps) : 0;
    progress_.start(title, total + steps * step_bytes_, "B");
    size_t resumed = 0;
    try {
      for (const std::vector<size_t>& part : parts()) resumed += run_part(part, journal);
    } catch (...) {
      keep_written(journal);
      throw;
    }
    progress_.finish();
    return resumed;
  }

  std::map<std::string, std::string> notes() const { return solving_.notes(); }

 private:
  void split_rows(Target& t, size_t index) const {
    const Format& format = *t.tensor->format;
    const Shape& shape = t.tensor->shape;
    // Where experts have statistics of their own, no window holds rows of two.
    const bool stack =
        t.tensor->expert < 0 && solving_.wants_stats(*t.tensor) && t.tensor->source->experts > 0;
    t.rows_each = shape.rows() / (stack ? t.tensor->source->experts : 1);
    const int64_t block = format.block(shape);
    if (stack && t.rows_each * shape.cols() % block != 0) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: blocks of {} weights straddle experts, which have statistics of their own",
                              t.tensor->name, block),
                  "choose a format whose blocks end with rows");
    }
    t.tasks = row_tasks(index, format, shape, t.planes, t.rows_each);
  }

  int64_t part_of_tensor(size_t index) const {
    const ExportTensor& t = plan_.file.tensors[index];
    return t.source == nullptr ? -1 : part_of(*t.source, plan_.file.checkpoint().hparams());
  }

  /// The tensors of every part of the model; all together where no statistics are collected.
  std::vector<std::vector<size_t>> parts() const {
    std::map<int64_t, std::vector<size_t>> by_part;
    for (size_t i = 0; i < plan_.file.tensors.size(); ++i)
      by_part[plan_.stats ? part_of_tensor(i) : 0].push_back(i);
    std::vector<std::vector<size_t>> all;
    all.reserve(by_part.size());
    for (auto& [part, tensors] : by_part) all.push_back(std::move(tensors));
    return all;
  }

  size_t run_part(const std::vector<size_t>& tensors, Journal& journal) {
    size_t resumed = 0;
    const int64_t part = part_of_tensor(tensors.front());
    if (plan_.stats) solving_.begin(part);
    bool entered = false;
    size_t enough = 8 * static_cast<size_t>(pool_.threads());
    for (size_t next = 0; next < tensors.size();) {
      std::vector<Target> batch;
      size_t tasks = 0;
      const auto begin = std::chrono::steady_clock::now();
      for (; next < tensors.size() && tasks < enough; ++next) {
        const size_t index = tensors[next];
        const ExportTensor& tensor = plan_.file.tensors[index];
        Target t = prepare(index);
        if (const auto hash = journal.find(tensor.name)) {
          if (verify(t, *hash)) {
            ++resumed;
            progress_.advance(plan_.ledger.lines[index].bytes_out, tensor.name);
            continue;
          }
          journal.forget(tensor.name);
        }
        if (!entered && !t.stored && (solving_.wants_stats(tensor) || solving_.transforms(tensor))) {
          entered = true;
          solving_.enter([&] { progress_.advance(step_bytes_, calibrating(part)); });
        }
        choose_how(t);
        tasks += t.tasks.size();
        batch.push_back(std::move(t));
      }
      run_batch(batch);
      vouch(journal);
      for (const Target& t : batch) {
        written_.emplace_back(t.tensor->name, t.hash());
        release(t);
      }
      // The disk takes it while the next batch is rounded.
      syncing_ = std::async(std::launch::async, [this, &journal] {
        journal.sync();
        output_.sync();
      });
      // Joins and syncs cost little where batches are long; little is lost where they are short.
      if (std::chrono::steady_clock::now() - begin < short_batch) enough *= 2;
    }
    vouch(journal);
    journal.sync();
    return resumed;
  }

  /// What was finished before a failure need not be done again.
  void keep_written(Journal& journal) noexcept {
    try {
      vouch(journal);
    } catch (const std::exception&) {
      written_.clear();
    }
  }

  /// Waits until what was written is on disk, and says so in the journal.
  void vouch(Journal& journal) {
    if (!syncing_.valid()) return;
    syncing_.get();
    for (const auto& [tensor, hash] : written_) journal.record(tensor, hash);
    written_.clear();
  }

  std::string calibrating(int64_t part) const {
    const int64_t layers = plan_.file.checkpoint().hparams().layers;
    return part < layers ? fmt::format("calibrating layer {} of {}", part + 1, layers)
                         : "calibrating the head";
  }

  void choose_how(Target& t) {
    if (t.stored) return;
    const int64_t count = t.rows_each > 0 ? t.tensor->shape.rows() / t.rows_each : 1;
    for (int64_t e = 0; e < count; ++e)
      t.how.push_back(solving_.of(*t.tensor, std::max<int64_t>(t.tensor->expert, e)));
  }

  void run_batch(std::vector<Target>& batch) const {
    pool_.parallel_for(batch.size(), [&](size_t i) { pass(batch[i]); });
    std::vector<std::pair<size_t, size_t>> order;
    std::vector<std::atomic<size_t>> left(batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      left[i] = batch[i].tasks.size();
      for (size_t k = 0; k < batch[i].tasks.size(); ++k) order.emplace_back(i, k);
    }
    pool_.parallel_for(order.size(), [&](size_t i) {
      Target& t = batch[order[i].first];
      const Task& task = t.tasks[order[i].second];
      t.hashes[order[i].second] = run(t, task);
      uint64_t bytes = 0;
      for (const Range& r : task.ranges) bytes += r.bytes;
      progress_.advance(bytes, t.tensor->name);
      // What a change keeps is for several tensors, perhaps of this batch.
      if (--left[order[i].first] == 0 && plan_.file.checkpoint().change() == nullptr) release(t);
    });
  }

  void release(const Target& t) const noexcept {
    if (t.tensor->source != nullptr) plan_.file.release(*t.tensor);
  }

  void emit(const Task& task, const Range& r, std::span<const std::byte> bytes, Hasher& hasher) const {
    output_.write(task.tensor, r.plane, r.offset, bytes);
    hasher.update(bytes);
  }

  const QuantizationPlan& plan_;
  Output& output_;
  ContentHash* source_;
  ThreadPool& pool_;
  Progress& progress_;
  Solving solving_;
  std::vector<std::pair<std::string, std::string>>
      written_;                ///< tensors that syncing_ is about, and their hashes
  std::future<void> syncing_;  ///< the last to be made, the first to go
  uint64_t step_bytes_ = 0;    ///< what a step of collecting statistics counts in the progress
};

/// The hash; after a resumed job there may be much to be read for it.
std::string rest_of(ContentHash& source, ThreadPool& pool, Progress& progress) {
  const uint64_t left = source.left();
  if (left < worth_showing) return source.finish(pool);
  progress.start("hashing what was not read", left, "B");
  std::string hash = source.finish(pool, [&](uint64_t bytes) { progress.advance(bytes); });
  progress.finish();
  return hash;
}

}  // namespace

void require_room(const QuantizationPlan& plan, const JobOptions& options, int threads) {
  const Output output(plan, options.output, options.shard_size);
  require_disk(preflight(plan, options.output, threads), options.output, output.already_on_disk());
}

JobResult run_job(const QuantizationPlan& plan, const JobOptions& options, ThreadPool& pool,
                  Progress& progress) {
  const auto begin = std::chrono::steady_clock::now();
  if ((plan.recipe.activations || !turned_inputs(plan.file.checkpoint()).empty()) &&
      plan.file.metadata.count(std::string(activation_note_key)) == 0)
    fail(ErrorKind::internal, "the plan does not say how activations are to be rounded (note_activations)");
  require_room(plan, options, pool.threads());
  Output output(plan, options.output, options.shard_size);
  output.open(options.fresh);
  Journal journal(output.journal_path(), output.identity());
  size_t resumed = 0;
  std::optional<ContentHash> source;
  if (options.hash_source) source.emplace(plan.file.checkpoint().file());
  Job job(plan, output, source ? &*source : nullptr, pool, progress);
  try {
    resumed = job.run_all(journal, options.title);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::bad_input) {
      output.discard();
      journal.remove();
      if (plan.stats) plan.stats->finish();
    }
    throw;
  }
  if (source) output.fill_in(rest_of(*source, pool, progress));
  output.finish();
  journal.remove();
  if (plan.stats) plan.stats->finish();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  return {elapsed.count(), resumed, options.output, job.notes()};
}

}  // namespace nibble
