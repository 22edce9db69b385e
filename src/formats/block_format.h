#pragma once

#include <array>
#include <cstring>

#include "formats/format.h"

namespace nibble {

/// What a format that is only read has to say: its facts and how a block decodes.
template <class F>
concept BlockDecoding = requires(const typename F::Block& b, float* out) {
  { F::info.block } -> std::convertible_to<int64_t>;
  F::decode(b, out);
};

/// A fixed block encoding as its header describes it: static facts, no state. Checked at compile time.
template <class F>
concept BlockEncoding = BlockDecoding<F> && requires(const float* x, const typename F::Params& p,
                                                     typename F::Block& b, const Code* c, int i, float v) {
  { F::fit(x, x) } -> std::same_as<typename F::Params>;
  { F::round(v, p, i) } -> std::same_as<Code>;        // nearest code of one weight at position i of the block
  { F::value(Code{}, p, i) } -> std::same_as<float>;  // what decode gives for that code
  F::pack(c, p, b);
};

/// Makes a Format of a block encoding: one plane of packed blocks, rows a multiple of the block.
template <BlockDecoding F>
class BlockFormat final : public Format {
  static_assert(sizeof(typename F::Block) == F::info.bytes);
  static_assert(BlockEncoding<F> == F::info.can_encode);

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
    if constexpr (BlockEncoding<F>) {
      params.as<typename F::Params>() = F::fit(x, importance);
    } else {
      read_only();
    }
  }

  void round(const float* x, int64_t first, int64_t n, const Params& params, Code* codes,
             float* values) const override {
    if constexpr (BlockEncoding<F>) {
      const auto& p = params.as<typename F::Params>();
      for (int64_t i = 0; i < n; ++i) {
        const int at = static_cast<int>(first + i);
        codes[i] = F::round(x[i], p, at);
        if (values != nullptr) values[i] = F::value(codes[i], p, at);
      }
    } else {
      read_only();
    }
  }

  void pack(const Code* codes, int64_t, const Params& params, std::byte* const* planes) const override {
    if constexpr (BlockEncoding<F>) {
      typename F::Block b;
      std::memset(&b, 0, sizeof b);
      F::pack(codes, params.as<typename F::Params>(), b);
      std::memcpy(planes[0], &b, sizeof b);
    } else {
      read_only();
    }
  }

  void decode(const std::byte* const* planes, int64_t, float* out) const override {
    typename F::Block b;
    std::memcpy(&b, planes[0], sizeof b);
    F::decode(b, out);
  }

 private:
  [[noreturn]] static void read_only() {
    fail(ErrorKind::unsupported, "nibble reads {} but does not write it", F::info.name);
  }
};

/// The family of one block encoding: a single word.
template <BlockDecoding F>
struct SingleFormat {
  static std::unique_ptr<Format> make(const FormatSpec& spec) {
    if (spec.name != F::info.name) return nullptr;
    if (!spec.options.empty()) fail(ErrorKind::usage, "{} takes no options", F::info.name);
    return std::make_unique<BlockFormat<F>>();
  }
  static std::vector<std::string> examples() { return {std::string(F::info.name)}; }
};

/// What a line FORMAT(F) of a list stands for.
template <BlockDecoding F>
constexpr FormatFamily single_family() {
  return {F::info.name, &SingleFormat<F>::make, &SingleFormat<F>::examples, {}};
}

/// What a line FAMILY(F) of a list stands for.
template <class F>
constexpr FormatFamily option_family(std::string_view name) {
  return {name, &F::make, &F::examples, F::help};
}

}  // namespace nibble
