// A matrix of whole codes is made ready for products without floating point, once, when a model is loaded.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/fixed.h"
#include "kernels/integer_matmul.h"

namespace nibble {

IntegerMatrix::IntegerMatrix(const Matrix& w, int64_t first, int64_t n, std::span<const float> bias,
                             ThreadPool& pool)
    : codes_(w, first, n, pool) {
  std::vector<double> scales(codes_.scales_.begin(), codes_.scales_.end());
  // An activation is its code times the largest one of its row, over 127.
  for (double& s : scales) s /= 127;
  FixedVector fixed = to_fixed(scales, mantissa_bits, w.name());
  factors_ = std::move(fixed.mantissas);
  exponent_ = fixed.exponent;
  codes_.scales_ = {};
  bound_totals(w.name());
  if (bias.empty()) return;
  if (static_cast<int64_t>(bias.size()) != n)
    fail(ErrorKind::internal, "{} biases for {} rows of {}", bias.size(), n, w.name());
  fixed = to_fixed(std::vector<double>(bias.begin(), bias.end()), mantissa_bits, w.name() + "'s bias");
  bias_ = std::move(fixed.mantissas);
  bias_exponent_ = fixed.exponent;
}

void IntegerMatrix::bound_totals(const std::string& name) {
  const int64_t group = codes_.group_, groups = codes_.groups_;
  const int64_t adjacent = codes_.kernels_->adjacent;
  double most = 0;
  for (int64_t r = 0; r < codes_.rows_; ++r) {
    const int64_t panel = r / int8_rows, lane = r % int8_rows;
    const int8_t* codes = codes_.panel(panel) + lane * adjacent;
    double total = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<size_t>((panel * groups + g) * int8_rows + lane);
      const int32_t zero = codes_.zeros_ ? codes_.zero_[at] : 0;
      int64_t sum = 0;
      for (int64_t c = g * group; c < (g + 1) * group; ++c)
        sum += std::abs(codes[c / adjacent * adjacent * int8_rows + c % adjacent] - zero);
      total += static_cast<double>(sum) * std::abs(factors_[at]);
    }
    most = std::max(most, total);
  }
  int bits = 0;
  std::frexp(127 * most, &bits);  // 127 * most < 2^bits
  if (bits > 61)
    fail(ErrorKind::unsupported, "{}: rows of {} columns are too long for sums of 64 bits", name,
         codes_.cols_);
  shift_ = std::max(bits - mantissa_bits, 0);
}

}  // namespace nibble
