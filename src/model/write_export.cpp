#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "containers/hf_quant.h"
#include "containers/tensor_sink.h"
#include "model/checkpoint_data.h"
#include "model/export.h"

namespace nibble {
namespace {

constexpr int64_t window_elements = int64_t{1} << 20;
constexpr size_t copy_bytes = size_t{4} << 20;

std::vector<PlannedTensor> planned(const ExportPlan& plan) {
  std::vector<PlannedTensor> all;
  for (const ExportTensor& t : plan.tensors) all.push_back({t.name, t.shape, t.format, DType::u8});
  return all;
}

std::string read_whole(const std::string& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

// f16 ends at 65504: a larger weight would silently become infinite.
void check_range(const ExportTensor& t, const QTensor& rounded, std::span<const float> x) {
  if (t.format->info().name != "f16") return;
  std::vector<float> back(x.size());
  decode_range(rounded, 0, static_cast<int64_t>(x.size()), back.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isinf(back[i]) && !std::isinf(x[i])) {
      throw Error(ErrorKind::bad_input,
                  fmt::format("{}: the value {} is beyond the range of f16", t.name, x[i]),
                  "bf16 and f32 have the range");
    }
  }
}

class Writer {
 public:
  Writer(const ExportPlan& plan, TensorSink& sink, ThreadPool& pool, const ExportProgress& progress)
      : plan_(plan), sink_(sink), pool_(pool), progress_(progress) {}

  void write(size_t index) {
    const ExportTensor& t = plan_.tensors[index];
    if (const auto stored = plan_.as_stored(t)) {
      copy(index, t, *stored);
    } else {
      convert(index, t);
    }
    plan_.release(t);
  }

 private:
  void copy(size_t index, const ExportTensor& t, const QTensor& stored) {
    for (size_t p = 0; p < stored.planes.size(); ++p) {
      const auto bytes = stored.planes[p].bytes;
      for (size_t at = 0; at < bytes.size(); at += copy_bytes) {
        check_interrupt();
        const auto part = bytes.subspan(at, std::min(copy_bytes, bytes.size() - at));
        sink_.write(index, p, at, part);
        plan_.checkpoint().file().release(part);
        if (progress_) progress_(part.size(), t);
      }
    }
  }

  // As many windows at once as there are threads: memory does not grow with the tensor.
  void convert(size_t index, const ExportTensor& t) {
    if (!is_plain_float(t.format->spec())) {
      fail(ErrorKind::internal, "{}: {} is no plain float format", t.name, t.format->spec().to_string());
    }
    const int64_t rows = t.shape.rows();
    const int64_t cols = t.shape.cols();
    const int64_t window =
        std::clamp<int64_t>(window_elements / std::max<int64_t>(cols, 1), 1, std::max<int64_t>(rows, 1));
    const auto count = static_cast<size_t>((rows + window - 1) / window);
    const size_t row_bytes = format_bytes(*t.format, Shape{1, cols});
    const auto batch = static_cast<size_t>(pool_.threads());
    for (size_t first = 0; first < count; first += batch) {
      check_interrupt();
      const size_t n = std::min(batch, count - first);
      pool_.parallel_for(n, [&](size_t i) {
        const int64_t row = static_cast<int64_t>(first + i) * window;
        const int64_t height = std::min(window, rows - row);
        std::vector<float> x(static_cast<size_t>(height * cols));
        plan_.read_rows(t, row, height, x.data());
        const QTensor rounded = encode_nearest(*t.format, Shape{height, cols}, x);
        check_range(t, rounded, x);
        sink_.write(index, 0, static_cast<uint64_t>(row) * row_bytes, rounded.planes[0].bytes);
      });
      if (progress_) {
        const int64_t from = static_cast<int64_t>(first) * window;
        const int64_t to = std::min(rows, static_cast<int64_t>(first + n) * window);
        progress_(static_cast<uint64_t>(to - from) * row_bytes, t);
      }
    }
  }

  const ExportPlan& plan_;
  TensorSink& sink_;
  ThreadPool& pool_;
  const ExportProgress& progress_;
};

}  // namespace

OutputPlan plan_output(const ExportPlan& plan, const std::string& path, uint64_t shard_size) {
  const std::vector<PlannedTensor> tensors = planned(plan);
  if (plan.target == Target::gguf) return plan_gguf(path, tensors, plan.kv);
  OutputPlan out = plan_safetensors(path, tensors, {{"format", "pt"}}, shard_size);
  for (const ExportFile& f : plan.files) {
    std::string text = f.copy_from.empty() ? f.content : read_whole(f.copy_from);
    if (f.name == "config.json") text = with_quantization_config(text, tensors, f.name);
    out.small_files.push_back({path + "/" + f.name, std::move(text)});
  }
  return out;
}

void write_export(const ExportPlan& plan, const std::string& path, ThreadPool& pool,
                  const ExportProgress& progress, uint64_t shard_size) {
  TensorSink sink(plan_output(plan, path, shard_size));
  try {
    Writer writer(plan, sink, pool, progress);
    for (size_t i = 0; i < plan.tensors.size(); ++i) writer.write(i);
    sink.finish();
  } catch (...) {
    sink.discard();
    throw;
  }
}

}  // namespace nibble
