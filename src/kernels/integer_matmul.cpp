#include "kernels/integer_matmul.h"

#include <algorithm>

#include "kernels/fixed.h"
#include "kernels/levels.h"

namespace nibble {
namespace {

// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 256 * 1024;
constexpr int64_t serial_rounding = 16 * 1024;

int64_t padded(int64_t cols) { return (cols + int8_cols - 1) / int8_cols * int8_cols; }

/// At least n elements that keep their memory from call to call.
template <class T>
T* at_least(std::vector<T>& v, int64_t n) {
  if (v.size() < static_cast<size_t>(n)) v.resize(static_cast<size_t>(n));
  return v.data();
}

}  // namespace

const IntegerKernels& integer_kernels(IsaLevel level) { return *level_kernels(level).integer; }

const IntegerKernels& integer_kernels() { return integer_kernels(isa_level()); }

/// One product: rows of x rounded once, then panels of weights on all threads.
class IntegerProduct {
 public:
  IntegerProduct(const IntegerMatrix& w, const int32_t* x, const int32_t* x_exponents, int64_t m,
                 int32_t* y_exponents, ThreadPool& pool)
      : w_(w),
        bytes_(*w.codes_.kernels_),
        numbers_(integer_kernels()),
        m_(m),
        stride_(padded(w.cols()) * bytes_.x_bytes) {
    thread_local std::vector<std::byte> rounded;
    thread_local std::vector<IntegerRow> rows;
    thread_local std::vector<int32_t> x_sums;
    rounded_ = at_least(rounded, int8_padded(m) * stride_);
    rows_ = at_least(rows, m);
    if (w.codes_.zeros_) x_sums_ = at_least(x_sums, m * w.codes_.groups_);
    const auto round = [&](size_t i) {
      const auto row = static_cast<int64_t>(i);
      y_exponents[i] = round_row(row, x + row * w.cols(), x_exponents[i]);
    };
    if (m * w.cols() <= serial_rounding) {
      for (int64_t i = 0; i < m; ++i) round(static_cast<size_t>(i));
    } else {
      pool.parallel_for(static_cast<size_t>(m), round);
    }
  }

  void panel(int64_t p, int32_t* y) const {
    const Int8Matrix& w = w_.codes_;
    thread_local std::vector<int32_t> sum_memory;
    thread_local std::vector<int64_t> total_memory;
    int32_t* sums = at_least(sum_memory, int8_padded(m_) * int8_rows);
    int64_t* total = at_least(total_memory, m_ * int8_rows);
    const int8_t* codes = w.panel(p);
    for (int64_t g = 0; g < w.groups_; ++g) {
      const int64_t column = g * w.group_;
      const int64_t k = w.groups_ == 1 ? padded(w.cols_) : w.group_;
      bytes_.products(
          {codes + column * int8_rows, 1, 0, rounded_ + column * bytes_.x_bytes, m_, stride_, k, sums});
      const auto at = static_cast<size_t>((p * w.groups_ + g) * int8_rows);
      numbers_.add_sums({sums, m_, w.sums_.data() + at, w.zeros_ ? w.zero_.data() + at : nullptr,
                         w_.factors_.data() + at, bytes_.x_offset, x_sums_ + (w.zeros_ ? g : 0), w.groups_,
                         total, g == 0});
    }
    const int64_t first = p * int8_rows;
    numbers_.scale_sums({total, m_, std::min(int8_rows, w.rows_ - first), w_.shift_, rows_,
                         w_.bias_.empty() ? nullptr : w_.bias_.data() + first, y + first, w.rows_});
  }

 private:
  /// Rounds a row of x to 8 bits and returns the exponent of the row of y.
  int32_t round_row(int64_t i, const int32_t* x, int exponent) const {
    const Int8Matrix& w = w_.codes_;
    const uint32_t most = numbers_.most(x, w.cols_);
    // The largest magnitude m becomes 127: x is brought to 15 bits and multiplied by 127 / m.
    const int room = room_above(most, 15);
    const int64_t top = room >= 0 ? int64_t{most} << room : shift_right(most, -room);
    const auto inverse = static_cast<int32_t>(top == 0 ? 0 : (int64_t{127} << 23) / top);
    std::byte* out = rounded_ + i * stride_;
    numbers_.round({x, w.cols_, -room, inverse, bytes_.x_bytes, bytes_.x_offset, out});
    for (int64_t g = 0; g < w.groups_ && w.zeros_; ++g) {
      int32_t sum = 0;
      for (int64_t c = g * w.group_; c < (g + 1) * w.group_; ++c) sum += number(out, c);
      x_sums_[i * w.groups_ + g] = sum;
    }

    const int up = room_above(most);
    IntegerRow& row = rows_[i];
    row.scale = static_cast<int32_t>(up >= 0 ? most << up : most >> 1);
    const int y_exponent = w_.exponent_ + w_.shift_ + exponent - up + mantissa_bits;
    row.y_shift = row.bias_shift = 0;
    if (w_.bias_.empty()) return y_exponent;
    // Half of the room for each: their sum then fits too. Nothing but bias is left of a row of zeros.
    const int common = 1 + (most == 0 ? w_.bias_exponent_ : std::max(y_exponent, w_.bias_exponent_));
    row.y_shift = std::min(std::max(common - y_exponent, 0), 31);
    row.bias_shift = std::min(common - w_.bias_exponent_, 31);
    return common;
  }

  int32_t number(const std::byte* row, int64_t c) const {
    // A byte has a sign once the offset is taken off.
    if (bytes_.x_bytes == 1) return static_cast<int8_t>(static_cast<int32_t>(row[c]) - bytes_.x_offset);
    return reinterpret_cast<const int16_t*>(row)[c] - bytes_.x_offset;
  }

  const IntegerMatrix& w_;
  const Int8Kernels& bytes_;
  const IntegerKernels& numbers_;
  int64_t m_, stride_;
  std::byte* rounded_ = nullptr;
  IntegerRow* rows_ = nullptr;
  int32_t* x_sums_ = nullptr;
};

void integer_matmul(const IntegerMatrix& w, const int32_t* x, const int32_t* x_exponents, int64_t m,
                    int32_t* y, int32_t* y_exponents, ThreadPool& pool) {
  if (m == 0 || w.rows() == 0) return;
  const IntegerProduct product(w, x, x_exponents, m, y_exponents, pool);
  const int64_t panels = (w.rows() + int8_rows - 1) / int8_rows;
  if (m * w.rows() * w.cols() <= serial_work) {
    for (int64_t p = 0; p < panels; ++p) product.panel(p, y);
    return;
  }
  const int64_t pieces = std::min<int64_t>(panels, int64_t{8} * pool.threads());
  pool.parallel_for(static_cast<size_t>(pieces), [&](size_t at) {
    const auto i = static_cast<int64_t>(at);
    for (int64_t p = panels * i / pieces; p < panels * (i + 1) / pieces; ++p) product.panel(p, y);
  });
}

}  // namespace nibble
