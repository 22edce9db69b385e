#include "kernels/elementwise.h"

#include "kernels/matmul.h"

namespace nibble {

void activate(ActivationKind kind, const float* x, const float* times, float* y, int64_t n) noexcept {
  cpu_kernels().elementwise.activate(kind, x, times, y, n);
}

void exponentials(const float* x, float minus, float* y, int64_t n) noexcept {
  cpu_kernels().elementwise.exponentials(x, minus, y, n);
}

void normalize(const NormTask& task) noexcept { cpu_kernels().elementwise.normalize(task); }

void see_columns(const ColumnsTask& task) noexcept { cpu_kernels().elementwise.see_columns(task); }

}  // namespace nibble
