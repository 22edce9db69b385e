#include "formats/granularity.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "formats/packing.h"

namespace nibble {
namespace {

// Divisors of `cols` nearest to `wanted`, the largest first.
std::vector<int64_t> nearest_divisors(int64_t cols, int64_t wanted) {
  std::vector<int64_t> all;
  for (int64_t d = 1; d <= cols / d && d <= 65536; ++d) {
    if (cols % d != 0) continue;
    all.push_back(d);
    if (d != cols / d) all.push_back(cols / d);
  }
  const auto distance = [wanted](int64_t d) {
    return std::fabs(std::log(static_cast<double>(d) / static_cast<double>(wanted)));
  };
  std::sort(all.begin(), all.end(), [&](int64_t a, int64_t b) { return distance(a) < distance(b); });
  std::erase_if(all, [cols](int64_t d) { return d < 4 && cols >= 4; });  // groups of 1 to 3 only waste scales
  all.resize(std::min<size_t>(all.size(), 3));
  std::sort(all.rbegin(), all.rend());
  return all;
}

std::vector<int64_t> with_last(const Shape& shape, int64_t last) {
  std::vector<int64_t> dims = shape.dims();
  if (dims.empty()) dims.push_back(1);
  dims.back() = last;
  return dims;
}

}  // namespace

std::optional<Granularity> Granularity::parse(const std::string& option) {
  if (option == "tensor") return Granularity{Kind::tensor, 0};
  if (option == "channel") return Granularity{Kind::channel, 0};
  if (option.size() < 2 || option[0] != 'g' || option.find_first_not_of("0123456789", 1) != std::string::npos)
    return std::nullopt;
  const int64_t n = option.size() > 10 ? 0 : std::stoll(option.substr(1));
  if (n < 1) {
    throw Error(ErrorKind::usage, fmt::format("'{}' is no group size", option),
                "groups have 1 to 999999999 weights: g128");
  }
  return Granularity{Kind::group, n};
}

std::string Granularity::to_string() const {
  if (kind == Kind::tensor) return "tensor";
  if (kind == Kind::channel) return "channel";
  return fmt::format("g{}", group);
}

int64_t Granularity::block(const Shape& shape) const {
  return kind == Kind::group ? group : std::max<int64_t>(shape.cols(), 1);
}

std::string Granularity::misfit(const Shape& shape) const {
  if (kind != Kind::group || shape.cols() % group == 0) return {};
  std::vector<std::string> choices;
  for (const int64_t d : nearest_divisors(shape.cols(), group)) choices.push_back(fmt::format("g{}", d));
  return fmt::format("its rows of {} cannot be cut in groups of {}; {} or channel would fit", shape.cols(),
                     group, fmt::join(choices, ", "));
}

PlaneInfo Granularity::codes(const Shape& shape, int bits, DType dtype) const {
  const int64_t n = block(shape);
  const int64_t per_block = packed_bytes(n, bits);
  const Shape stored(with_last(shape, shape.cols() / n * per_block));
  return {"codes", dtype, stored, static_cast<size_t>(stored.elements()), static_cast<size_t>(per_block)};
}

PlaneInfo Granularity::parameters(std::string name, const Shape& shape, DType dtype, int64_t count) const {
  const size_t size = dtype_size(dtype) * static_cast<size_t>(count);
  if (whole_tensor()) return {std::move(name), dtype, Shape{count}, size, 0};
  std::vector<int64_t> dims = with_last(shape, shape.cols() / block(shape));
  const auto blocks = static_cast<size_t>(Shape(dims).elements());
  if (count > 1) dims.push_back(count);
  return {std::move(name), dtype, Shape(dims), blocks * size, size};
}

}  // namespace nibble
