#include "formats/float.h"

#include <bit>

#include "base/half.h"

namespace nibble {
namespace {

// Blocks of a fixed length only so that the per-block calls cost little; every weight stands alone.
constexpr int64_t chunk = 64;

struct F32 {
  using Word = uint32_t;
  static constexpr DType dtype = DType::f32;
  static constexpr FormatInfo info{"f32", "float", "IEEE single precision", 0, 1, 4};
  static Word encode(float x) noexcept { return std::bit_cast<uint32_t>(x); }
  static float decode(Word w) noexcept { return std::bit_cast<float>(w); }
};
struct F16 {
  using Word = uint16_t;
  static constexpr DType dtype = DType::f16;
  static constexpr FormatInfo info{"f16", "float", "IEEE half precision", 1, 1, 2};
  static Word encode(float x) noexcept { return f32_to_f16(x); }
  static float decode(Word w) noexcept { return f16_to_f32(w); }
};
struct BF16 {
  using Word = uint16_t;
  static constexpr DType dtype = DType::bf16;
  static constexpr FormatInfo info{"bf16", "float", "bfloat16: the range of f32 with 8 bits of precision",
                                   30,     1,       2};
  static Word encode(float x) noexcept { return f32_to_bf16(x); }
  static float decode(Word w) noexcept { return bf16_to_f32(w); }
};

template <class F>
class FloatFormat final : public Format {
 public:
  const FormatInfo& info() const noexcept override { return F::info; }
  FormatSpec spec() const override { return {std::string(F::info.name), {}}; }
  int64_t block(const Shape&) const override { return chunk; }
  std::string misfit(const Shape&) const override { return {}; }
  std::vector<PlaneInfo> planes(const Shape& shape) const override {
    const auto bytes = static_cast<size_t>(shape.elements()) * sizeof(typename F::Word);
    return {{"", F::dtype, shape, bytes, static_cast<size_t>(chunk) * sizeof(typename F::Word)}};
  }
  void fit(const float*, const float*, int64_t, const std::byte* const*, Params&) const override {}
  void round(const float* x, int64_t, int64_t n, const Params&, Code* codes, float* values) const override {
    for (int64_t i = 0; i < n; ++i) {
      const auto w = F::encode(x[i]);
      codes[i] = static_cast<Code>(w);
      if (values != nullptr) values[i] = F::decode(w);
    }
  }
  void pack(const Code* codes, int64_t n, const Params&, std::byte* const* planes) const override {
    for (int64_t i = 0; i < n; ++i) {
      const auto w = static_cast<typename F::Word>(codes[i]);
      std::memcpy(planes[0] + static_cast<size_t>(i) * sizeof w, &w, sizeof w);
    }
  }
  void decode(const std::byte* const* planes, int64_t n, float* out) const override {
    for (int64_t i = 0; i < n; ++i) {
      typename F::Word w;
      std::memcpy(&w, planes[0] + static_cast<size_t>(i) * sizeof w, sizeof w);
      out[i] = F::decode(w);
    }
  }
};

template <class F>
bool is(const FormatSpec& spec) {
  if (spec.name != F::info.name) return false;
  if (!spec.options.empty()) fail(ErrorKind::usage, "{} takes no options", F::info.name);
  return true;
}

}  // namespace

std::unique_ptr<Format> FloatFamily::make(const FormatSpec& spec) {
  if (is<F32>(spec)) return std::make_unique<FloatFormat<F32>>();
  if (is<F16>(spec)) return std::make_unique<FloatFormat<F16>>();
  if (is<BF16>(spec)) return std::make_unique<FloatFormat<BF16>>();
  return nullptr;
}

std::vector<std::string> FloatFamily::examples() { return {"f32", "f16", "bf16"}; }

}  // namespace nibble
