#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/huge_memory.h"
#include "base/pool.h"
#include "formats/format.h"
#include "kernels/cpu/kernel.h"
#include "kernels/isa.h"
#include "kernels/lanes.h"
#include "kernels/precision.h"

namespace nibble {

/// A weight tensor ready for products: any format, seen as rows() x cols(). A stack of matrices
/// [experts, out, in] is experts * out rows. Cheap to copy; the bytes are shared with the tensor.
class Matrix {
 public:
  /// `name` is for messages. Throws Error{bad_input} if the planes are too short for the shape.
  Matrix(QTensor tensor, std::string name);

  const std::string& name() const noexcept { return name_; }
  const QTensor& tensor() const noexcept { return tensor_; }
  const Format& format() const noexcept { return *format_; }
  int64_t rows() const noexcept { return rows_; }
  int64_t cols() const noexcept { return cols_; }

  /// Writes n rows from `begin` as f32, `stride` apart. Safe from any thread.
  void decode_rows(int64_t begin, int64_t n, float* out, int64_t stride) const;

  /// Keeps all rows as f32 from now on: rows * cols * 4 bytes that save decoding at each product. The values
  /// are the same.
  void keep_decoded(ThreadPool& pool);
  /// All rows as f32, cols() apart, where they exist in memory; else null.
  const float* decoded() const noexcept { return decoded_; }
  /// Whether lanes are the only way of the level in use to multiply without decoding: it has products for
  /// rows of no format as they are stored.
  bool needs_lanes() const noexcept;
  /// From now on products with Precision::fast take the weights in lanes, if the level in use has a kernel
  /// for that; returns whether it has. Until `arrange` has put them there each product does it for itself, a
  /// few rows at a time: the same results, slower, with a little memory of each thread.
  bool use_lanes();
  /// Copies the weights to where products with Precision::fast read them fastest: into lanes if it uses them,
  /// else as they are. Returns whether it did: what the tensor shows is hardly read then. Throws
  /// std::bad_alloc. With lanes, products may go on in other threads.
  bool arrange(HugeMemory& memory, ThreadPool& pool);
  /// Bytes that arrange takes; 0 where there is nothing to copy.
  size_t arranged_bytes() const noexcept;
  /// Null unless products take the weights in lanes.
  const LaneLayout* lanes() const noexcept { return lanes_; }
  /// Products of a level with the lanes; null without lanes and for a level that has none.
  const LaneRow* lane_row(const CpuKernels& kernels) const noexcept;
  /// Rows from `first`, a multiple of 16, in lanes; null until they have been arranged.
  const std::byte* lanes_at(int64_t first) const noexcept;
  /// Bytes of n rows in lanes.
  size_t lane_bytes(int64_t n) const noexcept;
  /// Puts rows [first, first + n) into lanes, lane_bytes(n); `first` as above.
  void write_lanes(int64_t first, int64_t n, std::byte* out) const noexcept;
  Precision precision() const noexcept { return precision_; }
  void set_precision(Precision precision) noexcept { precision_ = precision; }
  /// Starts of the format's planes.
  const std::byte* const* planes() const noexcept { return base_.data(); }
  /// Canonical word of the format.
  const std::string& word() const noexcept { return word_; }

  /// True where a block spans many rows (one scale for the whole tensor), so that decoding a few rows means
  /// decoding the block: such a matrix is better kept decoded.
  bool wants_decoded() const noexcept;

 private:
  void decode_flat(int64_t begin, int64_t n, float* out) const;
  void copy_planes(HugeMemory& memory, ThreadPool& pool);

  QTensor tensor_;
  std::string name_;
  const Format* format_;
  std::vector<PlaneInfo> planes_;
  std::vector<std::byte*> base_;
  int64_t rows_, cols_, block_;
  Precision precision_ = Precision::exact;
  std::string word_;
  const float* decoded_ = nullptr;
  std::shared_ptr<const std::vector<float>> kept_;
  const LaneLayout* lanes_ = nullptr;
  const CpuKernels* lane_kernels_ = nullptr;  ///< of the level that was in use when they were made
  const LaneRow* lane_row_ = nullptr;         ///< and its products
  /// In lanes, shared by copies of the matrix.
  struct Arranged {
    std::shared_ptr<std::byte> memory;
    std::atomic<const std::byte*> at{nullptr};  ///< once they are there
  };
  std::shared_ptr<Arranged> arranged_;
  std::vector<std::shared_ptr<std::byte>> copies_;  ///< of the planes
};

/// The kernels of the level in use.
const CpuKernels& cpu_kernels();
const CpuKernels& cpu_kernels(IsaLevel level);
/// Sums of products of the level in use: exact ones give the same bits at every level.
const SumKernels& sums_of(Precision precision);

/// The line of the selection table for weights of a format (its canonical word) with rows of `cols`; the last
/// line where none is made for it.
const KernelRow& kernel_for(std::string_view word, int64_t cols, IsaLevel level);
/// Name of the line that this thread's last matmul chose; empty before the first one.
const char* last_kernel() noexcept;

/// y[i][j] = sum over k of x[i][k] * w[first + j][k] for i < m, j < n: x is [m, cols], rows of y stand
/// `y_stride` apart. With Precision::exact in the fixed order of ProductTask, so the result is the same for
/// every level. With Precision::fast by the level's own kernels: the result depends on the level, on whether
/// m is small or large, and from four to eight rows, of floats for one, on isa_streams. Neither depends on
/// the number of threads.
void matmul(const Matrix& w, int64_t first, int64_t n, const float* x, int64_t m, float* y, int64_t y_stride,
            ThreadPool& pool);

/// One of several products of the same x.
struct MatmulPart {
  const Matrix* w;
  int64_t first, n;  ///< rows of the weights
  float* y;
  int64_t y_stride;
};
/// The same results as one matmul for each part, faster: what is done to x is done once, and threads wait for
/// each other once.
void matmul(std::span<const MatmulPart> parts, const float* x, int64_t m, ThreadPool& pool);

/// y[i][j] = act(gate[i][j]) * up[i][j] of two products of the same x and with as many rows: the same as both
/// and `activate` after them, without passing over their results once more. What stands at their own y
/// afterwards is nobody's business; `y` may be the gate's.
struct Gate {
  ActivationKind kind;
  float* y;
  int64_t y_stride;
};
void gated_matmul(const MatmulPart& gate, const MatmulPart& up, const Gate& to, const float* x, int64_t m,
                  ThreadPool& pool);

}  // namespace nibble
