#include "kernels/matmul.h"

#include <algorithm>
#include <cstring>

#include "kernels/fast_matmul.h"
#include "kernels/levels.h"

namespace nibble {
namespace {

// A decoded panel stays in the second-level cache while all rows of x pass over it.
constexpr int64_t panel_floats = 64 * 1024;
constexpr int64_t most_panel_rows = 64;
// Blocks longer than this many rows are decoded again and again by panels.
constexpr int64_t most_block_rows = 16;

constexpr size_t most_planes = 16;

// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 128 * 1024;

thread_local const char* chosen = "";

int64_t panel_rows(int64_t cols) {
  const int64_t fit = panel_floats / std::max<int64_t>(cols, 1) / 4 * 4;
  return std::clamp<int64_t>(fit, 4, most_panel_rows);
}

}  // namespace

Matrix::Matrix(QTensor tensor, std::string name)
    : tensor_(std::move(tensor)),
      name_(std::move(name)),
      format_(&format_of(tensor_.format)),
      planes_(format_->planes(tensor_.shape)),
      rows_(tensor_.shape.rows()),
      cols_(tensor_.shape.cols()),
      block_(format_->block(tensor_.shape)),
      word_(format_->spec().to_string()) {
  if (const std::string why = format_->misfit(tensor_.shape); !why.empty()) {
    fail(ErrorKind::bad_input, "{} of shape {} cannot be {}: {}", name_, tensor_.shape.to_string(),
         tensor_.format.to_string(), why);
  }
  if (planes_.size() > most_planes)
    fail(ErrorKind::internal, "{} has {} planes, more than a kernel expects", name_, planes_.size());
  for (size_t i = 0; i < planes_.size(); ++i) {
    const size_t have = i < tensor_.planes.size() ? tensor_.planes[i].bytes.size() : 0;
    if (have < planes_[i].bytes) {
      fail(ErrorKind::bad_input, "{}: plane '{}' has {} bytes, {} of shape {} needs {}", name_,
           planes_[i].name, have, tensor_.format.to_string(), tensor_.shape.to_string(), planes_[i].bytes);
    }
    base_.push_back(const_cast<std::byte*>(tensor_.planes[i].bytes.data()));
  }
  const bool plain = format_->info().gguf_id == 0;  // f32
  if (plain && reinterpret_cast<uintptr_t>(base_[0]) % alignof(float) == 0)
    decoded_ = reinterpret_cast<const float*>(base_[0]);
}

bool Matrix::wants_decoded() const noexcept {
  return decoded_ == nullptr && block_ > most_block_rows * std::max<int64_t>(cols_, 256);
}

void Matrix::decode_flat(int64_t begin, int64_t n, float* out) const {
  thread_local std::vector<float> scratch;
  const int64_t total = rows_ * cols_;
  std::byte* at[most_planes];
  for (int64_t i = begin; i < begin + n;) {
    const int64_t b = i / block_;
    const int64_t length = std::min(block_, total - b * block_);
    const int64_t skip = i - b * block_;
    const int64_t take = std::min(length - skip, begin + n - i);
    block_pointers(planes_, base_.data(), b, at);
    if (skip == 0 && take == length) {
      format_->decode(at, length, out + (i - begin));
    } else {
      scratch.resize(static_cast<size_t>(length));
      format_->decode(at, length, scratch.data());
      std::copy_n(scratch.data() + skip, take, out + (i - begin));
    }
    i += take;
  }
}

void Matrix::decode_rows(int64_t begin, int64_t n, float* out, int64_t stride) const {
  if (begin < 0 || n < 0 || begin > rows_ - n) {
    fail(ErrorKind::internal, "rows {}..{} of {}, which has {}", begin, begin + n, name_, rows_);
  }
  if (decoded_ != nullptr) {
    for (int64_t r = 0; r < n; ++r) std::copy_n(decoded_ + (begin + r) * cols_, cols_, out + r * stride);
  } else if (stride == cols_) {
    decode_flat(begin * cols_, n * cols_, out);
  } else {
    for (int64_t r = 0; r < n; ++r) decode_flat((begin + r) * cols_, cols_, out + r * stride);
  }
}

void Matrix::keep_decoded(ThreadPool& pool) {
  if (decoded_ != nullptr) return;
  const auto all = std::make_shared<std::vector<float>>(static_cast<size_t>(rows_ * cols_));
  // Whole blocks, so that none is decoded twice.
  const int64_t total = rows_ * cols_;
  const int64_t step = std::max<int64_t>(1, panel_floats / block_) * block_;
  pool.parallel_for(static_cast<size_t>((total + step - 1) / step), [&](size_t i) {
    const int64_t begin = static_cast<int64_t>(i) * step;
    decode_flat(begin, std::min(step, total - begin), all->data() + begin);
  });
  kept_ = all;
  decoded_ = all->data();
}

namespace {

int64_t lane_group_bytes(const LaneLayout& layout, int64_t cols) {
  return (cols + unit_weights - 1) / unit_weights * layout.unit_bytes;
}

/// The level's line for a format; null where it has none.
const LaneRow* lane_row_for(std::string_view word, const CpuKernels& kernels) noexcept {
  for (int i = 0; i < kernels.lane_count; ++i) {
    if (word == kernels.lanes[i].format) return &kernels.lanes[i];
  }
  return nullptr;
}

/// The layout that the level in use has products for.
const LaneLayout* find_lanes(std::string_view word, int64_t cols) {
  return lane_row_for(word, cpu_kernels()) != nullptr ? lane_layout_of(word, cols) : nullptr;
}

}  // namespace

bool Matrix::needs_lanes() const noexcept {
  const std::vector<int64_t>& dims = tensor_.shape.dims();
  // Of a stack, matrices that begin between lanes cannot use them.
  const bool begin_in_lanes = dims.size() < 3 || dims[dims.size() - 2] % lane_rows == 0;
  return begin_in_lanes && cpu_kernels().row_count == 1 && find_lanes(word_, cols_) != nullptr;
}

bool Matrix::use_lanes() {
  if (kept_ != nullptr) return false;
  lanes_ = find_lanes(word_, cols_);
  if (lanes_ == nullptr) return false;
  lane_kernels_ = &cpu_kernels();
  lane_row_ = lane_row_for(word_, *lane_kernels_);
  arranged_ = std::make_shared<Arranged>();
  return true;
}

size_t Matrix::lane_bytes(int64_t n) const noexcept {
  return static_cast<size_t>((n + lane_rows - 1) / lane_rows * lane_group_bytes(*lanes_, cols_));
}

void Matrix::write_lanes(int64_t first, int64_t n, std::byte* out) const noexcept {
  lanes_->arrange({planes(), first, n, cols_, out});
}

size_t Matrix::arranged_bytes() const noexcept {
  if (kept_ != nullptr) return 0;
  const LaneLayout* layout = lanes_ != nullptr ? lanes_ : find_lanes(word_, cols_);
  if (layout == nullptr) return tensor_.bytes();
  return static_cast<size_t>((rows_ + lane_rows - 1) / lane_rows * lane_group_bytes(*layout, cols_));
}

bool Matrix::arrange(HugeMemory& memory, ThreadPool& pool) {
  const size_t bytes = arranged_bytes();
  if (bytes == 0) return false;
  if (lanes_ == nullptr) {
    copy_planes(memory, pool);
    return true;
  }
  if (arranged_->at.load(std::memory_order_acquire) != nullptr)
    return false;  // by way of a copy of this matrix
  const std::shared_ptr<std::byte> lanes = memory.take(bytes);
  std::byte* at = lanes.get();
  // Pages are touched first by the thread that fills them.
  constexpr int64_t step = 4 * lane_rows;
  pool.parallel_for(static_cast<size_t>((rows_ + step - 1) / step), [&](size_t i) {
    const int64_t first = static_cast<int64_t>(i) * step;
    write_lanes(first, std::min(step, rows_ - first), at + i * lane_bytes(step));
  });
  arranged_->memory = lanes;
  arranged_->at.store(at, std::memory_order_release);
  return true;
}

void Matrix::copy_planes(HugeMemory& memory, ThreadPool& pool) {
  constexpr size_t piece = size_t{1} << 20;
  const bool plain = decoded_ != nullptr;
  for (size_t p = 0; p < base_.size(); ++p) {
    const size_t bytes = tensor_.planes[p].bytes.size();
    copies_.push_back(memory.take(bytes));
    std::byte* to = copies_.back().get();
    pool.parallel_for((bytes + piece - 1) / piece, [&](size_t i) {
      std::memcpy(to + i * piece, base_[p] + i * piece, std::min(piece, bytes - i * piece));
    });
    base_[p] = to;
  }
  if (plain) decoded_ = reinterpret_cast<const float*>(base_[0]);
}

const LaneRow* Matrix::lane_row(const CpuKernels& kernels) const noexcept {
  if (&kernels == lane_kernels_ || lanes_ == nullptr) return lane_row_;
  return lane_row_for(word_, kernels);  // the level has been lowered since
}

const std::byte* Matrix::lanes_at(int64_t first) const noexcept {
  const std::byte* at = arranged_->at.load(std::memory_order_acquire);
  return at == nullptr ? nullptr : at + lane_bytes(first);
}

const SumKernels& sums_of(Precision precision) {
  const CpuKernels& kernels = cpu_kernels();
  return precision == Precision::fast ? kernels.fused_sums : kernels.sums;
}

const CpuKernels& cpu_kernels(IsaLevel level) { return level_kernels(level).cpu; }

const CpuKernels& cpu_kernels() { return cpu_kernels(isa_level()); }

const KernelRow& kernel_for(std::string_view word, int64_t cols, IsaLevel level) {
  const CpuKernels& kernels = cpu_kernels(level);
  for (int i = 0; i + 1 < kernels.row_count; ++i) {
    const KernelRow& row = kernels.rows[i];
    if (word == row.format && cols % row.cols_multiple == 0) return row;
  }
  return kernels.rows[kernels.row_count - 1];
}

const char* last_kernel() noexcept { return chosen; }

namespace {

/// In the fixed order of ProductTask.
void exact_matmul(const MatmulPart& part, const float* x, int64_t m, ThreadPool& pool) {
  const Matrix& w = *part.w;
  const CpuKernels& cpu = cpu_kernels();
  const KernelRow& kernel = cpu.rows[cpu.row_count - 1];
  chosen = kernel.name;
  const int64_t cols = w.cols();
  const int64_t step = panel_rows(cols);
  const auto panel_product = [&](size_t i) {
    const int64_t begin = static_cast<int64_t>(i) * step;
    const int64_t count = std::min(step, part.n - begin);
    const float* panel;
    if (w.decoded() != nullptr) {
      panel = w.decoded() + (part.first + begin) * cols;
    } else {
      thread_local std::vector<float> scratch;
      scratch.resize(static_cast<size_t>(count * cols));
      w.decode_rows(part.first + begin, count, scratch.data(), cols);
      panel = scratch.data();
    }
    kernel.run({x, m, cols, panel, count, cols, cols, part.y + begin, part.y_stride});
  };
  const auto panels = static_cast<size_t>((part.n + step - 1) / step);
  if (m * part.n * cols <= serial_work) {
    for (size_t i = 0; i < panels; ++i) panel_product(i);
  } else {
    pool.parallel_for(panels, panel_product);
  }
}

}  // namespace

namespace {

void check(std::span<const MatmulPart> parts) {
  for (const MatmulPart& p : parts) {
    if (p.first < 0 || p.n < 0 || p.first > p.w->rows() - p.n)
      fail(ErrorKind::internal, "rows {}..{} of {}, which has {}", p.first, p.first + p.n, p.w->name(),
           p.w->rows());
    if (p.w->cols() != parts[0].w->cols())
      fail(ErrorKind::internal, "{} has {} columns, {} has {}: they cannot share what they multiply",
           p.w->name(), p.w->cols(), parts[0].w->name(), parts[0].w->cols());
  }
}

}  // namespace

void matmul(std::span<const MatmulPart> parts, const float* x, int64_t m, ThreadPool& pool) {
  check(parts);
  if (m == 0) return;
  while (!parts.empty()) {
    size_t done = 1;
    if (parts[0].n > 0) {
      done = parts[0].w->precision() == Precision::fast ? fast_matmul(parts, x, m, pool, chosen) : 0;
      if (done == 0) {
        exact_matmul(parts[0], x, m, pool);
        done = 1;
      }
    }
    parts = parts.subspan(done);
  }
}

void gated_matmul(const MatmulPart& gate, const MatmulPart& up, const Gate& to, const float* x, int64_t m,
                  ThreadPool& pool) {
  const MatmulPart parts[] = {gate, up};
  check(parts);
  if (gate.n != up.n)
    fail(ErrorKind::internal, "{} has {} rows, {} {}: none is the other's gate", gate.w->name(), gate.n,
         up.w->name(), up.n);
  if (m == 0 || gate.n == 0) return;
  if (gate.w->precision() == Precision::fast && fast_gated_matmul(parts, to, x, m, pool, chosen)) return;
  matmul(parts, x, m, pool);
  const auto row = [&](size_t at) {
    const auto i = static_cast<int64_t>(at);
    activate(to.kind, gate.y + i * gate.y_stride, up.y + i * up.y_stride, to.y + i * to.y_stride, gate.n);
  };
  if (m * gate.n <= serial_work / 8) {
    for (size_t i = 0; i < static_cast<size_t>(m); ++i) row(i);
  } else {
    pool.parallel_for(static_cast<size_t>(m), row);
  }
}

void matmul(const Matrix& w, int64_t first, int64_t n, const float* x, int64_t m, float* y, int64_t y_stride,
            ThreadPool& pool) {
  const MatmulPart part{&w, first, n, y, y_stride};
  matmul({&part, 1}, x, m, pool);
}

}  // namespace nibble
