#include "model/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "containers/json_meta.h"
#include "kernels/widen.h"
#include "model/checkpoint_data.h"
#include "model/rewrite.h"
#include "model/weight_change.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

// The rewrite that stands between the stored bytes and the canonical tensor; GGUF files hold canonical ones.
Rewrite pending(const Checkpoint::Data& d, const CanonicalTensor& t) {
  if (d.source == SourceKind::gguf) return Rewrite::none;
  // Quantized matrices are never stored transposed.
  if (t.rewrite == Rewrite::transpose && !is_plain_float(t.format)) return Rewrite::none;
  return t.rewrite;
}

// Whether rows of the tensor have bytes of their own in every plane.
bool rows_stand_alone(const QTensor& t) {
  const Format& format = format_of(t.format);
  const int64_t block = format.block(t.shape);
  if (block <= 0 || t.shape.cols() % block != 0) return false;
  for (const PlaneInfo& p : format.planes(t.shape)) {
    if (p.block_bytes == 0) return false;
  }
  return true;
}

std::shared_ptr<std::vector<std::byte>> allocate(Plane& plane, const std::string& name, size_t bytes) {
  auto data = std::make_shared<std::vector<std::byte>>(bytes);
  plane.name = name;
  plane.bytes = *data;
  plane.owner = data;
  return data;
}

QTensor reorder_rows(const QTensor& stored, const CanonicalTensor& t, const Hparams& h) {
  QTensor out{stored.format, t.shape, {}};
  const int64_t rows = t.shape.rank() == 1 ? t.shape[0] : t.shape.rows();
  for (const Plane& p : stored.planes) {
    Plane plane;
    const auto data = allocate(plane, p.name, p.bytes.size());
    const size_t width = p.bytes.size() / static_cast<size_t>(rows);
    for (int64_t r = 0; r < rows; ++r) {
      const auto from = static_cast<size_t>(hf_row(t.rewrite, h, r)) * width;
      std::memcpy(data->data() + static_cast<size_t>(r) * width, p.bytes.data() + from, width);
    }
    out.planes.push_back(std::move(plane));
  }
  return out;
}

QTensor stack(const CanonicalTensor& t) {
  QTensor out{t.format, t.shape, {}};
  const std::vector<Plane>& first = t.stored.front()->weights().planes;
  for (size_t i = 0; i < first.size(); ++i) {
    Plane plane;
    const size_t bytes = first[i].bytes.size();
    const auto data = allocate(plane, first[i].name, bytes * t.stored.size());
    for (size_t e = 0; e < t.stored.size(); ++e) {
      std::memcpy(data->data() + e * bytes, t.stored[e]->weights().planes[i].bytes.data(), bytes);
    }
    out.planes.push_back(std::move(plane));
  }
  return out;
}

// Rows [row, row + n) of the transposed matrix: a window of columns of every stored row.
void read_columns(const QTensor& stored, int64_t row, int64_t n, float* out) {
  const int64_t rows = stored.shape[0];
  const int64_t cols = stored.shape[1];
  std::vector<float> window(static_cast<size_t>(n));
  for (int64_t r = 0; r < rows; ++r) {
    decode_range(stored, r * cols + row, n, window.data());
    for (int64_t i = 0; i < n; ++i) out[i * rows + r] = window[static_cast<size_t>(i)];
  }
}

void apply_scale(const CanonicalTensor& t, int64_t row, int64_t n, float* out) {
  if (t.scale.empty()) return;
  const int64_t cols = t.shape.cols();
  const int64_t each = t.scale.size() == 1 ? t.shape.rows() : t.shape.rows() / t.experts;
  for (int64_t i = 0; i < n; ++i) {
    const float factor = t.scale[static_cast<size_t>((row + i) / each)];
    for (int64_t c = 0; c < cols; ++c) out[i * cols + c] *= factor;
  }
}

Checkpoint::Data open_gguf_model(std::shared_ptr<const TensorFile> file) {
  Checkpoint::Data d;
  d.source = SourceKind::gguf;
  d.path = file->path();
  d.meta = file->metadata();
  const auto name = d.meta.text("general.architecture");
  if (!name) fail(ErrorKind::bad_input, "{}: GGUF key general.architecture is absent", d.path);
  d.arch = arch_of_gguf(*name);
  if (d.arch == nullptr) {
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: architecture \"{}\" is not supported", d.path, *name),
                "nibble archs lists the ones that are");
  }
  // A file without a vocabulary still has the embedding of one.
  const std::string vocab = *name + ".vocab_size";
  const StoredTensor* embedding = file->find("token_embd.weight");
  if (!d.meta.has(vocab) && !d.meta.has("tokenizer.ggml.tokens") && embedding != nullptr &&
      embedding->shape.rank() == 2) {
    d.meta.set(vocab, embedding->shape[0]);
  }
  d.file = std::move(file);
  return d;
}

Checkpoint::Data open_hf_model(std::shared_ptr<const TensorFile> file) {
  Checkpoint::Data d;
  d.path = file->path();
  const fs::path path(d.path);
  d.folder = fs::is_directory(path) ? path.string() : path.parent_path().string();
  const fs::path config = fs::path(d.folder) / "config.json";
  if (!fs::exists(config)) {
    throw Error(ErrorKind::bad_input, fmt::format("{}: no config.json beside the weights", d.path),
                "nibble opens a Hugging Face folder, a safetensors file in one, or a GGUF file");
  }
  d.meta = read_json_meta(config.string());
  d.arch = arch_of_hf(d.meta);
  if (d.arch == nullptr) {
    const std::string type = d.meta.text("model_type").value_or("");
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: architecture \"{}\" is not supported", config.string(), type),
                "nibble archs lists the ones that are");
  }
  d.file = std::move(file);
  return d;
}

}  // namespace

const Arch& Checkpoint::arch() const noexcept { return *data_->arch; }
const Hparams& Checkpoint::hparams() const noexcept { return data_->hparams; }
SourceKind Checkpoint::source() const noexcept { return data_->source; }
const std::string& Checkpoint::path() const noexcept { return data_->path; }
const std::string& Checkpoint::folder() const noexcept { return data_->folder; }
const Meta& Checkpoint::meta() const noexcept { return data_->meta; }
const TensorFile& Checkpoint::file() const noexcept { return *data_->file; }
const WeightChange* Checkpoint::change() const noexcept { return data_->change.get(); }
bool Checkpoint::changes(const CanonicalTensor& t) const {
  return data_->change != nullptr && data_->change->touches(t);
}
std::span<const CanonicalTensor> Checkpoint::tensors() const noexcept { return data_->tensors; }
std::span<const UnclaimedTensor> Checkpoint::unclaimed() const noexcept { return data_->unclaimed; }

const CanonicalTensor* Checkpoint::find(std::string_view name) const {
  const auto it = data_->by_name.find(name);
  return it == data_->by_name.end() ? nullptr : &data_->tensors[it->second];
}

const CanonicalTensor& Checkpoint::at(std::string_view name) const {
  const CanonicalTensor* t = find(name);
  if (t == nullptr) fail(ErrorKind::bad_input, "{}: the model has no tensor {}", path(), name);
  return *t;
}

bool Checkpoint::is_view(const CanonicalTensor& t) const {
  return pending(*data_, t) == Rewrite::none && !changes(t);
}

QTensor Checkpoint::load(const CanonicalTensor& t) const {
  const QTensor& first = t.stored.front()->weights();
  const Rewrite rewrite = pending(*data_, t);
  const bool changed = changes(t);
  if (rewrite == Rewrite::none && !changed) return {first.format, t.shape, first.planes};
  if (!changed && moves_rows(rewrite) &&
      (t.shape.rank() == 1 ? is_plain_float(t.format) : rows_stand_alone(first))) {
    return reorder_rows(first, t, hparams());
  }
  if (!changed && rewrite == Rewrite::stack_experts && rows_stand_alone(first)) return stack(t);
  QTensor out{FormatSpec{"f32", {}}, t.shape, {}};
  Plane plane;
  const auto count = static_cast<size_t>(t.shape.elements());
  const auto data = std::make_shared<std::vector<float>>(count);
  read_rows(t, 0, t.shape.rows(), data->data());
  plane.bytes = std::as_bytes(std::span<const float>(*data));
  plane.owner = data;
  out.planes.push_back(std::move(plane));
  if (changed) data_->change->release(t);
  return out;
}

void Checkpoint::read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const {
  const int64_t cols = t.shape.cols();
  if (row < 0 || n < 0 || row + n > t.shape.rows()) {
    fail(ErrorKind::internal, "rows {} to {} of {}, which has {}", row, row + n, t.name, t.shape.rows());
  }
  if (changes(t)) return data_->change->read_rows(t, row, n, out);
  const QTensor& first = t.stored.front()->weights();
  const Rewrite rewrite = pending(*data_, t);
  switch (rewrite) {
    case Rewrite::none:
      decode_rows(first, row, n, out);
      apply_scale(t, row, n, out);
      return;
    case Rewrite::plus_one:
      decode_rows(first, row, n, out);
      for (int64_t i = 0; i < n * cols; ++i) out[i] += 1;
      return;
    case Rewrite::transpose:
      read_columns(first, row, n, out);
      return;
    case Rewrite::stack_experts: {
      const int64_t each = t.shape.rows() / t.experts;
      for (int64_t done = 0; done < n;) {
        const int64_t expert = (row + done) / each;
        const int64_t within = (row + done) % each;
        const int64_t run = std::min(n - done, each - within);
        decode_rows(t.stored[static_cast<size_t>(expert)]->weights(), within, run, out + done * cols);
        done += run;
      }
      return;
    }
    case Rewrite::rope_rows_q:
    case Rewrite::rope_rows_k:
    case Rewrite::neox_qkv:
      break;
  }
  if (t.shape.rank() == 1) {  // a bias: its entries move as the rows of its matrix do
    for (int64_t i = 0; i < cols; ++i) decode_range(first, hf_row(rewrite, hparams(), i), 1, out + i);
    return;
  }
  for (int64_t i = 0; i < n; ++i) decode_rows(first, hf_row(rewrite, hparams(), row + i), 1, out + i * cols);
}

void Checkpoint::release(const CanonicalTensor& t) const noexcept {
  if (data_->change != nullptr) data_->change->release(t);
  for (const StoredTensor* s : t.stored) data_->file->release(*s);
}

Checkpoint open_checkpoint(const std::string& path) {
  auto file = std::make_shared<const TensorFile>(open_tensor_file(path));
  const bool from_gguf = file->kind() == "gguf";
  auto data = std::make_shared<Checkpoint::Data>(from_gguf ? open_gguf_model(file) : open_hf_model(file));
  try {
    data->hparams = read_hparams(*data->arch, data->meta, from_gguf);
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("{}: {}", path, e.what()), e.hint());
  }
  claim_tensors(*data);
  return Checkpoint(std::move(data));
}

namespace {

/// Before `bytes` of a plane are read from `from` on: whoever comes to the beginning of a mebibyte has all of
/// it mapped.
void want_window(std::span<const std::byte> plane, size_t from, size_t bytes) {
  constexpr uintptr_t step = uintptr_t{1} << 20;
  const auto base = reinterpret_cast<uintptr_t>(plane.data());
  const size_t first = (base + from + step - 1) / step * step - base;
  if (first >= from + bytes) return;
  const size_t end = (base + from + bytes + step - 1) / step * step - base;
  want_pages(plane.subspan(first, std::min(end, plane.size()) - first));
}

}  // namespace

void decode_rows(const QTensor& t, int64_t row, int64_t n, float* out) {
  const bool f16 = t.format.name == "f16", bf16 = t.format.name == "bf16";
  const int64_t begin = row * t.shape.cols(), count = n * t.shape.cols(), all = t.shape.elements();
  const bool whole = t.planes.size() == 1 && t.planes[0].bytes.size() >= static_cast<size_t>(all) * 2;
  if ((!f16 && !bf16) || !whole || begin < 0 || count < 0 || begin > all - count) {
    decode_range(t, begin, count, out);
    return;
  }
  // What checkpoints come in goes without a call for every block.
  const std::span<const std::byte> plane = t.planes[0].bytes;
  want_window(plane, static_cast<size_t>(begin) * 2, static_cast<size_t>(count) * 2);
  (f16 ? widen_f16 : widen_bf16)(plane.data() + begin * 2, out, count);
}

}  // namespace nibble
