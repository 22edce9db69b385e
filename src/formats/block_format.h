#pragma once

#include <array>
#include <cstring>

#include "formats/format.h"

namespace nibble {

/// A fixed block encoding as its header describes it: static facts, no state. Checked at compile time.
template <class F>
concept BlockEncoding = requires(const float* x, const typename F::Params& p, typename F::Block& b,
                                 const Code* c, int i, float v, float* out) {
  { F::info.block } -> std::convertible_to<int64_t>;
  { F::fit(x, x) } -> std::same_as<typename F::Params>;
  { F::round(v, p, i) } -> std::same_as<Code>;        // nearest code of one weight at position i of the block
  { F::value(Code{}, p, i) } -> std::same_as<float>;  // what decode gives for that code
  F::pack(c, p, b);
  F::decode(b, out);
};

/// Makes a Format of a BlockEncoding: one plane of packed blocks, rows a multiple of the block.
template <BlockEncoding F>
class BlockFormat final : public Format {
  static_assert(sizeof(typename F::Block) == F::info.bytes);

 public:
  const FormatInfo& info() const noexcept override { return F::info; }
  FormatSpec spec() const override { return {std::string(F::info.name), {}}; }
  int64_t block(const Shape&) const override { return F::info.block; }

  std::string misfit(const Shape& shape) const override {
    if (shape.cols() % F::info.block == 0) return {};
    return fmt::format("its rows of {} are no multiple of {}", shape.cols(), F::info.block);
  }

  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    const int64_t blocks = (shape.cols() + F::info.block - 1) / F::info.block;
    std::vector<int64_t> dims = shape.dims();
    if (dims.empty()) dims.push_back(1);
    dims.back() = blocks * static_cast<int64_t>(F::info.bytes);
    const Shape stored(dims);
    const auto bytes = static_cast<size_t>(stored.elements());
    return {{"", DType::u8, stored, bytes, F::info.bytes}};
  }

  void fit(const float* x, const float* importance, int64_t, const std::byte* const*,
           Params& params) const override {
    params.as<typename F::Params>() = F::fit(x, importance);
  }

  void round(const float* x, int64_t first, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    const auto& p = params.as<typename F::Params>();
    for (int64_t i = 0; i < n; ++i) {
      const int at = static_cast<int>(first + i);
      codes[i] = F::round(x[i], p, at);
      if (values != nullptr) values[i] = F::value(codes[i], p, at);
    }
  }

  void pack(const Code* codes, int64_t, const Params& params, std::byte* const* planes) const override {
    typename F::Block b;
    std::memset(&b, 0, sizeof b);
    F::pack(codes, params.as<typename F::Params>(), b);
    std::memcpy(planes[0], &b, sizeof b);
  }

  void decode(const std::byte* const* planes, int64_t, float* out) const override {
    typename F::Block b;
    std::memcpy(&b, planes[0], sizeof b);
    F::decode(b, out);
  }
};

/// The family of one BlockEncoding: a single word.
template <BlockEncoding F>
struct SingleFormat {
  static std::unique_ptr<Format> make(const FormatSpec& spec) {
    if (spec.name != F::info.name) return nullptr;
    if (!spec.options.empty()) fail(ErrorKind::usage, "{} takes no options", F::info.name);
    return std::make_unique<BlockFormat<F>>();
  }
  static std::vector<std::string> examples() { return {std::string(F::info.name)}; }
};

}  // namespace nibble
