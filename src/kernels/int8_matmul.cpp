#include "kernels/int8_matmul.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "formats/whole_codes.h"
#include "kernels/scratch.h"
#include "kernels/widen.h"

namespace nibble {
namespace {

// Sums of more products of 8 bits, zeros subtracted, may not fit 32 bits.
constexpr int64_t most_group = 32768;
// Multiply-adds below which waking the other threads costs more than they save.
constexpr int64_t serial_work = 256 * 1024;
constexpr int64_t serial_rounding = 16 * 1024;

/// The numbers of one row.
struct RowGrid {
  float scale = 0, inverse = 0;
  int32_t zero = 0, low = 0, high = 0;
};

RowGrid row_grid(const ActivationGrid& grid, float low, float high, bool finite) {
  RowGrid r;
  r.high = (1 << (grid.bits - 1)) - 1;
  r.low = grid.asymmetric ? -r.high - 1 : -r.high;
  const float range = grid.asymmetric ? high - low : std::max(-low, high);
  const auto steps = static_cast<float>(grid.asymmetric ? r.high - r.low : r.high);
  r.scale = range / steps;
  r.inverse = steps / range;
  // Nothing there, or so little that the inverse is no float.
  if (!std::isfinite(r.inverse)) r.scale = r.inverse = 0;
  if (grid.asymmetric) {
    r.zero = static_cast<int32_t>(std::nearbyint(static_cast<float>(r.low) - low * r.inverse));
    r.zero = std::clamp(r.zero, r.low, r.high);
  }
  if (!finite) r.scale = std::numeric_limits<float>::quiet_NaN();
  return r;
}

/// Calls use(i, its grid) for every row, on all threads: right after a look at the row where it depends on no
/// other.
template <class Use>
void each_grid(const Int8Kernels& kernels, const ActivationGrid& grid, const float* x, int64_t m, int64_t k,
               ThreadPool& pool, const Use& use) {
  const auto rows = static_cast<size_t>(m);
  const auto each = [&](const auto& body) {
    if (m * k > serial_rounding) return pool.parallel_for(rows, body);
    for (size_t i = 0; i < rows; ++i) body(i);
  };
  const bool magnitude = !grid.asymmetric && std::isinf(grid.outliers);  // is all there is to know
  const auto look = [&](size_t i) -> Extremes {
    const float* row = x + static_cast<int64_t>(i) * k;
    if (!magnitude) return kernels.extremes({row, k, grid.outliers});
    const int32_t bits = magnitude_bits(row, k);
    const auto most = std::bit_cast<float>(bits);
    return {-most, most, bits < infinity_bits};
  };
  if (grid.range != ActivationGrid::Range::tensor) {
    const bool fixed = grid.range == ActivationGrid::Range::fixed;
    return each([&](size_t i) {
      const Extremes e = look(i);
      use(i, row_grid(grid, fixed ? grid.low : e.low, fixed ? grid.high : e.high, e.finite));
    });
  }
  std::vector<Extremes> seen(rows);
  each([&](size_t i) { seen[i] = look(i); });
  Extremes all{0, 0, true};
  for (const Extremes& e : seen) {
    if (!e.finite) continue;
    all.low = std::min(all.low, e.low);
    all.high = std::max(all.high, e.high);
  }
  each([&](size_t i) { use(i, row_grid(grid, all.low, all.high, seen[i].finite)); });
}

// Tags keep the buffers of one thread apart.
struct RoundedByte {
  std::byte v;
};
struct WholeSum {
  int32_t v;
};
struct FloatSum {
  float v;
};

int64_t padded(int64_t cols) { return (cols + int8_cols - 1) / int8_cols * int8_cols; }

}  // namespace

bool Int8Matrix::possible(const FormatSpec& format, const Shape& shape) {
  const auto codes = WholeCodes::of({format, shape, {}});
  return codes && codes->group() <= most_group &&
         (codes->group() == shape.cols() || codes->group() % int8_cols == 0);
}

Int8Matrix::Int8Matrix(const Matrix& w, int64_t first, int64_t n, ThreadPool& pool, HugeMemory* memory)
    : kernels_(&cpu_kernels().int8), rows_(n), cols_(w.cols()) {
  if (first < 0 || n < 0 || first > w.rows() - n)
    fail(ErrorKind::internal, "rows {}..{} of {}, which has {}", first, first + n, w.name(), w.rows());
  const WholeCodes whole = WholeCodes::of(w.tensor()).value();
  group_ = whole.group();
  groups_ = cols_ / group_;
  zeros_ = whole.has_zeros();
  const int64_t panels = (n + int8_rows - 1) / int8_rows, adjacent = kernels_->adjacent;
  HugeMemory own;
  codes_ = (memory != nullptr ? memory : &own)->take(static_cast<size_t>(panels * int8_rows * padded(cols_)));
  scales_.resize(static_cast<size_t>(panels * int8_rows * groups_));
  zero_.resize(zeros_ ? scales_.size() : 0);
  sums_.resize(scales_.size());
  pool.parallel_for(static_cast<size_t>(panels), [&](size_t at) {
    const auto panel = static_cast<int64_t>(at);
    std::vector<int8_t> row(static_cast<size_t>(cols_));
    std::vector<float> scale(static_cast<size_t>(groups_));
    std::vector<int32_t> zero(scale.size());
    auto* codes = reinterpret_cast<int8_t*>(codes_.get()) + panel * int8_rows * padded(cols_);
    for (int64_t r = 0; r < std::min(int8_rows, n - panel * int8_rows); ++r) {
      whole.read_row(first + panel * int8_rows + r, row.data(), scale.data(), zero.data());
      for (int64_t c = 0; c < cols_; ++c)
        codes[c / adjacent * adjacent * int8_rows + r * adjacent + c % adjacent] =
            row[static_cast<size_t>(c)];
      for (int64_t g = 0; g < groups_; ++g) {
        const auto to = static_cast<size_t>((panel * groups_ + g) * int8_rows + r);
        const auto from = static_cast<size_t>(g);
        scales_[to] = scale[from];
        if (zeros_) zero_[to] = zero[from];
        for (int64_t c = 0; c < group_; ++c) sums_[to] += row[static_cast<size_t>(g * group_ + c)];
      }
    }
  });
}

const int8_t* Int8Matrix::panel(int64_t p) const noexcept {
  return reinterpret_cast<const int8_t*>(codes_.get()) + p * int8_rows * padded(cols_);
}

/// Activations on a grid, in the order that the kernels of some matrices read them.
class RoundedInput {
 public:
  /// For `w` and what reads like it.
  RoundedInput(const Int8Matrix& w, const ActivationGrid& grid, const float* x, int64_t m, ThreadPool& pool)
      : kernels_(*w.kernels_),
        x_(x),
        m_(m),
        cols_(w.cols_),
        group_(w.group_),
        groups_(w.groups_),
        stride_(row_stride(padded(w.cols_) * kernels_.x_bytes)) {
    const auto rows = static_cast<size_t>(m);
    rounded_ = &scratch<RoundedByte>(static_cast<size_t>(int8_padded(m) * stride_))->v;
    if (w.zeros_) x_sums_.resize(rows * static_cast<size_t>(w.groups_));
    const bool split = std::isfinite(grid.outliers);
    if (split) {
      outliers_.resize(rows);
      ones_.assign(rows, 1.0f);
    }
    shifts_.resize(rows);
    scales_.resize(rows);
    each_grid(kernels_, grid, x, m, w.cols_, pool, [&](size_t i, const RowGrid& g) {
      shifts_[i] = g.zero + kernels_.x_offset;
      scales_[i] = g.scale;
      round_row(static_cast<int64_t>(i), g, grid.outliers, split);
    });
    one_shift_ =
        std::all_of(shifts_.begin(), shifts_.end(), [&](int32_t shift) { return shift == shifts_[0]; });
  }

 private:
  friend class Int8Product;

  // An odd number of lines: what stands below each other is then not in the same place of the cache.
  static int64_t row_stride(int64_t bytes) { return ((bytes + 63) / 64 | 1) * 64; }

  void round_row(int64_t i, const RowGrid& g, float threshold, bool split) {
    const float* x = x_ + i * cols_;
    std::byte* out = rounded_ + i * stride_;
    kernels_.round({x, cols_, g.inverse, threshold, g.zero, g.low, g.high, out});
    for (int64_t c = 0; c < cols_ && split; ++c) {
      if (std::fabs(x[c]) > threshold) outliers_[static_cast<size_t>(i)].push_back(c);
    }
    for (int64_t group = 0; group < groups_ && !x_sums_.empty(); ++group) {
      int32_t sum = 0;
      for (int64_t c = 0; c < group_; ++c) sum += number(out, group * group_ + c) - g.zero;
      x_sums_[static_cast<size_t>(i * groups_ + group)] = sum;
    }
  }

  int32_t number(const std::byte* row, int64_t c) const {
    // A byte has a sign once the offset is taken off.
    if (kernels_.x_bytes == 1) return static_cast<int8_t>(static_cast<int32_t>(row[c]) - kernels_.x_offset);
    return reinterpret_cast<const int16_t*>(row)[c] - kernels_.x_offset;
  }

  const Int8Kernels& kernels_;
  const float* x_;
  int64_t m_, cols_, group_, groups_, stride_;
  std::byte* rounded_ = nullptr;
  bool one_shift_ = false;
  std::vector<int32_t> shifts_, x_sums_;
  std::vector<float> scales_, ones_;
  std::vector<std::vector<int64_t>> outliers_;
};

/// One matrix with activations that are rounded already.
class Int8Product {
 public:
  Int8Product(const RoundedInput& x, const Int8Part& part) : x_(x), w_(*part.w), part_(part) {}

  int64_t panel_count() const { return (w_.rows_ + int8_rows - 1) / int8_rows; }

  /// Panel p and, if there is one, the one after it.
  void panels(int64_t p) const {
    const Int8Kernels& kernels = x_.kernels_;
    const int64_t n = std::min<int64_t>(2, panel_count() - p);
    const int64_t size = int8_padded(x_.m_) * int8_rows, step = int8_rows * padded(w_.cols_);
    const size_t bytes = 2 * static_cast<size_t>(size) * sizeof(float);
    int32_t* sums = &scratch<WholeSum>(bytes)->v;
    float* total = &scratch<FloatSum>(bytes)->v;
    const int8_t* codes = w_.panel(p);
    const bool at_once = w_.groups_ == 1 && x_.outliers_.empty();
    for (int64_t g = 0; g < w_.groups_; ++g) {
      const int64_t at = g * w_.group_;
      const int64_t k = w_.groups_ == 1 ? padded(w_.cols_) : w_.group_;
      kernels.products(
          {codes + at * int8_rows, n, step, x_.rounded_ + at * kernels.x_bytes, x_.m_, x_.stride_, k, sums});
      for (int64_t i = 0; i < n; ++i) {
        const Int8ScaleTask scaling = scale_task(p + i, g, sums + i * size, total + i * size);
        if (at_once) {
          kernels.scale_and_store(scaling, store_task(p + i, nullptr, x_.scales_.data()));
        } else {
          kernels.scale(scaling);
        }
      }
    }
    for (int64_t i = 0; i < n && !at_once; ++i) store(p + i, codes + i * step, total + i * size);
  }

 private:
  Int8ScaleTask scale_task(int64_t p, int64_t g, const int32_t* sums, float* total) const {
    const int64_t numbers = (p * w_.groups_ + g) * int8_rows;
    return {sums,
            x_.m_,
            x_.shifts_.data(),
            w_.sums_.data() + numbers,
            x_.one_shift_,
            w_.zeros_ ? w_.zero_.data() + numbers : nullptr,
            w_.zeros_ ? x_.x_sums_.data() + g : nullptr,
            w_.groups_,
            w_.scales_.data() + numbers,
            g > 0,
            total};
  }

  Int8StoreTask store_task(int64_t p, const float* total, const float* scales) const {
    const int64_t row = p * int8_rows;
    return {.total = total,
            .m = x_.m_,
            .scales = scales,
            .bias = part_.bias == nullptr ? nullptr : part_.bias + row,
            .activation = part_.activation ? &*part_.activation : nullptr,
            .n = std::min(int8_rows, w_.rows_ - row),
            .y = part_.y + row,
            .y_stride = part_.y_stride};
  }

  void store(int64_t p, const int8_t* codes, float* total) const {
    const float* scales = x_.scales_.data();
    if (!x_.outliers_.empty()) {
      for (int64_t i = 0; i < x_.m_; ++i) {
        float* t = total + i * int8_rows;
        for (int64_t j = 0; j < int8_rows; ++j) t[j] *= scales[i];
        add_outliers(p, i, codes, t);
      }
      scales = x_.ones_.data();
    }
    x_.kernels_.store(store_task(p, total, scales));
  }

  void add_outliers(int64_t p, int64_t i, const int8_t* codes, float* total) const {
    const int64_t adjacent = x_.kernels_.adjacent;
    for (const int64_t c : x_.outliers_[static_cast<size_t>(i)]) {
      const float x = x_.x_[i * w_.cols_ + c];
      const auto at = static_cast<size_t>((p * w_.groups_ + c / w_.group_) * int8_rows);
      const int8_t* column = codes + c / adjacent * adjacent * int8_rows + c % adjacent;
      for (int64_t j = 0; j < int8_rows; ++j) {
        const int32_t zero = w_.zeros_ ? w_.zero_[at + static_cast<size_t>(j)] : 0;
        const auto code = static_cast<float>(column[j * adjacent] - zero);
        total[j] += x * (code * w_.scales_[at + static_cast<size_t>(j)]);
      }
    }
  }

  const RoundedInput& x_;
  const Int8Matrix& w_;
  const Int8Part& part_;
};

void int8_matmul(std::span<const Int8Part> parts, const ActivationGrid& grid, const float* x, int64_t m,
                 ThreadPool& pool) {
  if (m == 0 || parts.empty()) return;
  const RoundedInput rounded(*parts[0].w, grid, x, m, pool);
  std::vector<Int8Product> products;
  std::vector<int64_t> first{0};  // pair of panels of each product
  int64_t rows = 0;
  for (const Int8Part& part : parts) {
    if (!part.w->reads_like(*parts[0].w))
      fail(ErrorKind::internal, "products that read activations differently");
    products.emplace_back(rounded, part);
    first.push_back(first.back() + (products.back().panel_count() + 1) / 2);
    rows += part.w->rows();
  }
  const auto pairs = [&](int64_t begin, int64_t end) {
    for (size_t i = 0; i < products.size(); ++i) {
      for (int64_t p = std::max(begin, first[i]); p < std::min(end, first[i + 1]); ++p)
        products[i].panels(2 * (p - first[i]));
    }
  };
  const int64_t all = first.back(), pieces = std::min<int64_t>(all, int64_t{64} * pool.threads());
  if (m * rows * parts[0].w->cols() <= serial_work) return pairs(0, all);
  pool.parallel_for(static_cast<size_t>(pieces), [&](size_t at) {
    const auto i = static_cast<int64_t>(at);
    pairs(all * i / pieces, all * (i + 1) / pieces);
  });
}

void int8_matmul(const Int8Matrix& w, const ActivationGrid& grid, const float* x, int64_t m,
                 const float* bias, float* y, int64_t y_stride, ThreadPool& pool) {
  const Int8Part part{&w, bias, y, y_stride, {}};
  int8_matmul({&part, 1}, grid, x, m, pool);
}

void round_to_grid(const ActivationGrid& grid, const float* x, int64_t m, int64_t k, float* out,
                   ThreadPool& pool) {
  each_grid(cpu_kernels().int8, grid, x, m, k, pool, [&](size_t i, const RowGrid& g) {
    const auto least = static_cast<float>(g.low - g.zero), most = static_cast<float>(g.high - g.zero);
    for (int64_t c = static_cast<int64_t>(i) * k; c < (static_cast<int64_t>(i) + 1) * k; ++c) {
      const float q = std::nearbyint(std::min(std::max(x[c] * g.inverse, least), most));
      out[c] = std::fabs(x[c]) > grid.outliers ? x[c] + 0 * g.scale : q * g.scale;
    }
  });
}

}  // namespace nibble
