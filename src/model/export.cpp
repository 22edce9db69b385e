#include "model/export.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "model/checkpoint_data.h"
#include "model/export_parts.h"
#include "model/rewrite.h"

namespace nibble {
namespace {

const Format& f32() {
  static const Format& format = format_of("f32");
  return format;
}

// What no recipe may quantize: small, and computed with in f32 by every reader.
bool is_fixed(const CanonicalTensor& t) {
  switch (t.role) {
    case Role::norm:
    case Role::bias:
    case Role::router:
    case Role::position_embedding:
    case Role::type_embedding:
    case Role::rope_factors:
      return true;
    default:
      return t.shape.rank() < 2;
  }
}

// Whether the stored tensor of a Hugging Face source stands in that ecosystem's own order. Quantized matrices
// of GPT-2 do not: they stand as [out, in].
bool stored_transposed(const CanonicalTensor& t) {
  return t.rewrite == Rewrite::transpose && !is_plain_float(t.format);
}
bool target_transposed(const ExportTensor& t) {
  return t.source->rewrite == Rewrite::transpose && !is_plain_float(t.format->spec());
}

void check_fit(const ExportTensor& t) {
  const std::string misfit = t.format->misfit(t.shape);
  if (!misfit.empty()) {
    fail(ErrorKind::unsupported, "{} {} cannot be stored as {}: {}", t.name, t.shape.to_string(),
         t.format->spec().to_string(), misfit);
  }
}

class Planner {
 public:
  Planner(ExportPlan& plan, const FormatChoice& choose, const Format* small)
      : plan_(plan), source_(plan.checkpoint()), choose_(choose), small_(small) {}

  void gguf() {
    for (const CanonicalTensor& t : source_.tensors()) {
      add(t, t.name, t.shape, -1);
      if (t.role == Role::token_embedding) add_rope_factors();
    }
    // Some architectures have no notion of tied embeddings in GGUF.
    for (const TensorRow& row : source_.arch().tensors) {
      if (row.role == Role::output && !row.optional && source_.find(row.name) == nullptr) {
        const CanonicalTensor& embedding = source_.at("token_embd.weight");
        add(embedding, std::string(row.name), embedding.shape, -1);
      }
    }
  }

  void huggingface() {
    for (const CanonicalTensor& t : source_.tensors()) {
      if (t.hf.empty()) continue;  // rope factors live in config.json
      if (t.rewrite == Rewrite::stack_experts) {
        std::vector<int64_t> slice = t.shape.dims();
        slice.erase(slice.begin());
        for (int64_t e = 0; e < t.experts; ++e) add(t, hf_name(t, e), Shape(slice), e);
      } else {
        add(t, hf_name(t, -1), t.shape, -1);
      }
      if (t.role == Role::token_embedding) add_segments();
    }
  }

 private:
  // A folder keeps the names it has.
  std::string hf_name(const CanonicalTensor& t, int64_t expert) const {
    if (source_.source() == SourceKind::gguf || t.made) return tensor_name(t.hf, -1, expert);
    return t.stored.at(expert < 0 ? 0 : static_cast<size_t>(expert))->name;
  }

  void add(const CanonicalTensor& t, std::string name, const Shape& shape, int64_t expert) {
    ExportTensor e;
    e.name = std::move(name);
    e.shape = shape;
    e.source = &t;
    e.expert = expert;
    e.fixed = is_fixed(t);
    if (!e.fixed) {
      e.format = &choose_(t, e.name, shape);
    } else if (plan_.target == Target::gguf) {
      e.format = &f32();
    } else if (small_ != nullptr) {
      e.format = small_;
    } else {
      // Changed values want more digits than the stored type has.
      e.format = is_plain_float(t.format) && !source_.changes(t) ? &format_of(t.format) : &f32();
    }
    if (plan_.target == Target::huggingface && t.rewrite == Rewrite::transpose && !target_transposed(e)) {
      e.shape = Shape{shape[1], shape[0]};
    }
    check_fit(e);
    plan_.tensors.push_back(std::move(e));
  }

  void add_made(const std::string& name, std::vector<float> values) {
    ExportTensor e;
    e.name = name;
    e.shape = Shape{static_cast<int64_t>(values.size())};
    e.format = &f32();
    e.fixed = true;
    e.made = std::move(values);
    plan_.tensors.push_back(std::move(e));
  }

  // DistilBERT came to GGUF as a BERT without segments; BERT's class wants a table, of zeros here.
  void add_segments() {
    const Hparams& h = source_.hparams();
    if (source_.source() != SourceKind::gguf || h.token_types > 0) return;
    for (const TensorRow& row : source_.arch().tensors) {
      if (row.role != Role::type_embedding) continue;
      add_made(std::string(row.hf), std::vector<float>(static_cast<size_t>(h.hidden), 0.0F));
      plan_.tensors.back().shape = Shape{1, h.hidden};
    }
  }

  // A GGUF source has them as tensors already.
  void add_rope_factors() {
    const Hparams& h = source_.hparams();
    if (source_.source() == SourceKind::gguf) return;
    if (h.rope_scaling == RopeScaling::llama3) add_made("rope_freqs.weight", llama3_rope_factors(h));
    if (h.rope_scaling != RopeScaling::longrope) return;
    add_made("rope_factors_long.weight", {h.rope_long.begin(), h.rope_long.end()});
    add_made("rope_factors_short.weight", {h.rope_short.begin(), h.rope_short.end()});
  }

  ExportPlan& plan_;
  const Checkpoint& source_;
  const FormatChoice& choose_;
  const Format* small_;
};

void refuse_inexpressible(const Checkpoint& source) {
  const Arch& arch = source.arch();
  if (arch.gguf.empty()) {
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: GGUF has no convention for architecture {}: no runtime could read the file",
                            source.path(), arch.name),
                "write a Hugging Face folder instead: give a folder as output");
  }
  std::string why = arch.gguf_misfit == nullptr ? std::string() : arch.gguf_misfit(source.hparams());
  const Hparams& h = source.hparams();
  const bool knows_longrope = std::any_of(arch.tensors.begin(), arch.tensors.end(), [](const TensorRow& r) {
    return r.name == "rope_factors_long.weight";
  });
  if (why.empty() && h.rope_scaling == RopeScaling::longrope && !knows_longrope) {
    why = "readers of GGUF know longrope scaling for phi3 only";
  }
  if (!why.empty()) {
    fail(ErrorKind::unsupported, "{}: GGUF cannot express the model: {}", source.path(), why);
  }
}

// Columns [row, row + n) of a canonical matrix as rows: GPT-2's own order.
void read_transposed(const Checkpoint& c, const CanonicalTensor& t, int64_t row, int64_t n, float* out) {
  const int64_t rows = t.shape[0];
  const int64_t cols = t.shape[1];
  const bool direct = c.is_view(t) && t.scale.empty();
  std::vector<float> line(static_cast<size_t>(direct ? n : cols));
  for (int64_t r = 0; r < rows; ++r) {
    if (direct) {
      decode_range(t.stored.front()->weights(), r * cols + row, n, line.data());
    } else {
      c.read_rows(t, r, 1, line.data());
    }
    const float* from = direct ? line.data() : line.data() + row;
    for (int64_t i = 0; i < n; ++i) out[i * rows + r] = from[i];
  }
}

// Rows of the Hugging Face tensor out of canonical ones.
void read_hf_rows(const Checkpoint& c, const ExportTensor& e, int64_t row, int64_t n, float* out) {
  const CanonicalTensor& t = *e.source;
  const int64_t cols = e.shape.cols();
  if (c.source() == SourceKind::huggingface && stored_transposed(t) == target_transposed(e) &&
      !c.changes(t)) {
    decode_rows(t.stored[e.expert < 0 ? 0 : static_cast<size_t>(e.expert)]->weights(), row, n, out);
    return;
  }
  switch (t.rewrite) {
    case Rewrite::none:
      c.read_rows(t, row, n, out);
      return;
    case Rewrite::plus_one:
      c.read_rows(t, row, n, out);
      for (int64_t i = 0; i < n * cols; ++i) out[i] -= 1;
      return;
    case Rewrite::stack_experts:
      c.read_rows(t, e.expert * e.shape.rows() + row, n, out);
      return;
    case Rewrite::transpose:
      if (target_transposed(e)) {
        c.read_rows(t, row, n, out);
      } else {
        read_transposed(c, t, row, n, out);
      }
      return;
    case Rewrite::rope_rows_q:
    case Rewrite::rope_rows_k:
    case Rewrite::neox_qkv:
      break;
  }
  if (t.shape.rank() == 1) {
    std::vector<float> canonical(static_cast<size_t>(cols));
    c.read_rows(t, 0, 1, canonical.data());
    for (int64_t i = 0; i < cols; ++i) {
      out[i] = canonical[static_cast<size_t>(canonical_row(t.rewrite, c.hparams(), i))];
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    c.read_rows(t, canonical_row(t.rewrite, c.hparams(), row + i), 1, out + i * cols);
  }
}

// One expert's planes out of a stack, where the experts have bytes of their own.
std::optional<QTensor> slice(const QTensor& stack, const ExportTensor& e) {
  const Format& format = format_of(stack.format);
  const int64_t block = format.block(stack.shape);
  const int64_t experts = stack.shape[0];
  if (block <= 0 || stack.shape.cols() % block != 0) return std::nullopt;
  QTensor out{stack.format, e.shape, {}};
  const std::vector<PlaneInfo> info = format.planes(stack.shape);
  for (size_t i = 0; i < info.size(); ++i) {
    const size_t bytes = stack.planes[i].bytes.size() / static_cast<size_t>(experts);
    if (info[i].block_bytes == 0 || stack.planes[i].bytes.size() % static_cast<size_t>(experts) != 0) {
      return std::nullopt;
    }
    Plane p = stack.planes[i];
    p.bytes = p.bytes.subspan(static_cast<size_t>(e.expert) * bytes, bytes);
    out.planes.push_back(std::move(p));
  }
  return out;
}

}  // namespace

void ExportPlan::read_rows(const ExportTensor& t, int64_t row, int64_t n, float* out) const {
  if (row < 0 || n < 0 || row + n > t.shape.rows()) {
    fail(ErrorKind::internal, "rows {} to {} of {}, which has {}", row, row + n, t.name, t.shape.rows());
  }
  if (t.source == nullptr) {
    const auto first = t.made.begin() + static_cast<ptrdiff_t>(row * t.shape.cols());
    std::copy(first, first + static_cast<ptrdiff_t>(n * t.shape.cols()), out);
  } else if (target == Target::gguf) {
    checkpoint_.read_rows(*t.source, row, n, out);
  } else {
    read_hf_rows(checkpoint_, t, row, n, out);
  }
}

std::optional<QTensor> ExportPlan::as_stored(const ExportTensor& t) const {
  if (t.source == nullptr || t.source->format != t.format->spec() || !t.source->scale.empty())
    return std::nullopt;
  const CanonicalTensor& s = *t.source;
  if (checkpoint_.changes(s)) return std::nullopt;
  if (target == Target::gguf) {
    if (!checkpoint_.is_view(s)) return std::nullopt;
    return checkpoint_.load(s);
  }
  if (checkpoint_.source() == SourceKind::huggingface) {
    // Same format, hence the same order.
    const QTensor& w = s.stored[t.expert < 0 ? 0 : static_cast<size_t>(t.expert)]->weights();
    return QTensor{w.format, t.shape, w.planes};
  }
  if (s.rewrite == Rewrite::none || target_transposed(t)) return checkpoint_.load(s);
  if (s.rewrite == Rewrite::stack_experts) return slice(checkpoint_.load(s), t);
  return std::nullopt;
}

std::span<const std::byte> ExportPlan::stored_part(const ExportTensor& t, int64_t row, int64_t n) const {
  if (t.source == nullptr) return {};
  // A stack of experts that are stored one by one is as many tensors, one after the other.
  const auto& stored = t.source->stored;
  const int64_t experts = t.expert >= 0 ? 1 : static_cast<int64_t>(stored.size());
  const int64_t each = t.shape.rows() / experts, expert = t.expert >= 0 ? t.expert : row / each;
  const StoredTensor& from = *stored[std::min(static_cast<size_t>(expert), stored.size() - 1)];
  if (!from.has_weights()) return {};
  const std::span<const std::byte> bytes = from.view.planes.front().bytes;
  const int64_t begin = row % each, end = std::min(begin + n, each);
  const size_t width = bytes.size() / static_cast<size_t>(each);
  const size_t first = static_cast<size_t>(begin) * width;
  return bytes.subspan(first, end == each ? bytes.size() - first : static_cast<size_t>(end - begin) * width);
}

void ExportPlan::release(const ExportTensor& t) const noexcept {
  if (t.source == nullptr) return;
  if (t.expert >= 0 && t.source->stored.size() > 1) {
    // What a change keeps goes with the last one.
    if (static_cast<size_t>(t.expert) + 1 == t.source->stored.size()) checkpoint_.release(*t.source);
    checkpoint_.file().release(*t.source->stored[static_cast<size_t>(t.expert)]);
  } else {
    checkpoint_.release(*t.source);
  }
}

ExportPlan plan_export(const Checkpoint& source, Target target, const FormatChoice& choose, int file_type,
                       const Format* small) {
  if (target == Target::gguf && source.source() != SourceKind::gguf) refuse_inexpressible(source);
  ExportPlan plan(source);
  plan.target = target;
  plan.dropped.assign(source.unclaimed().begin(), source.unclaimed().end());
  Planner planner(plan, choose, small);
  if (target == Target::huggingface) {
    planner.huggingface();
    std::string widest = "bfloat16";
    for (const ExportTensor& t : plan.tensors) {
      if (t.fixed) continue;
      const std::string name = t.format->spec().to_string();
      if (name == "f32") widest = "float32";
      if (name == "f16" && widest != "float32") widest = "float16";
    }
    plan.files = hf_files(source, widest);
    return plan;
  }
  planner.gguf();
  const bool quantized = std::any_of(plan.tensors.begin(), plan.tensors.end(),
                                     [](const ExportTensor& t) { return !is_plain_float(t.format->spec()); });
  plan.kv = source.source() == SourceKind::gguf ? kept_metadata(source, file_type, quantized)
                                                : gguf_metadata(source, file_type, quantized);
  return plan;
}

FormatChoice float_choice(const Format* format) {
  return [format](const CanonicalTensor& t, const std::string&, const Shape&) -> const Format& {
    if (format != nullptr) return *format;
    return is_plain_float(t.format) ? format_of(t.format) : f32();
  };
}

int file_type_of(const Format& format) {
  const std::string name = format.spec().to_string();
  return name == "f16" ? 1 : name == "bf16" ? 32 : 0;
}

}  // namespace nibble
