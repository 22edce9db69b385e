#include "methods/transforms/rotation.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "tensor/format_spec.h"

namespace nibble {
namespace {

/// Rows that Gram and Schmidt make orthonormal, twice over for the sake of rounding.
std::vector<double> random_orthogonal(int64_t n, Rng& rng) {
  const auto size = static_cast<size_t>(n);
  std::vector<double> q(size * size);
  for (double& v : q) v = rng.uniform() + rng.uniform() + rng.uniform() - 1.5;
  for (size_t i = 0; i < size; ++i) {
    double* row = q.data() + i * size;
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        const double* other = q.data() + j * size;
        double dot = 0;
        for (size_t k = 0; k < size; ++k) dot += row[k] * other[k];
        for (size_t k = 0; k < size; ++k) row[k] -= dot * other[k];
      }
    }
    double norm = 0;
    for (size_t k = 0; k < size; ++k) norm += row[k] * row[k];
    norm = 1 / std::sqrt(norm);
    for (size_t k = 0; k < size; ++k) row[k] *= norm;
  }
  return q;
}

FastRotation<double> random_rotation(int64_t n, uint64_t seed) {
  const int64_t odd = odd_part(n);
  Rng rng(seed);
  std::vector<double> signs(static_cast<size_t>(n));
  for (double& s : signs) s = rng.uniform() < 0.5 ? -1 : 1;
  return {signs, odd > 1 ? random_orthogonal(odd, rng) : std::vector<double>()};
}

}  // namespace

Rotation::Rotation(int64_t n, uint64_t seed) : turn_(random_rotation(n, seed)) {}

void Rotation::turn(float* x) const {
  thread_local std::vector<double> v;
  v.assign(x, x + size());
  turn_.turn(v.data());
  for (size_t i = 0; i < v.size(); ++i) x[i] = static_cast<float>(v[i]);
}

void Rotation::turn_columns(std::span<float> w, size_t first, size_t count) const {
  const auto n = static_cast<size_t>(size());
  const size_t cols = w.size() / n;
  std::vector<double> v(n * count);
  for (size_t i = 0; i < n; ++i) {
    for (size_t c = 0; c < count; ++c) v[c * n + i] = w[i * cols + first + c];
  }
  for (size_t c = 0; c < count; ++c) turn_.turn(v.data() + c * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t c = 0; c < count; ++c) w[i * cols + first + c] = static_cast<float>(v[c * n + i]);
  }
}

void Rotation::turn_rows(std::span<float> x, ThreadPool& pool) const {
  const auto n = static_cast<size_t>(size());
  if (x.size() % n != 0) fail(ErrorKind::bad_input, "{} values are no rows of {}", x.size(), n);
  pool.parallel_for(x.size() / n, [&](size_t r) { turn(x.data() + r * n); });
}

void Rotation::turn_columns(std::span<float> w, ThreadPool& pool) const {
  const auto n = static_cast<size_t>(size());
  if (w.size() % n != 0) fail(ErrorKind::bad_input, "{} values are no columns of {}", w.size(), n);
  const size_t cols = w.size() / n;
  // Strips of columns: a line of the cache that is fetched is used whole.
  constexpr size_t strip = 16;
  pool.parallel_for((cols + strip - 1) / strip,
                    [&](size_t s) { turn_columns(w, s * strip, std::min(strip, cols - s * strip)); });
}

std::optional<RotationWord> RotationWord::parse(std::string_view word) {
  const FormatSpec spec = FormatSpec::parse(word);
  if (spec.name != "rotate") return std::nullopt;
  RotationWord r;
  for (const std::string& option : spec.options) {
    constexpr std::string_view seed = "seed=";
    const char* end = option.data() + option.size();
    const char* at = option.data() + std::min(option.size(), seed.size());
    if (option == "online") {
      r.online = true;
    } else if (const auto [last, error] = std::from_chars(at, end, r.seed);
               !option.starts_with(seed) || error != std::errc{} || last != end) {
      throw Error(ErrorKind::usage, fmt::format("'{}' does not say how to rotate: '{}'", word, option),
                  "rotate[:online][:seed=N]");
    }
  }
  return r;
}

std::string RotationWord::to_string() const {
  std::string word = online ? "rotate:online" : "rotate";
  if (seed != 0) word += fmt::format(":seed={}", seed);
  return word;
}

}  // namespace nibble
