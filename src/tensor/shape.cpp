#include "tensor/shape.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace nibble {
namespace {

int64_t product(const std::vector<int64_t>& dims, size_t count) {
  constexpr int64_t limit = int64_t{1} << 62;
  int64_t p = 1;
  for (size_t i = 0; i < count; ++i) {
    if (dims[i] < 0 || (dims[i] != 0 && p > limit / dims[i])) {
      fail(ErrorKind::bad_input, "impossible tensor shape [{}]", fmt::join(dims, ", "));
    }
    p *= dims[i];
  }
  return p;
}

}  // namespace

int64_t Shape::elements() const { return product(dims_, dims_.size()); }
int64_t Shape::rows() const { return dims_.empty() ? 1 : product(dims_, dims_.size() - 1); }
std::string Shape::to_string() const { return fmt::format("[{}]", fmt::join(dims_, ", ")); }

}  // namespace nibble
